"""Reads the masks that are written in COCO's run lengths."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco


def from_rle(rle: dict[str, Any]) -> NDArray[np.bool_]:
    """Decode what `Mask.rle` gives: (H, W) boolean."""
    return np.asarray(coco.decode(rle), dtype=np.bool_)
