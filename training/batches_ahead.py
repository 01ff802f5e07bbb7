"""Batches drawn by processes of their own, ahead of the steps that train on them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, Dataset

from training.batches import Batch, Source


class _Numbered(Dataset[Batch]):
    """A source's batches by number."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __getitem__(self, number: int) -> Batch:
        return self.source.batch(number)


def batches_ahead(source: Source, numbers: range, loaders: int) -> Iterator[Batch]:
    """The batches of these numbers, in order; each is the one that `source.batch` gives.

    Args:
        loaders: processes, forked, each two batches ahead; they need no GPU.
    """
    torch.multiprocessing.set_sharing_strategy("file_system")  # thousands of small tensors
    return iter(
        DataLoader(
            _Numbered(source),
            batch_size=None,
            sampler=numbers,
            num_workers=loaders,
            prefetch_factor=2,
            multiprocessing_context="fork",
        )
    )
