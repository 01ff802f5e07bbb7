"""Batches from gRefCOCO: a photo's own expressions, and other photos' that are surely false there.

A data set of photographs says which expressions fit a photo, not which do not. An expression of
another photo is asked only where three things make its truth as good as known (`TruthGuard`);
where they leave doubt, the pair is left out.

Shape legend as in `training.data.batches`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from model.errors import ModelError
from model.network.config import ReLAConfig
from model.network.preprocess import to_pixels, upright
from training.data.batches import Batch, Draw, Pairs, draw, jittered, no_pixels, pick
from training.data.coco_shapes import decode
from training.data.grefcoco import Dataset, Sample
from training.data.region_targets import no_targets
from training.data.truth_guard import TruthGuard
from training.errors import DatasetError
from training.recipes.recipe import Recipe

Embed = Callable[[Sequence[str]], NDArray[np.float32]]

_MASKS_KEPT = 8192  # at 120 x 120 bytes, 118 MB
_SIDES = {"left": "right", "leftmost": "rightmost", "lft": "rt", "lt": "rt", "l": "r"}
_MIRRORED = {**{b: a for a, b in reversed(_SIDES.items())}, **_SIDES}
_SIDE_WORD = re.compile(rf"\b({'|'.join(sorted(_MIRRORED, key=len, reverse=True))})\b", re.I)
# Read off the photo, so not to be mirrored: clock positions, numbers and letters on things.
_UNMIRRORED = re.compile(r"\d|o.?clock|\b(number|letter|word|says|text|sign|logo|jersey)\b", re.I)


def mirrored(text: str) -> str:
    """An expression for the mirrored photo, in typists' short forms as well ("2nd from rt")."""

    def swap(match: re.Match[str]) -> str:
        word = match.group(0)
        other = _MIRRORED[word.lower()]
        return other.upper() if word.isupper() and len(word) > 1 else other

    return _SIDE_WORD.sub(swap, text)


