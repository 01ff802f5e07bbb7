"""Photos as the catalog knows them, and their files, found inside the album's roots only."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Select, func, select

from indexer.db.catalog import Catalog
from indexer.db.names import shown_path
from indexer.db.tables import Album, Photo, Root
from search_api.errors import PhotoVanished, UnknownPhoto


@dataclass(frozen=True)
class PhotoInfo:
    """One photo; ``path`` is for people (inside its album), ``file`` stays on the server.

    ``width`` and ``height`` are upright pixels, None before the photo was decoded.
    """

    id: int
    album_id: int
    album: str
    path: str
    root: Path
    relative: Path
    content_hash: str | None
    size: int
    mtime_ns: int
    format: str | None
    width: int | None
    height: int | None
    orientation: int | None
    taken_at: datetime | None
    taken_source: str | None
    taken_offset_min: int | None
    camera: str | None
    lat: float | None
    lon: float | None
    note: str | None
    status: str
    error: str | None
    follow_links: bool
    """Whether the album's owner lets links in its folder lead out of it."""

    @property
    def file(self) -> Path:
        """Where the file was when the album was scanned; not checked."""
        return self.root / self.relative

    @property
    def version(self) -> str:
        """Another one for each content of the file: what is kept of a picture goes by it."""
        return self.content_hash[:16] if self.content_hash else f"{self.mtime_ns:x}-{self.size:x}"

    @property
    def vanished(self) -> bool:
        """Whether the file is gone."""
        return self.status == "missing" or not os.path.lexists(self.file)


def one_photo(catalog: Catalog, photo_id: int) -> PhotoInfo:
    """Look a photo up.

    Raises:
        UnknownPhoto: there is none of this id.
    """
    found = by_id(catalog, [photo_id])
    if photo_id not in found:
        raise UnknownPhoto(f"There is no photo {photo_id}.", field="photo_id")
    return found[photo_id]


def by_id(catalog: Catalog, photo_ids: Iterable[int]) -> dict[int, PhotoInfo]:
    """The photos of these ids that exist, tombstones included."""
    wanted = [each for each in photo_ids if 0 < each < 2**63]
    found: dict[int, PhotoInfo] = {}
    with catalog.reading() as session:
        for start in range(0, len(wanted), 500):
            rows = session.execute(_photos().where(Photo.id.in_(wanted[start : start + 500])))
            found.update((row[0].id, _info(*row)) for row in rows)
    return found


def list_photos(
    catalog: Catalog,
    *,
    album_id: int | None = None,
    among: frozenset[int] | None = None,
    status: str | None = None,
    reason: str | None = None,
    after: int = 0,
    size: int = 50,
) -> list[PhotoInfo]:
    """Photos by id, from the one after ``after``; those whose file vanished only on request.

    Args:
        among: only of these albums; None means any.
    """
    statement = _photos().where(Photo.id > after).order_by(Photo.id).limit(size)
    if album_id is not None:
        statement = statement.where(Photo.album_id == album_id)
    if among is not None:
        statement = statement.where(Photo.album_id.in_(among))
    if reason:
        statement = statement.where(
            func.lower(Photo.error).contains(reason.lower(), autoescape=True)
        )
    if status is not None:
        statement = statement.where(Photo.status == status)
    else:
        statement = statement.where(Photo.deleted_at.is_(None))
    with catalog.reading() as session:
        return [_info(*row) for row in session.execute(statement)]


def checked_file(photo: PhotoInfo) -> Path:
    """The photo's file, with every link resolved, which must lie inside its album's root unless the
    album's owner lets links lead out of it.

    Raises:
        PhotoVanished: it is gone, is no regular file, or a link leads out of the root.
    """
    try:
        root = photo.root.resolve(strict=True)
        file = (root / photo.relative).resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise PhotoVanished(
            f"The file of photo {photo.id} is gone since it was indexed; index the album again.",
            field="photo_id",
        ) from error
    named_inside = not photo.relative.is_absolute() and ".." not in photo.relative.parts
    inside = named_inside and (photo.follow_links or file.is_relative_to(root))
    if not inside or not file.is_file():
        raise PhotoVanished(
            f"The file of photo {photo.id} does not lie inside its album any more.",
            field="photo_id",
        )
    return file


def _photos() -> Select[Photo, str, bytes, bool]:
    return (
        select(Photo, Album.name, Root.path, Root.follow_links)
        .join(Album, Album.id == Photo.album_id)
        .join(Root, Root.id == Photo.root_id)
    )


def _info(row: Photo, album: str, root: bytes, follow_links: bool) -> PhotoInfo:
    return PhotoInfo(
        id=row.id,
        album_id=row.album_id,
        album=album,
        path=shown_path(row.path),
        root=Path(os.fsdecode(root)),
        relative=Path(os.fsdecode(row.path)),
        content_hash=row.content_hash,
        size=row.size,
        mtime_ns=row.mtime_ns,
        format=row.format,
        width=row.width,
        height=row.height,
        orientation=row.orientation,
        taken_at=row.taken_at,
        taken_source=row.taken_source,
        taken_offset_min=row.taken_offset_min,
        camera=row.camera,
        lat=row.lat,
        lon=row.lon,
        note=row.note,
        status=row.status,
        error=row.error,
        follow_links=follow_links,
    )
