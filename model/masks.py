"""A predicted mask at the photo's own size, and its COCO forms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco
from torch import Tensor

_NOWHERE = -1e4  # its probability is 0


@dataclass(frozen=True)
class Mask:
    """Where the referents are in one photo: logits above 0, scaled bilinearly to its size.

    It is kept as the places where a column of pixels enters and leaves it. Everything else is made
    of them, so area and box are those of every pixel, and cost little.

    Attributes:
        logits: (h, w) float32, at the network's own resolution.
        width, height: pixels of the upright photo.
    """

    logits: NDArray[np.float32]
    width: int
    height: int

    @property
    def probability(self) -> NDArray[np.float32]:
        """(h, w) float32 in [0, 1], at the network's own resolution."""
        return np.asarray(torch.from_numpy(self.logits).sigmoid().numpy())

    def within(self, side_px: int | None) -> Mask:
        """The same mask with its longer side at most ``side_px``."""
        longer = max(self.width, self.height)
        if side_px is None or longer <= side_px:
            return self
        width, height = (max(1, round(v * side_px / longer)) for v in (self.width, self.height))
        return replace(self, width=width, height=height)

    @property
    def array(self) -> NDArray[np.bool_]:
        """(H, W) boolean, the photo's upright size; made anew each time."""
        inside = np.arange(len(self._runs)) % 2 == 1
        return np.repeat(inside, self._runs).reshape(self.width, self.height).T

    @property
    def area(self) -> int:
        """Pixels of the upright photo that belong to a referent."""
        return int(self._runs[1::2].sum())

    @property
    def box(self) -> tuple[int, int, int, int] | None:
        """x, y, width, height in pixels (COCO's order); None for an empty mask."""
        if not self.area:
            return None
        x, y, width, height = (int(v) for v in coco.toBbox(self.rle))
        return x, y, width, height

    @cached_property
    def rle(self) -> dict[str, Any]:
        """COCO's compressed run-length code: {"size": [H, W], "counts": text}."""
        size = [self.height, self.width]
        code = coco.frPyObjects({"size": size, "counts": self._runs}, self.height, self.width)
        return {"size": size, "counts": code["counts"].decode("ascii")}

    @cached_property
    def _runs(self) -> NDArray[np.int64]:
        return _runs(self.logits, self.width, self.height)


def from_logits(logits: Tensor, width: int, height: int) -> Mask:
    """Scale mask logits (h, w) to a photo of width x height pixels; above 0 is a referent."""
    return Mask(logits.float().cpu().numpy(), width, height)


def pixels(logits: Tensor, side: int) -> NDArray[np.int64]:
    """Count what `from_logits` at side x side pixels has: logits (B, h, w) -> (B,)."""
    return np.array([from_logits(each, side, side).area for each in logits], np.int64)


def _runs(logits: NDArray[np.float32], width: int, height: int) -> NDArray[np.int64]:
    """Lengths of stretches out of and in the mask by turns, column after column.

    Pixel centres lie at halves and edges are held, as with torch's ``align_corners=False``. Down a
    column the value runs straight from one logit's row to the next, so it passes 0 once at most
    between them, at a place that is computed and not looked for.
    """
    across, down = _places(logits.shape[1], width), _places(logits.shape[0], height)
    left = across.astype(np.int64)
    right = np.minimum(left + 1, logits.shape[1] - 1)
    share = across - left
    columns = (logits[:, left] * (1 - share) + logits[:, right] * share).T  # (W, h)
    positive = columns > 0
    x, row = np.nonzero(positive[:, 1:] != positive[:, :-1])
    before, after = columns[x, row], columns[x, row + 1]
    crossing = row + before / (before - after)
    falls = before > 0
    y = np.where(
        falls, np.searchsorted(down, crossing, "left"), np.searchsorted(down, crossing, "right")
    )
    starts = np.flatnonzero(positive[:, 0]) * height
    ends = np.flatnonzero(positive[:, -1]) * height + height
    turns, times = np.unique(np.concatenate([x * height + y, starts, ends]), return_counts=True)
    turns = turns[(times % 2 == 1) & (turns < width * height)]
    return np.diff(np.concatenate([[0], turns, [width * height]]))


def _places(known: int, wanted: int) -> NDArray[np.float64]:
    """Where the centres of ``wanted`` pixels lie among ``known`` values, in [0, known - 1]."""
    return np.clip((np.arange(wanted) + 0.5) * (known / wanted) - 0.5, 0, known - 1)


def empty(width: int, height: int, shape: tuple[int, int]) -> Mask:
    """The mask of a photo that the expression refers to nothing in (GRES section 4.1)."""
    return Mask(np.full(shape, _NOWHERE, np.float32), width, height)


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float | None:
    """Intersection over union of two masks; None where both are empty."""
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else None
