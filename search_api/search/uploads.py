"""Uploads: files that clients send become photos of an album, each a row of the catalog at once.

What is answered with a path is in the album from then on, whoever scans or indexes beside it. What
no scan would see is refused with its reason, or gets the name under which a scan does see it.
"""

from __future__ import annotations

import os
import re
import secrets
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import select
from sqlalchemy.orm import Session

from indexer.db.catalog import Catalog, touch
from indexer.db.names import shown_path
from indexer.db.tables import Album, Photo, Root
from indexer.folders import own_folders
from indexer.folders.albums import ensure_root
from indexer.folders.content import HashedFile
from indexer.folders.globs import EXTENSION_OF, Globs, is_photo_name
from indexer.folders.own_output import ALL, mark
from indexer.folders.scan_changes import NewFile, add_files, lock_album
from indexer.folders.walk import found_file
from indexer.photos.decode import Decoded, Decoder
from indexer.settings import Settings
from search_api.search.albums import album_info

_UNSAFE = re.compile(r"[^\w.\- ()+,=@~]", re.UNICODE)
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Upload:
    """What became of one uploaded file: the album's photo that it is, or the reason why not."""

    name: str
    path: str | None = None
    """Below the album's folder."""
    reason: str | None = None
    photo: int | None = None
    known: bool = False
    """The album had a photo of the same bytes, which is the one that is named."""


def take_upload(
    catalog: Catalog,
    settings: Settings,
    decoder: Decoder,
    album_id: int,
    files: Sequence[tuple[str, BinaryIO]],
) -> list[Upload]:
    """Store the files that decode, each under its own name or a numbered one, with its row.

    Every file is decoded in a process of its own, under the indexer's limits, before it gets a
    name that a scan would see. The same bytes again are answered with the photo that is there.

    Args:
        files: client's file name and content.
    Raises:
        NotFound: no such album.
    """
    album_info(catalog, album_id)
    folder = own_folders.made_folder(catalog, settings, "uploads", album_id)
    incoming = own_folders.incoming(settings)
    mark(folder.parent, ALL)  # an album around the library would take these for its own
    taken = []
    limit = settings.max_file_mib * 2**20
    for name, content in files:
        partial = incoming / secrets.token_hex(16)
        try:
            if not _copy(content, partial, limit):
                reason = f"is larger than {settings.max_file_mib} MiB (REFERENT_MAX_FILE_MIB)"
                taken.append(Upload(name, reason=reason))
                continue
            decoded = decoder.decode_one(partial)
            if decoded.reason is not None:
                taken.append(Upload(name, reason=decoded.reason))
                continue
            taken.append(_keep(catalog, album_id, folder.resolve(), name, partial, decoded))
        finally:
            partial.unlink(missing_ok=True)
    return taken


def safe_name(name: str) -> str:
    """A file name out of whatever a client sent: no folders, no hidden or odd characters."""
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    tidy = _UNSAFE.sub("_", last).strip(" .")
    stem, dot, suffix = tidy.rpartition(".")
    if not dot:
        stem, suffix = tidy, ""
    stem = stem.encode()[:150].decode(errors="ignore") or "photo"
    return f"{stem}.{suffix[:20]}" if suffix else stem


def photo_name(name: str, format: str) -> str:
    """`safe_name`, with the extension of what it is where its own is not one of a photo's.

    Args:
        format: Pillow's name of the format.
    """
    safe = safe_name(name)
    return safe if is_photo_name(os.fsencode(safe)) else f"{safe}.{EXTENSION_OF[format]}"


def _copy(content: BinaryIO, partial: Path, limit: int) -> bool:
    """Write a file, unless it is larger than ``limit`` bytes."""
    written = 0
    with partial.open("xb") as file:
        while chunk := content.read(_CHUNK):
            written += len(chunk)
            if written > limit:
                return False
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())  # what is acknowledged outlives a power cut
    return True


def _keep(
    catalog: Catalog, album_id: int, folder: Path, name: str, partial: Path, decoded: Decoded[None]
) -> Upload:
    """Give a checked file its name and its row, in one transaction: two requests with the same
    bytes make one photo."""
    assert decoded.facts is not None
    assert decoded.content_hash is not None
    wanted = photo_name(name, decoded.facts.format)
    with catalog.session() as session:
        lock_album(session, album_id)
        album = session.get_one(Album, album_id)
        globs = Globs.of(album.settings)
        if not globs.takes_file(os.fsencode(wanted)):
            reason = f"would be called {wanted}, which the album's globs leave out"
            return Upload(name, reason=reason)
        there = _photo_of(session, album_id, decoded.content_hash)
        if there is not None:
            path = shown_path(there.path)
            return Upload(name, path, photo=there.id, known=True)
        root = ensure_root(session, album_id, os.fsencode(folder), follow_links=False)
        placed = _place(session, root.id, partial, folder, wanted)
        file = NewFile(
            found_file(os.fsencode(placed), (folder / placed).stat()),
            HashedFile(decoded.content_hash),
        )
        add_files(session, catalog, album_id, root.id, [file])
        touch(session, album_id)
        return Upload(name, placed, photo=_row_of(session, root.id, placed))


def _photo_of(session: Session, album_id: int, content_hash: str) -> Photo | None:
    """A photo of the album with these bytes, whose file is where the last scan saw it."""
    query = (
        select(Photo, Root.path)
        .join(Root, Root.id == Photo.root_id)
        .where(
            Photo.content_hash == content_hash,
            Photo.album_id == album_id,
            Photo.deleted_at.is_(None),
        )
        .order_by(Photo.id)
    )
    for photo, folder in session.execute(query):
        try:
            status = os.stat(folder + b"/" + photo.path)  # noqa: PTH116 - bytes
        except OSError:
            continue
        if (status.st_size, status.st_mtime_ns) == (photo.size, photo.mtime_ns):
            return photo
    return None


def _place(session: Session, root_id: int, partial: Path, folder: Path, name: str) -> str:
    """Give a file its final name, numbered when a file or a row has it."""
    stem, dot, suffix = name.rpartition(".")
    number = 1
    while True:
        tried = name if number == 1 else f"{stem} ({number}){dot}{suffix}"
        number += 1
        if _row_of(session, root_id, tried) is not None:
            continue
        try:
            os.link(partial, folder / tried)  # fails where the name is taken, unlike a rename
        except FileExistsError:
            continue
        return tried


def _row_of(session: Session, root_id: int, name: str) -> int | None:
    return session.scalar(
        select(Photo.id).where(Photo.root_id == root_id, Photo.path == os.fsencode(name))
    )
