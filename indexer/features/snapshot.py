"""A fixed view of the photos that one search runs over, and where their features lie.

The catalog is read once, into arrays; from then on a search needs no database. A snapshot keeps the
segments that it names from being removed, so close it (or drop it) when it is replaced.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from indexer.db.catalog import Catalog
from indexer.db.tables import Album, FeatureRow, Photo, Segment
from indexer.errors import DamagedSegment, FeaturesMissing
from indexer.features import places_cache
from indexer.features.readers import Reader
from indexer.features.store import FeatureStore

log = logging.getLogger(__name__)

# Shorter runs are fetched by position: one fancy index beats many small slices.
RUN_ROWS = 8
FETCH_ROWS = 50_000


class Places:
    """Where one tier's record of each photo lies: ``segment`` and ``position`` (N,), -1 if none."""

    def __init__(self, segment: np.ndarray, position: np.ndarray) -> None:
        self.segment = segment
        """Segment ids (N,) int64."""
        self.position = position
        """Rows within the segment (N,) int64."""


class Snapshot:
    """The indexed photos of some albums under one model version.

    Indices into its arrays ("snapshot indices") name photos in `gather` and in the prefilter.
    """

    def __init__(
        self,
        catalog: Catalog,
        store: FeatureStore,
        album_ids: Sequence[int],
        fingerprints: Mapping[str, str],
        *,
        revision: str,
        photo_ids: np.ndarray,
        places: dict[str, Places],
        lock: Reader,
        paths: Mapping[int, str] | None = None,
    ) -> None:
        self.catalog = catalog
        self.store = store
        self.album_ids = tuple(album_ids)
        self.fingerprints = dict(fingerprints)
        self.revision = revision
        """Equal tokens mean equal photos and features."""
        self.photo_ids = photo_ids
        """(N,) int64, ascending."""
        self._places = places
        self._paths = dict(paths or {})
        self._lock = lock

    def __len__(self) -> int:
        return len(self.photo_ids)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the segments go; what was gathered stays usable."""
        self._lock.release()

    def indices_of(self, photo_ids: np.ndarray | Iterable[int]) -> np.ndarray:
        """Return snapshot indices (K,) of photos, leaving out those that are not in it."""
        ids = np.asarray(
            photo_ids if isinstance(photo_ids, np.ndarray) else list(photo_ids), np.int64
        )
        at = np.searchsorted(self.photo_ids, ids)
        at_safe = np.minimum(at, max(len(self) - 1, 0))
        found = self.photo_ids[at_safe] == ids if len(self) else np.zeros(len(ids), bool)
        return at_safe[found]

    def places(self, tier: str) -> Places:
        """Return where a tier's records lie; read from the catalog when first asked for.

        Raises:
            FeaturesMissing: the model has no such tier.
        """
        if tier not in self._places:
            if tier not in self.fingerprints:
                raise FeaturesMissing(f"the model has no tier {tier!r}")
            with self.catalog.reading() as session:
                now = _revision(session, self.album_ids, self.fingerprints)
                rows = _load(
                    session,
                    self.store.folder,
                    self.album_ids,
                    self.fingerprints[tier],
                    now,
                    indexed_only=False,
                )
            self._places[tier] = _align(self.photo_ids, rows)
        return self._places[tier]

    def segment_paths(self, segment_ids: Iterable[int]) -> dict[int, str]:
        """Return the path of each segment, relative to the store's folder."""
        wanted = [int(each) for each in segment_ids]
        unknown = [each for each in wanted if each not in self._paths]
        if unknown:
            with self.catalog.reading() as session:
                for start in range(0, len(unknown), 1000):
                    found = session.execute(
                        select(Segment.id, Segment.path).where(
                            Segment.id.in_(unknown[start : start + 1000])
                        )
                    )
                    self._paths.update({row[0]: row[1] for row in found})
        missing = [each for each in wanted if each not in self._paths]
        if missing:
            raise FeaturesMissing(
                f"feature segments {missing[:5]} have left the catalog: search again, and "
                "if it stays so run: referent index --verify"
            )
        return {each: self._paths[each] for each in wanted}

    def live_segments(self, fingerprint: str) -> list[tuple[str, int]]:
        """Return (path, rows) of all segments of a fingerprint, whatever their album."""
        with self.catalog.reading() as session:
            found = session.execute(
                select(Segment.path, Segment.rows)
                .where(Segment.fingerprint == fingerprint, Segment.state == "live")
                .order_by(Segment.id)
            )
            return [(path, rows) for path, rows in found]

    def gather(
        self, tier: str, indices: np.ndarray | Sequence[int], dtype: np.dtype | None = None
    ) -> np.ndarray:
        """Return the records of some photos.

        Args:
            indices: snapshot indices (K,), any order, repeats allowed.
            dtype: of one record; None takes what the segments say.
        Returns:
            structured array (K,); a view of the mapped file where the photos lie in one run.
        Raises:
            FeaturesMissing: a photo has no record of this tier.
            DamagedSegment: a segment is missing or cut short.
        """
        wanted = np.asarray(indices, np.int64)
        places = self.places(tier)
        segment, position = places.segment[wanted], places.position[wanted]
        if len(wanted) and segment.min() < 0:
            absent = self.photo_ids[wanted[segment < 0]][:5].tolist()
            raise FeaturesMissing(
                f"photos {absent} have no {tier} features: run referent index to encode them"
            )
        if not len(wanted):
            return np.zeros(0, dtype or self._dtype(tier))
        paths = self.segment_paths(np.unique(segment).tolist())
        records, damaged = _fetch(self.store, paths, segment, position, dtype)
        for _, error in damaged:
            raise error
        return records

    def gather_readable(self, tier: str, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the records of those photos that have one which can be read, and their indices.

        Args:
            indices: snapshot indices (K,); in the common case, all come back as they are.
        """
        records, at = gather_together([(self, indices)], tier)
        return records, indices[at]

    def _dtype(self, tier: str) -> np.dtype:
        """Return the dtype of a tier's records; an empty one while the tier has none."""
        segments = self.places(tier).segment
        known = segments[segments >= 0]
        if not len(known):
            return np.dtype([])
        path = self.segment_paths([int(known[0])])[int(known[0])]
        return self.store.rows(path).dtype


def gather_together(
    parts: Sequence[tuple[Snapshot, np.ndarray]], tier: str
) -> tuple[np.ndarray, np.ndarray]:
    """Records of photos of several snapshots, as far as there are any that can be read.

    Hundreds of small albums are read segment by segment, as one album is.

    Args:
        parts: snapshots of one store and network, with indices (K_i,) of each.
    Returns:
        records (R,) in the order of the photos, and their places (R,) among all of them.
    """
    places = [snapshot.places(tier) for snapshot, _ in parts]
    indices = [rows for _, rows in parts]
    segment = np.concatenate([p.segment[rows] for p, rows in zip(places, indices, strict=True)])
    position = np.concatenate([p.position[rows] for p, rows in zip(places, indices, strict=True)])
    there = np.flatnonzero(segment >= 0)
    if not len(there):
        return np.zeros(0, parts[0][0]._dtype(tier)), there
    paths: dict[int, str] = {}
    for (snapshot, rows), place in zip(parts, places, strict=True):
        mine = {int(each) for each in place.segment[rows]} - {-1}
        paths |= snapshot.segment_paths(mine - paths.keys())
    records, damaged = _fetch(parts[0][0].store, paths, segment[there], position[there])
    if not damaged:
        return records, there
    whole = np.ones(len(there), bool)
    for at, error in damaged:
        log.warning("%s", error)
        whole[at] = False
    return records[whole], there[whole]


def _fetch(
    store: FeatureStore,
    paths: Mapping[int, str],
    segment: np.ndarray,
    position: np.ndarray,
    dtype: np.dtype | None = None,
) -> tuple[np.ndarray, list[tuple[np.ndarray, DamagedSegment]]]:
    """Read records (K,) at places (K,), at least one; a view of the file where they are one run.

    Returns:
        the records, and which of them could not be read and why.
    """
    out: np.ndarray | None = None
    damaged: list[tuple[np.ndarray, DamagedSegment]] = []
    order = np.lexsort((position, segment))
    starts = np.flatnonzero(np.diff(segment[order], prepend=-1))
    ends = np.r_[starts[1:], len(order)]
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        at = order[start:end]  # places in the result, by position in the segment
        path = paths[int(segment[at[0]])]
        try:
            rows = store.rows(path, dtype)
            if int(position[at[-1]]) >= len(rows):
                reason = "it has fewer rows than the catalog says"
                raise DamagedSegment(store.path_of(path), reason)
        except DamagedSegment as error:
            damaged.append((at, error))
            continue
        if len(at) == len(segment) and _is_run(position):
            return rows[int(position[0]) : int(position[0]) + len(at)], []
        if out is None:
            out = np.empty(len(segment), rows.dtype)
        _copy(rows, position[at], at, out)
    return np.zeros(len(segment), np.dtype([])) if out is None else out, damaged


def _is_run(position: np.ndarray) -> bool:
    return bool(np.all(np.diff(position) == 1))


def _copy(rows: np.ndarray, position: np.ndarray, at: np.ndarray, out: np.ndarray) -> None:
    """Copy rows to ``out[at]``: long runs as slices of the mapping, the rest by position."""
    if len(position) <= RUN_ROWS:
        out[at] = rows[position]
        return
    cuts = np.flatnonzero((np.diff(position) != 1) | (np.diff(at) != 1)) + 1
    if len(position) <= RUN_ROWS * (len(cuts) + 1):
        out[at] = rows[position]
        return
    edges = [0, *cuts.tolist(), len(position)]
    for start, end in itertools.pairwise(edges):
        first, target = int(position[start]), int(at[start])
        out[target : target + end - start] = rows[first : first + end - start]


def _query(indexed_only: bool) -> Any:
    statement: Any = (
        select(Photo.id, FeatureRow.segment_id, FeatureRow.position)
        .join(
            FeatureRow,
            (FeatureRow.content_hash == Photo.content_hash)
            & (FeatureRow.fingerprint == bindparam("fingerprint")),
        )
        .where(Photo.album_id == bindparam("album"), Photo.deleted_at.is_(None))
    )
    return statement.where(Photo.status == "indexed") if indexed_only else statement


def _load(
    session: Session,
    folder: Path,
    album_ids: Sequence[int],
    fingerprint: str,
    revision: str,
    *,
    indexed_only: bool,
) -> np.ndarray:
    """Read (photo id, segment id, position) of some albums, (N, 3) int64 by photo id.

    Args:
        revision: of the albums, read in the same transaction.
    """
    key = (str(list(album_ids)), fingerprint, str(indexed_only), revision)
    rows = places_cache.load(folder, key)
    if rows is None:
        rows = _read(session, album_ids, fingerprint, indexed_only)
        places_cache.keep(folder, key, rows)
    return rows


def _read(
    session: Session, album_ids: Sequence[int], fingerprint: str, indexed_only: bool
) -> np.ndarray:
    """As `_load`, from the catalog."""
    parts = []
    connection = session.connection()
    for album in album_ids:
        result = connection.execute(
            _query(indexed_only), {"fingerprint": fingerprint, "album": album}
        )
        # The driver's own tuples: a million rows take a quarter of the time of SQLAlchemy's.
        cursor: Any = result.cursor
        while block := cursor.fetchmany(FETCH_ROWS):
            flat = np.fromiter(itertools.chain.from_iterable(block), np.int64, 3 * len(block))
            parts.append(flat.reshape(-1, 3))  # (n, 3)
        result.close()
    rows = np.concatenate(parts) if parts else np.zeros((0, 3), np.int64)
    return rows[np.argsort(rows[:, 0], kind="stable")]


def _align(photo_ids: np.ndarray, rows: np.ndarray) -> Places:
    """Put rows (M, 3) in the order of photo ids (N,); photos without a row get -1."""
    segment = np.full(len(photo_ids), -1, np.int64)
    position = np.full(len(photo_ids), -1, np.int64)
    if len(photo_ids):
        at = np.minimum(np.searchsorted(photo_ids, rows[:, 0]), len(photo_ids) - 1)
        known = photo_ids[at] == rows[:, 0]
        segment[at[known]] = rows[known, 1]
        position[at[known]] = rows[known, 2]
    return Places(segment, position)


def _albums(catalog: Catalog, album_ids: int | Sequence[int] | None) -> list[int]:
    if isinstance(album_ids, int):
        return [album_ids]
    if album_ids is not None:
        return sorted({int(each) for each in album_ids})
    with catalog.reading() as session:
        return list(session.scalars(select(Album.id).order_by(Album.id)))


def _revision(session: Session, albums: Sequence[int], fingerprints: Mapping[str, str]) -> str:
    return _revision_of(fingerprints, _revisions(session, albums))


def _revisions(session: Session, albums: Sequence[int]) -> dict[int, int]:
    query = select(Album.id, Album.revision).where(Album.id.in_(albums)).order_by(Album.id)
    return {row.id: row.revision for row in session.execute(query)}


def _revision_of(fingerprints: Mapping[str, str], revisions: Mapping[int, int]) -> str:
    counts = ",".join(f"{album}:{revision}" for album, revision in revisions.items())
    return f"{fingerprints.get('tokens', '')[:16]}/{fingerprints.get('vectors', '')[:16]}/{counts}"


def open_snapshot(
    catalog: Catalog,
    store: FeatureStore,
    album_ids: int | Sequence[int] | None,
    predictor_fingerprints: Mapping[str, str],
) -> Snapshot:
    """Fix the indexed photos of one album, several, or all (None) under one model version.

    Photos count when their status is indexed and their region tokens are there. Time is linear in
    the photos.
    """
    albums = _albums(catalog, album_ids)
    # First the lock, then the catalog: what the catalog shows is retired after the lock at most.
    lock = store.lock_reader()
    try:
        with catalog.reading() as session:
            revision = _revision(session, albums, predictor_fingerprints)
            tokens = predictor_fingerprints["tokens"]
            rows = _load(session, store.folder, albums, tokens, revision, indexed_only=True)
    except BaseException:
        lock.release()
        raise
    photo_ids = np.ascontiguousarray(rows[:, 0])
    places = {"tokens": Places(rows[:, 1].copy(), rows[:, 2].copy())}
    return Snapshot(
        catalog,
        store,
        albums,
        predictor_fingerprints,
        revision=revision,
        photo_ids=photo_ids,
        places=places,
        lock=lock,
    )


def open_snapshots(
    catalog: Catalog,
    store: FeatureStore,
    album_ids: Sequence[int],
    predictor_fingerprints: Mapping[str, str],
) -> dict[int, Snapshot]:
    """As `open_snapshot` of each of some albums, by id, in as many statements as for one.

    What a prefilter asks for next, places of vectors and paths of segments, is read as well. For
    albums of which `places_cache` keeps nothing: their rows are read from the catalog.
    """
    tokens, vectors = (predictor_fingerprints[tier] for tier in ("tokens", "vectors"))
    locks = store.lock_readers(len(album_ids))
    try:
        with catalog.snapshot() as session:
            revisions = _revisions(session, album_ids)
            found = {
                fingerprint: _read_apart(session, album_ids, fingerprint, indexed_only=indexed)
                for fingerprint, indexed in ((vectors, False), (tokens, True))
            }
            segments = select(Segment.id, Segment.path).where(
                Segment.fingerprint.in_((tokens, vectors)), Segment.state == "live"
            )
            paths = {row.id: row.path for row in session.execute(segments)}
    except BaseException:
        for lock in locks:
            lock.release()
        raise
    opened = {}
    for album, lock in zip(album_ids, locks, strict=True):
        rows = found[tokens][album]
        photo_ids = np.ascontiguousarray(rows[:, 0])
        known = {album: revisions[album]} if album in revisions else {}
        opened[album] = Snapshot(
            catalog,
            store,
            [album],
            predictor_fingerprints,
            revision=_revision_of(predictor_fingerprints, known),
            photo_ids=photo_ids,
            places={
                "tokens": Places(rows[:, 1].copy(), rows[:, 2].copy()),
                "vectors": _align(photo_ids, found[vectors][album]),
            },
            lock=lock,
            paths=paths,
        )
    return opened


def _read_apart(
    session: Session, album_ids: Sequence[int], fingerprint: str, *, indexed_only: bool
) -> dict[int, np.ndarray]:
    """(photo id, segment id, position) of each album, (n, 3) int64 by photo id, read at once."""
    statement = (
        select(Photo.album_id, Photo.id, FeatureRow.segment_id, FeatureRow.position)
        .join(
            FeatureRow,
            (FeatureRow.content_hash == Photo.content_hash)
            & (FeatureRow.fingerprint == fingerprint),
        )
        .where(Photo.album_id.in_(album_ids), Photo.deleted_at.is_(None))
        .order_by(Photo.album_id, Photo.id)
    )
    if indexed_only:
        statement = statement.where(Photo.status == "indexed")
    rows = np.array([tuple(row) for row in session.execute(statement)], np.int64).reshape(-1, 4)
    wanted = np.asarray(album_ids, np.int64)
    starts = np.searchsorted(rows[:, 0], wanted, side="left").tolist()
    ends = np.searchsorted(rows[:, 0], wanted, side="right").tolist()
    return {
        album: rows[start:end, 1:]
        for album, start, end in zip(album_ids, starts, ends, strict=True)
    }
