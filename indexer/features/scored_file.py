"""Photos' scores by one FAISS file: all rows of a flat one, the nearest lists of a large one."""

from __future__ import annotations

from typing import Any

import faiss as _faiss
import numpy as np

from indexer.features.codes import Codes, dot, fold
from indexer.features.vector_file import Manifest

# FAISS's own type stubs know neither its keyword arguments nor its NumPy wrappers.
faiss: Any = _faiss

# FAISS's own list search keeps a heap; beyond so many results our scan of the lists is quicker.
HEAP_RESULTS_MAX = 20_000
LISTS_MIN = 64
# Photos' best vectors scatter over more lists than their share of the album.
LISTS_A_SHARE = 8

FileScores = dict[str, np.ndarray]
"""File name → scores (rows,) of a file's rows for one query, -inf for those not looked at."""


class ScoredFile:
    """A mapped file; not for several threads at once."""

    def __init__(self, manifest: Manifest, index: Any) -> None:
        self.manifest = manifest
        self._index = index
        self._table = _table(index)

    def scores(
        self, query: np.ndarray, k: int, depth: int, row_of: np.ndarray, known: FileScores
    ) -> np.ndarray:
        """Score the file's rows (rows,); -inf for rows in lists that were not looked at.

        Args:
            query: (D,) float32.
            k, depth: at least k of the wanted rows are scored, about ``depth``.
            row_of: (N,) wanted rows; those outside the file are left out.
            known: scores of whole files for this query, which others may have found; added to.
        """
        manifest = self.manifest
        if (scored := known.get(manifest.file)) is not None:
            return scored
        if manifest.kind == "flat":
            flat = np.empty(manifest.rows * manifest.vectors, np.float32)
            codes = faiss.rev_swig_ptr(self._index.codes.data(), self._index.codes.size())
            codes = codes.reshape(-1, manifest.dimensions)  # (rows * V, D)
            Codes(codes, *self._table, manifest.vectors).scores(query, flat)
            known[manifest.file] = flat.reshape(manifest.rows, manifest.vectors).max(1)
            return known[manifest.file]
        wanted = np.zeros(manifest.rows, bool)
        inside = row_of[(row_of >= 0) & (row_of < manifest.rows)]
        wanted[inside] = True
        share = depth / max(len(inside), 1)
        lists = int(
            min(self._index.nlist, max(LISTS_MIN, self._index.nlist * LISTS_A_SHARE * share))
        )
        while True:
            scores = self._list_scores(query, depth, lists, wanted)
            found = int(np.isfinite(scores).sum())
            if found >= min(k, int(wanted.sum())) or lists >= self._index.nlist:
                known[manifest.file] = scores
                return scores
            lists = min(self._index.nlist, lists * 4)

    def _list_scores(
        self, query: np.ndarray, depth: int, lists: int, wanted: np.ndarray
    ) -> np.ndarray:
        """Score the wanted rows (rows,) by the inverted lists nearest to the query."""
        manifest = self.manifest
        results = 4 * depth + 64
        if results <= HEAP_RESULTS_MAX and lists < self._index.nlist:
            selector = None
            if not wanted.all():
                bits = np.packbits(np.repeat(wanted, manifest.vectors), bitorder="little")
                selector = faiss.IDSelectorBitmap(bits)
            parameters = faiss.SearchParametersIVF(sel=selector, nprobe=lists)
            values, ids = self._index.search(query[None], results, params=parameters)
            scores = np.full(manifest.rows, -np.inf, np.float32)
            hit = ids[0] >= 0
            np.maximum.at(scores, ids[0][hit] // manifest.vectors, values[0][hit])
            return scores
        if lists < self._index.nlist:
            _, nearest = self._index.quantizer.search(query[None], lists)
            chosen = [int(each) for each in nearest[0] if each >= 0]
        else:
            chosen = list(range(self._index.nlist))
        flat = np.full(manifest.rows * manifest.vectors, -np.inf, np.float32)
        stored = self._index.invlists
        weights, constant = fold(query, *self._table)
        for number in chosen:
            size = stored.list_size(number)
            if not size:
                continue
            codes = faiss.rev_swig_ptr(stored.get_codes(number), size * manifest.dimensions)
            out = np.empty(size, np.float32)
            dot(codes.reshape(size, manifest.dimensions), weights, constant, out)
            flat[faiss.rev_swig_ptr(stored.get_ids(number), size)] = out
        scores = flat.reshape(manifest.rows, manifest.vectors).max(1)
        scores[~wanted] = -np.inf
        return scores


def _table(index: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return each dimension's least value and code step, (D,) float32 each."""
    trained = faiss.vector_to_array(index.sq.trained)
    low, difference = trained[: index.d], trained[index.d :]
    return low.copy(), difference / np.float32(255.0)
