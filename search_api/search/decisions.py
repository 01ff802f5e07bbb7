"""A decision about one photo, and the bytes that keep its judgement."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np

from model.predictor import Judgement

_HEADER = struct.Struct("<BHH")
_CELLS = struct.Struct("<H")
_FORMAT = 1
# A verifier's decision carries its mask itself, for nothing of the photo is cached for it.
# Before 2026-11-30 without its minimap.
_MASK_ALONE = 2
# A question of several parts shows the things of each: one row of coefficients a part.
_OF_PARTS = 3
_WITH_MASK = 4
_MASK_STEP = 0.125
# A confidence is compared and ordered on this grid: it is coarser than what the order of a sum can
# change, so a photo is decided and ranked alike whatever batch it is judged in.
CONFIDENCE_DIGITS = 6


@dataclass(frozen=True)
class Decision:
    """What the head said about one photo.

    Attributes:
        confidence: calibrated p(target), rounded to `CONFIDENCE_DIGITS`.
        accepted: whether it reaches the threshold of its album.
        minimap: float32 (P²,); coefficients: float32 (C_m,): what a mask is rendered from. Of a
            question of several parts (K, C_m), and the mask is where any of them is.
        mask_logit: int8 (h, w) from `quantised`, of a verifier, whose photos have no cached
            features that coefficients could be multiplied with.
    """

    photo_id: int
    confidence: float
    accepted: bool
    no_target_logit: float
    minimap: np.ndarray
    coefficients: np.ndarray
    mask_logit: np.ndarray | None = None

    @property
    def order(self) -> tuple[float, int]:
        """Sorts the most confident first, ties by photo."""
        return (-self.confidence, self.photo_id)

    def judgement(self) -> Judgement:
        """The judgement of this one photo, for rendering."""
        return Judgement(
            no_target_logit=np.array([self.no_target_logit], np.float32),
            minimap=self.minimap[None],
            coefficients=np.atleast_2d(self.coefficients),
        )


def pack(minimap: np.ndarray, coefficients: np.ndarray) -> bytes:
    """A judgement's arrays as bytes, exactly (float32, little endian)."""
    kind = _FORMAT if coefficients.ndim == 1 else _OF_PARTS
    return (
        _HEADER.pack(kind, minimap.size, coefficients.shape[-1])
        + np.ascontiguousarray(minimap, "<f4").tobytes()
        + np.ascontiguousarray(coefficients, "<f4").tobytes()
    )


def unpack(blob: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Minimap (P²,) and coefficients, (C_m,) or (K, C_m), out of what `pack` made."""
    kind, cells, channels = _HEADER.unpack_from(blob)
    rest = len(blob) - _HEADER.size - 4 * cells
    whole = rest == 4 * channels if kind == _FORMAT else channels and rest % (4 * channels) == 0
    if kind not in (_FORMAT, _OF_PARTS) or rest < 0 or not whole:
        raise ValueError("a judgement in the catalog is damaged")
    numbers = np.frombuffer(blob, "<f4", offset=_HEADER.size).copy()  # torch wants it writable
    coefficients = numbers[cells:]
    return numbers[:cells], (
        coefficients if kind == _FORMAT else coefficients.reshape(-1, channels)  # (K, C_m)
    )


def quantised(mask_logit: np.ndarray) -> np.ndarray:
    """Mask logits (h, w) as int8 in steps of 1/8, saturated at 15.9; the sign is kept exactly."""
    steps = np.clip(np.asarray(mask_logit, np.float32) / _MASK_STEP, -127, 127)
    away = np.where(steps > 0, np.ceil(steps), np.floor(steps))  # 0 means neither
    return np.where(np.abs(steps) < 1, away, np.round(steps)).astype(np.int8)


def mask_logits(decision: Decision) -> np.ndarray | None:
    """Undo `quantised`: float32 (h, w), None where the mask comes from cached features."""
    if decision.mask_logit is None:
        return None
    return decision.mask_logit.astype(np.float32) * np.float32(_MASK_STEP)


def pack_decision(decision: Decision) -> bytes:
    """What `unpack_decision` reads: the judgement, or the mask of a verifier's decision."""
    if decision.mask_logit is None:
        return pack(decision.minimap, decision.coefficients)
    height, width = decision.mask_logit.shape
    minimap = np.ascontiguousarray(decision.minimap, "<f4").tobytes()
    return (
        _HEADER.pack(_WITH_MASK, height, width)
        + _CELLS.pack(decision.minimap.size)
        + minimap
        + zlib.compress(decision.mask_logit.tobytes())
    )


def unpack_decision(blob: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Minimap, coefficients and mask logits as `Decision` holds them."""
    kind, height, width = _HEADER.unpack_from(blob)
    if kind not in (_WITH_MASK, _MASK_ALONE):
        return (*unpack(blob), None)
    rest, minimap = blob[_HEADER.size :], np.zeros(0, np.float32)
    limit = height * width
    try:
        if kind == _WITH_MASK:
            (cells,) = _CELLS.unpack_from(rest)
            minimap = np.frombuffer(rest, "<f4", cells, _CELLS.size).copy()
            rest = rest[_CELLS.size + minimap.nbytes :]
        flat = zlib.decompressobj().decompress(rest, limit + 1)
    except (zlib.error, struct.error, ValueError) as error:
        raise ValueError("a mask in the catalog is damaged") from error
    if len(flat) != limit:
        raise ValueError("a mask in the catalog is damaged")
    nothing = np.zeros(0, np.float32)
    return minimap, nothing, np.frombuffer(flat, np.int8).reshape(height, width)
