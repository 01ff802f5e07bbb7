"""Make albums, and give and take their folders; each change leaves a line in the audit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import delete, distinct, exists, func, select
from sqlalchemy.orm import Session, aliased

from indexer.db import audit, catalog
from indexer.db.audit import Actor
from indexer.db.catalog import album_named, count_by_status
from indexer.db.names import comparable, comparable_path, shown_path
from indexer.db.tables import Album, Mark, OwnFolder, Photo, Root, revision_step
from indexer.errors import AlbumExists, FolderError, UnknownGlob
from indexer.folders import own_folders
from indexer.folders.moved import carry_from, move_root


@dataclass(frozen=True)
class AlbumSummary:
    """What `referent albums` tells of an album; paths are made printable."""

    id: int
    name: str
    folders: list[str]
    photos: int
    """Indexed, failed and new: the album's size."""
    indexed: int
    failed: int
    new: int
    missing: int
    duplicates: int
    """Photos whose content another photo of the album has as well."""
    include: list[str]
    exclude: list[str]
    scanned_at: float | None
    """Unix time of the oldest of its folders' last scans; None when one was never scanned."""


def ensure_album(
    session: Session,
    folders: Sequence[Path | bytes],
    *,
    name: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    everything: bool | None = None,
    by: Actor | None = None,
) -> Album:
    """The album of these folders: found by name, or made; folders and globs are added to it.

    Whoever calls it runs on this machine, so links in the folders are followed wherever they lead.

    Args:
        folders: existing folders; each becomes a root, unless it is one.
        name: of the album; by default that of the album that has the first folder as a root, else
            the folder's own name (with a number behind it where that is taken).
        include, exclude: globs as in `indexer.folders.globs.Globs`, added to those the album has.
        everything: whether to take also what systems and programs keep for themselves; None leaves
            it as it is.
        by: who does it, here and in the functions below; None is whoever types a command.
    Raises:
        FolderError: a folder does not exist, is no folder or cannot be listed.
        UnknownAlbum: no folder is given and no album has this name.
    """
    places = [check_folder(folder) for folder in folders]
    album = find_album(session, places, name)
    if album is None:
        if not places:
            return album_named(session, name or "")
        album = make_album(session, name or _free_name(session, places[0]), by=by)
    for place in places:
        ensure_folder(session, album, place, follow_links=True, by=by)
    settings = _with_globs(album, include, exclude)
    if everything is not None:
        settings["everything"] = everything
    _keep_settings(session, album, settings, by)
    session.flush()
    return album


def find_album(session: Session, places: Sequence[bytes], name: str | None) -> Album | None:
    """The album of this name; without one, that which has the first of the folders as a root."""
    if name is not None:
        return catalog.find_album(session, name)
    if not places:
        return None
    roots = session.execute(select(Root.path, Root.album_id).order_by(Root.album_id)).all()
    owner = next((album for path, album in roots if _is_same(path, places[0])), None)
    return None if owner is None else session.get(Album, owner)


def make_album(session: Session, name: str, *, by: Actor | None = None) -> Album:
    """A new album; that its name is free is the caller's to know."""
    album = Album(name=comparable(name), settings={})
    session.add(album)
    session.flush()
    note_album(session, by, "album made", album)
    return album


def ensure_folder(
    session: Session, album: Album, place: bytes, *, follow_links: bool, by: Actor | None = None
) -> None:
    """Give an album a folder of this machine; one that it has takes ``follow_links`` over."""
    known = _root_of(session, album.id, place)
    root = ensure_root(session, album.id, place, follow_links=follow_links)
    if known is None:
        note_album(session, by, "folder added", album, root)


def ensure_root(session: Session, album_id: int, place: bytes, *, follow_links: bool) -> Root:
    """The album's root of a folder, whichever links it was named by; made if need be.

    Args:
        follow_links: whether links in it may lead out of it, from now on.
    """
    root = _root_of(session, album_id, place)
    if root is None:
        root = Root(album_id=album_id, path=place, mounts=[], follow_links=follow_links)
        session.add(root)
        session.flush()
    elif root.follow_links != follow_links:
        root.follow_links = follow_links
    return root


def _root_of(session: Session, album_id: int, place: bytes) -> Root | None:
    roots = session.scalars(select(Root).where(Root.album_id == album_id).order_by(Root.id))
    return next((root for root in roots.all() if _is_same(root.path, place)), None)


def check_folder(folder: Path | bytes) -> bytes:
    """A folder's own path as bytes, links resolved, when it is one that can be listed.

    The same folder by two names would be two roots, and its photos doubled.

    Raises:
        FolderError: it is not; the message says why.
    """
    place = as_on_disk(os.path.realpath(os.fsencode(folder)))
    shown = shown_path(os.fsencode(folder))
    try:
        with os.scandir(place):
            return place
    except FileNotFoundError as error:
        raise FolderError(f"no such folder: {shown}") from error
    except NotADirectoryError as error:
        raise FolderError(f"{shown} is a file: name the folder that holds the photos") from error
    except OSError as error:
        raise FolderError(
            f"cannot read the folder {shown} ({error.strerror}): check its permissions"
        ) from error


