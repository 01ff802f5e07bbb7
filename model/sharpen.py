"""A mask looked at again: the surroundings of a match are encoded at their own resolution.

Where a match fills a part of a photo only, the network's grid covers it with few cells. A crop
round it gives it many. The photo has decided what is meant, since in a crop "on the left" may mean
something else; the crop says where exactly: the mask is the linear read-out of the crop's mask
features F_m (as equation 1 is one) that comes nearest to the photo's own mask.
`benchmarks/sharpening.py` measures what it is worth.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model import packing
from model.calibration import sigmoid
from model.matting.matte import Box, resampled, surroundings
from model.network.preprocess import to_pixels
from model.predictor import Predictor

WORTH_IT = 0.85  # a crop's longer side as a share of the photo's; a larger one gains nothing
AGREES = 0.6  # IoU with the photo's own mask from which the new one is believed
# How much the read-out's weights are held back, a cell. The photo's mask is coarse: what follows it
# too closely repeats its faults. 0.02 to 1 gave nearly the same on validation scenes.
_RIDGE = 0.2
_STEPS = 30

Floats = NDArray[np.float32]


def sharpen(predictor: Predictor, photo: Image.Image, probability: Floats) -> tuple[Floats, Box]:
    """Look again where that helps.

    Args:
        photo: mode RGB, upright.
        probability: (h, w) of the whole photo.
    Returns:
        the better map, and x, y, w, h of the part of the photo that it covers.
    """
    whole = (0, 0, photo.width, photo.height)
    box = surroundings(probability, whole, photo.size)
    if box is None or max(box[2] / photo.width, box[3] / photo.height) > WORTH_IT:
        return probability, whole
    x, y, width, height = box
    crop = photo.crop((x, y, x + width, y + height))
    records = predictor.encode(to_pixels(crop, predictor.input_size)[None], ("masks",))
    features = packing.unpack_masks(records["masks"], predictor.device)[0].cpu().numpy()
    first = resampled(probability, whole, box, (features.shape[2], features.shape[1]))
    if not (first >= 0.5).any():
        return probability, whole
    again = read_out(features, first)
    if _agreement(first, again) < AGREES:
        return probability, whole
    return again, box


def read_out(features: Floats, mask: Floats) -> Floats:
    """Read a mask from mask features as nearly like a given one as a linear read-out can.

    Logistic regression on the cells, held back by a ridge. The ridge shrinks logits, and with them
    the mask: a second regression, on these logits alone, gives it back its size.

    Args:
        features: (C_m, h, w) F_m.
        mask: (h, w) probabilities.
    Returns:
        (h, w) probabilities.
    """
    inputs = features.reshape(len(features), -1).T.astype(np.float64)  # (h w, C_m)
    inputs = (inputs - inputs.mean(0)) / (inputs.std(0) + 1e-6)
    inputs = np.concatenate([inputs, np.ones((len(inputs), 1))], 1)
    wanted = mask.reshape(-1).astype(np.float64)
    pull = np.full(inputs.shape[1], _RIDGE * len(inputs))
    pull[-1] = 1e-3
    logits = inputs @ _regression(inputs, wanted, pull)
    scaled = np.stack([logits, np.ones(len(logits))], 1)
    logits = scaled @ _regression(scaled, wanted, np.array([1e-3, 1e-3]))
    return sigmoid(logits).astype(np.float32).reshape(mask.shape)


def _regression(
    inputs: NDArray[np.float64], wanted: NDArray[np.float64], pull: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weights (K,) of inputs (M, K) whose sigmoid is nearest to what is wanted (M,), by Newton."""
    weights = np.zeros(inputs.shape[1])
    for _ in range(_STEPS):
        p = sigmoid(inputs @ weights)
        slope = inputs.T @ (p - wanted) + pull * weights
        curve = (inputs * (p * (1 - p))[:, None]).T @ inputs + np.diag(pull)
        step = np.linalg.solve(curve, slope)
        weights -= step
        if np.abs(step).max() < 1e-4:
            break
    return weights


def _agreement(first: Floats, again: Floats) -> float:
    """IoU of two masks on one grid."""
    a, b = first >= 0.5, again >= 0.5
    union = np.count_nonzero(a | b)
    return float(np.count_nonzero(a & b) / union) if union else 0.0
