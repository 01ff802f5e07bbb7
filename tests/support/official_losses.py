"""The loss that the released networks were trained with; here to prove the forward pass.

Source: the reference implementation; the paper's section 4.1 names the three cross entropies.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from model.official.network import OfficialOutput

CLASS_WEIGHTS = (0.9, 1.1)
"""Of background and target, of target and no-target."""
MINIMAP_SIDE = 10
MINIMAP_WEIGHT = 0.1
NO_TARGET_WEIGHT = 0.1
TOTAL_WEIGHT = 5.0


class OfficialLosses(NamedTuple):
    """Cross entropies, each a weighted mean, and their weighted sum."""

    mask: Tensor
    minimap: Tensor
    no_target: Tensor
    total: Tensor


def official_losses(output: OfficialOutput, targets: Tensor, no_target: Tensor) -> OfficialLosses:
    """Compare a batch with the truth.

    Args:
        output: of the network.
        targets: (B, H, W) 0 or 1, at the padded image's size; all 0 where there is no target.
        no_target: (B,) 1 where the expression refers to nothing.
    """
    weight = output.masks.new_tensor(CLASS_WEIGHTS)
    masks = F.interpolate(
        output.masks, size=targets.shape[-2:], mode="bilinear", align_corners=False
    )
    mask = F.cross_entropy(masks, targets.long(), weight)
    side = (MINIMAP_SIDE, MINIMAP_SIDE)
    cells = F.interpolate(
        targets[:, None].to(output.masks), size=side, mode="bilinear", align_corners=False
    )
    # Truncation: a cell is target only if every pixel that it samples is.
    minimap = F.cross_entropy(output.minimap.transpose(1, 2), cells.flatten(1).long(), weight)
    verdict = F.cross_entropy(output.no_target, no_target.long(), weight)
    total = mask + MINIMAP_WEIGHT * minimap + NO_TARGET_WEIGHT * verdict
    return OfficialLosses(mask, minimap, verdict, TOTAL_WEIGHT * total)