def as_on_disk(place: bytes) -> bytes:
    """An absolute path as the disk writes its names, which may be in another Unicode form.

    A path that is there, or nowhere, comes back as it is.
    """
    if place.isascii() or os.path.lexists(place):
        return place
    found = b"/"
    for name in place.split(b"/")[1:]:
        here = os.path.join(found, name)  # noqa: PTH118
        if not os.path.lexists(here):
            try:
                names = os.listdir(found)  # noqa: PTH208
            except OSError:
                return place
            same = [each for each in names if comparable_path(each) == comparable_path(name)]
            if len(same) != 1:
                return place
            here = os.path.join(found, same[0])  # noqa: PTH118
        found = here
    return found


def drop_folder(
    session: Session, album: Album, folder: Path | bytes, *, by: Actor | None = None
) -> int:
    """Take a folder from an album, and its photos' rows with it; files are never touched.

    Marks go over to the same photos in other folders of the album, where there are any.

    Returns:
        How many photos went.
    Raises:
        FolderError: it is none of the album's folders.
    """
    root = _root_at(session, album, folder)
    photos = session.scalar(select(func.count()).select_from(Photo).where(Photo.root_id == root.id))
    carry_from(session, root)
    note_album(session, by, "folder dropped", album, root, f", {photos or 0:,} photos")
    session.delete(root)
    album.revision += revision_step()
    return photos or 0


def what_goes_with(session: Session, name: str, folder: Path | bytes) -> tuple[int, int]:
    """Photos and marks that `drop_folder` would take with a folder.

    Raises:
        UnknownAlbum, FolderError.
    """
    root = _root_at(session, album_named(session, name), folder)
    other = aliased(Photo)
    kept = exists().where(
        other.content_hash == Photo.content_hash,
        other.album_id == root.album_id,
        other.root_id != root.id,
        other.deleted_at.is_(None),
    )
    photos = select(func.count(Photo.id)).where(Photo.root_id == root.id)
    marks = select(func.count(Mark.id)).join(Photo, Photo.id == Mark.photo_id)
    return (
        session.scalar(photos) or 0,
        session.scalar(marks.where(Photo.root_id == root.id, ~kept)) or 0,
    )


def folder_moved(
    session: Session,
    album: Album,
    old: Path | bytes,
    new: Path | bytes,
    *,
    by: Actor | None = None,
) -> int:
    """Note that an album's folder lies elsewhere now: its photos keep their rows and marks.

    Returns:
        How many photos are followed to the new place.
    Raises:
        FolderError: the old one is none of the album's folders, or the new one cannot be read.
    """
    root = _root_at(session, album, old)
    moved = move_root(session, root, check_folder(new))
    note_album(session, by, "folder moved", album, root, f", {moved:,} photos")
    album.revision += revision_step()
    return moved


def _root_at(session: Session, album: Album, folder: Path | bytes) -> Root:
    place = os.path.abspath(os.fsencode(folder))  # noqa: PTH100 - bytes; it may be gone
    if (root := _root_of(session, album.id, place)) is not None:
        return root
    paths = session.scalars(select(Root.path).where(Root.album_id == album.id).order_by(Root.id))
    names = ", ".join(map(shown_path, paths))
    raise FolderError(f"{shown_path(place)} is no folder of the album {album.name!r} ({names})")


def rename_album(session: Session, album: Album, name: str, *, by: Actor | None = None) -> None:
    """Give an album another name.

    Raises:
        AlbumExists: another album has it.
    """
    taken = catalog.find_album(session, name)
    if taken is not None and taken.id != album.id:
        raise AlbumExists(f"another album is named {name!r}: choose another name")
    before, album.name = album.name, comparable(name)
    if album.name != before:
        note_album(session, by, "album renamed", album, more=f", {before} until then")


def change_album(
    session: Session,
    name: str,
    *,
    add: Sequence[Path] = (),
    drop: Sequence[Path] = (),
    moved: Sequence[tuple[Path, Path]] = (),
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    drop_globs: Sequence[str] = (),
    everything: bool | None = None,
    rename: str | None = None,
    by: Actor | None = None,
) -> str:
    """Add, move and drop folders and globs, rename; all or nothing.

    Args:
        moved: (old folder, new folder) pairs, see `folder_moved`.
    Returns:
        The album's name afterwards.
    Raises:
        UnknownAlbum, UnknownGlob, FolderError, AlbumExists.
    """
    album = album_named(session, name)
    for old, new in moved:
        folder_moved(session, album, old, new, by=by)
    for folder in drop:
        drop_folder(session, album, folder, by=by)
    for glob in drop_globs:
        _keep_settings(session, album, _without_glob(album, glob), by)
    ensure_album(
        session, add, name=name, include=include, exclude=exclude, everything=everything, by=by
    )
    if rename is not None:
        rename_album(session, album, rename, by=by)
    return album.name


