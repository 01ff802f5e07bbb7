"""What one training step computes: photos encoded once, every pair judged, losses summed up."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.distributed as dist
from torch import Tensor, nn

from model.network.hybrid import HybridBackbone
from model.network.rela import Encoded, RelaNetwork
from model.network.rla import HeadOutput
from training.data.batches import Batch
from training.learning.kind_readout import KindReadout
from training.learning.losses import RegionReadout, Sums, losses_of, means
from training.recipes.recipe import Recipe


class Step(nn.Module):
    """Network and read-out as one module: what one training step runs, and what DDP wraps.

    Args:
        stage: "head" leaves Swin, decoder and region queries as they are, "decoder" Swin alone.
        readout: of real photographs; drawings have one of their own.
    """

    readout: RegionReadout | KindReadout

    def __init__(
        self, network: RelaNetwork, stage: str, readout: KindReadout | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.readout = readout or RegionReadout(network.config.channels)
        self.stage = stage

    def forward(self, batch: Batch, features: Tensor, mask: Tensor, recipe: Recipe) -> Sums:
        """Losses of one batch; features (E, T, C_t) and mask (E, T) of its texts."""
        weights = recipe.losses
        if self.stage == "head":  # the regions are frozen
            weights = replace(weights, regions=0.0, dense=0.0, region_masks=0.0)
        encoded = self.encode(batch)
        outputs = self.judge(batch, encoded, features, mask, every_layer=weights.deep > 0)
        config = self.network.config
        return losses_of(config, self.readout, batch, encoded, outputs, weights)

    def encode(self, batch: Batch) -> Encoded:
        """One vision pass a photo, or none where the batch holds a dump's tokens."""
        if batch.regions is not None and batch.features is not None:
            none = batch.regions[..., :0]
            return Encoded(batch.regions, none, batch.features, none)
        if batch.maps is not None:
            backbone = self.network.backbone
            assert isinstance(backbone, HybridBackbone)
            return self.network.decode(backbone.refine(batch.maps))
        learning = torch.is_grad_enabled()
        with torch.set_grad_enabled(self.stage == "all" and learning):
            pyramid = self.network.pyramid(batch.pixels)
        with torch.set_grad_enabled(self.stage != "head" and learning):
            return self.network.decode(pyramid)

    def judge(
        self, batch: Batch, encoded: Encoded, features: Tensor, mask: Tensor, every_layer: bool
    ) -> list[HeadOutput]:
        """The answers to every pair, of the last RLA layer or of each, in order."""
        net, head = self.network, self.network.head
        words = net.words(features, mask).index_select(0, batch.text)
        mask = mask.index_select(0, batch.text)
        tokens = net.tokens(encoded.regions).select(batch.photo)
        if not every_layer:
            return [net.judge(tokens, words, mask)]
        return [head.read(x, tokens) for x in head.each_regions(tokens, words, mask)]


def shared_means(sums: Sums, world: int) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Losses over the batches of all processes.

    DDP averages gradients over processes. So each process divides its own sum by the count of all
    over their number: the average is then the sum of all over the count of all.

    Returns:
        losses to go back from, this process's share; losses of the whole batch, to be shown.
    """
    if world == 1:
        found = means(sums)
        return found, {name: float(value.detach()) for name, value in found.items()}
    flat = torch.stack([torch.stack([v.detach(), n]) for parts in sums.values() for v, n in parts])
    dist.all_reduce(flat)
    rows = iter(flat)
    whole: Sums = {}
    divisors: dict[str, list[Tensor]] = {}
    for name, parts in sums.items():
        taken = [next(rows) for _ in parts]
        whole[name] = [(row[0], row[1]) for row in taken]
        divisors[name] = [row[1] / world for row in taken]
    shown = {name: float(value) for name, value in means(whole).items()}
    return means(sums, divisors), shown
