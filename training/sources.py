"""Which sampler draws batches from which data."""

from __future__ import annotations

from model.config import ReLAConfig
from model.text import TextEncoder
from training.batches import Sampler, Source
from training.recipe import Recipe
from training.shards import Shards

Data = Shards


def source_of(
    data: Data, recipe: Recipe, config: ReLAConfig, text: TextEncoder, rank: int, world: int
) -> Source:
    """The sampler of a data set, for one of `world` processes."""
    return Sampler(data, recipe, config.regions_per_side, rank, world)
