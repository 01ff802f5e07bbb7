"""The same file in several albums: a search over all of them shows it once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import aliased

from indexer.db.catalog import Catalog
from indexer.db.tables import Photo
from search_api.search.decisions import Decision
from search_api.search.engine import View


class Twins:
    """Puts the first album's photo in the place of its copies in later albums.

    Only where both albums decide alike (same model, same calibration): a decision depends on a
    file's content alone, so it is the same one, bit for bit, whichever copy was judged. Copies
    inside one album are photos of their own.
    """

    def __init__(
        self, catalog: Catalog, views: Sequence[View], subsets: Sequence[np.ndarray | None]
    ) -> None:
        self._catalog = catalog
        self._passing = {v.album_id: (v, s) for v, s in zip(views, subsets, strict=True)}
        self._shown: set[int] = set()

    def once(self, decisions: Iterable[Decision]) -> list[Decision]:
        """Those of the decisions that were not given before, each on the photo that is shown."""
        given = list(decisions)
        if len(self._passing) < 2 or not given:
            return given
        shown = self._first([each.photo_id for each in given])
        fresh = []
        for each in given:
            instead = replace(each, photo_id=shown.get(each.photo_id, each.photo_id))
            if instead.photo_id not in self._shown:
                self._shown.add(instead.photo_id)
                fresh.append(instead)
        return fresh

    def _first(self, photo_ids: Sequence[int]) -> dict[int, int]:
        """Of each photo with a copy in an earlier album, that copy."""
        copy = aliased(Photo)
        statement = (
            select(Photo.id, Photo.album_id, copy.album_id, copy.id)
            .join(copy, copy.content_hash == Photo.content_hash)
            .where(
                copy.album_id < Photo.album_id,
                copy.album_id.in_(self._passing),
                copy.deleted_at.is_(None),
            )
            .order_by(Photo.id, copy.album_id, copy.id)
        )
        first: dict[int, int] = {}
        with self._catalog.reading() as session:
            for start in range(0, len(photo_ids), 500):
                some = statement.where(Photo.id.in_(photo_ids[start : start + 500]))
                for photo_id, album_id, other_album, other in session.execute(some):
                    if photo_id not in first and self._alike(album_id, other_album, other):
                        first[photo_id] = other
        return first

    def _alike(self, album_id: int, other_album: int, other: int) -> bool:
        here, _ = self._passing[album_id]
        there, subset = self._passing[other_album]
        if here.predictor.fingerprints != there.predictor.fingerprints:
            return False
        if here.calibration.revision != there.calibration.revision:
            return False
        rows = there.rows_of(np.array([other]))
        return len(rows) > 0 and (subset is None or bool(np.isin(rows, subset).all()))
