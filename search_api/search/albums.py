"""Albums as the API manages them: create, describe, add folders, take uploads, remove."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from indexer.db.audit import Actor
from indexer.db.catalog import Catalog, album_named, counts_by_status, find_album
from indexer.db.names import comparable
from indexer.db.tables import Album, Job, Root
from indexer.errors import FolderError
from indexer.features import versions
from indexer.folders import own_folders
from indexer.folders.albums import (
    check_folder,
    delete_album,
    ensure_folder,
    make_album,
    rename_album,
)
from indexer.settings import Settings
from search_api.errors import AlreadyExists, BadQuery, NotFound
from search_api.search.album_decisions import own_calibrations


@dataclass(frozen=True)
class AlbumInfo:
    """An album and how far it is indexed."""

    id: int
    name: str
    created_at: float
    by_status: dict[str, int]
    model: str | None
    threshold: float | None
    roots: tuple[Path, ...]
    unread: dict[str, int]
    """Files of kinds that are not read, by extension, as the last scan by a job counted them."""

    @property
    def photos(self) -> int:
        """Photos in it, searchable or not."""
        return sum(n for status, n in self.by_status.items() if status != "missing")


def list_albums(catalog: Catalog) -> list[AlbumInfo]:
    """Every album, by name."""
    with catalog.reading() as session:
        return _infos(session)


def album_info(catalog: Catalog, album_id: int) -> AlbumInfo:
    """One album.

    Raises:
        NotFound: there is none of this id.
    """
    with catalog.reading() as session:
        found = _infos(session, album_id)
    if not found:
        raise NotFound(
            f"There is no album {album_id}; GET /v1/albums lists them.", field="album_id"
        )
    return found[0]


def create_album(catalog: Catalog, name: str, *, actor: Actor) -> AlbumInfo:
    """Make an empty album.

    Raises:
        BadQuery: the name is empty.
        AlreadyExists: an album has this name.
    """
    tidy = comparable(name.strip())
    if not tidy:
        raise BadQuery("Give the album a name that is not empty.", field="name")
    try:
        with catalog.session() as session:
            if find_album(session, tidy) is not None:
                raise AlreadyExists(f"An album is named {tidy!r} already.", field="name")
            album_id = make_album(session, tidy, by=actor).id
    except IntegrityError as error:
        raise AlreadyExists(f"An album is named {tidy!r} already.", field="name") from error
    return album_info(catalog, album_id)


def rename(catalog: Catalog, album_id: int, name: str, *, actor: Actor) -> AlbumInfo:
    """Give an album another name.

    Raises:
        NotFound: no such album.
        BadQuery: the name is empty.
        AlbumExists: another album has it.
    """
    tidy = comparable(name.strip())
    if not tidy:
        raise BadQuery("Give the album a name that is not empty.", field="name")
    with catalog.session() as session:
        album = session.get(Album, album_id)
        if album is None:
            raise NotFound(f"There is no album {album_id}.", field="album_id")
        rename_album(session, album, tidy, by=actor)
    return album_info(catalog, album_id)


def add_folder(
    catalog: Catalog, album_id: int, folder: Path, *, actor: Actor, follow_links: bool = False
) -> AlbumInfo:
    """Let an album scan a folder of this machine.

    Args:
        follow_links: whether links in it may lead out of it; a folder that the album has takes it
            over.
    Raises:
        NotFound: no such album.
        FolderError: the path is relative, or no folder that can be read.
    """
    if not folder.is_absolute():
        raise FolderError(f"{folder} is not an absolute path")
    place = check_folder(folder)
    with catalog.session() as session:
        album = session.get(Album, album_id)
        if album is None:
            raise NotFound(f"There is no album {album_id}.", field="album_id")
        ensure_folder(session, album, place, follow_links=follow_links, by=actor)
    return album_info(catalog, album_id)


def remove_album(catalog: Catalog, settings: Settings, album_id: int, *, actor: Actor) -> None:
    """Remove an album from the catalog, with what was uploaded to it, cut out of it and exported.

    Photos in folders of the machine are left alone; features go with the next compaction.

    Raises:
        NotFound: no such album.
    """
    with catalog.session() as session:
        album = session.get(Album, album_id)
        if album is None:
            raise NotFound(f"There is no album {album_id}.", field="album_id")
        delete_album(session, album.name, by=actor)
    own_folders.sweep(catalog, settings)


def _infos(session: Session, album_id: int | None = None) -> list[AlbumInfo]:
    """Albums by name, all or one, in six statements however many there are."""
    albums = select(Album).order_by(Album.name)
    roots = select(Root.album_id, Root.path).order_by(Root.id)
    if album_id is not None:
        albums = albums.where(Album.id == album_id)
        roots = roots.where(Root.album_id == album_id)
    folders: dict[int, list[Path]] = {}
    for of, path in session.execute(roots):
        folders.setdefault(of, []).append(Path(os.fsdecode(path)))
    by_status = counts_by_status(session, None if album_id is None else [album_id])
    last = select(func.max(Job.id)).where(Job.kind == "index", Job.result.is_not(None))
    scans = select(Job.album_id, Job.result).where(Job.id.in_(last.group_by(Job.album_id)))
    unread = {
        of: (result.get("scan") or {}).get("unread") or {}
        for of, result in session.execute(scans)
        if result
    }
    serving = versions.all_serving(session, album_id)
    own = own_calibrations(session, {of: v.fingerprints["head"] for of, v in serving.items()})
    return [
        AlbumInfo(
            id=album.id,
            name=album.name,
            created_at=album.created_at,
            by_status=by_status[album.id],
            model=serving[album.id].model if album.id in serving else None,
            threshold=own[album.id].threshold if album.id in own else None,
            roots=tuple(folders.get(album.id, ())),
            unread=unread.get(album.id, {}),
        )
        for album in session.scalars(albums)
    ]


def album_id_of(catalog: Catalog, name: str) -> int:
    """The id of the album of this name.

    Raises:
        UnknownAlbum: there is none.
    """
    with catalog.reading() as session:
        return album_named(session, name).id
