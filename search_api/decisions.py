"""A decision about one photo, and the bytes that keep its judgement."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from model.predictor import Judgement

_HEADER = struct.Struct("<BHH")
_FORMAT = 1
# A confidence is compared and ordered on this grid: it is coarser than what the order of a sum can
# change, so a photo is decided and ranked alike whatever batch it is judged in.
CONFIDENCE_DIGITS = 6


@dataclass(frozen=True)
class Decision:
    """What the head said about one photo.

    Attributes:
        confidence: calibrated p(target), rounded to `CONFIDENCE_DIGITS`.
        accepted: whether it reaches the threshold of its album.
        minimap: float32 (P²,); coefficients: float32 (C_m,): what a mask is rendered from.
    """

    photo_id: int
    confidence: float
    accepted: bool
    no_target_logit: float
    minimap: np.ndarray
    coefficients: np.ndarray

    @property
    def order(self) -> tuple[float, int]:
        """Sorts the most confident first, ties by photo."""
        return (-self.confidence, self.photo_id)

    def judgement(self) -> Judgement:
        """The judgement of this one photo, for rendering."""
        return Judgement(
            no_target_logit=np.array([self.no_target_logit], np.float32),
            minimap=self.minimap[None],
            coefficients=self.coefficients[None],
        )


def pack(minimap: np.ndarray, coefficients: np.ndarray) -> bytes:
    """A judgement's arrays as bytes, exactly (float32, little endian)."""
    return (
        _HEADER.pack(_FORMAT, minimap.size, coefficients.size)
        + np.ascontiguousarray(minimap, "<f4").tobytes()
        + np.ascontiguousarray(coefficients, "<f4").tobytes()
    )


def unpack(blob: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Minimap (P²,) and coefficients (C_m,) out of what `pack` made."""
    kind, cells, channels = _HEADER.unpack_from(blob)
    if kind != _FORMAT or len(blob) != _HEADER.size + 4 * (cells + channels):
        raise ValueError("a judgement in the catalog is damaged")
    numbers = np.frombuffer(blob, "<f4", offset=_HEADER.size).copy()  # torch wants it writable
    return numbers[:cells], numbers[cells:]
