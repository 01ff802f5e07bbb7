"""The masks of COCO's annotations: judged before the mask library sees them, then decoded.

The library is C and trusts its input: a coordinate of 1e9 or NaN ends the process, and broken run
lengths decode to anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_codec

NO_MASK = "annotation without a usable mask, ignored"
FAR = "annotation with coordinates that are no numbers or lie far outside its photo, ignored"
BROKEN = "annotation whose run lengths are broken or of another size, ignored"


def flaw(shape: Any, height: int, width: int) -> str:
    """Why a segmentation cannot be decoded for a photo of this size: one of the above, or ""."""
    if isinstance(shape, Mapping):
        if not shape.get("counts") or not shape.get("size"):
            return NO_MASK
        return "" if _whole(shape, height, width) else BROKEN
    if not isinstance(shape, list) or not polygons(shape):
        return NO_MASK
    reach = max(height, width)  # annotators' polygons may leave the photo a little
    numbers = [value for polygon in polygons(shape) for value in polygon]
    if all(_is_number(value) and -reach <= value <= 2 * reach for value in numbers):
        return ""
    return FAR


def polygons(segmentation: Sequence[Any]) -> list[Any]:
    """The polygons of three points or more."""
    return [p for p in segmentation if isinstance(p, list) and len(p) >= 6 and len(p) % 2 == 0]


def decode(shape: Any, height: int, width: int) -> NDArray[np.bool_]:
    """(H, W) mask of a segmentation that has no `flaw`: polygons, or run lengths of either kind."""
    if isinstance(shape, Mapping):
        plain = isinstance(shape["counts"], list)
        rle = rle_codec.frPyObjects(shape, height, width) if plain else shape
    else:
        rle = rle_codec.merge(rle_codec.frPyObjects(polygons(shape), height, width))
    decoded: NDArray[np.bool_] = rle_codec.decode(rle).astype(bool)
    return decoded


def squashed(mask: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    """A mask (H, W) at side x side, nearest pixels."""
    small = cv2.resize(mask.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST)
    return np.asarray(small, bool)


def decode_squashed(shapes: Sequence[Any], height: int, width: int, side: int) -> NDArray[np.bool_]:
    """(side, side) union of segmentations without a `flaw`, as the authors' mapper has it.

    Polygons are scaled, then drawn; run lengths are decoded, then squashed to the nearest pixels.
    """
    union = np.zeros((side, side), np.bool_)
    scale = np.array([side / width, side / height])
    for shape in shapes:
        if isinstance(shape, Mapping):
            union |= squashed(decode(shape, height, width), side)
            continue
        scaled = [(np.reshape(p, (-1, 2)) * scale).ravel().tolist() for p in polygons(shape)]
        union |= decode(scaled, side, side)
    return union


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(shape: Mapping[str, Any], height: int, width: int) -> bool:
    """Whether run lengths are of a photo's size and cover all of it, once."""
    if not isinstance(shape["size"], list | tuple) or list(shape["size"]) != [height, width]:
        return False
    counts = shape["counts"]
    if isinstance(counts, bytes):
        counts = counts.decode("ascii", "replace")
    runs = _runs(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(type(run) is int and run >= 0 for run in runs):
        return False
    return sum(runs) == height * width


def _runs(counts: str) -> list[int] | None:
    """The run lengths in COCO's compressed form, None where it is broken.

    Five bits a character from "0" on, a sixth says that more follow; from the fourth run on each is
    told as its difference from the one before the last. Source: `rleFrString` of COCO's API.
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return None if shift else runs
