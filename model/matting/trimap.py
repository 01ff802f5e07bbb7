"""From a coarse mask probability to what is surely the thing, surely not, and unknown."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

BACKGROUND, UNKNOWN, FOREGROUND = np.uint8(0), np.uint8(128), np.uint8(255)

SURE = 0.9  # a probability that counts as certain; its opposite as certainly not
INWARD = 0.42  # of the thing's half-width: its edge is blurred, or the mask too large, so far in
OUTWARD = 0.4  # how far hair and blur reach beyond it
CORE = 0.45  # of the half-width where a part is thin stays surely foreground


def make_trimap(probability: NDArray[np.float32], cell_px: float) -> NDArray[np.uint8]:
    """Draw the unknown band round a mask, scaled to the thing and to the mask's uncertainty.

    Args:
        probability: (h, w) at the resolution that alpha is solved at.
        cell_px: pixels of it that one cell of the predicted mask covers: it is off by that much.
    Returns:
        (h, w) of `BACKGROUND`, `UNKNOWN`, `FOREGROUND`.
    """
    mask = probability >= 0.5
    trimap = np.full(mask.shape, BACKGROUND, np.uint8)
    if not mask.any():
        return trimap
    padded = np.pad(mask, 1, mode="edge").astype(np.uint8)  # a thing goes on beyond the photo
    inside = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    outside = cv2.distanceTransform(1 - mask.astype(np.uint8), cv2.DIST_L2, 5)
    half = half_width(inside)
    outward = max(2.0, OUTWARD * half, 1.5 * cell_px)
    inward = min(max(2.0, INWARD * half, cell_px), CORE * half)
    trimap[(outside <= outward) | (probability > 1 - SURE)] = UNKNOWN
    deep = inside > inward
    sure = probability >= SURE
    if np.count_nonzero(deep & sure) * 4 < np.count_nonzero(deep):
        # The network is sure of little: take the middle of what it believes.
        sure = probability >= np.float32(np.quantile(probability[mask], 0.6))
    trimap[deep & sure] = FOREGROUND
    return trimap


def half_width(inside: NDArray[np.float32]) -> float:
    """How wide a thing is, halved: a disc's radius, or a wire's.

    Args:
        inside: (h, w) distance to the mask's edge, 0 outside.
    """
    edge = int(np.count_nonzero((inside > 0) & (inside < 1.5)))
    return 2 * float(np.count_nonzero(inside)) / max(1, edge)
