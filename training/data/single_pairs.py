"""Batches as the authors draw them: each expression of a split once an epoch, with its own photo.

Shape legend: B pairs, S input side.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from model.errors import ModelError
from model.network.preprocess import upright
from model.official.config import OfficialConfig
from model.official.verifier import official_pixels
from training.data.batches import Batch
from training.data.coco_shapes import decode_squashed
from training.data.grefcoco import Dataset, Sample
from training.data.region_targets import no_targets
from training.errors import DatasetError
from training.recipes.recipe import Recipe


class SinglePairs:
    """Draws pairs from a split in gRefCOCO's form; photos are squashed and otherwise left as is.

    A pair's mask is (S, S), drawn there as the authors' mapper draws it.

    Args:
        rank, world: this process has a run of the batch's places.
    Raises:
        ModelError: a batch has less than one pair a process.
        DatasetError: the split is empty.
    """

    def __init__(
        self,
        dataset: Dataset,
        recipe: Recipe,
        config: OfficialConfig,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if not dataset.samples:
            raise DatasetError(f"{dataset.folder}: no expression of {dataset.split}")
        if recipe.batch < world:
            raise ModelError(f"a batch of {recipe.batch} cannot be shared by {world} processes")
        self.dataset, self.recipe, self.config = dataset, recipe, config
        self.mine = range(rank * recipe.batch // world, (rank + 1) * recipe.batch // world)
        self.with_pixels = True
        self._order = lru_cache(2)(self._shuffled)

    def __len__(self) -> int:
        return len(self.dataset.samples)

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        rng = np.random.default_rng([self.recipe.data_seed, 79, epoch])
        return rng.permutation(len(self))

    def places(self, step: int) -> list[int]:
        """Which expressions this process has of a step; epochs follow each other without a gap."""
        first = step * self.recipe.batch
        return [
            int(self._order((first + at) // len(self))[(first + at) % len(self)])
            for at in self.mine
        ]

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """The photo of an expression, (S, S, 3), upright and squashed."""
        path = self.dataset.photo(self.dataset.samples[index].image_id)
        try:
            with Image.open(path) as image:
                return official_pixels(upright(image), self.config.input_size)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path} cannot be read ({error}); fetch it again") from error

    def phrases(self, rng: np.random.Generator, count: int) -> list[str]:
        """Different expressions of the split."""
        known = list(dict.fromkeys(s.text for s in self.dataset.samples))
        return [known[k] for k in rng.permutation(len(known))[:count]]

    def batch(self, step: int) -> Batch:
        """This process's share of a step's batch; the same whenever it is asked for."""
        places = self.places(step)
        samples = [self.dataset.samples[place] for place in places]
        texts = list(dict.fromkeys(sample.text for sample in samples))
        pixels = np.stack([self.pixels(place) for place in places])
        return Batch(
            pixels=torch.from_numpy(pixels).permute(0, 3, 1, 2).float(),  # NHWC -> NCHW
            texts=texts,
            photo=torch.arange(len(places)),
            text=torch.tensor([texts.index(sample.text) for sample in samples]),
            kinds=[sample.kind for sample in samples],
            no_target=torch.tensor([float(sample.no_target) for sample in samples]),
            masks=torch.stack([self._mask(sample) for sample in samples]),
            origin=torch.tensor(places),
            flipped=torch.zeros(len(places), dtype=torch.bool),
            targets=no_targets(len(places), self.config.regions),
        )

    def _mask(self, sample: Sample) -> Tensor:
        width, height = self.dataset.size(sample.image_id)
        shapes = [self.dataset.coco.anns[i]["segmentation"] for i in sample.annotation_ids]
        return torch.from_numpy(
            decode_squashed(shapes, height, width, self.config.input_size)
        ).float()
