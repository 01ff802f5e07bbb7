"""Where an album's photos were taken, gathered into clusters that fit a map.

Shape legend: n photos with a position.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from indexer.db.catalog import Catalog
from indexer.db.tables import Photo
from search_api.search.filters import GpsBox
from search_api.search.timeline import Timelines

KEPT = 8
_WHOLE = 360.0


@dataclass(frozen=True)
class Cluster:
    """Photos that lie in one cell of a map's grid.

    Attributes:
        lon, lat: their mean, in degrees.
        box: the smallest that holds them.
        photo_id: the newest of them.
    """

    photos: int
    lon: float
    lat: float
    box: GpsBox
    photo_id: int


@dataclass(frozen=True)
class Found:
    """What a map of some part of the globe shows.

    Attributes:
        photos: of the albums, the same bytes once; `located`: those with a position.
        bounds: of all positions; None where there is none.
    """

    photos: int
    located: int
    bounds: GpsBox | None
    clusters: tuple[Cluster, ...]


@dataclass(frozen=True)
class _Positions:
    photos: int
    ids: NDArray[np.int64]
    """(n,), newest first."""
    lon: NDArray[np.float64]
    lat: NDArray[np.float64]


class Places:
    """The positions of the albums that were asked for last; threads share one."""

    def __init__(self, catalog: Catalog, timelines: Timelines) -> None:
        self._catalog, self._timelines = catalog, timelines
        self._kept: OrderedDict[str, _Positions] = OrderedDict()
        self._lock = threading.Lock()

    def within(
        self, album: str | None, box: GpsBox, cells: int, *, among: frozenset[int] | None = None
    ) -> Found:
        """Clusters of one album's photos, or of all, within a box.

        Args:
            cells: how many of the grid's squares go into the box's longer side.
            among: albums that whoever asks may see; None is every one.
        Raises:
            UnknownAlbum: no album has this name.
        """
        all_of_it = self._positions(album, among)
        width, height = (box.east - box.west) % _WHOLE or _WHOLE, box.north - box.south
        step = max(width, height) / cells
        # East of the western edge, so that a box over the date line is one piece.
        x, y = (all_of_it.lon - box.west) % _WHOLE, all_of_it.lat - box.south
        inside = np.flatnonzero((x <= width) & (y >= 0) & (y <= height))
        row, column = (np.minimum(v[inside] // step, cells - 1).astype(np.int64) for v in (y, x))
        _, first, cluster = np.unique(row * cells + column, return_index=True, return_inverse=True)
        clusters = []
        for number, at in enumerate(first):
            mine = inside[cluster == number]
            west, east = x[mine].min() + box.west, x[mine].max() + box.west
            clusters.append(
                Cluster(
                    photos=len(mine),
                    lon=_turned(x[mine].mean() + box.west),
                    lat=float(all_of_it.lat[mine].mean()),
                    box=GpsBox(
                        west=_turned(west), south=all_of_it.lat[mine].min(),
                        east=_turned(east), north=all_of_it.lat[mine].max(),
                    ),
                    photo_id=int(all_of_it.ids[inside[at]]),
                )
            )  # fmt: skip
        clusters.sort(key=lambda each: (-each.photos, each.photo_id))
        return Found(all_of_it.photos, len(all_of_it.ids), _bounds(all_of_it), tuple(clusters))

    def _positions(self, album: str | None, among: frozenset[int] | None) -> _Positions:
        order = self._timelines.of(album, "newest", among=among)
        with self._lock:
            if (known := self._kept.get(order.revision)) is not None:
                self._kept.move_to_end(order.revision)
                return known
        made = self._made(order.photo_ids)
        with self._lock:
            self._kept[order.revision] = made
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return made

    def _made(self, photo_ids: NDArray[np.int64]) -> _Positions:
        located = select(Photo.id, Photo.lon, Photo.lat).where(
            Photo.lon.is_not(None), Photo.lat.is_not(None), Photo.deleted_at.is_(None)
        )
        with self._catalog.reading() as session:
            rows = session.execute(located).yield_per(5000)
            at = {row.id: (row.lon, row.lat) for row in rows}
        mine = [int(each) for each in photo_ids if int(each) in at]
        lon, lat = np.array([at[each] for each in mine], np.float64).reshape(-1, 2).T
        return _Positions(len(photo_ids), np.array(mine, np.int64), lon, lat)


def _turned(longitude: float) -> float:
    """The same place within -180 to 180 degrees."""
    return float(longitude if -180 <= longitude <= 180 else (longitude + 180) % _WHOLE - 180)


def _bounds(all_of_it: _Positions) -> GpsBox | None:
    """The smallest box around every position; over the date line where that is smaller."""
    if not len(all_of_it.ids):
        return None
    lon = np.sort(all_of_it.lon)
    gaps = np.diff(np.append(lon, lon[0] + _WHOLE))
    widest = int(gaps.argmax())  # the box begins behind the widest gap
    west, east = lon[(widest + 1) % len(lon)], lon[widest]
    south, north = all_of_it.lat.min(), all_of_it.lat.max()
    return GpsBox(west=west, south=south, east=east, north=north)
