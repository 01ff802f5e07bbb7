"""How a baseline trains and is measured, in the trainer and by the figures of the full network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from model import masks, pixel_rule
from model.network.config import ReLAConfig
from model.network.preprocess import to_pixels
from model.network.rela import RelaNetwork
from model.text import TextEncoder
from training.baselines.networks import BASELINES, Answer, PairNetwork
from training.data.batches import Batch
from training.learning.kind_readout import KindReadout
from training.learning.losses import Sums, dice, pair_losses, part
from training.learning.step import Step
from training.learning.train import Trainer
from training.measuring.judging import PairScores, PairSet
from training.photos.sources import Data
from training.recipes.recipe import Recipe

PAIRS_AT_ONCE = 32


class PairStep(Step):
    """A step in which every pair looks at its photo anew."""

    def forward(self, batch: Batch, features: Tensor, mask: Tensor, recipe: Recipe) -> Sums:
        """Losses of one batch; features (E, T, C_t) and mask (E, T) of its texts."""
        net = self.network
        assert isinstance(net, PairNetwork)
        words = net.words(features, mask).index_select(0, batch.text)
        mask = mask.index_select(0, batch.text)
        answer = net.answer(batch.pixels, batch.photo, words, mask)
        return losses_of(net.config, batch, answer, recipe)


def losses_of(config: ReLAConfig, batch: Batch, answer: Answer, recipe: Recipe) -> Sums:
    """The losses of M answers: ReLA's own, or of the masks alone.

    Without a classifier an empty mask is how a method says "not here": there the masks of
    no-target pairs are learned too.
    """
    logits = answer.mask_logits
    found: Sums = {}
    if answer.head is not None:
        rest = replace(recipe.losses, mask=0.0, dice=0.0)
        found |= pair_losses(config, batch, logits, answer.head, rest)
    shown = torch.nonzero(batch.no_target == 0)[:, 0]
    asked = shown if answer.head is not None else torch.arange(len(logits), device=logits.device)
    wanted = batch.masks.index_select(0, asked)
    entropy = F.binary_cross_entropy_with_logits(
        logits.index_select(0, asked).float(), wanted, reduction="none"
    )
    found["mask"] = [part(entropy.flatten(1).mean(1))]
    found["dice"] = [part(dice(logits.index_select(0, shown), batch.masks.index_select(0, shown)))]
    return found


class BaselineTrainer(Trainer):
    """The trainer of one of BASELINES.

    Args:
        name: of the method. The rest as in `Trainer`.
    """

    def __init__(
        self, name: str, recipe: Recipe, data: Data, folder: Path, device: str, start: Path
    ) -> None:
        self._make: Callable[[ReLAConfig], PairNetwork] = BASELINES[name]
        super().__init__(recipe, data, folder, device, start)

    def new_network(self, config: ReLAConfig) -> RelaNetwork:
        """A network of the method, random."""
        return self._make(config)

    def new_step(self, network: RelaNetwork, readout: KindReadout | None) -> Step:
        """A step that asks pair by pair."""
        return PairStep(network, self.recipe.stage, readout)


@torch.inference_mode()
def judge_pairs(
    network: PairNetwork, text: TextEncoder, data: PairSet, device: str = "cpu"
) -> PairScores:
    """As `training.measuring.judging.judge_pairs`; without a classifier the 50-pixel rule decides.

    Args:
        network: trained; it is moved to the device.
    """
    network = network.eval().to(device)
    text = text.to(device)
    size = network.config.input_size
    count = len(data.pairs)
    logit, pixels = np.zeros(count), np.zeros((count, 4), dtype=np.int64)
    by_photo: dict[int, list[int]] = {}
    for index, pair in enumerate(data.pairs):
        by_photo.setdefault(pair.photo, []).append(index)
    for photo, all_rows in by_photo.items():
        image = data.photos.image(photo)
        height, width = image.shape[:2]
        squashed = torch.from_numpy(np.array(to_pixels(Image.fromarray(image), size)))
        one = squashed.permute(2, 0, 1)[None].float().to(device)  # (1, 3, S, S)
        for at in range(0, len(all_rows), PAIRS_AT_ONCE):
            rows = all_rows[at : at + PAIRS_AT_ONCE]
            features, mask = text([data.pairs[index].expression for index in rows])
            words = network.words(features, mask)
            photos = torch.zeros(len(rows), dtype=torch.long, device=device)
            answer = network.answer(one, photos, words, mask)
            for row, index in enumerate(rows):
                drawn = masks.from_logits(answer.mask_logits[row], width, height).array
                area = masks.from_logits(answer.mask_logits[row], size, size).area
                truth = data.photos.mask(photo, data.pairs[index].targets)
                pixels[index] = (
                    np.count_nonzero(drawn & truth), np.count_nonzero(drawn),
                    np.count_nonzero(truth), area,
                )  # fmt: skip
                logit[index] = (
                    float(pixel_rule.no_target_logit(area))
                    if answer.head is None
                    else float(answer.head.no_target_logit[row])
                )
    return PairScores(logit, *pixels.T)
