"""Batches drawn by processes of their own, ahead of the steps that train on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

T = TypeVar("T")


class _Numbered(Dataset[T]):
    """What a function gives for each number."""

    def __init__(self, give: Callable[[int], T]) -> None:
        self.give = give

    def __getitem__(self, number: int) -> T:
        return self.give(number)


def batches_ahead(give: Callable[[int], T], numbers: range, loaders: int) -> Iterator[T]:
    """What `give` gives for these numbers, in order.

    Args:
        give: prepares a batch, on the CPU; called in other processes.
        loaders: processes, forked, each two batches ahead; they need no GPU.
    """
    torch.multiprocessing.set_sharing_strategy("file_system")  # thousands of small tensors
    return iter(
        DataLoader(
            _Numbered(give),
            batch_size=None,
            sampler=numbers,
            num_workers=loaders,
            prefetch_factor=2,
            multiprocessing_context="fork",
        )
    )
