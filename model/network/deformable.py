"""Multi-scale deformable attention in plain PyTorch, and the encoder layer built on it.

A token looks at a few points of every level of the pyramid instead of at every pixel: for each
head, level and point it predicts an offset from its own place and a weight.  ``grid_sample``
reads the values, so nothing has to be compiled and the same code runs on any device.

Shape legend: B batch, N tokens of all levels together, C channels, M heads, D = C / M channels of a
head, L levels, K points, (H_l, W_l) size of level l; N = sum over l of H_l * W_l.

Source: Zhu et al., Deformable DETR, ICLR 2021, section 4; sizes as in Mask2Former (Cheng et al.,
CVPR 2022) and in the reference implementation of ReLA.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Size = tuple[int, int]


def reference_points(sizes: Sequence[Size], *, like: Tensor) -> Tensor:
    """Return the centre of every token in the frame [0, 1] x [0, 1].

    Args:
        sizes: (height, width) of each level, in the order in which the tokens are concatenated.
        like: gives the device; half precision is widened to float32, for a pixel is a small step.
    Returns:
        (N, 2) as (x, y).
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    centres = []
    for height, width in sizes:
        y = (torch.arange(height, device=like.device, dtype=dtype) + 0.5) / height
        x = (torch.arange(width, device=like.device, dtype=dtype) + 0.5) / width
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        centres.append(torch.stack([grid_x, grid_y], dim=-1).flatten(0, 1))  # (H_l * W_l, 2)
    return torch.cat(centres)


class DeformableAttention(nn.Module):
    """Attention from tokens to a few sampled points of each level.

    Args:
        dim: C, a multiple of ``heads``.
        heads, levels, points: M, L, K.
    """

    def __init__(self, *, dim: int, heads: int = 8, levels: int = 3, points: int = 4) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{dim} channels cannot be split into {heads} heads")
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(dim, heads * levels * points * 2)
        self.attention_weights = nn.Linear(dim, heads * levels * points)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Point each head into its own direction, one pixel further with each point."""
        nn.init.zeros_(self.sampling_offsets.weight)
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        direction = torch.stack([angles.cos(), angles.sin()], dim=-1)  # (M, 2)
        direction = direction / direction.abs().amax(dim=-1, keepdim=True)
        steps = torch.arange(1, self.points + 1)
        offsets = direction[:, None, None] * steps[:, None]  # (M, 1, K, 2)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.expand(-1, self.levels, -1, -1).flatten())
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def forward(
        self, query: Tensor, value: Tensor, points: Tensor, sizes: Sequence[Size]
    ) -> Tensor:
        """Attend.

        Args:
            query: (B, N_q, C) with its position added.
            value: (B, N, C) the tokens of all levels, without position.
            points: (N_q, 2) place of each query in [0, 1], as (x, y).
            sizes: (H_l, W_l) of each level.
        Returns:
            (B, N_q, C)
        """
        batch, queries, dim = query.shape
        heads, levels, count = self.heads, self.levels, self.points
        offsets = self.sampling_offsets(query)
        weights = self.attention_weights(query)
        values = self.value_proj(value)
        # Under autocast the places and the sampled values stay in float32: bfloat16 has eight bits.
        wide = torch.promote_types(values.dtype, torch.float32)
        values, offsets = values.to(wide), offsets.to(wide)
        offsets = offsets.view(batch, queries, heads, levels, count, 2)
        # (B, N_q, M * L * K) -> softmax over the L * K points of a head
        weights = weights.to(wide).view(batch, queries, heads, levels * count).softmax(dim=-1)
        # (B, N_q, M, L * K) -> (B * M, 1, N_q, L * K)
        weights = weights.transpose(1, 2).reshape(batch * heads, 1, queries, levels * count)

        # (B, N, C) -> (B, N, M, D) -> (B * M, D, N)
        values = values.view(batch, -1, heads, dim // heads).permute(0, 2, 3, 1).flatten(0, 1)
        sampled = []
        per_level = torch.split(values, [height * width for height, width in sizes], dim=-1)
        for level, ((height, width), kept) in enumerate(zip(sizes, per_level, strict=True)):
            step = offsets.new_tensor([width, height])  # an offset counts pixels of its level
            places = points[:, None, None] + offsets[:, :, :, level] / step  # (B, N_q, M, K, 2)
            # grid_sample's frame is [-1, 1] from edge to edge: (B * M, N_q, K, 2)
            grid = (2 * places - 1).transpose(1, 2).flatten(0, 1)
            picture = kept.reshape(batch * heads, dim // heads, height, width)
            sampled.append(
                F.grid_sample(
                    picture, grid, mode="bilinear", padding_mode="zeros", align_corners=False
                )
            )  # (B * M, D, N_q, K)
        # (B * M, D, N_q, L * K) x (B * M, 1, N_q, L * K) -> (B * M, D, N_q)
        attended = (torch.cat(sampled, dim=-1) * weights).sum(dim=-1)
        # (B * M, D, N_q) -> (B, N_q, C)
        attended = attended.view(batch, dim, queries).transpose(1, 2)
        out: Tensor = self.output_proj(attended)
        return out


class DeformableEncoderLayer(nn.Module):
    """Deformable self-attention of the pyramid, then a feed-forward layer; norms come after."""

    def __init__(
        self, *, dim: int, heads: int = 8, levels: int = 3, points: int = 4, ffn_dim: int = 1024
    ) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(dim=dim, heads=heads, levels=levels, points=points)
        self.norm1 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(
        self, tokens: Tensor, positions: Tensor, points: Tensor, sizes: Sequence[Size]
    ) -> Tensor:
        """Refine tokens (B, N, C) given their position encodings (1, N, C) and places (N, 2)."""
        tokens = self.norm1(tokens + self.self_attn(tokens + positions, tokens, points, sizes))
        out: Tensor = self.norm2(tokens + self.linear2(F.relu(self.linear1(tokens))))
        return out