def delete_album(session: Session, name: str, *, by: Actor | None = None) -> int:
    """Forget an album with its rows, jobs and searches, and leave what the library made for it
    (uploads, cut-outs, exports) to `own_folders.sweep`, which the caller runs after the commit.

    The user's folders stay, and so do features until ``referent index --gc`` collects what none
    needs.

    Returns:
        How many photos it had.
    Raises:
        UnknownAlbum.
    """
    album = album_named(session, name)
    own_folders.let_go(session, album.id)
    photos = session.scalar(
        select(func.count())
        .select_from(Photo)
        .where(Photo.album_id == album.id, Photo.deleted_at.is_(None))
    )
    note_album(session, by, "album deleted", album, more=f", {photos or 0:,} photos")
    session.execute(delete(Album).where(Album.id == album.id))
    return photos or 0


def uploaded_photos(session: Session, name: str) -> int:
    """How many photos lie in the album's own folder, and go with the album.

    Raises:
        UnknownAlbum.
    """
    album = album_named(session, name)
    uploads = session.scalar(
        select(OwnFolder.name).where(OwnFolder.kind == "uploads", OwnFolder.owner_id == album.id)
    )
    if uploads is None:
        return 0
    roots = session.execute(select(Root.id, Root.path).where(Root.album_id == album.id))
    own = [number for number, path in roots if path.endswith(os.fsencode(f"/uploads/{uploads}"))]
    return (
        session.scalar(
            select(func.count())
            .select_from(Photo)
            .where(Photo.root_id.in_(own), Photo.deleted_at.is_(None))
        )
        or 0
    )


def list_albums(session: Session, name: str | None = None) -> list[AlbumSummary]:
    """All albums by name, or the one of this name.

    Raises:
        UnknownAlbum.
    """
    if name is not None:
        return [summarise(session, album_named(session, name))]
    return [
        summarise(session, album) for album in session.scalars(select(Album).order_by(Album.name))
    ]


def summarise(session: Session, album: Album) -> AlbumSummary:
    """Count an album's photos."""
    roots = session.scalars(select(Root).where(Root.album_id == album.id).order_by(Root.path)).all()
    counts = count_by_status(session, album.id)
    hashed, different = session.execute(
        select(func.count(Photo.content_hash), func.count(distinct(Photo.content_hash))).where(
            Photo.album_id == album.id, Photo.deleted_at.is_(None)
        )
    ).one()
    scans = [root.scanned_at for root in roots]
    return AlbumSummary(
        id=album.id,
        name=album.name,
        folders=[shown_path(root.path) for root in roots],
        photos=counts["indexed"] + counts["failed"] + counts["new"],
        indexed=counts["indexed"],
        failed=counts["failed"],
        new=counts["new"],
        missing=counts["missing"],
        duplicates=hashed - different,
        include=list(album.settings.get("include", ())),
        exclude=list(album.settings.get("exclude", ())),
        scanned_at=min((scan for scan in scans if scan is not None), default=None)
        if None not in scans
        else None,
    )


def _is_same(path: bytes, place: bytes) -> bool:
    paths = (path, place), (os.path.realpath(path), os.path.realpath(place))
    return any(comparable_path(one) == comparable_path(other) for one, other in paths)


def note_album(
    session: Session,
    by: Actor | None,
    action: audit.Action,
    album: Album,
    root: Root | None = None,
    more: str = "",
) -> None:
    """Write a line of the audit, which admins read over HTTP: a folder's name, never its path."""
    what = f"album {album.id} ({album.name}){more}"
    if root is not None:
        what = f"folder {root.id} (…/{shown_path(root.path.rpartition(b'/')[2])}) of {what}"
    audit.note(session, by or audit.at_the_command_line(), action, what)


def _free_name(session: Session, place: bytes) -> str:
    base = shown_path(place.rpartition(b"/")[2]) or "photos"
    name, number = base[:200], 1
    while catalog.find_album(session, name) is not None:
        number += 1
        name = f"{base[:200]} {number}"
    return name


def _with_globs(album: Album, include: Sequence[str], exclude: Sequence[str]) -> dict[str, Any]:
    settings: dict[str, Any] = dict(album.settings)
    for key, globs in (("include", include), ("exclude", exclude)):
        if globs:
            settings[key] = list(dict.fromkeys([*settings.get(key, ()), *globs]))
    return settings


def _without_glob(album: Album, glob: str) -> dict[str, Any]:
    settings: dict[str, Any] = dict(album.settings)
    kept = {key: list(settings.get(key, ())) for key in ("include", "exclude")}
    wanted = comparable(glob)
    if not any(comparable(each) == wanted for globs in kept.values() for each in globs):
        known = ", ".join([*kept["include"], *kept["exclude"]]) or "none"
        raise UnknownGlob(f"{glob!r} is no glob of the album {album.name!r} (globs: {known})")
    for key, globs in kept.items():
        settings[key] = [each for each in globs if comparable(each) != wanted]
    return settings


def _keep_settings(
    session: Session, album: Album, settings: dict[str, Any], by: Actor | None
) -> None:
    if settings != album.settings:
        album.settings = settings
        told = "; ".join(f"{key}: {value}" for key, value in sorted(settings.items()))
        note_album(session, by, "album changed", album, more=f", {told}")
