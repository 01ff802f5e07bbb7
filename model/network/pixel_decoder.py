"""The pixel decoder: from Swin's pyramid to mask features and three scales for the queries.

The three coarse levels exchange information through deformable attention; the finest one (stride
4) is then joined to the result, and a 1 x 1 convolution makes the mask features F_m of it.

Shape legend: B batch, C ``conv_dim``, C_m ``mask_dim``, (H, W) the image.

Source: Cheng et al., Mask2Former, CVPR 2022, section 3.2.2, which the paper takes over.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.deformable import DeformableEncoderLayer, reference_points
from model.network.masked_decoder import sine_positions

COARSE_LEVELS = ("res5", "res4", "res3")
"""Levels that exchange information, coarsest first: strides 32, 16, 8."""


class PixelFeatures(NamedTuple):
    """What the pixel decoder makes of a pyramid."""

    mask_features: Tensor
    """(B, C_m, H/4, W/4)"""
    multi_scale: list[Tensor]
    """(B, C, H/32, W/32), (B, C, H/16, W/16), (B, C, H/8, W/8)"""


class NormalisedConv(nn.Sequential):
    """A convolution and a GroupNorm of 32 groups, or of as many of them as divide the channels."""

    def __init__(self, in_dim: int, out_dim: int, size: int, *, bias: bool) -> None:
        conv = nn.Conv2d(in_dim, out_dim, size, padding=size // 2, bias=bias)
        nn.init.kaiming_uniform_(conv.weight, a=1)
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)
        super().__init__(conv, nn.GroupNorm(math.gcd(32, out_dim), out_dim))


class MSDeformAttnPixelDecoder(nn.Module):
    """Deformable pixel decoder.

    Args:
        channels: channels of res2, res3, res4, res5.
        conv_dim: C, channels inside.
        mask_dim: C_m, channels of the mask features.
        layers: deformable encoder layers.
        heads, points: of the deformable attention.
        ffn_dim: width of the encoder's feed-forward layers.
    """

    def __init__(
        self,
        channels: Sequence[int],
        *,
        conv_dim: int = 256,
        mask_dim: int = 256,
        layers: int = 6,
        heads: int = 8,
        points: int = 4,
        ffn_dim: int = 1024,
    ) -> None:
        super().__init__()
        if len(channels) != 4:
            raise ValueError(f"a pyramid has four levels, res2 to res5; got {len(channels)}")
        self.conv_dim, self.mask_dim = conv_dim, mask_dim
        finest, *coarse = channels
        self.input_projections = nn.ModuleList(
            NormalisedConv(width, conv_dim, 1, bias=True) for width in reversed(coarse)
        )
        self.level_embedding = nn.Parameter(torch.randn(len(coarse), conv_dim))
        self.encoder = nn.ModuleList(
            DeformableEncoderLayer(
                dim=conv_dim, heads=heads, levels=len(coarse), points=points, ffn_dim=ffn_dim
            )
            for _ in range(layers)
        )
        self.lateral = NormalisedConv(finest, conv_dim, 1, bias=False)
        self.smooth = NormalisedConv(conv_dim, conv_dim, 3, bias=False)
        self.mask_projection = nn.Conv2d(conv_dim, mask_dim, 1)
        nn.init.kaiming_uniform_(self.mask_projection.weight, a=1)
        nn.init.zeros_(self.mask_projection.bias)  # type: ignore[arg-type]

    def forward(self, pyramid: Mapping[str, Tensor]) -> PixelFeatures:
        """Decode a pyramid ``{"res2": (B, C2, H/4, W/4), ..., "res5": (B, C5, H/32, W/32)}``."""
        maps = [
            projection(pyramid[name])
            for projection, name in zip(self.input_projections, COARSE_LEVELS, strict=True)
        ]
        sizes = [(level.shape[-2], level.shape[-1]) for level in maps]
        # (B, C, H_l, W_l) each -> (B, N, C)
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1)
        positions = torch.cat(
            [
                sine_positions(size, self.conv_dim, like=tokens).flatten(1).T + embedding
                for size, embedding in zip(sizes, self.level_embedding, strict=True)
            ]
        )[None]  # (1, N, C)
        points = reference_points(sizes, like=tokens)
        for layer in self.encoder:
            tokens = layer(tokens, positions, points, sizes)
        # (B, N, C) -> (B, C, H_l, W_l) each
        multi_scale = [
            level.transpose(1, 2).reshape(-1, self.conv_dim, *size)
            for level, size in zip(
                torch.split(tokens, [height * width for height, width in sizes], dim=1),
                sizes,
                strict=True,
            )
        ]
        fine = self.lateral(pyramid["res2"])
        coarse = F.interpolate(
            multi_scale[-1], size=fine.shape[-2:], mode="bilinear", align_corners=False
        )
        fine = F.relu(self.smooth(fine + coarse))
        return PixelFeatures(self.mask_projection(fine), multi_scale)
