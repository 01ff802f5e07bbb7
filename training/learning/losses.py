"""The losses: the paper's cross-entropies of mask, minimap and no-target, and our additions.

Each loss is kept as sums with their counts. Processes add up sums and counts before they divide,
so that several of them have exactly the losses, and the gradient, of one with the whole batch.

Shape legend as in `training.data.batches`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.config import ReLAConfig
from model.network.rela import Encoded, mask_logits
from model.network.rla import HeadOutput
from training.data.batches import Batch
from training.data.region_targets import IGNORE, REGION_CLASSES, Targets
from training.learning.kind_readout import KindReadout
from training.recipes.recipe import LossWeights

# (sum, count), both scalars; a loss is the mean of the parts that count something.
Part = tuple[Tensor, Tensor]
Sums = dict[str, list[Part]]

# Weight of class 0 where it is most common: three of four pixels show nothing, and of the regions
# that show an instance one in seven shows one with a hat, one in eight with a bag. Of the pixels
# that are asked for a bag, only one in 25 is near one.
COMMON = {"category": 0.15, "hat": 0.25, "bag": 0.05, "worn": 0.25}
# Read-outs that expressions ask for most, and those that are learned last.
IMPORTANCE = {"category": 4.0, "colour": 2.0, "hat": 3.0, "bag": 3.0, "hair": 2.0, "worn": 3.0}

DEEP = "deep_"  # losses of earlier RLA layers, by the name of the last layer's loss


def part(values: Tensor) -> Part:
    """One value an item, any shape -> their sum and how many they are."""
    return values.float().sum(), torch.tensor(float(values.numel()), device=values.device)


class RegionReadout(nn.Module):
    """What a region token, and a pixel, says of its instance; only training has it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.classes = nn.ModuleDict({n: nn.Linear(channels, c) for n, c in REGION_CLASSES.items()})
        self.place = nn.Linear(channels, 4)
        self.pixel = nn.Linear(channels, sum(REGION_CLASSES.values()))

    def forward(self, regions: Tensor, targets: Targets) -> list[Part]:
        """F'_r (B, N, C) -> a loss a class and one of the place."""
        parts = [
            _classified(name, self.classes[name](regions), target)
            for name, target in targets.region_class.items()
        ]
        seen = targets.region_place[..., 2] > 0
        error = F.l1_loss(self.place(regions).float(), targets.region_place, reduction="none")
        return [*parts, part(5.0 * error[seen].mean(-1))]

    def dense(self, finest: Tensor, targets: Targets) -> list[Part]:
        """The decoder's features (B, C, H/8, W/8) -> a loss a class."""
        logits = self.pixel(finest.permute(0, 2, 3, 1))  # (B, H/8, W/8, all classes)
        split = logits.split(list(REGION_CLASSES.values()), dim=-1)
        by_name = dict(zip(REGION_CLASSES, split, strict=True))
        pixels = targets.pixel_class.items()
        return [_classified(name, by_name[name], target) for name, target in pixels]


def _classified(name: str, logits: Tensor, target: Tensor) -> Part:
    """Cross-entropy of the known classes; (..., K) logits, (...) targets."""
    rows, wanted = logits.float().flatten(0, -2), target.flatten()
    weight = torch.ones(rows.shape[1], device=rows.device)
    weight[0] = COMMON.get(name, 1.0)
    loss = F.cross_entropy(rows, wanted, weight, ignore_index=IGNORE, reduction="sum")
    count = weight[wanted.clamp_min(0)][wanted != IGNORE].sum()
    return IMPORTANCE.get(name, 1.0) * loss, count


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """1 - Dice overlap a mask, (M, ...) -> (M,); Milletari et al., V-Net, 2016, one added above
    and below so that empty masks have a gradient."""
    p, t = logits.float().sigmoid().flatten(1), target.flatten(1)
    return 1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)


