"""The masked-attention decoder: queries collect image features from where their masks lie.

Each layer lets the queries look at one level of the pyramid, but only inside the mask that each
of them predicted so far (cross-attention, the paper's RIA), then at each other (self-attention),
then runs a feed-forward layer.  Our own network calls it without language; the released networks
put their language in after the first cross-attention, through ``after_cross``.

Shape legend: B batch, Q queries (the paper's P^2 regions), C channels, C_m channels of the mask
features, N keys, h x w size of a level.

Source: Cheng et al., Mask2Former, CVPR 2022, section 3.2; sine positions as in Carion et al., DETR.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def sine_positions(size: tuple[int, int], channels: int, *, like: Tensor) -> Tensor:
    """Return the position encoding of a level: (C, h, w), first half of the channels for y.

    Args:
        size: (h, w).
        channels: C, a multiple of 4.
        like: gives device and dtype of the result; the encoding itself is computed in float32.
    """
    if channels % 4:
        raise ValueError(f"sine positions need a multiple of 4 channels, not {channels}")
    half = channels // 2
    # A sine and a cosine share a frequency: 10000^(2k / half) for k = 0 .. half/2 - 1.
    exponents = 2 * torch.arange(half // 2, device=like.device, dtype=torch.float32) / half
    wavelengths = 10000**exponents  # (half / 2,)

    def axis(length: int) -> Tensor:
        steps = torch.arange(1, length + 1, device=like.device, dtype=torch.float32)
        angles = (steps / (length + 1e-6) * (2 * math.pi))[:, None] / wavelengths
        # sine and cosine alternate: (length, half / 2, 2) -> (half, length)
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).T

    height, width = size
    y = axis(height)[:, :, None].expand(half, height, width)
    x = axis(width)[:, None, :].expand(half, height, width)
    return torch.cat([y, x]).to(torch.promote_types(like.dtype, torch.float32))


def blocked_by(mask_logits: Tensor) -> Tensor:
    """Say where each query may not look, given its mask at that level.

    Args:
        mask_logits: (B, Q, h, w).
    Returns:
        (B, 1, Q, h * w) bool, one for all heads.  A query whose mask is empty may look anywhere,
        or its softmax would run over nothing.
    """
    # The comparison is the reference's own: sigmoid rounds logits near 0 to exactly 0.5.
    blocked = (mask_logits.detach().sigmoid() < 0.5).flatten(2)
    return (blocked & ~blocked.all(dim=-1, keepdim=True)).unsqueeze(1)


class Attention(nn.Module):
    """Multi-head scaled dot-product attention with separate key and value inputs."""

    def __init__(self, *, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{dim} channels cannot be split into {heads} heads")
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.output = nn.Linear(dim, dim)
        for linear in (self.query, self.key, self.value, self.output):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, blocked: Tensor | None = None
    ) -> Tensor:
        """Attend from query (B, Q, C) to key and value (B, N, C).

        ``blocked`` broadcasts to (B, heads, Q, N); True may not be looked at.
        """

        def split(tokens: Tensor) -> Tensor:
            batch, count, dim = tokens.shape
            # (B, N, C) -> (B, heads, N, D)
            return tokens.view(batch, count, self.heads, dim // self.heads).transpose(1, 2)

        q, k, v = split(self.query(query)), split(self.key(key)), split(self.value(value))
        # On a CPU attention in bfloat16 takes four times as long backward, and forward a quarter
        # longer with heads of 16 channels (a tenth less with 32).
        with torch.autocast(q.device.type, enabled=q.device.type != "cpu"):
            dtype = q.dtype
            slow = torch.is_grad_enabled() or q.shape[-1] <= 16
            if q.device.type == "cpu" and dtype == torch.bfloat16 and slow:
                q, k, v = q.float(), k.float(), v.float()
            allowed = None if blocked is None else ~blocked
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed).to(dtype)
        out: Tensor = self.output(attended.transpose(1, 2).flatten(2))  # (B, Q, C)
        return out


class CrossAttentionLayer(nn.Module):
    """``norm(queries + attention(queries, memory))``."""

    def __init__(self, *, dim: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(dim=dim, heads=heads)
        self.norm = nn.LayerNorm(dim)

    def forward(
        self,
        queries: Tensor,
        memory: Tensor,
        *,
        query_positions: Tensor | None = None,
        memory_positions: Tensor | None = None,
        blocked: Tensor | None = None,
    ) -> Tensor:
        """Let queries (B, Q, C) look at memory (B, N, C); positions join queries and keys only."""
        q = queries if query_positions is None else queries + query_positions
        k = memory if memory_positions is None else memory + memory_positions
        out: Tensor = self.norm(queries + self.attention(q, k, memory, blocked))
        return out


class SelfAttentionLayer(nn.Module):
    """``norm(queries + attention(queries, queries))``."""

    def __init__(self, *, dim: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(dim=dim, heads=heads)
        self.norm = nn.LayerNorm(dim)

    def forward(self, queries: Tensor, *, query_positions: Tensor | None = None) -> Tensor:
        """Let queries (B, Q, C) look at each other."""
        placed = queries if query_positions is None else queries + query_positions
        out: Tensor = self.norm(queries + self.attention(placed, placed, queries))
        return out


class FeedForwardLayer(nn.Module):
    """``norm(x + linear2(relu(linear1(x))))``."""

    def __init__(self, *, dim: int, ffn_dim: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(dim, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, dim)
        self.norm = nn.LayerNorm(dim)
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Refine tokens (B, Q, C) one by one."""
        out: Tensor = self.norm(tokens + self.linear2(F.relu(self.linear1(tokens))))
        return out


