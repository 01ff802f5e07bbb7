"""A predictor small enough for tests of everything around the network: real records, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

SIDE = 32


class FakePredictor:
    """Features are means of the pixels' blocks, so that they can be told and compared."""

    def __init__(self, version: str = "1", *, head: str = "1", name: str = "fake") -> None:
        self.name = name
        self.input_size = SIDE
        self.regions = 16
        self.dtypes = {
            "tokens": np.dtype([("sums", "<f2", (16, 3)), ("scale", "<f4")]),
            "masks": np.dtype([("features", "i1", (3, 8, 8))]),
            "vectors": np.dtype([("vectors", "<f2", (4, 12))]),
            "pyramid": np.dtype([("res2", "<f2", (3, 16, 16))]),
        }
        pyramid = _digest("pyramid", version)
        self.fingerprints = {
            "pyramid": pyramid,
            "tokens": _digest("tokens", pyramid, head),
            "masks": _digest("masks", pyramid, head),
            "vectors": _digest("vectors", pyramid),
            "head": _digest("head", pyramid, head),
        }
        self.gain = 1.0 + len(head)
        self.encoded = 0
        self.from_pyramid = 0
        self.shapes: set[int] = set()

    def encode(
        self, pixels: np.ndarray, tiers: Sequence[str] = ("tokens", "masks", "vectors")
    ) -> dict[str, np.ndarray]:
        self.encoded += len(pixels)
        self.shapes.add(len(pixels))
        assert pixels.dtype == np.uint8
        assert pixels.shape[1:] == (SIDE, SIDE, 3)
        pooled = pixels.reshape(-1, 16, 2, 16, 2, 3).mean((2, 4)).transpose(0, 3, 1, 2) / 255
        return self._records(pooled.astype(np.float16), tiers)

    def encode_from_pyramid(
        self, records: np.ndarray, tiers: Sequence[str] = ("tokens", "masks", "vectors")
    ) -> dict[str, np.ndarray]:
        self.from_pyramid += len(records)
        return self._records(records["res2"], tiers)

    def _records(self, pooled: np.ndarray, tiers: Sequence[str]) -> dict[str, np.ndarray]:
        made = {tier: np.zeros(len(pooled), self.dtypes[tier]) for tier in tiers}
        plain = pooled.astype(np.float32)  # (B, 3, 16, 16)
        blocks = plain.reshape(-1, 3, 4, 4, 4, 4).mean((3, 5)).reshape(-1, 3, 16)
        for tier, rows in made.items():
            if tier == "pyramid":
                rows["res2"] = pooled
            elif tier == "tokens":
                rows["sums"] = blocks.transpose(0, 2, 1) * self.gain
                rows["scale"] = plain.mean((1, 2, 3))
            elif tier == "masks":
                small = plain.reshape(-1, 3, 8, 2, 8, 2).mean((3, 5))
                rows["features"] = (small * 100 * self.gain).clip(-127, 127)
            else:
                rows["vectors"] = blocks.reshape(-1, 4, 12) - 0.5
        return made

    def vectors_of(self, records: np.ndarray) -> np.ndarray:
        return records["vectors"].astype(np.float32)


def _digest(*parts: str) -> str:
    return blake2b("|".join(parts).encode(), digest_size=8).hexdigest()