def box_losses(logits: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Losses of masks of which only boxes are known: nothing outside, and as wide and as high.

    Args:
        logits: (M, h, h). boxes: (M, h, h) the union of the boxes.
    Returns:
        cross-entropy where no box is, (M,); 1 - Dice of the projections on both axes, (M,).
    Source: Tian et al., BoxInst, CVPR 2021, for the projections.
    """
    out = (boxes < 0.02).float()
    wrong = F.softplus(logits.float()) * out
    outside = wrong.flatten(1).sum(1) / out.flatten(1).sum(1).clamp_min(1.0)
    sides = [dice(logits.amax(axis), boxes.amax(axis)) for axis in (1, 2)]
    return outside, torch.stack(sides).mean(0)


def shared(logits: Tensor, others: Tensor) -> Tensor:
    """How much of the smaller of two masks lies in the other, softly; (K, h, h) each -> (K,)."""
    p, q = (x.float().sigmoid().flatten(1) for x in (logits, others))
    return (p * q).sum(1) / (torch.minimum(p.sum(1), q.sum(1)) + 1)


def minimap_target(masks: Tensor, side: int, rule: str = "third") -> Tensor:
    """Ground truth at P x P: (M, h, h) -> (M, P²); by rule, see `LossWeights.minimap_rule`."""
    share = F.adaptive_avg_pool2d(masks[:, None], side).flatten(1)
    return (3.0 * share).clamp(max=1.0) if rule == "third" else share


def _entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy a row: (M, ...) -> (M,)."""
    loss = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    return loss.flatten(1).mean(1) if loss.ndim > 1 else loss


def pair_losses(
    config: ReLAConfig, batch: Batch, features: Tensor, output: HeadOutput, weights: LossWeights
) -> Sums:
    """The losses of the head's answers; features F_m (B, C_m, h, h)."""
    found: Sums = {"no_target": [part(_entropy(output.no_target_logit, batch.no_target))]}
    if weights.minimap and config.minimap_supervised:
        target = minimap_target(batch.masks, config.regions_per_side, weights.minimap_rule)
        logits = output.minimap_logit
        if batch.maskless is not None:
            placed = torch.nonzero(~batch.maskless)[:, 0]
            logits, target = logits.index_select(0, placed), target.index_select(0, placed)
        found["minimap"] = [part(_entropy(logits, target))]
    if weights.mask or weights.dice:
        placed = (batch.no_target == 0) | weights.mask_everywhere
        if batch.maskless is not None:
            placed = placed & ~batch.maskless
        shown = torch.nonzero(placed)[:, 0]
        seen = features.index_select(0, batch.photo.index_select(0, shown))
        logits = mask_logits(output.coefficients.index_select(0, shown), seen)
        target = batch.masks.index_select(0, shown)
        if batch.by_box is None:
            found["mask"] = [part(_entropy(logits, target))]
            found["dice"] = [part(dice(logits, target))]
        else:
            boxed = batch.by_box.index_select(0, shown)
            outside, projected = box_losses(logits[boxed], target[boxed])
            found["mask"] = [part(torch.cat([_entropy(logits[~boxed], target[~boxed]), outside]))]
            found["dice"] = [part(torch.cat([dice(logits[~boxed], target[~boxed]), projected]))]
    return found


def losses_of(
    config: ReLAConfig,
    readout: RegionReadout | KindReadout,
    batch: Batch,
    encoded: Encoded,
    outputs: Sequence[HeadOutput],
    weights: LossWeights,
) -> Sums:
    """Every loss that has a weight, unweighted, by name.

    Args:
        outputs: of the RLA layers, the last one last; earlier ones only for deep supervision.
    """
    features = encoded.mask_features
    found = pair_losses(config, batch, features, outputs[-1], weights)
    for output in outputs[:-1]:
        for name, parts in pair_losses(config, batch, features, output, weights).items():
            found.setdefault(DEEP + name, []).extend(parts)
    if weights.overlap and batch.rests is not None:
        pairs = batch.rests.T  # (2, K)
        seen = features.index_select(0, batch.photo.index_select(0, pairs[0]))
        one, other = (mask_logits(outputs[-1].coefficients.index_select(0, k), seen) for k in pairs)
        found["overlap"] = [part(shared(one, other))]
    if isinstance(readout, KindReadout):
        found.update(_of_photos(readout, batch, encoded, weights))
        return found
    if weights.regions:
        found["regions"] = readout(encoded.regions, batch.targets)
    if weights.dense:
        found["dense"] = readout.dense(encoded.finest, batch.targets)
    if weights.region_masks:
        seen = batch.targets.region_place[..., 2] > 0  # (B, N)
        small = F.avg_pool2d(features, 2)
        logits = torch.einsum("bnc,bchw->bnhw", encoded.region_filters, small)[seen]
        target = batch.targets.region_masks[seen]
        found["region_masks"] = [part(_entropy(logits, target) + dice(logits, target))]
    return found


def _of_photos(readout: KindReadout, batch: Batch, encoded: Encoded, weights: LossWeights) -> Sums:
    targets = batch.photo_targets
    assert targets is not None
    found: Sums = {}
    if weights.regions:
        found["regions"] = readout.regions(encoded, targets)
    if weights.dense:
        found["dense"] = readout.dense(encoded.finest, targets)
    if weights.region_masks:
        seen = targets.region_masks.flatten(2).any(-1)  # (B, N)
        small = F.avg_pool2d(encoded.mask_features, 2)
        logits = torch.einsum("bnc,bchw->bnhw", encoded.region_filters, small)[seen]
        target = F.avg_pool2d(targets.region_masks[seen], 2)
        found["region_masks"] = [part(_entropy(logits, target) + dice(logits, target))]
    return found


def means(sums: Sums, divisors: dict[str, list[Tensor]] | None = None) -> dict[str, Tensor]:
    """Losses from sums; `divisors` instead of the own counts where other processes add theirs."""
    found = {}
    for name, parts in sums.items():
        counts = [count for _, count in parts] if divisors is None else divisors[name]
        # Weighted counts, and shares of them, may be far below one; an empty part's sum is zero.
        values = [value / n.clamp_min(1e-6) for (value, _), n in zip(parts, counts, strict=True)]
        used = torch.stack([n > 0 for n in counts]).sum().clamp_min(1)
        found[name] = torch.stack(values).sum() / used
    return found


def weight_of(name: str, weights: LossWeights) -> float:
    """What a loss counts."""
    if name.startswith(DEEP):
        return weights.deep * weight_of(name.removeprefix(DEEP), weights)
    return float(getattr(weights, name))


def total(found: dict[str, Tensor], weights: LossWeights) -> Tensor:
    """The weighted sum."""
    return torch.stack([weight_of(name, weights) * v for name, v in found.items()]).sum()
