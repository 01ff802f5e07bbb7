"""Swin as dense prediction uses it: any image size, a pyramid of four levels, a norm on each.

Where a map is no multiple of the window, timm shifts first and pads then, and shrinks the window on
small maps (`fitted_swin` does so); Mask2Former and the released ReLA networks pad first, then
shift, and never shrink.  At 480 pixels three of four stages are padded, so their published weights
give other features in timm's form.  On maps that the window divides all agree, and timm's ImageNet
weights load (``model.starting_points``).

Shape legend: B batch, H x W a feature map in patches, C channels, M heads, w window side,
N = w * w tokens of a window, n windows of a map.

Source: Liu et al., Swin Transformer, ICCV 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = ("res2", "res3", "res4", "res5")
"""Names of the pyramid's levels: strides 4, 8, 16, 32."""


class DropPath(nn.Module):
    """Stochastic depth: while training, drop a residual branch of some photos."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Return x, or x with some of the first axis set to zero and the rest scaled up."""
        if self.rate == 0.0 or not self.training:
            return x
        kept = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - self.rate)
        return x * kept / (1 - self.rate)


def windows_of(x: Tensor, side: int) -> Tensor:
    """Cut (B, H, W, C), H and W multiples of ``side``, into (B * n, side * side, C)."""
    batch, height, width, channels = x.shape
    x = x.view(batch, height // side, side, width // side, side, channels)
    # (B, H/w, w, W/w, w, C) -> (B, H/w, W/w, w, w, C)
    return x.transpose(2, 3).reshape(-1, side * side, channels)


def map_of(windows: Tensor, side: int, height: int, width: int) -> Tensor:
    """Undo ``windows_of``: (B * n, side * side, C) -> (B, height, width, C)."""
    x = windows.view(-1, height // side, width // side, side, side, windows.shape[-1])
    return x.transpose(2, 3).reshape(-1, height, width, windows.shape[-1])


def _offset_index(side: int) -> Tensor:
    """Row of the bias table for each pair of tokens of a window, (N * N,)."""
    axis = torch.arange(side)
    y, x = (grid.flatten() for grid in torch.meshgrid(axis, axis, indexing="ij"))
    dy = y[:, None] - y[None] + side - 1  # (N, N) in 0 .. 2w - 2
    dx = x[:, None] - x[None] + side - 1
    return (dy * (2 * side - 1) + dx).flatten()


def shift_mask(height: int, width: int, side: int, shift: int, like: Tensor) -> Tensor:
    """Scores to add so that tokens which the cyclic shift made neighbours ignore each other.

    Returns:
        (n, 1, N, N): 0 where two tokens may see each other, -100 (the trained value) elsewhere.
    """

    def bands(length: int) -> Tensor:
        places = torch.arange(length, device=like.device)
        return (places >= length - side).long() + (places >= length - shift).long()

    region = 3 * bands(height)[:, None] + bands(width)[None]  # (H, W)
    labels = windows_of(region[None, :, :, None], side)[..., 0]  # (n, N)
    differs = labels[:, :, None] != labels[:, None, :]
    return differs.to(like.dtype).mul(-100.0)[:, None]


class WindowAttention(nn.Module):
    """Self-attention of a window's tokens with a learned bias for each relative position."""

    relative_position_index: Tensor

    def __init__(self, *, dim: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads, self.side = heads, side
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * side - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", _offset_index(side), persistent=False)

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """Attend within windows (B * n, N, C); ``mask`` (n, 1, N, N) is added to the scores."""
        count, tokens, dim = windows.shape
        # (B * n, N, 3 C) -> 3 x (B * n, M, N, C / M)
        qkv = self.qkv(windows).view(count, tokens, 3, self.heads, dim // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        scores = (query * (dim // self.heads) ** -0.5) @ key.transpose(-2, -1)  # (B * n, M, N, N)
        bias = self.relative_position_bias_table[self.relative_position_index]
        scores = scores + bias.view(tokens, tokens, self.heads).permute(2, 0, 1)
        if mask is not None:
            grouped = scores.view(-1, len(mask), self.heads, tokens, tokens)
            scores = (grouped + mask).view(count, self.heads, tokens, tokens)
        attended = scores.softmax(dim=-1).to(value.dtype) @ value  # (B * n, M, N, C / M)
        out: Tensor = self.proj(attended.transpose(1, 2).reshape(count, tokens, dim))
        return out


class SwinMlp(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, *, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., C)."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class SwinBlock(nn.Module):
    """Window attention, shifted by half a window in every other block, then an MLP."""

    def __init__(
        self, *, dim: int, heads: int, side: int, shift: int, mlp_ratio: float, drop_path: float
    ) -> None:
        super().__init__()
        self.side, self.shift = side, shift
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim=dim, heads=heads, side=side)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = SwinMlp(dim=dim, hidden=int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def _padded(self, x: Tensor) -> Tensor:
        """Pad (B, H, W, C) to whole windows; attention sees it: the networks were trained so."""
        return F.pad(x, (0, 0, 0, -x.shape[2] % self.side, 0, -x.shape[1] % self.side))

    def _within_windows(self, x: Tensor, mask: Tensor | None) -> Tensor:
        windows = self.attn(windows_of(x, self.side), mask)
        return map_of(windows, self.side, x.shape[1], x.shape[2])

    def _attend(self, x: Tensor) -> Tensor:
        _, height, width, _ = x.shape
        x = self._padded(x)
        mask = None
        if self.shift:
            x = x.roll((-self.shift, -self.shift), dims=(1, 2))
            mask = shift_mask(x.shape[1], x.shape[2], self.side, self.shift, like=x)
        x = self._within_windows(x, mask)
        if self.shift:
            x = x.roll((self.shift, self.shift), dims=(1, 2))
        return x[:, :height, :width]

    def forward(self, x: Tensor) -> Tensor:
        """Refine (B, H, W, C)."""
        x = x + self.drop_path(self._attend(self.norm1(x)))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


class PatchMerging(nn.Module):
    """Join 2 x 2 patches: half the side, twice the channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to (B, ceil(H / 2), ceil(W / 2), 2 C)."""
        _, height, width, _ = x.shape
        x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        four = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        out: Tensor = self.reduction(self.norm(torch.cat(four, dim=-1)))
        return out


class PatchEmbedding(nn.Module):
    """Cut the image into patches of 4 x 4 pixels; ``projection`` does it in another way."""

    def __init__(self, dim: int, projection: nn.Module | None = None) -> None:
        super().__init__()
        self.proj = projection or nn.Conv2d(3, dim, 4, stride=4)
        self.norm = nn.LayerNorm(dim)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, ceil(H / 4), ceil(W / 4), C)."""
        height, width = image.shape[-2:]
        image = F.pad(image, (0, -width % 4, 0, -height % 4))
        out: Tensor = self.norm(self.proj(image).permute(0, 2, 3, 1))
        return out


class SwinStage(nn.Module):
    """The blocks of one scale; ``downsample`` leads to the next one and is called by the owner."""

    downsample: PatchMerging | None

    def __init__(
        self,
        *,
        dim: int,
        heads: int,
        side: int,
        mlp_ratio: float,
        drop_paths: Sequence[float],
        last: bool,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinBlock(
                dim=dim,
                heads=heads,
                side=side,
                shift=side // 2 if index % 2 else 0,
                mlp_ratio=mlp_ratio,
                drop_path=drop_path,
            )
            for index, drop_path in enumerate(drop_paths)
        )
        self.downsample = None if last else PatchMerging(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Refine (B, H, W, C)."""
        for block in self.blocks:
            x = block(x)
        return x


def drop_paths(last: float, depths: Sequence[int]) -> list[list[float]]:
    """Stochastic depth of each stage's blocks, rising linearly from 0 to ``last``."""
    steps = max(sum(depths) - 1, 1)
    starts = [sum(depths[:stage]) for stage in range(len(depths))]
    return [
        [last * block / steps for block in range(start, start + depth)]
        for start, depth in zip(starts, depths, strict=True)
    ]


def initialise(module: nn.Module) -> None:
    """Give every linear layer the small weights that a Swin is trained from."""
    for linear in module.modules():
        if isinstance(linear, nn.Linear):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)


class Swin(nn.Module):
    """Swin without language.

    Args:
        embed_dim: channels at stride 4; they double with every stage.
        depths, heads: blocks and attention heads of each stage.
        window: side of a window in patches.
        drop_path: stochastic depth of the last block, rising linearly from 0.
    """

    def __init__(
        self,
        *,
        embed_dim: int,
        depths: Sequence[int],
        heads: Sequence[int],
        window: int,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.channels = tuple(embed_dim * 2**stage for stage in range(len(depths)))
        self.patch_embed = PatchEmbedding(embed_dim)
        self.layers = nn.ModuleList(
            SwinStage(
                dim=self.channels[stage],
                heads=heads[stage],
                side=window,
                mlp_ratio=mlp_ratio,
                drop_paths=rates,
                last=stage == len(depths) - 1,
            )
            for stage, rates in enumerate(drop_paths(drop_path, depths))
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for channels in self.channels)
        initialise(self)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Encode normalised images (B, 3, H, W).

        Returns:
            res2 .. res5: (B, C_i, H / s, W / s), s = 4, 8, 16, 32, sizes rounded up.
        """
        x = self.patch_embed(image)
        pyramid = {}
        for level, stage, norm in zip(LEVELS, self.layers, self.norms, strict=True):
            x = stage(x)
            pyramid[level] = norm(x).permute(0, 3, 1, 2)  # (B, H, W, C) -> (B, C, H, W)
            merge = cast(SwinStage, stage).downsample
            if merge is not None:
                x = merge(x)
        return pyramid
