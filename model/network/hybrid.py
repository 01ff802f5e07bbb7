"""Swin stages on a pretrained convolutional stem, which begin as the identity.

The stem has seen real photographs; what it knows is neither thrown away nor relearned. Its maps at
strides 16 and 32 go through Swin blocks whose residual branches start at zero, and beside the
coarsest map stands what the stem's own classifier would call each place.

Shape legend: B photos, H x W pixels, C_i channels of a level, D channels of the text space.

Source: Dosovitskiy et al., ViT, ICLR 2021, for hybrids of convolutions and attention; Goyal et al.,
Accurate, Large Minibatch SGD, 2017, for residual branches that start at zero.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.network.config import SwinConfig
from model.network.stem import EfficientLite, TrunkWords, stem_channels
from model.network.swin import SwinBlock, SwinStage

REFINED = ("res4", "res5")


class Standard(nn.Module):
    """A map whose channels have mean 0 and deviation 1 over photographs, as once measured."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        return (x - self.mean[:, None, None]) / self.deviation[:, None, None]


class HybridBackbone(nn.Module):
    """Stem, its words and two Swin stages, read as a pyramid of three levels."""

    def __init__(self, config: SwinConfig, text_channels: int) -> None:
        super().__init__()
        _, fine, middle, coarse = stem_channels(config.stem)
        self.channels = (fine, middle, coarse + text_channels)
        self.stem = EfficientLite(config.stem)
        self.words = TrunkWords(coarse, text_channels)
        widths = {"res3": fine, "res4": middle, "res5": coarse, "words": text_channels}
        self.standard = nn.ModuleDict({name: Standard(width) for name, width in widths.items()})
        self.stages = nn.ModuleDict(
            {
                level: SwinStage(
                    dim=widths[level],
                    heads=config.num_heads[at],
                    side=config.window_size,
                    mlp_ratio=4.0,
                    drop_paths=[config.drop_path] * config.depths[at],
                    last=True,
                )
                for level, at in zip(REFINED, (2, 3), strict=True)
            }
        )
        for block in self.stages.modules():
            if isinstance(block, SwinBlock):
                for linear in (block.attn.proj, block.mlp.fc2):
                    nn.init.zeros_(linear.weight)
                    nn.init.zeros_(linear.bias)

    def look(self, pixels: Tensor) -> dict[str, Tensor]:
        """The stem alone: (B, 3, H, W) in 0..255 -> res3, res4, res5, words, as it makes them."""
        maps = self.stem(pixels)
        return {
            "res3": maps["res3"],
            "res4": maps["res4"],
            "res5": maps["res5"],
            "words": self.words(maps["res5"]),
        }

    def refine(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """The maps of `look` -> res3, res4, res5, (B, C_i, H / s, W / s), s = 8, 16, 32."""
        found = {name: self.standard[name](x) for name, x in maps.items()}
        for level in REFINED:
            if self._idle(level):
                continue
            x = found[level].permute(0, 2, 3, 1)  # (B, C, h, w) -> (B, h, w, C)
            found[level] = self.stages[level](x).permute(0, 3, 1, 2)
        found["res5"] = torch.cat([found["res5"], found.pop("words")], dim=1)
        # What follows are 1 x 1 convolutions, three times as fast where channels lie together.
        return {n: x.contiguous(memory_format=torch.channels_last) for n, x in found.items()}

    def _idle(self, level: str) -> bool:
        """Whether a level's blocks still are the identity and do not learn: they need not run."""
        ends = [
            linear.weight
            for block in self.stages[level].modules()
            if isinstance(block, SwinBlock)
            for linear in (block.attn.proj, block.mlp.fc2)
        ]
        return not any(w.requires_grad or bool(w.any()) for w in ends)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Encode photos (B, 3, H, W) RGB in 0..255, H and W multiples of 32: see `refine`."""
        return self.refine(self.look(pixels))
