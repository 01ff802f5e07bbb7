"""The rough head: a short look at few tokens a photo, which ranks photos for the head itself.

Every 2 x 2 regions become one token, when a photo is indexed; what the token keeps of them is
learned, and so is how the words are then put to the tokens, from the verdicts of the head.

Shape legend: B photos, E expressions, N = P² regions, R = N / 4 tokens, T words, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.network.config import ReLAConfig
from model.network.masked_decoder import MLP, Attention, transformer_layer
from model.network.rla import RegionLanguageLayer, RlaHead


class RoughHead(nn.Module):
    """Tokens of a photo, and how likely an expression refers to something in it.

    Source: `docs/decisions/0004`; the layers are RLA's.
    """

    def __init__(self, config: ReLAConfig) -> None:
        super().__init__()
        c = config.channels
        self.side = config.regions_per_side // 2
        self.mix = transformer_layer(c)
        self.places = nn.Parameter(0.5 * torch.randn(self.side**2, c))
        self.cell_norm, self.region_norm = nn.LayerNorm(c), nn.LayerNorm(c)
        self.collect = Attention(dim=c, heads=8)
        self.layers = nn.ModuleList(RegionLanguageLayer(config) for _ in range(config.rough_layers))
        self.weight = nn.Linear(c, 1, bias=False)
        self.no_target = MLP(c, c, 1, 2)

    @torch.no_grad()
    def begin_as(self, head: RlaHead) -> None:
        """Start from the head's own layers, with the mean of four regions as a token."""
        self.layers.load_state_dict(head.layers[: len(self.layers)].state_dict())
        self.no_target.load_state_dict(head.no_target.state_dict())
        if head.pooling.kind == "attention":
            self.weight.weight.copy_(head.pooling.score.weight)
        else:
            self.weight.weight.zero_()  # all tokens count alike
        for last in (self.mix.linear2, self.mix.self_attn.out_proj, self.collect.output):
            last.weight.zero_()
            last.bias.zero_()

    def tokens(self, regions: Tensor) -> Tensor:
        """F'_r (B, N, C) -> (B, R, C), rows of the grid first: what is cached of a photo."""
        mixed = self.mix(regions)
        grid = mixed.unflatten(1, (self.side, 2, self.side, 2))  # (B, P/2, 2, P/2, 2, C)
        cells = grid.mean((2, 4)).flatten(1, 2)  # (B, R, C)
        seen = self.region_norm(mixed)
        cells = cells + self.collect(self.cell_norm(cells) + self.places, seen, seen)
        return self.first_layer.before_words(cells)[0]

    def forward(self, tokens: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Logits of a target, (E, B); they only rank: the head is who decides.

        Args:
            tokens: (B, R, C), of photos that every expression is asked of, or (E, B, R, C).
            words: (E, T, C) F_t. mask: (E, T), True on real words.
        """
        e, (b, r, c) = len(words), tokens.shape[-3:]
        first, *later = self._each()
        # An expression is put to the tokens of all its photos at once.
        sums = tokens.view(-1, b * r, c)
        queries = first.queries(sums)
        if queries is not None:
            queries = queries.expand(e, -1, -1)
        x = first.hear(sums.expand(e, -1, -1), queries, words, mask)  # (E, B R, C)
        for layer in later:
            sums, queries = layer.before_words(x.view(e * b, r, c))  # a photo's tokens talk
            if queries is not None:
                queries = queries.view(e, b * r, c)
            x = layer.hear(sums.view(e, b * r, c), queries, words, mask)
        x = x.view(e, b, r, c)
        weights = self.weight(x).float().softmax(2).to(x.dtype)  # (E, B, R, 1)
        pooled = (weights * x).sum(2).to(self.no_target.layers[0].weight.dtype)
        return -self.no_target(pooled).squeeze(-1)

    @property
    def first_layer(self) -> RegionLanguageLayer:
        """Whose share before the words is cached."""
        return self._each()[0]

    def _each(self) -> list[RegionLanguageLayer]:
        return [layer for layer in self.layers if isinstance(layer, RegionLanguageLayer)]
