"""A thing's own colours at its soft edge, so that no halo of the old background stays.

Source: Forte, Approximate Fast Foreground Colour Estimation, ICIP 2021: means of the near
foreground and background, weighted by alpha, and then what the photo says beyond them.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

WIDE, NARROW = 0.16, 0.012  # radii of the two passes, of the longer side
_LEAST = 1e-4  # alpha's mean below which a window tells nothing


def estimate(image: Floats, alpha: Floats) -> tuple[Floats, Floats]:
    """Estimate the colours on both sides of a soft edge.

    Args:
        image: (h, w, 3) in [0, 1]; alpha: (h, w) in [0, 1].
    Returns:
        foreground and background, (h, w, 3) each, in [0, 1] and smooth.
    """
    foreground, background = image, image
    for share in (WIDE, NARROW):
        radius = 2 * max(1, round(share * max(alpha.shape))) + 1
        near = _mean(foreground, alpha, radius)
        behind = _mean(background, 1 - alpha, radius)
        foreground = corrected(image, alpha, near, behind)
        background = np.clip(
            behind
            + (1 - alpha[..., None])
            * (image - alpha[..., None] * near - (1 - alpha[..., None]) * behind),
            0,
            1,
        )
    return near, behind


def corrected(image: Floats, alpha: Floats, near: Floats, behind: Floats) -> Floats:
    """The foreground that, over the background, gives the photo's pixel; near the mean.

    Where alpha is 1 this is the photo itself.
    """
    a = alpha[..., None]
    return np.asarray(np.clip(near + a * (image - a * near - (1 - a) * behind), 0, 1), np.float32)


def _mean(colours: Floats, weight: Floats, radius: int) -> Floats:
    size = (radius, radius)
    total = cv2.blur(weight, size)[..., None]
    summed = cv2.blur(colours * weight[..., None], size)
    return np.asarray(np.where(total > _LEAST, summed / np.maximum(total, _LEAST), colours))
