"""Every configuration of the paper's ablations builds, and gradients reach every part of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from model.build import SIZES
from model.errors import ModelError
from model.network.config import ReLAConfig, SwinConfig
from model.network.rela import RelaNetwork, mask_logits
from tests.support.tiny_model import TINY

VARIANTS: dict[str, dict[str, Any]] = {
    "table 2, 1: hard split of the input": {"ria": "hard-input"},
    "table 2, 2: hard split of the decoder's features": {"ria": "hard-decoder"},
    "table 2, 3: minimap unsupervised": {"minimap_supervised": False},
    "table 2, 4: full, masked": {},
    "table 2, 4: full, equation 2": {"ria": "paper"},
    "table 3, 1: no RLA": {"rla": "none"},
    "table 3, 2: language": {"rla": "language"},
    "table 3, 3: region": {"rla": "region"},
    "table 4: P = 8": {"regions_per_side": 8},
    "table 4: P = 10": {"regions_per_side": 10},
    "table 4: P = 12": {"regions_per_side": 12},
    "table 6: 50 pixels": {"no_target": "pixels"},
    "filters before RLA": {"filters": "before"},
    "pooling by attention": {"pooling": "attention"},
    "pooling by the minimap": {"pooling": "minimap-max"},
    "presence token": {"pooling": "presence"},
    "two layers": {"rla_layers": 2},
    "three layers, four heads": {"rla_layers": 3, "word_heads": 4},
    "deformable decoder": {"pixel_decoder": "deformable", "pixel_decoder_layers": 1},
    "own text layers": {"text_layers": 2},
}


def _silent(network: RelaNetwork) -> set[str]:
    """Parameters that the answers cannot reach by design."""
    names = [name for name, _ in network.named_parameters()]
    silent = {n for n in names if n.endswith("key.bias")}  # a softmax does not see it
    # Language-free region masks only steer attention; the trainer supervises them directly.
    return silent | {n for n in names if "mask_embedding" in n or n.startswith("ria.filter")}


@pytest.mark.parametrize("name", VARIANTS)
def test_variant_builds_and_every_part_learns(name: str) -> None:
    torch.manual_seed(0)
    config = replace(TINY, **VARIANTS[name])
    if config.ria == "hard-input":
        config = replace(config, regions_per_side=4)
    network = RelaNetwork(config)
    with torch.no_grad():  # some parts start at zero, which would hide what feeds them
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    encoded = network.decode(network.pyramid(torch.rand(2, 3, 64, 64) * 255))
    assert encoded.regions.shape == (2, config.regions, config.channels)
    assert encoded.mask_features.shape == (2, config.mask_channels, 16, 16)
    mask = torch.ones(2, 7, dtype=torch.bool)
    words = network.words(torch.randn(2, 7, config.text_channels), mask)
    output = network.judge(network.tokens(encoded.regions), words, mask)
    masks = mask_logits(output.coefficients, encoded.mask_features)
    assert output.minimap_logit.shape == (2, config.regions) and masks.shape == (2, 16, 16)
    vectors = network.vector_pool(encoded.regions)
    sentence = network.words.sentence_vector(words, mask)
    assert network.rough is not None
    rough = network.rough(network.rough.tokens(encoded.regions), words, mask)
    assert rough.shape == (2, 2)
    loss = (
        masks.square().mean() + output.no_target_logit.square().sum() + rough.square().sum()
        + output.minimap_logit.square().mean() + (vectors[:, :, None] * sentence).square().sum()
    )  # fmt: skip
    loss.backward()
    silent = _silent(network)
    dead = [
        n for n, p in network.named_parameters()
        if n not in silent and (p.grad is None or not p.grad.abs().sum() > 0)
    ]  # fmt: skip
    assert dead == []


@pytest.mark.parametrize("ria", ["masked", "paper", "hard-decoder", "hard-input"])
def test_nothing_before_region_word_attention_sees_the_expression(ria: str) -> None:
    network = RelaNetwork(replace(TINY, ria=ria)).eval()
    hears = [
        name for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and module.in_features == TINY.text_channels
    ]  # fmt: skip
    assert hears == ["words.project"]  # language enters here, and `decode` never calls it
    encoded = network.decode(network.pyramid(torch.rand(1, 3, 64, 64)))
    encoded.regions.sum().backward()
    assert all(p.grad is None for p in network.words.parameters())


def test_named_sizes_have_the_shapes_of_the_design() -> None:
    assert set(SIZES) == {"rela-mini", "rela-photo", "rela-tiny", "rela-small", "rela-base"}
    base = SIZES["rela-base"]
    assert (base.input_size, base.regions_per_side, base.channels) == (480, 10, 256)
    assert base.swin.depths == (2, 2, 18, 2) and base.ria_layers == 9
    with torch.device("meta"):
        tiny = RelaNetwork(SIZES["rela-tiny"])
    assert 40e6 < sum(p.numel() for p in tiny.parameters()) < 60e6


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"ria": "soft"}, "ria='soft'"),
        ({"input_size": 100}, "multiple of 32"),
        ({"channels": 12}, "multiple of 8"),
        ({"rla_layers": 0}, "rla_layers"),
        ({"ria": "hard-input", "regions_per_side": 10}, "divides"),
    ],
)
def test_configuration_that_cannot_be_built_names_the_field(
    change: dict[str, Any], says: str
) -> None:
    with pytest.raises(ModelError, match=says):
        replace(TINY, **change)


def test_configuration_survives_json_and_refuses_unknown_keys() -> None:
    import json

    config = SIZES["rela-mini"]
    assert ReLAConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert isinstance(config.swin, SwinConfig)
    with pytest.raises(ModelError, match="unknown keys"):
        ReLAConfig.from_dict({**config.to_dict(), "zoom": 2})
