"""The losses that the released networks were trained with.

Three cross entropies over two classes each, weighted by class: of the mask at the truth's size, of
the minimap, of the no-target verdict. Tests hold them to the authors' own numbers.

Source: the reference implementation; the paper's section 4.1 names the three.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from model.official.network import OfficialOutput
from training.learning.losses import Part, Sums

CLASS_WEIGHTS = (0.9, 1.1)
"""Of background and target, of target and no-target."""


def early_losses(output: OfficialOutput, targets: Tensor, no_target: Tensor) -> Sums:
    """Compare a batch with the truth: `mask`, `minimap` and `no_target`.

    Args:
        output: of B pairs.
        targets: (B, H, W) 0 or 1, at the padded image's size; all 0 where there is no target.
        no_target: (B,) 1 where the expression refers to nothing.
    """
    shape = (targets.shape[-2], targets.shape[-1])
    masks = F.interpolate(_wide(output.masks), size=shape, mode="bilinear", align_corners=False)
    side = round(output.minimap.shape[1] ** 0.5)
    cells = F.interpolate(
        targets[:, None].to(masks.dtype), size=(side, side), mode="bilinear", align_corners=False
    )
    return {
        "mask": [_entropy(masks, targets.long())],
        # Truncation: a cell is target only if every pixel that it samples is.
        "minimap": [_entropy(_wide(output.minimap).transpose(1, 2), cells.flatten(1).long())],
        "no_target": [_entropy(_wide(output.no_target), no_target.long())],
    }


def _wide(x: Tensor) -> Tensor:
    """What autocast halved, in float32."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def _entropy(logits: Tensor, wanted: Tensor) -> Part:
    """Weighted cross entropies (B, 2, ...) against (B, ...): their sum, and that of the weights."""
    weight = logits.new_tensor(CLASS_WEIGHTS)
    total = F.cross_entropy(logits, wanted, weight, reduction="sum")
    return total, weight[wanted].sum()
