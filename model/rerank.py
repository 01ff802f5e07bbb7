"""Between the prefilter's inner products and the head: a photo's few vectors read with the words.

The best match of one vector with a sentence cannot tell "girl in red and the dog" from a photo that
holds only one of them; vectors that hear the words, and then each other, can. What is read is what
the prefilter keeps anyway, an eighth of the region tokens, at a fraction of the head's cost.

Shape legend: M pairs, V vectors of D channels, T words of C channels, c the reranker's own width.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from model.config import ReLAConfig
from model.masked_decoder import MLP
from model.rla import RegionLanguageLayer


class Reranker(nn.Module):
    """A small ReLA head over the prefilter's vectors that only says how likely a target is.

    Source: Nogueira, Cho, Passage Re-ranking with BERT, arXiv:1901.04085, for the two stages; the
    layers are those of GRES section 4.2.
    """

    def __init__(self, config: ReLAConfig) -> None:
        super().__init__()
        c = config.rerank_channels
        narrow = replace(config, channels=c, rla_hidden=2 * c, rla="both")
        self.vector = nn.Linear(config.vector_channels, c)
        self.word = nn.Linear(config.channels, c)
        self.role = nn.Parameter(torch.randn(config.vectors, c) * 0.1)
        # The vectors come from regions that have looked at each other: first they hear the words.
        self.layers = nn.ModuleList(
            RegionLanguageLayer(narrow if n else replace(narrow, rla="language"))
            for n in range(config.rerank_layers)
        )
        self.weight = nn.Linear(c, 1)
        self.score = MLP(c, c, 1, 2)

    def forward(self, vectors: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """(M, V, D), F_t (M or 1, T, C), (M or 1, T) True on real words -> logits (M,)."""
        x = self.vector(vectors * vectors.shape[-1] ** 0.5) + self.role
        heard = self.word(words)
        for layer in self.layers:
            x = layer.hear(*layer.before_words(x), heard, mask)  # type: ignore[operator]
        pooled = (self.weight(x).float().softmax(1).to(x.dtype) * x).sum(1)
        exact = self.score.layers[0].weight.dtype  # what ranks photos: never coarser than x
        logits: Tensor = self.score(pooled.to(exact)).squeeze(-1)
        return logits
