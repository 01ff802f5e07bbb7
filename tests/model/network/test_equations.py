"""Equations 1, 2 and 3 of the paper against plain loops written from the formulas."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from model.network.rela import mask_logits
from model.network.ria import PaperRia
from model.network.rla import RegionLanguageLayer, RegionTokens, RlaHead
from tests.support.tiny_model import TINY


def _gelu(x: float) -> float:
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


def _times(row: list[float], matrix: list[list[float]]) -> list[float]:
    return [sum(r * matrix[i][j] for i, r in enumerate(row)) for j in range(len(matrix[0]))]


def _softmax(row: list[float]) -> list[float]:
    top = max(row)
    powers = [math.exp(v - top) for v in row]
    return [p / sum(powers) for p in powers]


def _attention(left: list[list[float]], right: list[list[float]]) -> list[list[float]]:
    """softmax(left right^T), row by row."""
    return [_softmax([sum(a * b for a, b in zip(x, y, strict=True)) for y in right]) for x in left]


def test_equation_1_sums_region_masks_weighted_by_the_minimap() -> None:
    torch.manual_seed(0)
    head = RlaHead(TINY).eval()
    c, n, channels = TINY.channels, TINY.regions, TINY.mask_channels
    words, mask = torch.randn(1, 5, c), torch.ones(1, 5, dtype=torch.bool)
    tokens = head.tokens(torch.randn(1, n, c))
    features = torch.randn(1, channels, 3, 4)
    output = head(tokens, words, mask)
    fast = mask_logits(output.coefficients, features)[0].detach()
    filters = head.filter(head.regions(tokens, words, mask))[0].tolist()
    x_r = output.minimap_logit.sigmoid()[0].tolist()
    f_m = features[0].tolist()
    for row in range(3):
        for column in range(4):
            expected = 0.0
            for region in range(n):
                m_r = sum(filters[region][k] * f_m[k][row][column] for k in range(channels))
                expected += x_r[region] * m_r
            assert abs(float(fast[row, column]) - expected * head.scale) < 1e-5


def test_equation_2_collects_image_features_by_softmax_over_positions() -> None:
    torch.manual_seed(1)
    ria = PaperRia(replace(TINY, ria="paper"))
    queries, image = torch.randn(4, TINY.channels), torch.randn(1, 6, TINY.channels)
    fast = ria.collect(queries, image)[0]
    w_ik, w_iv = ria.key.weight.T.tolist(), ria.value.weight.T.tolist()
    keys = [[_gelu(v) for v in _times(row, w_ik)] for row in image[0].tolist()]
    values = [[_gelu(v) for v in _times(row, w_iv)] for row in image[0].tolist()]
    expected = [_times(row, values) for row in _attention(queries.tolist(), keys)]
    assert torch.allclose(fast, torch.tensor(expected), atol=1e-5)


def test_equation_3_attends_from_regions_to_words() -> None:
    torch.manual_seed(2)
    layer = RegionLanguageLayer(TINY)
    regions, words = torch.randn(1, 4, TINY.channels), torch.randn(1, 5, TINY.channels)
    _, queries = layer.before_words(regions)
    assert queries is not None
    fast = layer.attend(queries, words, torch.ones(1, 5, dtype=torch.bool))[0]
    w_lq, w_lk = layer.word_query.weight.T.tolist(), layer.word_key.weight.T.tolist()
    left = [[_gelu(v) for v in _times(row, w_lq)] for row in regions[0].tolist()]
    right = [[_gelu(v) for v in _times(row, w_lk)] for row in words[0].tolist()]
    expected = [_times(row, words[0].tolist()) for row in _attention(left, right)]
    assert torch.allclose(fast, torch.tensor(expected), atol=1e-5)


def test_region_features_are_the_mlp_of_the_sum_of_all_three() -> None:
    torch.manual_seed(3)
    layer = RegionLanguageLayer(TINY)
    regions, words = torch.randn(2, 4, TINY.channels), torch.randn(2, 5, TINY.channels)
    mask = torch.ones(2, 5, dtype=torch.bool)
    sums, queries = layer.before_words(regions)
    assert queries is not None and layer.region_attention is not None
    f_r1 = layer.region_attention(regions, regions, regions)
    f_r2 = layer.attend(queries, words, mask)
    x = regions + f_r1 + f_r2
    expected = layer.out_norm(x + layer.mlp(layer.norm(x)))
    assert torch.allclose(layer.hear(sums, queries, words, mask), expected, atol=1e-6)


def test_padding_words_change_nothing() -> None:
    torch.manual_seed(4)
    head = RlaHead(TINY).eval()
    tokens = head.tokens(torch.randn(3, TINY.regions, TINY.channels))
    words = torch.randn(3, 6, TINY.channels)
    mask = torch.tensor([[1, 1, 1, 1, 0, 0]]).bool().expand(3, 6)
    garbage = torch.where(mask[..., None], words, torch.full_like(words, 1e3))
    a, b = head(tokens, words, mask), head(tokens, garbage, mask)
    short = head(tokens, words[:, :4], mask[:, :4])
    for other in (b, short):
        assert torch.allclose(a.no_target_logit, other.no_target_logit, atol=1e-5)
        assert torch.allclose(a.coefficients, other.coefficients, atol=1e-5)


def test_selected_tokens_are_those_of_their_photos() -> None:
    tokens = RegionTokens(torch.arange(3.0)[:, None, None], None, None)
    assert tokens.select(torch.tensor([2, 0, 2])).sums.flatten().tolist() == [2, 0, 2]


def test_one_expression_for_all_photos_gives_the_same_as_one_a_photo() -> None:
    torch.manual_seed(5)
    layer = RegionLanguageLayer(replace(TINY, word_heads=4))
    queries, words = torch.randn(3, 5, TINY.channels), torch.randn(1, 6, TINY.channels)
    mask = torch.tensor([[True, True, True, True, False, False]])
    together = layer.attend(queries, words, mask)
    apart = layer.attend(queries, words.expand(3, -1, -1), mask.expand(3, -1))
    assert torch.allclose(together, apart, atol=1e-6)
