"""A mask looked at again: the surroundings of a small match are encoded at their own resolution.

Where a match fills a small part of a photo, the network's grid covers it with few cells. A crop
round it gives it many. The new mask counts only where it agrees with the old one, for in a crop
"on the left" may mean something else.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.matting import Box, surroundings
from model.predictor import Predictor, Words
from model.preprocess import to_pixels

WORTH_IT = 0.6  # a crop's longer side as a share of the photo's; a larger one gains too little
AGREES = 0.7  # IoU with the first mask from which the second one is believed


def sharpen(
    predictor: Predictor, words: Words, photo: Image.Image, probability: NDArray[np.float32]
) -> tuple[NDArray[np.float32], Box]:
    """Look again where that helps.

    Args:
        words: the one expression.
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
    records = predictor.encode(to_pixels(crop, predictor.input_size)[None], ("tokens", "masks"))
    judgement = predictor.judge(records["tokens"], words)
    again = predictor.render(records["masks"], judgement, width, height).probability
    if agreement(probability, again, box, photo.size) < AGREES:
        return probability, whole
    return again, box


def agreement(
    first: NDArray[np.float32],
    again: NDArray[np.float32],
    box: Box,
    size: tuple[int, int],
) -> float:
    """IoU of a photo's mask and a crop's, on the photo's grid of cells."""
    height, width = first.shape
    columns = ((np.arange(width) + 0.5) * size[0] / width - box[0]) * again.shape[1] / box[2]
    rows = ((np.arange(height) + 0.5) * size[1] / height - box[1]) * again.shape[0] / box[3]
    across = (columns >= 0) & (columns < again.shape[1])
    down = (rows >= 0) & (rows < again.shape[0])
    placed = np.zeros(first.shape, bool)
    picked = again[np.ix_(rows[down].astype(int), columns[across].astype(int))]
    placed[np.ix_(down, across)] = picked >= 0.5
    mask = first >= 0.5
    union = np.count_nonzero(mask | placed)
    return float(np.count_nonzero(mask & placed) / union) if union else 0.0
