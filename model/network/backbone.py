"""The image encoder: Swin, timm's or Mask2Former's form, as a four-level feature pyramid."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.network.config import SwinConfig
from model.network.fitted_swin import FittedSwin
from model.network.preprocess import PIXEL_MEAN, PIXEL_STD
from model.network.swin import LEVELS, Swin


def conv_stem(channels: int) -> nn.Sequential:
    """(B, 3, H, W) -> (B, C, H/4, W/4), in place of the patch projection."""
    half = channels // 2
    return nn.Sequential(
        nn.Conv2d(3, half, 3, stride=2, padding=1),
        nn.GroupNorm(4, half),
        nn.GELU(),
        nn.Conv2d(half, channels, 3, stride=2, padding=1),
        nn.GroupNorm(4, channels),
        nn.GELU(),
        nn.Conv2d(channels, channels, 3, padding=1),
    )


class SwinBackbone(nn.Module):
    """Swin whose four stages are read, each with a norm of its own, as Mask2Former reads it.

    Source: Liu et al., Swin Transformer, ICCV 2021; the norms are those of Mask2Former's Swin.
    """

    mean: Tensor
    std: Tensor
    swin: Swin | FittedSwin

    def __init__(self, config: SwinConfig, input_size: int) -> None:
        super().__init__()
        self.channels = tuple(config.embed_dim * 2**stage for stage in range(4))
        self.register_buffer("mean", torch.tensor(PIXEL_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(PIXEL_STD).view(1, 3, 1, 1), persistent=False)
        if config.dense:
            self.swin = Swin(
                embed_dim=config.embed_dim,
                depths=config.depths,
                heads=config.num_heads,
                window=config.window_size,
                drop_path=config.drop_path,
            )
            return
        self.swin = FittedSwin(
            built_for=config.built_for or input_size,
            embed_dim=config.embed_dim,
            depths=config.depths,
            heads=config.num_heads,
            window=config.window_size,
            drop_path=config.drop_path,
            projection=conv_stem(config.embed_dim) if config.conv_stem else None,
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in self.channels)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Encode photos.

        Args:
            pixels: (B, 3, H, W) RGB in 0..255, H and W multiples of 32.
        Returns:
            res2 .. res5: (B, C_i, H / s, W / s) with C_i = embed_dim * (1, 2, 4, 8), s = 4 .. 32.
        """
        image = (pixels - self.mean) / self.std
        if isinstance(self.swin, Swin):
            return self.swin(image)
        x = self.swin.patch_embed(image)  # (B, H/4, W/4, C)
        pyramid = {}
        for level, stage, norm in zip(LEVELS, self.swin.layers, self.norms, strict=True):
            x = stage(x)
            pyramid[level] = norm(x).permute(0, 3, 1, 2)  # (B, h, w, C) -> (B, C, h, w)
        return pyramid
