"""A predicted mask at the photo's own size, and its COCO forms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from pycocotools import mask as coco
from torch import Tensor


@dataclass(frozen=True)
class Mask:
    """Where the referents are in one photo.

    Attributes:
        array: (H, W) boolean, the photo's upright size.
        probability: (h, w) float32 in [0, 1], at the network's own resolution.
    """

    array: NDArray[np.bool_]
    probability: NDArray[np.float32]

    @property
    def area(self) -> int:
        """Pixels of the upright photo that belong to a referent."""
        return int(np.count_nonzero(self.array))

    @cached_property
    def box(self) -> tuple[int, int, int, int] | None:
        """x, y, width, height in pixels (COCO's order); None for an empty mask."""
        rows = np.flatnonzero(self.array.any(1))
        if not len(rows):
            return None
        columns = np.flatnonzero(self.array.any(0))
        x, y = int(columns[0]), int(rows[0])
        return x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1

    @cached_property
    def rle(self) -> dict[str, Any]:
        """COCO's compressed run-length code: {"size": [H, W], "counts": text}."""
        code = coco.encode(np.asfortranarray(self.array, dtype=np.uint8))
        return {"size": [int(v) for v in code["size"]], "counts": code["counts"].decode("ascii")}


def from_logits(logits: Tensor, width: int, height: int) -> Mask:
    """Scale mask logits (h, w) to a photo of width x height pixels; above 0 is a referent."""
    logits = logits.float().cpu()
    return Mask((_scaled(logits[None], width, height) > 0)[0].numpy(), logits.sigmoid().numpy())


def pixels(logits: Tensor, side: int) -> NDArray[np.int64]:
    """Count what `from_logits` at side x side pixels has: logits (B, h, w) -> (B,)."""
    return (_scaled(logits.float(), side, side) > 0).sum((1, 2)).cpu().numpy()


def _scaled(logits: Tensor, width: int, height: int) -> Tensor:
    """(B, h, w) -> (B, height, width)."""
    large = F.interpolate(
        logits[:, None], size=(height, width), mode="bilinear", align_corners=False
    )
    return large[:, 0]


def empty(width: int, height: int, shape: tuple[int, int]) -> Mask:
    """The mask of a photo that the expression refers to nothing in (GRES section 4.1)."""
    return Mask(np.zeros((height, width), dtype=np.bool_), np.zeros(shape, dtype=np.float32))


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float | None:
    """Intersection over union of two masks; None where both are empty."""
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else None
