"""Swin with language fused into every stage, as the released networks have it.

After the blocks of a stage every pixel looks at the words (PWAM, pixel-word attention).  What it
finds is the stage's output, and, through a gate, part of what goes on to the next stage.  So every
feature depends on the expression, and nothing can be kept for the next one.

Shape legend: B batch, H x W a feature map, L = H * W pixels, C channels, T words, C_t their width.

Source: Yang et al., LAVT, CVPR 2022, section 3; the reference implementation of ReLA takes it over.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.swin import LEVELS, Swin, SwinStage
from model.official.config import OfficialConfig

PAD_SCORE = -1e4
"""Added to the score of padding, as trained; exactly zero weight once the softmax is done."""


_HALF = (torch.float16, torch.bfloat16)


def instance_norm(x: Tensor) -> Tensor:
    """Give each channel of each photo zero mean and unit variance over its pixels.

    ``x`` is (B, C, L); there are no parameters.  Computed in float32 under autocast, for the
    variance of a photo's pixels can be far smaller than their mean.
    """
    if x.shape[2] == 1:
        return torch.zeros_like(x)  # a single pixel is its own mean; torch refuses to say so
    return F.instance_norm(x.float() if x.dtype in _HALF else x)


class WordAttention(nn.Module):
    """Each pixel gathers the words that concern it."""

    def __init__(self, *, dim: int, text_dim: int) -> None:
        super().__init__()
        # 1-wide convolutions, not linear layers, so that rounding is the reference's as well
        self.query = nn.Conv1d(dim, dim, 1)
        self.key = nn.Conv1d(text_dim, dim, 1)
        self.value = nn.Conv1d(text_dim, dim, 1)
        self.output = nn.Conv1d(dim, dim, 1)

    def forward(self, pixels: Tensor, words: Tensor, word_mask: Tensor) -> Tensor:
        """Attend from pixels (B, C, L) to words (B, C_t, T); mask (B, 1, T), 1 on real tokens."""
        query = instance_norm(self.query(pixels)).transpose(1, 2)  # (B, L, C)
        key = self.key(words) * word_mask
        value = self.value(words) * word_mask
        # (B, L, C) x (B, C, T) -> (B, L, T)
        scores = key.shape[1] ** -0.5 * (query.to(key.dtype) @ key)
        weights = (scores + (1 - word_mask) * PAD_SCORE).softmax(dim=-1)
        # (B, L, T) x (B, T, C) -> (B, L, C) -> (B, C, L)
        gathered = (weights.to(value.dtype) @ value.transpose(1, 2)).transpose(1, 2)
        return instance_norm(self.output(gathered))


class Fusion(nn.Module):
    """PWAM: the words that a pixel gathered, multiplied with what it shows."""

    def __init__(self, *, dim: int, text_dim: int) -> None:
        super().__init__()
        self.vision = nn.Conv1d(dim, dim, 1)
        self.attention = WordAttention(dim=dim, text_dim=text_dim)
        self.mix = nn.Conv1d(dim, dim, 1)

    def forward(self, pixels: Tensor, words: Tensor, word_mask: Tensor) -> Tensor:
        """Fuse pixels (B, L, C) with words (B, T, C_t) whose mask is (B, T)."""
        pixels, words = pixels.transpose(1, 2), words.transpose(1, 2)  # channels first
        mask = word_mask.to(words.dtype)[:, None]
        seen = F.gelu(self.vision(pixels))
        mixed = F.gelu(self.mix(seen * self.attention(pixels, words, mask)))
        return mixed.transpose(1, 2)  # (B, C, L) -> (B, L, C)


class Gate(nn.Module):
    """How much of the fused features goes on to the next stage, in -1..1."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(dim, dim, bias=False)
        self.linear2 = nn.Linear(dim, dim, bias=False)

    def forward(self, fused: Tensor) -> Tensor:
        """Map (B, L, C) to a factor of the same shape."""
        return self.linear2(F.relu(self.linear1(fused))).tanh()


class FusedSwin(Swin):
    """Swin whose stages hear the expression."""

    def __init__(self, config: OfficialConfig) -> None:
        super().__init__(
            embed_dim=config.embed_dim,
            depths=config.depths,
            heads=config.heads,
            window=config.window,
            mlp_ratio=config.mlp_ratio,
            drop_path=config.drop_path,
        )
        self.fusions = nn.ModuleList(
            Fusion(dim=dim, text_dim=config.text.hidden_size) for dim in self.channels
        )
        self.gates = nn.ModuleList(Gate(dim) for dim in self.channels[:-1])

    def forward(  # type: ignore[override]
        self, image: Tensor, words: Tensor, word_mask: Tensor
    ) -> dict[str, Tensor]:
        """Encode images together with their expressions.

        Args:
            image: (B, 3, H, W) normalised.
            words: (B, T, C_t) word features, padding among them.
            word_mask: (B, T), 1 on real tokens.
        Returns:
            res2 .. res5: (B, C_i, H / s, W / s), s = 4, 8, 16, 32.
        """
        x = self.patch_embed(image)
        pyramid = {}
        for index, (level, stage, norm, fuse) in enumerate(
            zip(LEVELS, self.layers, self.norms, self.fusions, strict=True)
        ):
            x = stage(x)
            fused = fuse(x.flatten(1, 2), words, word_mask)  # (B, L, C)
            # (B, L, C) -> (B, C, H, W)
            pyramid[level] = norm(fused).view(x.shape).permute(0, 3, 1, 2)
            merge = cast(SwinStage, stage).downsample
            if merge is not None:
                x = merge(x + (self.gates[index](fused) * fused).view(x.shape))
        return pyramid