class GrefSampler:
    """Draws batches from a split in gRefCOCO's form.

    Args:
        dataset: as `training.data.grefcoco.read` gives it.
        recipe: how many expressions of which sort a photo gets; `absent` means nothing here.
        config: of the network: input size and P.
        embed: sentences as unit vectors, for the guard.
        rank, world: this process has a run of the batch's places.
    Raises:
        ModelError: the recipe wants losses that need a scene graph.
        DatasetError: the split has no photo with an expression that refers to something.
    """

    def __init__(
        self,
        dataset: Dataset,
        recipe: Recipe,
        config: ReLAConfig,
        embed: Embed,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        losses = recipe.losses
        for name in ("regions", "dense", "region_masks"):
            if getattr(losses, name):
                raise ModelError(f"the loss {name!r} needs scene graphs; set it to 0 for gRefCOCO")
        self.dataset, self.recipe, self.config = dataset, recipe, config
        self.rank, self.world = rank, world
        self.with_pixels = True
        groups = dataset.by_photo()
        self.photos = sorted(p for p, s in groups.items() if any(map(self._asked, s)))
        if not self.photos:
            raise DatasetError(f"{dataset.folder}: no expression of {dataset.split} has a target")
        self.true = [[s for s in groups[p] if self._asked(s)] for p in self.photos]
        one = recipe.one_target
        self.false = [[s for s in groups[p] if s.no_target and not one] for p in self.photos]
        self.may_flip = [
            not any(_UNMIRRORED.search(s.text) for s in groups[p]) for p in self.photos
        ]
        self.guard = TruthGuard(dataset, embed, recipe.similar)
        self._share = lru_cache(_MASKS_KEPT)(self._decoded)

    def _asked(self, sample: Sample) -> bool:
        """Whether an expression is asked of its own photo, and refers to something there."""
        if self.recipe.one_target:
            return len(sample.annotation_ids) == 1
        return not sample.no_target

    def __len__(self) -> int:
        return len(self.photos)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """One photo, (S, S, 3), upright and squashed as the model reads it."""
        path = self.dataset.photo(self.photos[index])
        try:
            with Image.open(path) as image:
                return to_pixels(upright(image), self.config.input_size)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path} cannot be read ({error}); fetch it again") from error

    def phrases(self, rng: np.random.Generator, count: int) -> list[str]:
        """Expressions of the split that refer to something; at most all there are."""
        known = list(dict.fromkeys(s.text for group in self.true for s in group))
        return [known[k] for k in pick(len(known), count, rng)]

    def batch(self, step: int) -> Batch:
        """This process's share of a step's batch; the same whenever it is asked for."""
        recipe = self.recipe
        drawn = self._draw(step)
        pairs, masks = Pairs(), []
        for b, at in enumerate(drawn.mine):
            index, flip = drawn.photos[at], drawn.flips[at]
            rng = np.random.default_rng([recipe.data_seed, 78, step, at])
            true, false = self.true[index], self.false[index]
            own = [true[k] for k in pick(len(true), recipe.positives, rng)]
            own += [false[k] for k in pick(len(false), recipe.false_ones, rng)]
            for sample in own:
                text = mirrored(sample.text) if flip else sample.text
                pairs.add(b, text, sample.kind, frozenset(sample.annotation_ids))
                masks.append(self._mask(sample, flip))
            others = [s for o in drawn.neighbours(at) for s in self.true[drawn.photos[o]]]
            order = [others[k] for k in pick(len(others), len(others), rng)]
            crossed = 0 if recipe.one_target else recipe.crossed
            for sample in self.guard.surely_false(order, self.photos[index], true, crossed):
                pairs.add(b, sample.text, "other photo", frozenset())
                masks.append(self._mask(None, flip))
        return self._tensors(drawn, pairs, masks)

    def _draw(self, step: int) -> Draw:
        recipe = self.recipe
        drawn = draw(recipe, step, len(self), self.rank, self.world)
        flips = tuple(
            flip and self.may_flip[photo]
            for photo, flip in zip(drawn.photos, drawn.flips, strict=True)
        )
        return Draw(step, drawn.photos, flips, drawn.mine)

    def _tensors(self, drawn: Draw, pairs: Pairs, masks: list[NDArray[np.uint8]]) -> Batch:
        pixels = no_pixels(drawn)
        if self.with_pixels:
            images = [
                self.pixels(drawn.photos[at])[:, :: -1 if drawn.flips[at] else 1]
                for at in drawn.mine
            ]
            pixels = jittered(images, drawn, self.recipe)
        return Batch(
            pixels=pixels,
            texts=list(pairs.texts),
            photo=torch.tensor(pairs.photo),
            text=torch.tensor(pairs.text),
            kinds=pairs.kinds,
            no_target=torch.tensor([float(not r) for r in pairs.referents]),
            masks=torch.from_numpy(np.stack(masks)).float() / 255,
            origin=torch.tensor([drawn.photos[at] for at in drawn.mine]),
            flipped=torch.tensor([drawn.flips[at] for at in drawn.mine]),
            targets=no_targets(len(drawn.mine), self.config.regions),
        )

    def _mask(self, sample: Sample | None, flip: bool) -> NDArray[np.uint8]:
        """The referents' share of each cell, (h, h), 255 for all of it."""
        side = self.config.mask_side
        total = np.zeros((side, side), np.uint16)
        for annotation_id in sample.annotation_ids if sample is not None else ():
            total += self._share(annotation_id)
        share = np.minimum(total, 255).astype(np.uint8)
        return share[:, ::-1] if flip else share

    def _decoded(self, annotation_id: int) -> NDArray[np.uint8]:
        annotation = self.dataset.coco.anns[annotation_id]
        width, height = self.dataset.size(annotation["image_id"])
        whole = decode(annotation["segmentation"], height, width).astype(np.uint8) * 255
        side = self.config.mask_side
        return np.asarray(cv2.resize(whole, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def sentence_vectors(features: Tensor, mask: Tensor) -> NDArray[np.float32]:
    """Word features (E, T, C_t) and mask (E, T) as the mean of each sentence's words, (E, C_t)."""
    weights = mask.to(features.dtype)[..., None]
    mean = (features * weights).sum(1) / weights.sum(1)
    return mean.cpu().numpy().astype(np.float32)
