"""An album's folders as the API manages them: whether each is there, and taking one away."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from indexer.db.audit import Actor
from indexer.db.catalog import Catalog
from indexer.db.tables import Album, Photo, Root
from indexer.folders import own_folders
from indexer.folders.albums import drop_folder, what_goes_with
from indexer.folders.offline import away
from indexer.settings import Settings
from search_api.errors import BadQuery, NotFound


@dataclass(frozen=True)
class FolderInfo:
    """A folder of an album.

    Attributes:
        uploads: the library's own, for what was uploaded.
        offline: why it, or a mount in it, is not there; None when it is.
        scanned_at: Unix time of the last scan that found it there; None before the first.
        photos, marks: what would go with it.
    """

    id: int
    path: Path
    uploads: bool
    offline: str | None
    scanned_at: float | None
    photos: int
    marks: int


def list_folders(catalog: Catalog, settings: Settings, album_id: int) -> list[FolderInfo]:
    """The folders of an album, in the order in which it got them.

    Raises:
        NotFound: no such album.
    """
    own = own_folders.known_folder(catalog, settings, "uploads", album_id)
    reasons: dict[int, str] = {}
    for place in away(catalog, album_id).places:
        reasons.setdefault(place.root_id, place.reason)
    with catalog.reading() as session:
        album = _album(session, album_id)
        roots = session.scalars(select(Root).where(Root.album_id == album_id).order_by(Root.id))
        there = dict(
            session.execute(
                select(Photo.root_id, func.count())
                .where(Photo.album_id == album_id, Photo.deleted_at.is_(None))
                .group_by(Photo.root_id)
            ).all()
        )
        return [
            FolderInfo(
                id=root.id,
                path=(path := Path(os.fsdecode(root.path))),
                uploads=own is not None and path == own.resolve(),
                offline=reasons.get(root.id),
                scanned_at=root.scanned_at,
                photos=there.get(root.id, 0),
                marks=what_goes_with(session, album.name, root.path)[1],
            )
            for root in roots.all()
        ]


def remove_folder(
    catalog: Catalog, settings: Settings, album_id: int, folder_id: int, *, actor: Actor
) -> int:
    """Take a folder from an album; its files stay. Returns how many photos went.

    Raises:
        NotFound: the album has no such folder.
        BadQuery: it holds what was uploaded, which would be in no album then.
    """
    folders = {folder.id: folder for folder in list_folders(catalog, settings, album_id)}
    if folder_id not in folders:
        raise NotFound(f"The album has no folder {folder_id}.", field="folder_id")
    if folders[folder_id].uploads:
        raise BadQuery(
            "This folder holds the album's uploads; they go with the album alone.",
            field="folder_id",
        )
    with catalog.session() as session:
        album = _album(session, album_id)
        return drop_folder(session, album, folders[folder_id].path, by=actor)


def _album(session: Session, album_id: int) -> Album:
    album = session.get(Album, album_id)
    if album is None:
        raise NotFound(f"There is no album {album_id}.", field="album_id")
    return album
