"""8 bit codes of vectors, and their inner products with a query, computed on every core."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import faiss as _faiss
import numpy as np

# FAISS's own type stubs do not know its NumPy wrappers.
faiss: Any = _faiss

# A block of codes that one core turns into floats and multiplies while they are in its cache, and
# the fewest blocks that are worth a thread.
SCAN_VECTORS = 1024
SHARE_BLOCKS_MIN = 16


@dataclass
class Codes:
    """8 bit codes (M, D) and the table that turns a query into scores of them."""

    codes: np.ndarray
    low: np.ndarray
    step: np.ndarray
    vectors: int
    """V, vectors a photo."""

    def scores(self, query: np.ndarray, out: np.ndarray) -> None:
        """Write the inner product of the query (D,) with every code's vector to ``out`` (M,)."""
        weights, constant = fold(query, self.low, self.step)
        dot(self.codes, weights, constant, out)


def fold(query: np.ndarray, low: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.float32]:
    """Turn sum(q * (low + (code + 0.5) * step)) into sum(w * code) + constant."""
    weights = (query * step).astype(np.float32)
    return weights, np.float32((query * (low + 0.5 * step)).sum())


def dot(codes: np.ndarray, weights: np.ndarray, constant: np.float32, out: np.ndarray) -> None:
    """Write codes (M, D) uint8 . weights (D,) + constant to out (M,), every core a share."""
    blocks = -(-len(codes) // SCAN_VECTORS)
    shares = min(os.cpu_count() or 1, blocks // SHARE_BLOCKS_MIN)
    if shares < 2:
        _share(codes, weights, constant, out)
        return
    step = -(-blocks // shares) * SCAN_VECTORS
    running = [
        _scanners().submit(_share, codes[at : at + step], weights, constant, out[at : at + step])
        for at in range(0, len(codes), step)
    ]
    for each in running:
        each.result()


def _share(codes: np.ndarray, weights: np.ndarray, constant: np.float32, out: np.ndarray) -> None:
    """As `dot` on one core, a small block at a time: it stays in the core's own cache."""
    width = codes.shape[1]
    buffer = np.empty((min(SCAN_VECTORS, len(codes)), width), np.float32)
    for start in range(0, len(codes), SCAN_VECTORS):
        block = codes[start : start + SCAN_VECTORS]
        plain, target = buffer[: len(block)], out[start : start + len(block)]
        np.copyto(plain, block)
        # NumPy's product would start threads of its own.
        faiss.fvec_inner_products_ny(
            faiss.swig_ptr(target),
            faiss.swig_ptr(weights),
            faiss.swig_ptr(plain),
            width,
            len(block),
        )
    out += constant


@cache
def _scanners() -> ThreadPoolExecutor:
    """Threads for `dot`, shared by all searches of the process; they start when needed."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="prefilter")
