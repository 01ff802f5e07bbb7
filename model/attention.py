"""What a network looked at: the paper's A_ri (regions on the image) and A_l (regions on words).

Training and searching never need these weights, and attention is fused there; so they are computed
again, beside the run, from what goes into an attention. Several heads are averaged.

Shape legend: N = P² regions, T words, h x w the finest scale that regions look at, L = h w.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from model import packing
from model.network.masked_decoder import Attention, MaskedDecoder, MaskedDecoderLayer
from model.network.ria import MaskedRia, PaperRia
from model.network.rla import RegionLanguageLayer
from model.packing import Records
from model.predictor import Predictor, Words

Floats = NDArray[np.float32]


@torch.inference_mode()
def word_attention(predictor: Predictor, tokens: Records, words: Words) -> Floats | None:
    """A_l of equation 3, of the last RLA layer: (N, T), each region's sums to 1.

    Args:
        tokens: one record of the tokens tier. words: one expression; T are its real words.
    Returns:
        None where the configuration has no region-word attention.
    """
    head = predictor.network.head
    cached = packing.unpack_tokens(tokens, predictor.device)
    length = int(words.mask[0].sum())
    features, mask = words.features[:1, :length], words.mask[:1, :length]
    last = head.layers[-1]
    assert isinstance(last, RegionLanguageLayer)
    queries = cached.queries
    if len(head.layers) > 1:
        queries = last.queries(head.each_regions(cached, features, mask)[-2])
    if queries is None:
        return None
    return _array(last.weights(queries, features, mask)[0].mean(0))


@torch.inference_mode()
def region_attention(predictor: Predictor, pixels: NDArray[np.uint8]) -> Floats | None:
    """A_ri: where each region collected its image features, (N, h, w), each sums to 1.

    Of the masked form it is the last of the layers that look at the finest scale; of equation 2
    as printed, the only one there is.

    Args:
        pixels: (S, S, 3) uint8.
    Returns:
        None of a hard split, whose regions are cells.
    """
    net = predictor.network
    x = torch.from_numpy(np.array(pixels)).to(predictor.device).permute(2, 0, 1)[None].float()
    if isinstance(net.ria, MaskedRia):
        with watched(last_finest(net.ria.decoder)) as seen:
            net.decode(net.pyramid(x))
        return _as_maps(seen[-1])
    if isinstance(net.ria, PaperRia):
        images: list[Tensor] = []
        hook = net.ria.key.register_forward_pre_hook(lambda _, given: images.append(given[0]))
        try:
            net.decode(net.pyramid(x))
        finally:
            hook.remove()
        keys = F.gelu(net.ria.key(images[-1])).transpose(1, 2)  # (1, C, L)
        return _as_maps(((net.ria.content + net.ria.place) @ keys).float().softmax(-1))
    return None


def last_finest(decoder: MaskedDecoder) -> Attention:
    """The cross-attention of the last layer that looks at the decoder's finest level."""
    finest = decoder.level_count - 1
    last = max(k for k in range(len(decoder.layers)) if k % decoder.level_count == finest)
    layer = decoder.layers[last]
    assert isinstance(layer, MaskedDecoderLayer)
    return layer.cross.attention


@contextmanager
def watched(attention: Attention) -> Iterator[list[Tensor]]:
    """Collect an attention's weights (B, Q, N) while it runs, averaged over its heads."""
    seen: list[Tensor] = []

    def look(_: nn.Module, given: tuple[Any, ...]) -> None:
        query, key, _value, *blocked = given
        heads = attention.heads

        def split(x: Tensor) -> Tensor:  # (B, N, C) -> (B, heads, N, D)
            return x.unflatten(-1, (heads, -1)).transpose(1, 2)

        q, k = split(attention.query(query)), split(attention.key(key))
        scores = (q @ k.transpose(-1, -2)).float() / math.sqrt(q.shape[-1])
        if blocked and blocked[0] is not None:
            scores = scores.masked_fill(blocked[0], float("-inf"))
        seen.append(scores.softmax(-1).mean(1))

    hook: Callable[[], None] = attention.register_forward_pre_hook(look).remove
    try:
        yield seen
    finally:
        hook()


def _as_maps(weights: Tensor) -> Floats:
    """(1, N, L) of a square scale -> (N, h, w)."""
    side = math.isqrt(weights.shape[-1])
    return _array(weights[0].unflatten(-1, (side, side)))


def _array(values: Tensor) -> Floats:
    return np.asarray(values.float().cpu().numpy(), np.float32)
