"""Which sampler draws batches from which data."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
from numpy.typing import NDArray

from model.network.config import ReLAConfig
from model.text import TextEncoder
from training.data.batches import Sampler, Source
from training.data.grefcoco import Dataset
from training.data.grefcoco_batches import GrefSampler, sentence_vectors
from training.data.shards import Shards
from training.recipes.recipe import Recipe

Data = Shards | Dataset


def source_of(
    data: Data, recipe: Recipe, config: ReLAConfig, text: TextEncoder, rank: int, world: int
) -> Source:
    """The sampler of a data set, for one of `world` processes."""
    if isinstance(data, Shards):
        return Sampler(data, recipe, config.regions_per_side, rank, world)
    text = deepcopy(text).cpu()  # the processes that draw batches have no GPU

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        return sentence_vectors(*text(texts))

    return GrefSampler(data, recipe, config, embed, rank, world)
