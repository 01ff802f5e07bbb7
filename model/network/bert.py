"""BERT as both kinds of network here hear an expression: the encoder alone, without pooler.

Parts carry the names that transformers gives them, so that published weights fit as they are.
Shape legend: E expressions, T tokens, C channels, M heads.

Source: Devlin et al., BERT, NAACL 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class BertSizes:
    """What a BERT is made of; the defaults are BERT-base's."""

    vocabulary: int = 30522
    """Rows of the word embedding."""
    channels: int = 768
    """C, the width of word features."""
    layers: int = 12
    heads: int = 12
    """M; they divide the channels."""
    hidden: int = 3072
    """Width of the feed-forward layers."""
    positions: int = 512
    """The longest expression, in tokens."""
    kinds: int = 2
    """Rows of the embedding that tells first sentences from second ones; here all are first."""
    epsilon: float = 1e-12
    """Added to a norm's variance."""


class BertLayer(nn.Module):
    """Self-attention, then a feed-forward layer; each is added, then normed."""

    def __init__(self, sizes: BertSizes, fused: bool) -> None:
        super().__init__()
        c, self.heads, self.fused = sizes.channels, sizes.heads, fused
        names = ("query", "key", "value")
        self.attention = nn.ModuleDict(
            {
                "self": nn.ModuleDict({name: nn.Linear(c, c) for name in names}),
                "output": _added(c, c, sizes.epsilon),
            }
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(c, sizes.hidden)})
        self.output = _added(sizes.hidden, c, sizes.epsilon)

    def _attend(self, x: Tensor, mask: Tensor) -> Tensor:
        parts = cast(nn.ModuleDict, self.attention["self"])
        query, key, value = (
            # (E, T, C) -> (E, M, T, C / M)
            parts[name](x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        seen = mask[:, None, None]  # (E, 1, 1, T)
        if self.fused:
            attended = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
            return attended.transpose(1, 2).flatten(2)
        scores = (query @ key.transpose(-2, -1)) * query.shape[-1] ** -0.5  # (E, M, T, T)
        scores = scores.masked_fill(~seen, torch.finfo(scores.dtype).min)
        attended = scores.softmax(dim=-1).to(value.dtype) @ value  # (E, M, T, C / M)
        return attended.transpose(1, 2).flatten(2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Refine (E, T, C); ``mask`` (E, T) is True on real tokens."""
        part = cast(nn.ModuleDict, self.attention["output"])
        x = part["LayerNorm"](part["dense"](self._attend(x, mask)) + x)
        wide = F.gelu(self.intermediate["dense"](x))
        out: Tensor = self.output["LayerNorm"](self.output["dense"](wide) + x)
        return out


def _added(inner: int, channels: int, epsilon: float) -> nn.ModuleDict:
    norm = nn.LayerNorm(channels, eps=epsilon)
    return nn.ModuleDict({"dense": nn.Linear(inner, channels), "LayerNorm": norm})


def _table(rows: int, channels: int) -> nn.Embedding:
    """An embedding whose weights are not drawn yet."""
    return nn.Embedding.from_pretrained(torch.empty(rows, channels), freeze=False)


class Bert(nn.Module):
    """The encoder, with small random weights until published ones are filled in.

    Args:
        fused: attention is one operation of torch's, which rounds otherwise than its single steps.
    """

    def __init__(self, sizes: BertSizes, *, fused: bool = True) -> None:
        super().__init__()
        self.sizes = sizes
        c = sizes.channels
        place = _table(sizes.positions, c)
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": _table(sizes.vocabulary, c),
                "position_embeddings": place,
                "token_type_embeddings": _table(sizes.kinds, c),
                "LayerNorm": nn.LayerNorm(c, eps=sizes.epsilon),
            }
        )
        layers = nn.ModuleList(BertLayer(sizes, fused) for _ in range(sizes.layers))
        self.encoder = nn.ModuleDict({"layer": layers})
        # Built on "meta", it waits for its weights; drawing none there would import torch._dynamo.
        if not place.weight.is_meta:
            for module in self.modules():
                if isinstance(module, nn.Linear | nn.Embedding):
                    nn.init.normal_(module.weight, std=0.02)
                if isinstance(module, nn.Linear):
                    nn.init.zeros_(module.bias)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Encode tokens.

        Args:
            ids: (E, T) rows of the vocabulary, at most `sizes.positions` of them.
            mask: (E, T), not zero on real tokens; the first one always is.
        Returns:
            (E, T, C) features of the last layer.
        """
        parts = self.embeddings
        kind = cast(nn.Embedding, parts["token_type_embeddings"])
        place = cast(nn.Embedding, parts["position_embeddings"])
        x = parts["word_embeddings"](ids) + kind.weight[0]  # (E, T) -> (E, T, C)
        x = parts["LayerNorm"](x + place.weight[: ids.shape[1]])
        real = mask.bool()
        for layer in cast(nn.ModuleList, self.encoder["layer"]):
            x = layer(x, real)
        return x
