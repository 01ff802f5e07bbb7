"""What every search shares: the models, the catalog and one consistent view of each album."""

from __future__ import annotations

import gc
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Self

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from indexer.db.catalog import Catalog, album_named, count_by_status, counts_by_status
from indexer.db.tables import Album, CalibrationRow, IndexVersion, Photo
from indexer.features import places_cache, versions
from indexer.features.prefilter import Candidates, Prefilter, search_together
from indexer.features.snapshot import Snapshot, open_snapshot, open_snapshots
from indexer.features.store import FeatureStore
from indexer.settings import Settings
from model.calibration import Calibration
from model.precision import return_freed_memory
from model.predictor import Predictor, Words
from search_api.search.album_decisions import own_calibration, own_calibrations
from search_api.search.coverage import Note
from search_api.search.filters import Filters
from search_api.search.models import Models
from search_api.search.verifier import Verifiers

FILTERS_KEPT = 32
# So many photos tell whether an album is like what its model was trained for, and this share of
# strangers among them is worth a word; 2 of 100 photos like those of the training are strangers.
COMPARED = 256
STRANGERS = 0.5
UNLIKE = "unlike-training"
# A view that took t seconds to open is shown for REUSE x t, even if the album changes meanwhile:
# while a large album is indexed, searches would otherwise do nothing but reopen it.
FIRST_BUILD = "there is none yet"
REUSE = 5.0
REUSE_FROM_S = 0.3


