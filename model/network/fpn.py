"""The lighter pixel decoder, for networks that run on a small CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from model.network.swin import LEVELS


class SeparableConv(nn.Module):
    """A 3 x 3 depth-wise and a 1 x 1 convolution, with group norm and GELU between them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm = nn.GroupNorm(8, channels)
        self.pointwise = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape, added to the input."""
        return x + self.pointwise(F.gelu(self.norm(self.depthwise(x))))


class FeaturePyramid(nn.Module):
    """A feature pyramid: coarse levels are enlarged and added to finer ones.

    Source: Lin et al., Feature Pyramid Networks, CVPR 2017.
    """

    def __init__(self, in_channels: Sequence[int], channels: int, mask_channels: int) -> None:
        super().__init__()
        self.levels = LEVELS[-len(in_channels) :]
        self.laterals = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in in_channels)
        self.smooth = nn.ModuleList(SeparableConv(channels) for _ in in_channels)
        self.mask_features = nn.Sequential(
            SeparableConv(channels), nn.Conv2d(channels, mask_channels, 1)
        )

    def forward(self, pyramid: Mapping[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Decode.

        Args:
            pyramid: res2 .. res5, or res3 .. res5, each (B, C_i, H / s, W / s).
        Returns:
            mask features (B, C_m, h, w) of the finest level; features at strides 32, 16, 8, each
            (B, C, h, w).
        """
        scales: list[Tensor] = []
        x: Tensor | None = None
        for index in reversed(range(len(self.levels))):  # res5 first
            lateral = self.laterals[index](pyramid[self.levels[index]])
            if x is not None:
                lateral = lateral + F.interpolate(
                    x, size=lateral.shape[-2:], mode="bilinear", align_corners=False
                )
            x = self.smooth[index](lateral)
            scales.append(x)
        return self.mask_features(scales[-1]), scales[:3]