class MLP(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, dim: int, hidden_dim: int, out_dim: int, layers: int) -> None:
        super().__init__()
        widths = [dim] + [hidden_dim] * (layers - 1) + [out_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., dim) to (..., out_dim)."""
        *hidden, last = self.layers
        for layer in hidden:
            x = F.relu(layer(x))
        out: Tensor = last(x)
        return out


def transformer_layer(channels: int) -> nn.TransformerEncoderLayer:
    """Self-attention of four heads, norms before, (B, N, C) -> the same shape."""
    return nn.TransformerEncoderLayer(
        channels, 4, 4 * channels, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )


class MaskedDecoderLayer(nn.Module):
    """Cross-attention to one level, self-attention, feed-forward."""

    def __init__(self, *, dim: int, heads: int, ffn_dim: int) -> None:
        super().__init__()
        self.cross = CrossAttentionLayer(dim=dim, heads=heads)
        self.regions = SelfAttentionLayer(dim=dim, heads=heads)
        self.feed_forward = FeedForwardLayer(dim=dim, ffn_dim=ffn_dim)

    def forward(
        self,
        queries: Tensor,
        memory: Tensor,
        *,
        query_positions: Tensor,
        memory_positions: Tensor,
        blocked: Tensor | None,
        after_cross: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Refine queries (B, Q, C) with one level's tokens (B, h * w, C)."""
        queries = self.cross(
            queries,
            memory,
            query_positions=query_positions,
            memory_positions=memory_positions,
            blocked=blocked,
        )
        if after_cross is not None:
            queries = after_cross(queries)
        queries = self.regions(queries, query_positions=query_positions)
        out: Tensor = self.feed_forward(queries)
        return out


class Decoded(NamedTuple):
    """What the queries have become."""

    queries: Tensor
    """(B, Q, C) after the last layer, before the norm."""
    normed: Tensor
    """(B, Q, C) after the norm: the paper's F'_r, or F_r where language was put in."""
    filters: Tensor
    """(B, Q, C_m) region filters F_f made of ``normed``."""


class MaskedDecoder(nn.Module):
    """Queries through ``layers`` masked-attention layers, over three levels in turn.

    Args:
        dim: C.
        heads, ffn_dim, layers: of the decoder layers.
        queries: Q, the number of learnable queries.
        mask_dim: C_m.
        in_dim: channels of the levels; a projection is added where they differ from ``dim``.
        levels: how many levels take turns.
    """

    def __init__(
        self,
        *,
        dim: int = 256,
        heads: int = 8,
        ffn_dim: int = 2048,
        layers: int = 9,
        queries: int = 100,
        mask_dim: int = 256,
        in_dim: int | None = None,
        levels: int = 3,
    ) -> None:
        super().__init__()
        self.dim, self.level_count = dim, levels
        in_dim = dim if in_dim is None else in_dim
        self.input_projections = nn.ModuleList(
            nn.Conv2d(in_dim, dim, 1) if in_dim != dim else nn.Identity() for _ in range(levels)
        )
        self.query_features = nn.Parameter(torch.randn(queries, dim))
        self.query_positions = nn.Parameter(torch.randn(queries, dim))
        self.level_embedding = nn.Parameter(torch.randn(levels, dim))
        self.layers = nn.ModuleList(
            MaskedDecoderLayer(dim=dim, heads=heads, ffn_dim=ffn_dim) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.mask_embedding = MLP(dim, dim, mask_dim, 3)

    def forward(
        self,
        multi_scale: Sequence[Tensor],
        mask_features: Tensor,
        *,
        start: Tensor | None = None,
        after_cross: Callable[[int, Tensor], Tensor] | None = None,
    ) -> Decoded:
        """Decode.

        Args:
            multi_scale: ``levels`` maps (B, in_dim, h, w), coarsest first.
            mask_features: (B, C_m, H/4, W/4).
            start: (B, Q, C) added to the learnable queries before the first layer.
            after_cross: called as ``after_cross(layer, queries)`` between a layer's cross-attention
                and its self-attention; returns the queries to go on with.
        """
        batch = mask_features.shape[0]
        sizes = [(level.shape[-2], level.shape[-1]) for level in multi_scale]
        memories, places, small = [], [], []
        for level, size, projection, embedding in zip(
            multi_scale, sizes, self.input_projections, self.level_embedding, strict=True
        ):
            memories.append(projection(level).flatten(2).transpose(1, 2) + embedding)  # (B, hw, C)
            places.append(sine_positions(size, self.dim, like=level).flatten(1).T[None])
            # Resizing is linear, so the masks of a level are the filters times the mask features
            # at that level's size: no need to make them at H/4 x W/4 for every layer.
            small.append(
                F.interpolate(mask_features, size=size, mode="bilinear", align_corners=False)
            )
        queries = self.query_features.expand(batch, -1, -1)
        if start is not None:
            queries = queries + start
        for index, layer in enumerate(self.layers):
            turn = index % self.level_count
            filters = self.mask_embedding(self.norm(queries))
            # (B, Q, C_m) x (B, C_m, h, w) -> (B, Q, h, w)
            blocked = blocked_by(torch.einsum("bqc,bchw->bqhw", filters, small[turn]))
            queries = layer(
                queries,
                memories[turn],
                query_positions=self.query_positions,
                memory_positions=places[turn],
                blocked=blocked,
                after_cross=_bound(after_cross, index),
            )
        normed = self.norm(queries)
        return Decoded(queries, normed, self.mask_embedding(normed))


def _bound(
    after_cross: Callable[[int, Tensor], Tensor] | None, index: int
) -> Callable[[Tensor], Tensor] | None:
    return None if after_cross is None else lambda queries: after_cross(index, queries)
