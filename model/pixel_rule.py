"""No-target by the size of the mask, the classifier disabled: the 50-pixel rule, in one place.

Networks with `no_target="pixels"` decide by it in `model.predictor`; the evaluation reports it
beside every classifier.
Source: GRES section 5.3, "ReLA-50pix" in Table 6.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

MIN_PIXELS = 50
"""A mask of fewer pixels, at the network's input size, is taken for no-target."""


def no_target(pixels: ArrayLike) -> NDArray[np.bool_]:
    """Tell which masks are too small to be a target, from their pixels at the input size."""
    return np.asarray(np.asarray(pixels) < MIN_PIXELS)


def no_target_logit(pixels: ArrayLike) -> NDArray[np.float32]:
    """Read pixel counts as no-target logits: positive exactly where `no_target` says so.

    So thresholds, calibration and ranking work as with the classifier, and p(no target) is
    50 / (50 + pixels) before calibration.
    """
    counted = np.maximum(np.asarray(pixels, np.float64), 0.5)  # none at all is a finite logit too
    return np.log(MIN_PIXELS / counted).astype(np.float32)
