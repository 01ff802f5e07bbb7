"""RLA, Region-Language cross Attention, and the head on top of it: all that runs once a query.

What a layer computes before it hears the words (region self-attention, the projected queries of
equation 3) is a method of its own, so that the first layer's share is cached with the photo.

Shape legend: M (photo, expression) pairs, N = P² regions, T words, C channels, C_m mask channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.config import ReLAConfig
from model.network.masked_decoder import MLP, Attention


@dataclass(frozen=True)
class RegionTokens:
    """What a photo contributes to the head; language-free, so it is cached.

    Attributes:
        sums: (B, N, C) F'_r + F_r1 of the first layer.
        queries: (B, N, C) GELU(F'_r W_lq) of the first layer, equation 3's left factor; None
            where the configuration has no region-word attention.
        filters: (B, N, C_m) F_f, only where filters come before RLA; else None.
    """

    sums: Tensor
    queries: Tensor | None
    filters: Tensor | None

    def select(self, index: Tensor) -> RegionTokens:
        """The photos at `index`, one entry a pair."""
        return RegionTokens(
            self.sums.index_select(0, index),
            None if self.queries is None else self.queries.index_select(0, index),
            None if self.filters is None else self.filters.index_select(0, index),
        )


@dataclass(frozen=True)
class HeadOutput:
    """One judgement a pair.

    Attributes:
        no_target_logit: (M,) E before the sigmoid; positive says that nothing is referred to.
        minimap_logit: (M, N) x_r before the sigmoid.
        coefficients: (M, C_m) scaled sum over n of x_r^n F_f^n; times F_m it is the mask.
    """

    no_target_logit: Tensor
    minimap_logit: Tensor
    coefficients: Tensor


class RegionLanguageLayer(nn.Module):
    """F_r = MLP(F'_r + F_r1 + F_r2); the MLP has a norm before it and a skip around it.

    Source: GRES section 4.2; Table 3's ablations drop F_r1 or F_r2. Without region-word attention
    regions are multiplied with the averaged sentence, the table's baseline.
    """

    def __init__(self, config: ReLAConfig) -> None:
        super().__init__()
        c = config.channels
        self.hears_words = config.rla in ("both", "language")
        self.word_heads = config.word_heads
        self.region_attention = (
            Attention(dim=c, heads=8) if config.rla in ("both", "region") else None
        )
        if self.hears_words:
            self.word_query = nn.Linear(c, c, bias=False)  # W_lq
            self.word_key = nn.Linear(c, c, bias=False)  # W_lk
        self.norm = nn.LayerNorm(c)
        self.mlp = nn.Sequential(
            nn.Linear(c, config.rla_hidden), nn.GELU(), nn.Linear(config.rla_hidden, c)
        )
        self.out_norm = nn.LayerNorm(c)

    def before_words(self, regions: Tensor) -> tuple[Tensor, Tensor | None]:
        """The language-free share: (B, N, C) -> F'_r + F_r1, and GELU(F'_r W_lq) or None."""
        sums = regions
        if self.region_attention is not None:
            sums = regions + self.region_attention(regions, regions, regions)
        return sums, self.queries(regions)

    def queries(self, regions: Tensor) -> Tensor | None:
        """Equation 3's left factor, (B, N, C); None where words are not attended to."""
        return F.gelu(self.word_query(regions)) if self.hears_words else None

    def attend(self, queries: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Equation 3, then F_r2 = A_l F_t; with several heads, each reads its own channels.

        Args:
            queries: (M, N, C) GELU(F'_r W_lq).
            words: (M or 1, T, C) F_t. mask: (M or 1, T), True on real words.
        Returns:
            (M, N, C) F_r2.
        """
        heads = self.word_heads
        keys = F.gelu(self.word_key(words))
        if len(words) == 1:  # one expression for all photos: few large products, not many small
            return self._attend_one(queries, keys[0], words[0], mask[0])
        values = words.unflatten(-1, (heads, -1)).transpose(1, 2)  # (M, h, T, C/h)
        weights = self._weights(queries, keys, mask)
        return (weights.to(values.dtype) @ values).transpose(1, 2).flatten(2)

    def weights(self, queries: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """A_l of equation 3, as in `attend`: (M, heads, N, T), over T they sum to 1."""
        return self._weights(queries, F.gelu(self.word_key(words)), mask)

    def _weights(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        q = queries.unflatten(-1, (self.word_heads, -1)).transpose(1, 2)  # (M, h, N, C/h)
        k = keys.unflatten(-1, (self.word_heads, -1))  # (M, T, h, C/h)
        scores = (q @ k.permute(0, 2, 3, 1)).float()  # (M, h, N, T)
        return scores.masked_fill(~mask[:, None, None], float("-inf")).softmax(-1)

    def _attend_one(self, queries: Tensor, keys: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """`attend` for one expression: (M, N, C), (T, C), (T, C), (T,) -> (M, N, C).

        A head's keys and values are rows that are zero outside its channels, so all heads of all
        photos take two products; and the softmax runs down columns, since a row of T is short.
        """
        heads, count = self.word_heads, len(words)
        owner = torch.arange(heads, device=words.device).repeat_interleave(
            words.shape[1] // heads
        )  # (C,)
        own = (owner == torch.arange(heads, device=words.device)[:, None]).to(words.dtype)[:, None]
        k, v = (own * keys).flatten(0, 1), (own * words).flatten(0, 1)  # (h T, C)
        scores = (k @ queries.flatten(0, 1).T).unflatten(0, (heads, count)).float()  # (h, T, M N)
        weights = scores.masked_fill(~mask[:, None], float("-inf")).softmax(1).to(v.dtype)
        return (weights.flatten(0, 1).T @ v).unflatten(0, queries.shape[:2])

    def hear(self, sums: Tensor, queries: Tensor | None, words: Tensor, mask: Tensor) -> Tensor:
        """The share that sees the expression: -> F_r (M, N, C)."""
        if queries is not None:
            x = sums + self.attend(queries, words, mask)
        else:
            weights = mask.to(words.dtype)[..., None]
            x = sums * (words * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True)
        return self.out_norm(x + self.mlp(self.norm(x)))


class Pooling(nn.Module):
    """F_r of all regions as one vector, for the no-target score; the mean is the paper's."""

    def __init__(self, config: ReLAConfig) -> None:
        super().__init__()
        c = config.channels
        self.kind = config.pooling
        if self.kind == "attention":
            self.score = nn.Linear(c, 1)
        elif self.kind == "presence":
            self.token = nn.Parameter(torch.randn(1, 1, c) * 0.02)
            self.attention = Attention(dim=c, heads=8)

    def forward(self, regions: Tensor, minimap_logit: Tensor) -> Tensor:
        """(M, N, C), (M, N) -> (M, C)."""
        if self.kind == "mean":
            return regions.mean(1)
        if self.kind == "presence":
            token = self.token.expand(len(regions), -1, -1)
            return self.attention(token, regions, regions)[:, 0]
        if self.kind == "attention":
            weights = self.score(regions).float().softmax(1)  # (M, N, 1)
        else:
            weights = (4.0 * minimap_logit.float()).softmax(1)[..., None]
        return (weights.to(regions.dtype) * regions).sum(1)


class RlaHead(nn.Module):
    """RLA layers, minimap, no-target score and region filters."""

    def __init__(self, config: ReLAConfig) -> None:
        super().__init__()
        c = config.channels
        self.layers = nn.ModuleList(RegionLanguageLayer(config) for _ in range(config.rla_layers))
        self.minimap = nn.Linear(c, 1)
        self.pooling = Pooling(config)
        self.no_target = MLP(c, c, 1, 2)
        self.filter = MLP(c, c, config.mask_channels, 2)
        self.filters_before = config.filters == "before"
        # Equation 1 sums P² masks; unscaled, the first steps drown in that sum.
        self.scale = 2.0 / config.regions

    @property
    def first_layer(self) -> RegionLanguageLayer:
        """Whose language-free share is cached."""
        return self._each()[0]

    def _each(self) -> list[RegionLanguageLayer]:
        return [layer for layer in self.layers if isinstance(layer, RegionLanguageLayer)]

    def tokens(self, regions: Tensor) -> RegionTokens:
        """Everything that does not depend on words: F'_r (B, N, C) -> what is cached."""
        sums, queries = self.first_layer.before_words(regions)
        return RegionTokens(sums, queries, self.filter(regions) if self.filters_before else None)

    def each_regions(self, tokens: RegionTokens, words: Tensor, mask: Tensor) -> list[Tensor]:
        """F_r (M, N, C) after every layer; words (M or 1, T, C), mask (M or 1, T)."""
        first, *later = self._each()
        found = [first.hear(tokens.sums, tokens.queries, words, mask)]
        for layer in later:
            sums, queries = layer.before_words(found[-1])
            found.append(layer.hear(sums, queries, words, mask))
        return found

    def regions(self, tokens: RegionTokens, words: Tensor, mask: Tensor) -> Tensor:
        """F_r (M, N, C) after all layers; words (M or 1, T, C), mask (M or 1, T)."""
        return self.each_regions(tokens, words, mask)[-1]

    def forward(self, tokens: RegionTokens, words: Tensor, mask: Tensor) -> HeadOutput:
        """Judge M pairs; words (M or 1, T, C), mask (M or 1, T) True on real words."""
        return self.read(self.regions(tokens, words, mask), tokens)

    def read(self, x: Tensor, tokens: RegionTokens) -> HeadOutput:
        """The answers that F_r (M, N, C) holds, of the last layer or, in training, of any."""
        minimap_logit = self.minimap(x).squeeze(-1)  # (M, N)
        weights = minimap_logit.sigmoid().to(x.dtype)[..., None]  # (M, N, 1)
        if tokens.filters is not None:
            coefficients = (weights * tokens.filters).sum(1)  # (M, C_m), equation 1
        else:  # the filters' last layer is linear: it runs once on the sum, not once a region
            inner, outer = self.filter.layers
            coefficients = outer((weights * F.relu(inner(x))).sum(1))
            coefficients = coefficients + (weights.sum(1) - 1) * outer.bias
        coefficients = coefficients * self.scale
        exact = self.no_target.layers[0].weight.dtype  # E ranks photos: never coarser than x
        no_target = self.no_target(self.pooling(x, minimap_logit).to(exact)).squeeze(-1)
        return HeadOutput(no_target, minimap_logit, coefficients)
