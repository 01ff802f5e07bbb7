"""EfficientNet-Lite as a stem: convolutions that have seen real photographs, batch norms folded.

Only what running needs is here; `training.photos.trunk` reads the published ImageNet weights into
it. Every convolution pads as TensorFlow's "same" does: where an even map is halved, one more row
and column below and to the right than above and to the left.

Shape legend: B photos, H x W pixels, C channels of a map.

Source: Tan and Le, EfficientNet, ICML 2019; the Lite variants drop squeeze-and-excitation and use
ReLU6 throughout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# (kernel, stride, expansion, channels, blocks) of EfficientNet-B0, which the others scale.
_STAGES = (
    (3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1),
)  # fmt: skip
_STEM_CHANNELS = 32
HEAD_CHANNELS = 1280
CLASSES = 1000
# Stages whose maps are read, by level: strides 4, 8, 16, 32.
_READ = {1: "res2", 2: "res3", 4: "res4", 6: "res5"}


@dataclass(frozen=True)
class StemSize:
    """How a variant scales the first one's widths and depths."""

    width: float
    depth: float


STEMS = {
    "efficientnet-lite0": StemSize(1.0, 1.0),
    "efficientnet-lite1": StemSize(1.0, 1.1),
    "efficientnet-lite2": StemSize(1.1, 1.2),
}


def _channels(base: int, width: float) -> int:
    """Scaled and rounded to a multiple of 8, never by more than a tenth downwards."""
    scaled = base * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def stem_channels(name: str) -> tuple[int, int, int, int]:
    """Channels of the maps at strides 4, 8, 16 and 32."""
    width = STEMS[name].width
    a, b, c, d = (_channels(_STAGES[stage][3], width) for stage in _READ)
    return a, b, c, d


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding and a bias, the folded norm's."""

    def __init__(self, inner: int, outer: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(inner, outer, kernel, stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if kernel == 1:
            return super().forward(x)
        below, right = (
            max((math.ceil(n / stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:]
        )
        if stride == 1:  # even on both sides: the convolution pads by itself
            return F.conv2d(x, self.weight, self.bias, 1, kernel // 2, groups=self.groups)
        x = F.pad(x, (right // 2, right - right // 2, below // 2, below - below // 2))
        return super().forward(x)


class Bottleneck(nn.Module):
    """Widen, filter depth-wise, narrow; added to the input where the shape stays."""

    def __init__(self, inner: int, outer: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inner * expansion
        self.widen = SameConv(inner, wide, 1) if expansion > 1 else None
        self.depthwise = SameConv(wide, wide, kernel, stride, groups=wide)
        self.narrow = SameConv(wide, outer, 1)
        self.adds = stride == 1 and inner == outer

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        y = x if self.widen is None else F.relu6(self.widen(x), inplace=True)
        y = self.narrow(F.relu6(self.depthwise(y), inplace=True))
        return x + y if self.adds else y


class EfficientLite(nn.Module):
    """The trunk: four maps of a photo."""

    def __init__(self, name: str) -> None:
        super().__init__()
        size = STEMS[name]
        self.first = SameConv(3, _STEM_CHANNELS, 3, 2)
        inner, stages = _STEM_CHANNELS, []
        for index, (kernel, stride, expansion, base, depth) in enumerate(_STAGES):
            outer = _channels(base, size.width)
            fixed = index in (0, len(_STAGES) - 1)  # Lite scales no depth at the ends
            count = depth if fixed else math.ceil(depth * size.depth)
            blocks = []
            for at in range(count):
                blocks.append(Bottleneck(inner, outer, kernel, stride if not at else 1, expansion))
                inner = outer
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) RGB in 0..255 -> res2 .. res5, (B, C_i, H / s, W / s), s = 4 .. 32."""
        x = F.relu6(self.first((pixels - 127.0) / 128.0), inplace=True)
        maps = {}
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in _READ:
                maps[_READ[index]] = x
        return maps


class TrunkWords(nn.Module):
    """What the trunk would call each place: its 1,000 classes, carried into the space of texts.

    A convex combination of the class names' sentence embeddings, weighted by the softmax of the
    trunk's own classifier at every place of its coarsest map.

    Source: Norouzi et al., Zero-Shot Learning by Convex Combination of Semantic Embeddings, 2014.
    """

    names: Tensor

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.widen = SameConv(channels, HEAD_CHANNELS, 1)
        self.classes = nn.Conv2d(HEAD_CHANNELS, CLASSES, 1)
        self.register_buffer("names", torch.zeros(CLASSES, width))

    def logits(self, coarsest: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 1000, h, w), of the trunk's classifier at each place."""
        logits: Tensor = self.classes(F.relu6(self.widen(coarsest)))
        return logits

    def forward(self, coarsest: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, D, h, w) in the space of the class names' embeddings."""
        share = self.logits(coarsest).float().softmax(1).to(coarsest.dtype)
        return torch.einsum("bkhw,kd->bdhw", share, self.names.to(share.dtype))
