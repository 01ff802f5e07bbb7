"""The losses: the paper's cross-entropies of mask, minimap and no-target, and our additions.

Shape legend as in `training.batches`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.rela import Encoded, RelaNetwork, mask_logits
from model.rla import HeadOutput
from training.batches import IGNORE, REGION_CLASSES, Batch
from training.recipe import LossWeights


class RegionReadout(nn.Module):
    """What a region token says of its instance; only training has it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.classes = nn.ModuleDict({n: nn.Linear(channels, c) for n, c in REGION_CLASSES.items()})
        self.place = nn.Linear(channels, 4)

    def forward(self, regions: Tensor, batch: Batch) -> Tensor:
        """F'_r (B, N, C) -> the mean loss of all read-outs, a scalar."""
        losses = []
        for name, head in self.classes.items():
            target = batch.region_class[name].flatten()
            if (target != IGNORE).any():
                logits = head(regions).float().flatten(0, 1)
                losses.append(F.cross_entropy(logits, target, ignore_index=IGNORE))
        seen = batch.region_place[..., 2] > 0
        if seen.any():
            error = F.l1_loss(self.place(regions).float(), batch.region_place, reduction="none")
            losses.append(5.0 * error[seen].mean())
        return torch.stack(losses).mean()


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """1 - Dice overlap a mask, (M, ...) -> (M,); Milletari et al., V-Net, 2016, one added above
    and below so that empty masks have a gradient."""
    p, t = logits.float().sigmoid().flatten(1), target.flatten(1)
    return 1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)


def minimap_target(masks: Tensor, side: int) -> Tensor:
    """Ground truth at P x P: (M, h, h) -> (M, P²); a third of a cell counts as the whole cell."""
    return (3.0 * F.adaptive_avg_pool2d(masks[:, None], side).flatten(1)).clamp(max=1.0)


def losses_of(
    network: RelaNetwork,
    readout: RegionReadout,
    batch: Batch,
    encoded: Encoded,
    output: HeadOutput,
    weights: LossWeights,
) -> dict[str, Tensor]:
    """Every loss that has a weight, unweighted, by name."""
    config = network.config
    found: dict[str, Tensor] = {}
    found["no_target"] = F.binary_cross_entropy_with_logits(
        output.no_target_logit.float(), batch.no_target
    )
    if weights.minimap and config.minimap_supervised:
        found["minimap"] = F.binary_cross_entropy_with_logits(
            output.minimap_logit.float(), minimap_target(batch.masks, config.regions_per_side)
        )
    shown = torch.nonzero(batch.no_target == 0)[:, 0]
    if len(shown) and (weights.mask or weights.dice):
        features = encoded.mask_features.index_select(0, batch.photo.index_select(0, shown))
        logits = mask_logits(output.coefficients.index_select(0, shown), features).float()
        target = batch.masks.index_select(0, shown)
        found["mask"] = F.binary_cross_entropy_with_logits(logits, target)
        found["dice"] = dice(logits, target).mean()
    if weights.regions:
        found["regions"] = readout(encoded.regions, batch)
    if weights.region_masks:
        seen = batch.region_place[..., 2] > 0  # (B, N)
        if seen.any():
            small = F.avg_pool2d(encoded.mask_features, 2)
            logits = torch.einsum("bnc,bchw->bnhw", encoded.region_filters, small)[seen].float()
            target = batch.region_masks[seen]
            found["region_masks"] = (
                F.binary_cross_entropy_with_logits(logits, target) + dice(logits, target).mean()
            )
    return found


def total(found: dict[str, Tensor], weights: LossWeights) -> Tensor:
    """The weighted sum."""
    return torch.stack([getattr(weights, name) * value for name, value in found.items()]).sum()
