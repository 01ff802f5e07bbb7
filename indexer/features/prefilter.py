"""The prefilter: which photos are worth judging, by the expression's vector and the photos' own.

A photo's score is the greatest inner product of the query with its V vectors. Small libraries are
scored whole, exactly up to 8 bit codes; large ones through FAISS's inverted lists. Rows that the
FAISS file does not cover yet are scored beside it, so a photo is found as soon as it is indexed.
The best by this score may be ranked again by what else their records hold, roughly judged.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexer.errors import DamagedSegment
from indexer.features import vector_file
from indexer.features.codes import Codes
from indexer.features.scored_file import FileScores, ScoredFile
from indexer.features.snapshot import Snapshot, gather_together
from indexer.features.vector_builds import HasVectors, build, needs_build
from indexer.features.vector_file import Manifest, VectorFileDamaged
from indexer.settings import Settings

log = logging.getLogger(__name__)

# So many photos are ranked again, or so many times as many as are wanted: whole small albums.
RERANKED_MIN = 1000
DEPTH = 5
# Few photos lie scattered over most of a large file's lists; up to so many are read one by one.
FEW_ROWS = 20_000

Reranker = Callable[[np.ndarray], np.ndarray]
"""Vectors records (B,) → scores (B,)."""


class Prefilter:
    """The vectors of one snapshot's photos, ready to be searched; threads may share it."""

    def __init__(self, folder: Path, snapshot: Snapshot, predictor: HasVectors) -> None:
        self._folder = folder
        self._snapshot = snapshot
        self._predictor = predictor
        self._fingerprint = predictor.fingerprints["vectors"]
        self._lock = threading.Lock()
        self.unread = 0
        """Photos whose vectors cannot be read: they come last, and the next index heals them."""
        self.rebuilt: str | None = None
        """Why the file was built anew when this was opened; None where it was usable."""
        self._load()

    @classmethod
    def open(
        cls,
        settings: Settings,
        snapshot: Snapshot,
        predictor: HasVectors,
        *,
        flat_rows_max: int = vector_file.FLAT_ROWS_MAX,
    ) -> Prefilter:
        """Map the model's FAISS file, or build it where it is damaged or far behind.

        Where the library cannot be written, photos outside the file are scored from memory.
        """
        folder = settings.features_dir
        reason = needs_build(folder, snapshot)
        if reason is not None:
            if reason != "there is none yet":
                log.warning("the prefilter's FAISS file is built anew: %s", reason)
            try:
                build(folder, snapshot, predictor, flat_rows_max=flat_rows_max)
            except OSError as error:
                log.warning("the prefilter's FAISS file cannot be written: %s", error)
        prefilter = cls(folder, snapshot, predictor)
        prefilter.rebuilt = reason
        return prefilter

    @property
    def kind(self) -> str:
        """``flat`` or ``ivf``, chosen by size; ``none`` while nothing is indexed."""
        return self._file.manifest.kind if self._file else "none"

    @property
    def covered(self) -> int:
        """Photos of the snapshot that the FAISS file covers; the rest is scored beside it."""
        return int((self._row_of < self._base_rows).sum()) if len(self._row_of) else 0

    def search(
        self,
        query: np.ndarray,
        k: int,
        among: np.ndarray | None = None,
        rerank: Reranker | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the photos whose vectors fit a query best.

        Args:
            query: (D,) float32, the expression's sentence vector.
            k: how many photos; fewer come where there are fewer.
            among: snapshot indices to choose from; None means all.
            rerank: scores the best of them anew, and so chooses and orders the k.
        Returns:
            snapshot indices (K,) int64 and scores (K,) float32, best first; equal scores by index.
        """
        found = search_together([(self, among)], query, k, rerank)
        return found.rows, found.scores

    def _photos(self, among: np.ndarray | None) -> np.ndarray:
        """Snapshot indices (n,) to choose from."""
        return np.arange(len(self._row_of)) if among is None else np.asarray(among, np.int64)

    def _in_place_of(
        self, query: np.ndarray, chosen: np.ndarray, lost: np.ndarray, scores: np.ndarray
    ) -> np.ndarray:
        """Scores (B,) of photos of which the ``lost`` have no record that could be scored anew.

        Inner products must do for these: a photo gets the score that others have who stand as high
        by them. Without any it comes last.
        """
        rough = self._scores(query, len(chosen), len(chosen), chosen)
        level = np.searchsorted(np.sort(rough[~lost]), rough[lost]) / max((~lost).sum(), 1)
        alike = np.quantile(scores[~lost], level) if not lost.all() else rough[lost]
        scores[lost] = np.where(np.isfinite(rough[lost]), alike, -np.inf)
        return scores

    # -- loading -------------------------------------------------------------------------------

    def _load(self) -> None:
        """Map the file, and encode what it does not cover; what was there stays until then."""
        path = vector_file.manifest_path(self._folder, self._fingerprint)
        stamp = _stamp(path)
        file: ScoredFile | None = None
        for _ in range(3):  # another process may swap the file between manifest and index
            try:
                found = vector_file.read_manifest(path)
                file = ScoredFile(found, vector_file.read_index(path.parent / found.file, found))
                break
            except VectorFileDamaged:
                continue
        manifest = file.manifest if file else None
        row_of, extra, unread = self._locate(manifest)
        codes = self._encode(extra)
        self._stamp, self._file = stamp, file
        self._base_rows = manifest.rows if manifest else 0
        self._row_of, self._extra, self.unread = row_of, codes, unread

    def _locate(self, manifest: Manifest | None) -> tuple[np.ndarray, dict[str, np.ndarray], int]:
        """Map photos (N,) to rows, -1 where there are none to be read, and count those.

        Rows beyond the file's are those of the returned segments, (path, positions).
        """
        places = self._snapshot.places("vectors")
        row_of = np.full(len(self._snapshot), -1, np.int64)
        extra: dict[str, np.ndarray] = {}
        unread = 0
        ids, inverse = np.unique(places.segment, return_inverse=True)
        paths = self._snapshot.segment_paths(int(each) for each in ids if each >= 0)
        next_row = manifest.rows if manifest else 0
        for number, segment_id in enumerate(ids):
            if segment_id < 0:
                continue  # a photo without vectors is found last, not lost: it scores -inf
            mine = inverse == number
            path = paths[int(segment_id)]
            position = places.position[mine]
            covered = manifest.segments.get(path) if manifest else None
            if covered is not None:
                row_of[mine] = covered[0] + position
            elif not self._readable(path, position):
                unread += int(mine.sum())
            else:
                used, local = np.unique(position, return_inverse=True)
                row_of[mine] = next_row + local
                extra[path] = used
                next_row += len(used)
        return row_of, extra, unread

    def _readable(self, path: str, positions: np.ndarray) -> bool:
        try:
            if int(positions.max()) < len(self._snapshot.store.rows(path)):
                return True
            reason = "it has fewer rows than the catalog says"
            raise DamagedSegment(self._snapshot.store.path_of(path), reason)
        except DamagedSegment as error:
            log.warning("%s", error)
            return False

    def _encode(self, extra: dict[str, np.ndarray]) -> Codes | None:
        """Turn rows outside the file into 8 bit codes in memory."""
        blocks = []
        for path, positions in extra.items():
            records = self._snapshot.store.rows(path)
            for start in range(0, len(positions), vector_file.ADD_ROWS):
                chosen = records[positions[start : start + vector_file.ADD_ROWS]]
                blocks.append(self._predictor.vectors_of(chosen))
        if not blocks:
            return None
        values = np.concatenate(blocks).reshape(-1, blocks[0].shape[-1])  # (rows * V, D)
        low = values.min(0)
        step = np.maximum((values.max(0) - low) / 255.0, 1e-9)
        codes = np.clip((values - low) / step - 0.5, 0, 255).round().astype(np.uint8)
        return Codes(codes, low, step, blocks[0].shape[1])

    def _refresh(self) -> None:
        """Take up a file that another process has swapped in."""
        path = vector_file.manifest_path(self._folder, self._fingerprint)
        if _stamp(path) != self._stamp:
            with self._lock:
                if _stamp(path) != self._stamp:
                    self._load()

    # -- scoring -------------------------------------------------------------------------------

    def _scores(
        self,
        query: np.ndarray,
        k: int,
        depth: int,
        among: np.ndarray | None,
        known: FileScores | None = None,
    ) -> np.ndarray:
        """Score the photos (N,) or (len(among),); -inf where lists were left out.

        About ``depth`` of them are scored, at least k.

        Args:
            known: scores of whole files for this query, which others may have found.
        """
        self._refresh()
        if among is not None and len(among) <= FEW_ROWS and self.kind == "ivf":
            exact = self._exact_scores(query, among)
            if exact is not None:
                return exact
        with self._lock:
            row_of = self._row_of if among is None else self._row_of[among]
            extra = self._extra_scores(query)
            scores = np.zeros(0, np.float32)
            if self._file is not None:
                scores = self._file.scores(query, k, depth, row_of, {} if known is None else known)
        rows = np.concatenate([scores, extra])
        if not len(rows):
            return np.full(len(row_of), -np.inf, np.float32)
        return np.where(row_of >= 0, rows[row_of], np.float32(-np.inf))

    def _exact_scores(self, query: np.ndarray, among: np.ndarray) -> np.ndarray | None:
        """Score photos (K,) by their own records; None where one has none that can be read."""
        scores = [np.zeros(0, np.float32)]
        for start in range(0, len(among), vector_file.ADD_ROWS):
            some = among[start : start + vector_file.ADD_ROWS]
            records, at = gather_together([(self._snapshot, some)], "vectors")
            if len(at) < len(some):
                return None
            vectors = self._predictor.vectors_of(records)
            scores.append((vectors @ query).max(1))  # (B, V, D) x (D,) -> (B, V) -> (B,)
        return np.concatenate(scores)

    def _extra_scores(self, query: np.ndarray) -> np.ndarray:
        if self._extra is None:
            return np.zeros(0, np.float32)
        out = np.empty(len(self._extra.codes), np.float32)
        self._extra.scores(query, out)
        return out.reshape(-1, self._extra.vectors).max(1)  # (rows, V) -> (rows,)


@dataclass(frozen=True)
class Candidates:
    """Photos of several snapshots, best first; equal scores in the order of these and of photos."""

    which: np.ndarray
    """Places of their snapshots (K,) int64."""
    rows: np.ndarray
    """Snapshot indices (K,) int64."""
    scores: np.ndarray
    """(K,) float32."""

    def __len__(self) -> int:
        return len(self.rows)

    def apart(self, count: int) -> list[np.ndarray]:
        """Where each of ``count`` snapshots' photos stand in this ranking, best first."""
        order = np.argsort(self.which, kind="stable")
        starts = np.searchsorted(self.which[order], np.arange(count + 1))
        return [order[s:e] for s, e in itertools.pairwise(starts.tolist())]


def search_together(
    searches: Sequence[tuple[Prefilter, np.ndarray | None]],
    query: np.ndarray,
    k: int,
    rerank: Reranker | None = None,
) -> Candidates:
    """As `Prefilter.search`, over the photos of several snapshots as if they were one's.

    So three hundred small albums cost what one large costs: as many records are scored anew, in
    full batches, and a file that holds every album's vectors is looked at once.

    Args:
        searches: prefilters of one model's vectors, with ``among`` of each.
    """
    query = np.ascontiguousarray(query, np.float32)
    photos = [prefilter._photos(among) for prefilter, among in searches]
    which = np.repeat(np.arange(len(searches)), [len(each) for each in photos])
    rows = np.concatenate(photos)
    k = min(int(k), len(rows))
    depth = k if rerank is None else max(DEPTH * k, RERANKED_MIN)
    if k <= 0:
        none = np.zeros(0, np.int64)
        return Candidates(none, none, np.zeros(0, np.float32))
    if rerank is None or depth < len(rows):
        known = _known(searches, query, k, depth)
        scores = np.concatenate(
            [prefilter._scores(query, k, depth, among, known) for prefilter, among in searches]
        )
        best = _best(scores, depth)
        if rerank is None:
            return Candidates(which[best], rows[best], scores[best])
        which, rows = which[best], rows[best]
    order = np.lexsort((rows, which))
    which, rows = which[order], rows[order]
    starts = np.searchsorted(which, np.arange(len(searches) + 1)).tolist()
    parts = [(start, end) for start, end in itertools.pairwise(starts)]
    records, at = gather_together(
        [
            (prefilter._snapshot, rows[s:e])
            for (prefilter, _), (s, e) in zip(searches, parts, strict=True)
        ],
        "vectors",
    )
    scores = np.zeros(len(rows), np.float32)
    lost = np.ones(len(rows), bool)
    lost[at] = False
    if len(at):
        scores[at] = rerank(records)
    for (prefilter, _), (start, end) in zip(searches, parts, strict=True):
        if lost[start:end].any():
            mine = slice(start, end)
            scores[mine] = prefilter._in_place_of(query, rows[mine], lost[mine], scores[mine])
    best = _best(scores, k)
    return Candidates(which[best], rows[best], scores[best])


def _known(
    searches: Sequence[tuple[Prefilter, np.ndarray | None]], query: np.ndarray, k: int, depth: int
) -> FileScores:
    """Scores of each file that several of the prefilters share, for the photos of all of these."""
    sharing: dict[str, list[tuple[Prefilter, np.ndarray | None]]] = {}
    for prefilter, among in searches:
        prefilter._refresh()
        if prefilter._file is not None:
            sharing.setdefault(prefilter._file.manifest.file, []).append((prefilter, among))
    known: FileScores = {}
    for members in sharing.values():
        if len(members) > 1:
            first = members[0][0]
            wanted = [p._row_of if among is None else p._row_of[among] for p, among in members]
            with first._lock:
                if first._file is not None:
                    first._file.scores(query, k, depth, np.concatenate(wanted), known)
    return known


def _best(scores: np.ndarray, k: int) -> np.ndarray:
    """Return the places of the k greatest (K,) int64, best first, equal ones as they come."""
    if k < len(scores):
        # All that tie with the k-th, then the first of them: the choice never depends on chance.
        cut = np.partition(scores, len(scores) - k)[len(scores) - k]
        at = np.flatnonzero(scores >= cut)
    else:
        at = np.arange(len(scores))
    return at[np.argsort(-scores[at], kind="stable")][:k]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino
