"""An album's photos in an order to look at them, without searching: by time, name or folder.

The order is made once for each state of the albums and kept, so that any stretch of it is a slice:
a page that scrolls through a hundred thousand photos asks for what it shows and nothing else. The
same bytes are one photo here, under its first place.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from indexer.db.catalog import Catalog, album_named
from indexer.db.names import comparable, shown_path
from indexer.db.tables import Album, Photo
from search_api.search.photos import PhotoInfo, by_id

Order = Literal["newest", "oldest", "name", "folder"]
KEPT = 8
COPIES_SHOWN = 1000


class Group(NamedTuple):
    """Photos that follow each other under one heading.

    ``key`` is a month (2024-05), a folder, or a name's first character; None for no date.
    """

    key: str | None
    photos: int


@dataclass(frozen=True)
class Timeline:
    """Photos in order, in groups.

    Attributes:
        revision: another one for each state of the albums.
        photo_ids: int64 (n,) in order, one of each content.
        searchable: how many of them are indexed.
        unreadable: files beside them that could not be read, and are not shown.
    """

    revision: str
    photo_ids: np.ndarray
    groups: tuple[Group, ...]
    searchable: int
    unreadable: int

    def place(self, photo_id: int) -> int | None:
        """Where a photo stands, from 0; None where it is not shown."""
        found = np.flatnonzero(self.photo_ids == photo_id)
        return int(found[0]) if len(found) else None

    def photos(self, catalog: Catalog, first: int, size: int) -> list[PhotoInfo]:
        """Some photos from a place in the order on; without those that left meanwhile."""
        wanted = [int(each) for each in self.photo_ids[first : first + size]]
        found = by_id(catalog, wanted)
        return [found[each] for each in wanted if each in found]


class Timelines:
    """The orders that were asked for last; threads share one."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._kept: OrderedDict[tuple[str, Order], Timeline] = OrderedDict()
        self._lock = threading.Lock()

    def of(
        self, album: str | None, order: Order, *, among: frozenset[int] | None = None
    ) -> Timeline:
        """The photos of one album, or of all, as they are now.

        Args:
            among: albums that whoever asks may see; None is every one.
        Raises:
            UnknownAlbum: no album has this name.
        """
        with self._catalog.reading() as session:
            albums = _albums(session, album, among)
            revision = ",".join(f"{each}.{at}" for each, at in albums.items())
            with self._lock:
                if (known := self._kept.get((revision, order))) is not None:
                    self._kept.move_to_end((revision, order))
                    return known
            made = _made(session, list(albums), order, revision)
        with self._lock:
            self._kept[(revision, order)] = made
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return made


def copies(
    catalog: Catalog, photo: PhotoInfo, *, among: frozenset[int] | None = None
) -> list[PhotoInfo]:
    """The other places of a photo's bytes, in every album or those of ``among``, by id."""
    if photo.content_hash is None:
        return []
    same = (
        select(Photo.id)
        .where(Photo.content_hash == photo.content_hash, Photo.deleted_at.is_(None))
        .where(Photo.id != photo.id)
    )
    if among is not None:
        same = same.where(Photo.album_id.in_(among))
    with catalog.reading() as session:
        ids = session.scalars(same.order_by(Photo.id).limit(COPIES_SHOWN)).all()
    return list(by_id(catalog, ids).values())


class _Row(NamedTuple):
    id: int
    taken_at: datetime | None
    path: bytes
    content_hash: str | None
    status: str

    @property
    def folder(self) -> str:
        return shown_path(self.path).rpartition("/")[0]

    @property
    def name(self) -> str:
        """In one Unicode form, so that É stands in one place, whichever system wrote it."""
        return comparable(shown_path(self.path).rpartition("/")[2])


def _albums(session: Session, album: str | None, among: frozenset[int] | None) -> dict[int, int]:
    """Revisions of the albums that are meant, by id."""
    albums = select(Album.id, Album.revision).order_by(Album.id)
    if album is not None:
        albums = albums.where(Album.id == album_named(session, album).id)
    return {
        each: revision
        for each, revision in session.execute(albums)
        if among is None or each in among
    }


def _made(session: Session, albums: list[int], order: Order, revision: str) -> Timeline:
    statement = (
        select(Photo.id, Photo.taken_at, Photo.path, Photo.content_hash, Photo.status)
        .where(Photo.deleted_at.is_(None), Photo.album_id.in_(albums))
        .order_by(Photo.id)
    )
    rows = [_Row(*row) for row in session.execute(statement).yield_per(5000)]
    first: dict[str, _Row] = {}
    readable = [row for row in rows if row.status != "failed"]
    once = [
        row for row in readable if first.setdefault(row.content_hash or f"{row.id}", row) is row
    ]
    ordered = _sorted(once, order)
    return Timeline(
        revision=revision,
        photo_ids=np.fromiter((row.id for row in ordered), np.int64, len(ordered)),
        groups=tuple(
            Group(key, sum(1 for _ in group)) for key, group in groupby(ordered, _KEYS[order])
        ),
        searchable=sum(row.status == "indexed" for row in once),
        unreadable=len(rows) - len(readable),
    )


def _sorted(rows: list[_Row], order: Order) -> list[_Row]:
    if order == "name":
        return sorted(rows, key=lambda row: (row.name.casefold(), row.id))
    if order == "folder":
        return sorted(rows, key=lambda row: (row.folder, row.name.casefold(), row.id))
    dated = [row for row in rows if row.taken_at is not None]
    dated.sort(key=lambda row: (row.taken_at, row.id), reverse=order == "newest")
    return dated + [row for row in rows if row.taken_at is None]


def _month(row: _Row) -> str | None:
    return f"{row.taken_at:%Y-%m}" if row.taken_at is not None else None


def _first_character(row: _Row) -> str:
    return row.name[:1].upper()


_KEYS: dict[Order, Callable[[_Row], str | None]] = {
    "newest": _month,
    "oldest": _month,
    "name": _first_character,
    "folder": lambda row: row.folder,
}
