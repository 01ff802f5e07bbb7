"""Batches of one fixed shape, that survive a full memory and a photo that the network chokes on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from indexer.errors import EncodingFailed

Encode = Callable[[np.ndarray], dict[str, np.ndarray]]
"""(size, ...) inputs to structured records (size,) a tier."""
Outcome = dict[str, np.void] | Exception


class Batches:
    """Runs a network over any number of inputs, always the same number at once.

    One shape, so that a photo's features do not depend on how many neighbours it had.
    """

    def __init__(self, size: int, model: str) -> None:
        self.size = size
        """Inputs at once; halved when memory runs out."""
        self.model = model

    def run(self, inputs: np.ndarray, encode: Encode) -> list[Outcome]:
        """Encode inputs (n, ...) in batches of one shape; a failure costs only its own photo.

        Raises:
            EncodingFailed: memory is short even for one photo, or every photo fails.
        """
        outcomes: list[Outcome] = []
        start = 0
        while start < len(inputs):
            block = inputs[start : start + self.size]
            try:
                outcomes.extend(self._outcomes(block, encode))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if self.size == 1:
                    raise EncodingFailed(
                        "out of memory while encoding a single photo: free some memory, or "
                        "use a smaller model"
                    ) from error
                self.size = max(1, self.size // 2)
                continue
            start += len(block)
        return outcomes

    def _outcomes(self, block: np.ndarray, encode: Encode) -> list[Outcome]:
        """Encode a batch, or its photos one by one where it fails."""
        try:
            return self._padded(block, encode)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            alone = self._one_by_one(block, encode)
            if len(block) > 1 and all(isinstance(each, Exception) for each in alone):
                raise EncodingFailed(
                    f"the model {self.model} fails on every photo ({error})"
                ) from error
            return alone

    def _padded(self, block: np.ndarray, encode: Encode) -> list[Outcome]:
        """Encode up to a batch, filled by repeating its last, so that the shape never changes."""
        lacking = self.size - len(block)
        full = np.concatenate([block, np.repeat(block[-1:], lacking, axis=0)]) if lacking else block
        records = encode(full)
        return [
            {tier: rows[number] for tier, rows in records.items()} for number in range(len(block))
        ]

    def _one_by_one(self, block: np.ndarray, encode: Encode) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for number in range(len(block)):
            try:
                outcomes.extend(self._padded(block[number : number + 1], encode))
            except Exception as error:
                if is_out_of_memory(error):
                    raise  # which is no photo's fault: `run` makes the batch smaller
                outcomes.append(error)
        return outcomes


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of NumPy, PyTorch or CUDA means that memory ran out."""
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text
    )
