"""The same file in several albums: a search over all of them shows it once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from sqlalchemy import select

from indexer.db.catalog import Catalog
from indexer.db.tables import Photo
from search_api.search.decisions import Decision
from search_api.search.engine import View

Decide = Callable[[int, Sequence[int]], Iterable[Decision]]
"""Decides about photos of an album, whether or not its turn has come."""


class Twins:
    """Shows a file in the first of the albums whose network finds the referent in it.

    A decision depends on a file's content and its album's network and calibration alone. So a
    decision counts for a copy in an album that decides alike, bit for bit, and the copies in
    earlier albums of another model are decided about at once: which copy is shown never depends on
    which was judged first, or on how many were. Copies inside one album are photos of their own.
    """

    def __init__(
        self,
        catalog: Catalog,
        views: Sequence[View],
        subsets: Sequence[np.ndarray | None],
        judges: Mapping[int, object],
    ) -> None:
        """Take the albums in their order.

        Args:
            subsets: rows of each album that pass the filters; None means every row.
            judges: of each album, what is equal where two decide alike.
        """
        self._catalog = catalog
        self._passing = {v.album_id: (v, s) for v, s in zip(views, subsets, strict=True)}
        self._judges = judges
        self._shown: set[int] = set()
        self._albums: dict[str, set[int]] = defaultdict(set)  # that show a content

    def matched(self, decisions: Iterable[Decision], decide: Decide) -> list[Decision]:
        """Those of the matches that are not shown yet, each by the photo that stands for it."""
        return self._once(decisions, decide)

    def rejected(self, decisions: Iterable[Decision]) -> list[Decision]:
        """Those of the rejected photos of which no copy is shown, each in its first album."""
        return self._once(decisions, None)

    def _once(self, decisions: Iterable[Decision], decide: Decide | None) -> list[Decision]:
        given = list(decisions)
        if len(self._passing) < 2 or not given:
            return given
        homes, copies = self._copies([each.photo_id for each in given])
        decided = {} if decide is None else self._decided(homes, copies, decide)
        fresh = []
        for each in given:
            home, content = homes.get(each.photo_id, (0, ""))  # it may be gone since
            shown, album = each, home
            for other_album, other in copies.get(content, ()):
                if other_album >= home:
                    break
                if self._judges[other_album] == self._judges[home]:
                    shown, album = replace(each, photo_id=other), other_album
                    break
                if other in decided:
                    shown, album = decided[other], other_album
                    break
            elsewhere = decide is None and self._albums[content] - {album}
            if shown.photo_id not in self._shown and not elsewhere:
                self._shown.add(shown.photo_id)
                self._albums[content].add(album)
                fresh.append(shown)
        return fresh

    def _decided(
        self,
        homes: Mapping[int, tuple[int, str]],
        copies: Mapping[str, Sequence[tuple[int, int]]],
        decide: Decide,
    ) -> dict[int, Decision]:
        """The matches among the copies in earlier albums that decide otherwise."""
        asked: dict[int, set[int]] = defaultdict(set)
        for home, content in homes.values():
            for album, photo_id in copies.get(content, ()):
                if album >= home or self._judges[album] == self._judges[home]:
                    break
                asked[album].add(photo_id)
        return {
            each.photo_id: each
            for album, photo_ids in asked.items()
            for each in decide(album, sorted(photo_ids))
            if each.accepted
        }

    def _copies(
        self, photo_ids: Sequence[int]
    ) -> tuple[dict[int, tuple[int, str]], dict[str, list[tuple[int, int]]]]:
        """Album and content of each photo; albums and photos of each content that several have.

        Those of one content pass the filters and stand in the order of their albums.
        """
        homes: dict[int, tuple[int, str]] = {}
        places: dict[str, set[tuple[int, int]]] = defaultdict(set)
        columns = select(Photo.id, Photo.album_id, Photo.content_hash)
        with self._catalog.reading() as session:
            for start in range(0, len(photo_ids), 500):
                some = photo_ids[start : start + 500]
                found = session.execute(columns.where(Photo.id.in_(some))).all()
                homes.update((id, (album, content)) for id, album, content in found if content)
                there = columns.where(
                    Photo.content_hash.in_({content for _, _, content in found if content}),
                    Photo.album_id.in_(self._passing),
                    Photo.deleted_at.is_(None),
                )
                for photo_id, album, content in session.execute(there):
                    if content is not None:
                        places[content].add((album, photo_id))
        copies = {
            content: [each for each in sorted(at) if self._passes(*each)]
            for content, at in places.items()
            if len({album for album, _ in at}) > 1
        }
        return homes, copies

    def _passes(self, album: int, photo_id: int) -> bool:
        view, subset = self._passing[album]
        rows = view.rows_of(np.array([photo_id]))
        return len(rows) > 0 and (subset is None or bool(np.isin(rows, subset).all()))