@dataclass
class View:
    """One album as a search sees it: its photos with features, all of one version."""

    album_id: int
    album: str
    key: tuple[object, ...]
    predictor: Predictor
    snapshot: Snapshot
    prefilter: Prefilter
    calibration: Calibration
    index_version_id: int | None
    by_status: dict[str, int]
    notes: tuple[Note, ...]
    opened_at: float = 0.0
    opening_s: float = 0.0
    used_at: float = 0.0
    subsets: OrderedDict[Filters, np.ndarray] = field(default_factory=OrderedDict, repr=False)

    @property
    def total(self) -> int:
        """Photos of the album, searchable or not."""
        return sum(n for status, n in self.by_status.items() if status != "missing")

    def rows_of(self, photo_ids: np.ndarray) -> np.ndarray:
        """Rows of the snapshot of those of the photos that are in it, in their order."""
        return self.snapshot.indices_of(photo_ids)

    def candidates(
        self, words: Words, k: int, among: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows and scores of the k photos most worth judging for an expression, best first.

        Args:
            words: one expression.
            among: rows to choose from; None means all.
        """
        found = candidates([self], words, k, [among])
        return found.rows, found.scores


def candidates(
    views: Sequence[View], words: Words, k: int, among: Sequence[np.ndarray | None]
) -> Candidates:
    """As `View.candidates`, over the photos of several views of one network."""
    searches = [(view.prefilter, rows) for view, rows in zip(views, among, strict=True)]
    predictor = views[0].predictor
    rerank = partial(predictor.rerank, words=words) if predictor.reranks else None
    return search_together(searches, words.sentence[0], k, rerank)


class Engine:
    """Opens what searches need when they first need it, and keeps it; threads share one."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        store: FeatureStore,
        predictor: Predictor | None = None,
        models: Models | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            predictor: the network of the settings, where it is loaded already.
            models: networks that are shared with whatever else the process does.
        """
        self.settings = settings
        self.catalog = catalog
        self.store = store
        self.models = models or Models(settings, predictor)
        self.verifiers = Verifiers(settings)
        self._views: dict[int, View] = {}
        self._opening = threading.Lock()
        self._caching = threading.Lock()

    @classmethod
    def open(cls, settings: Settings, predictor: Predictor | None = None) -> Self:
        """With the catalog and the feature store of an installation."""
        catalog = Catalog.open(settings)
        return cls(settings, catalog, FeatureStore.open(settings, catalog), predictor)

    def close(self) -> None:
        """Let the views go, and the catalog's connections."""
        self.let_views_go()
        self.catalog.close()

    def let_views_go(self) -> None:
        """Let every album go; the catalog stays open, as for whoever shares it."""
        self._views.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def views(self, album: str | None, among: frozenset[int] | None = None) -> list[View]:
        """The album of this name, or every album.

        Args:
            among: albums by id, no others; None means all.

        Raises:
            UnknownAlbum: no album has this name.
        """
        with self.catalog.reading() as session:
            only = album_named(session, album).id if album is not None else None
            keys = _keys(session, only)
        keys = {each: key for each, key in keys.items() if among is None or each in among}
        self._open_together(keys)
        return [self._view(each, key) for each, key in keys.items()]

    def view(self, album_id: int) -> View | None:
        """One album as it is now (see `REUSE`); None when it was removed meanwhile."""
        with self.catalog.reading() as session:
            key = _keys(session, album_id).get(album_id)
        if key is None:
            self._views.pop(album_id, None)
            return None
        return self._view(album_id, key)

    def reopened(self, album_id: int) -> View | None:
        """The same, but never one from before the album's last change."""
        with self.catalog.reading() as session:
            key = _keys(session, album_id).get(album_id)
        with self._opening:
            if (known := self._views.get(album_id)) is not None and known.key != key:
                self._views.pop(album_id, None)
        return self.view(album_id)

    def let_outdated_go(self) -> int:
        """Drop the views of albums that are gone or have changed; returns how many.

        A view keeps the segments of its time on the disk, and nobody may ask for its album again;
        so does the mapping of a segment that a worker has removed.
        A search that uses one keeps it to its own end.
        """
        with self.catalog.reading() as session:
            keys = _keys(session)
        with self._opening:
            gone = [
                album_id
                for album_id, view in list(self._views.items())
                if keys.get(album_id) != view.key and not (album_id in keys and _still_good(view))
            ]
            for album_id in gone:
                self._views.pop(album_id, None)
        self.store.let_removed_go()
        return len(gone)

    def _view(self, album_id: int, key: tuple[object, ...]) -> View:
        if (known := self._known(album_id, key)) is not None:
            known.used_at = time.monotonic()
            return known
        with self._opening:
            known = self._views.get(album_id)
            if known is None or known.key != key:
                known = self._open_view(album_id, key)
                self._views[album_id] = known
            return known

    def _known(self, album_id: int, key: tuple[object, ...]) -> View | None:
        """The view of an album that is open and good enough."""
        known = self._views.get(album_id)
        return known if known is not None and (known.key == key or _still_good(known)) else None

    def let_go(self, idle_s: float) -> bool:
        """Let go of albums that no search has looked at for so long, and of networks with them.

        The next search opens them anew, with the same answers; one that runs keeps what it holds.

        Returns:
            whether there was anything to let go.
        """
        unused_since = time.monotonic() - idle_s
        with self._opening:
            idle = [id for id, view in self._views.items() if view.used_at <= unused_since]
            gone = [self._views.pop(id, None) for id in idle]
            some = any(view is not None for view in gone)
            del gone
        if not self._views:  # they hold their networks
            some = self.models.let_go(unused_since) or some
        some = self.verifiers.let_go(unused_since) or some
        if some:
            gc.collect()
            return_freed_memory()
        return some

    def subset(self, view: View, filters: Filters) -> np.ndarray | None:
        """Rows of the view's snapshot that pass the filters, ascending; None means every row."""
        if not filters.active:
            return None
        with self._caching:
            if (known := view.subsets.get(filters)) is not None:
                view.subsets.move_to_end(filters)
                return known
        scope = (Photo.album_id == view.album_id, Photo.deleted_at.is_(None))
        with self.catalog.reading() as session:
            rows = view.rows_of(filters.photo_ids(session, scope))
        if filters.run is None:  # a run may still be running, and grow
            with self._caching:
                view.subsets[filters] = rows
                while len(view.subsets) > FILTERS_KEPT:
                    view.subsets.popitem(last=False)
        return rows

    def warm_up(self) -> None:
        """Load the network, open every album and search once, so that no user waits for it."""
        self.models.words(self.models.default, "a warm-up")
        for view in self.views(None):
            words = self.models.words(view.predictor, "a warm-up")
            rows = np.arange(min(64, len(view.snapshot.photo_ids)))
            if len(rows):
                view.candidates(words, len(rows), None)
                view.predictor.judge(view.snapshot.gather("tokens", rows), words)

    def _open_view(self, album_id: int, key: tuple[object, ...]) -> View:
        begun = time.monotonic()
        with self.catalog.reading() as session:
            by_status = count_by_status(session, album_id)
        version = versions.serving(self.catalog, album_id)
        predictor = self.models.that_made(version)
        with self.catalog.reading() as session:
            own = own_calibration(session, album_id, predictor.fingerprints["head"])
        snapshot = open_snapshot(self.catalog, self.store, album_id, predictor.fingerprints)
        return self._made(album_id, key, predictor, snapshot, own, version, by_status, begun)

    def _open_together(self, keys: Mapping[int, tuple[object, ...]]) -> None:
        """Open what is closed yet of many albums, in as many statements as for one.

        Large ones are left to `_open_view`, which knows how to open them without reading all.
        """
        if sum(self._known(*each) is None for each in keys.items()) < 2:
            return
        with self._opening:
            closed = {id: key for id, key in keys.items() if self._known(id, key) is None}
            with self.catalog.reading() as session:
                counts = counts_by_status(session, list(closed))
                serving = versions.all_serving(session)
            by_network: dict[tuple[str, str], tuple[Predictor, list[int]]] = {}
            for id in closed:
                if counts[id]["indexed"] < places_cache.ROWS_MIN:
                    predictor = self.models.that_made(serving.get(id))
                    prints = predictor.fingerprints
                    group = by_network.setdefault(
                        (prints["head"], prints["vectors"]), (predictor, [])
                    )
                    group[1].append(id)
            for predictor, ids in by_network.values():
                begun = time.monotonic()
                head = predictor.fingerprints["head"]
                with self.catalog.reading() as session:
                    own = own_calibrations(session, dict.fromkeys(ids, head))
                snapshots = open_snapshots(self.catalog, self.store, ids, predictor.fingerprints)
                share_s = (time.monotonic() - begun) / len(ids)
                for id, snapshot in snapshots.items():
                    self._views[id] = self._made(
                        id, closed[id], predictor, snapshot, own.get(id), serving.get(id),
                        counts[id], time.monotonic() - share_s,
                    )  # fmt: skip

    def _made(
        self,
        album_id: int,
        key: tuple[object, ...],
        predictor: Predictor,
        snapshot: Snapshot,
        own: Calibration | None,
        version: versions.Version | None,
        by_status: dict[str, int],
        begun: float,
    ) -> View:
        prefilter = Prefilter.open(self.settings, snapshot, predictor)
        view = View(
            album_id=album_id,
            album=str(key[0]),
            key=key,
            predictor=predictor,
            snapshot=snapshot,
            prefilter=prefilter,
            calibration=own or predictor.calibration,
            index_version_id=version.id if version else None,
            by_status=by_status,
            notes=(*_rebuilt(prefilter), *_unlike(str(key[0]), predictor, snapshot)),
        )
        view.opened_at = view.used_at = time.monotonic()
        view.opening_s = view.opened_at - begun
        return view


def _keys(session: Session, album_id: int | None = None) -> dict[int, tuple[object, ...]]:
    """What changes whenever a view of an album is out of date, by album; of all or of one.

    Three statements, however many albums there are.
    """
    albums = select(Album.id, Album.name, Album.revision).order_by(Album.id)
    serving = select(IndexVersion.album_id, IndexVersion.id).where(IndexVersion.state == "serving")
    calibrations = select(CalibrationRow.album_id, CalibrationRow.revision).order_by(
        CalibrationRow.created_at, CalibrationRow.revision
    )
    if album_id is not None:
        albums = albums.where(Album.id == album_id)
        serving = serving.where(IndexVersion.album_id == album_id)
        calibrations = calibrations.where(CalibrationRow.album_id == album_id)
    versions_of = {row[0]: row[1] for row in session.execute(serving)}
    revisions = {row[0]: row[1] for row in session.execute(calibrations)}
    return {
        each: (name, revision, versions_of.get(each), revisions.get(each))
        for each, name, revision in session.execute(albums)
    }


def _rebuilt(prefilter: Prefilter) -> tuple[Note, ...]:
    """Say so when the FAISS file was damaged or stale; a first build is nothing to tell."""
    if prefilter.rebuilt is None or prefilter.rebuilt == FIRST_BUILD:
        return ()
    text = f"The prefilter's index was rebuilt from the feature store: {prefilter.rebuilt}."
    return (Note("prefilter-rebuilt", text, {"reason": str(prefilter.rebuilt)}),)


def _unlike(name: str, predictor: Predictor, snapshot: Snapshot) -> tuple[Note, ...]:
    """Say so when an album's photos do not look like those that its model was trained on."""
    card, count = predictor.card, len(snapshot)
    if card is None or card.familiar is None or not count:
        return ()
    if card.familiar.fitted_to != predictor.fingerprints["vectors"]:
        return ()
    rows = np.unique(np.linspace(0, count - 1, min(COMPARED, count)).astype(np.int64))
    records, _ = snapshot.gather_readable("vectors", rows)
    if card.familiar.share_unlike(predictor.vectors_of(records)) < STRANGERS:
        return ()
    text = (
        f"{predictor.name} was trained on {card.trained_on}, and the photos of {name} look "
        "otherwise: take its answers with a grain of salt."
    )
    values = {"model": predictor.name, "trained_on": card.trained_on, "album": name}
    return (Note(UNLIKE, text, values),)


def _still_good(view: View) -> bool:
    age_s = time.monotonic() - view.opened_at
    return view.opening_s > REUSE_FROM_S and age_s < REUSE * view.opening_s
