"""Which sampler draws batches from which data, photographs among them."""

from __future__ import annotations

from model.network.config import ReLAConfig
from model.text import TextEncoder
from training.data import sources
from training.data.batches import Source
from training.photos.batches import PhotoSampler
from training.photos.data import PhotoData
from training.recipes.recipe import Recipe

Data = sources.Data | PhotoData


def source_of(
    data: Data, recipe: Recipe, config: ReLAConfig, text: TextEncoder, rank: int, world: int
) -> Source:
    """The sampler of a data set, for one of `world` processes."""
    if isinstance(data, PhotoData):
        side = config.regions_per_side
        rows = data.rows("train")
        return PhotoSampler(data, rows, recipe, side, rank, world)
    return sources.source_of(data, recipe, config, text, rank, world)
