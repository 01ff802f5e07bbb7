"""Alpha by closed-form matting: the smallest energy in which colours are locally on a line.

The same system that pymatting's `estimate_alpha_cf` solves, built only for the unknown pixels,
with NumPy and SciPy alone: nothing is compiled at the first import, which takes pymatting half a
minute.
Source: Levin, Lischinski, Weiss, A Closed-Form Solution to Natural Image Matting, TPAMI 2008.
Shape legend: K windows of 3 x 3 pixels, U unknown pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from model.matting.trimap import FOREGROUND, UNKNOWN

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

EPSILON = 1e-6  # how far the colours of a window may be off their line, squared, in [0, 1]
TOLERANCE = 1e-4  # of the residual, relative; a smaller one moves no alpha by 1/255
ITERATIONS_MAX = 400
COARSEST_PX = 96  # the first guess comes from a copy of this size
PRIOR = 1e-4  # pull of the predicted mask; pymatting's constraint on known pixels is 100
_BLOCK = 16_384  # windows that are inverted at once, which bounds memory


def solve(image: Floats, trimap: NDArray[np.uint8], prior: Floats | None = None) -> Floats:
    """Solve for alpha in the unknown part of a trimap.

    Args:
        image: (h, w, 3) in [0, 1], at least 3 x 3 pixels.
        trimap: (h, w) of `model.matting.trimap`'s three values.
        prior: (h, w) in [0, 1], what to be near to where colours tell nothing.
    Returns:
        (h, w) in [0, 1]; exactly 0 and 1 where the trimap is sure.
    """
    height, width = trimap.shape
    alpha = np.where(trimap == FOREGROUND, np.float32(1), np.float32(0))
    unknown = trimap == UNKNOWN
    if not unknown.any():
        return alpha
    guess = alpha.copy()
    if max(height, width) > COARSEST_PX:
        # Half the size first: what is far from any sure pixel is settled there, in few steps.
        half = (max(3, width // 2), max(3, height // 2))
        small = cv2.resize(image, half, interpolation=cv2.INTER_AREA)
        sure = cv2.resize(trimap, half, interpolation=cv2.INTER_NEAREST)
        near = None if prior is None else cv2.resize(prior, half, interpolation=cv2.INTER_AREA)
        guess = cv2.resize(solve(small, sure, near), (width, height))
    elif prior is not None:
        guess = prior
    alpha[unknown] = _solve_band(image, unknown, alpha, guess[unknown], prior)
    return alpha


def _solve_band(
    image: Floats, unknown: NDArray[np.bool_], known: Floats, guess: Floats, prior: Floats | None
) -> Floats:
    """Alpha of the unknown pixels, (U,), by preconditioned conjugate gradients."""
    width = unknown.shape[1]
    flat = unknown.ravel()
    places = np.flatnonzero(flat)  # (U,)
    number = np.zeros(flat.size, np.int32)
    number[places] = np.arange(len(places), dtype=np.int32)
    rows = _rows(image, unknown, number, len(places))  # (U, 25)
    rise, run = np.divmod(np.arange(25), 5)
    away = (rise - 2) * width + run - 2
    columns = np.clip(places[:, None] + away, 0, flat.size - 1)  # (U, 25); clipped ones are 0
    inside = flat[columns]
    right = -(np.where(inside, 0, rows) * known.ravel()[columns]).sum(1, dtype=np.float64)
    diagonal = rows[:, 12].astype(np.float64)
    pull = PRIOR if prior is not None else 1e-9
    if prior is not None:
        right += pull * prior.ravel()[places]
    values = np.where(inside, rows, 0)
    values[:, 12] += np.float32(pull)
    pointers = np.arange(0, 25 * len(places) + 1, 25, dtype=np.int32)
    matrix = csr_matrix(
        # In the vectors' own precision: SciPy would convert a float32 matrix in every product.
        (values.ravel().astype(np.float64), number[columns].ravel(), pointers),
        shape=(len(places), len(places)),
    )
    inverse = 1 / np.maximum(diagonal + pull, 1e-8)
    solved = cg(matrix, right, start=guess.astype(np.float64), inverse=inverse)
    return np.clip(solved, 0, 1).astype(np.float32)


def cg(
    matrix: csr_matrix,
    right: Doubles,
    *,
    start: Doubles,
    inverse: Doubles,
    callback: Callable[[Doubles], object] = lambda _: None,
) -> Doubles:
    """Preconditioned conjugate gradients, (U,), on one core.

    SciPy's take inner products from a BLAS, whose threads fight for the cores with whatever else
    runs: beside other work most of a cut-out's time was theirs.

    Args:
        inverse: (U,) of the diagonal, Jacobi's preconditioner.
        callback: called with the solution of each step.
    """
    solved = start.copy()
    left = right - matrix @ solved
    enough = TOLERANCE**2 * _product(right, right)
    direction, before = np.zeros_like(left), 1.0
    for _ in range(ITERATIONS_MAX):
        if _product(left, left) <= enough:
            break
        scaled = inverse * left
        now = _product(left, scaled)
        direction = scaled + now / before * direction
        moved = matrix @ direction
        step = now / _product(direction, moved)
        solved += step * direction
        left -= step * moved
        before = now
        callback(solved)
    return solved


def _product(a: Doubles, b: Doubles) -> float:
    return float(np.einsum("i,i->", a, b))


def _rows(
    image: Floats, unknown: NDArray[np.bool_], number: NDArray[np.int32], count: int
) -> Floats:
    """The matting Laplacian's rows of the unknown pixels: (U, 25), a 5 x 5 patch round each."""
    width = unknown.shape[1]
    touched = cv2.dilate(unknown.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    touched[[0, -1]] = False  # windows lie wholly inside
    touched[:, [0, -1]] = False
    centres = np.flatnonzero(touched)
    rise, run = np.divmod(np.arange(9), 3)
    away = (rise - 1) * width + run - 1
    colours, flat = image.reshape(-1, 3), unknown.ravel()
    rows = np.zeros((count, 25), np.float32)
    for start in range(0, len(centres), _BLOCK):
        members = centres[start : start + _BLOCK, None] + away  # (K, 9)
        window = colours[members].astype(np.float64)  # (K, 9, 3)
        window -= window.mean(1, keepdims=True)
        spread = window.transpose(0, 2, 1) @ window / 9  # (K, 3, 9) x (K, 9, 3) -> (K, 3, 3)
        spread += np.eye(3) * (EPSILON / 9)
        # (K, 9, 3) x (K, 3, 3) x (K, 3, 9) -> (K, 9, 9)
        alike = window @ np.linalg.inv(spread) @ window.transpose(0, 2, 1)
        weights = (np.eye(9) - (1 + alike) / 9).astype(np.float32)
        for a in range(9):
            wanted = flat[members[:, a]]
            at = number[members[wanted, a]]  # each pixel once, so += is safe
            for b in range(9):
                patch = (rise[b] - rise[a] + 2) * 5 + run[b] - run[a] + 2
                rows[at, patch] += weights[wanted, a, b]
    return rows
