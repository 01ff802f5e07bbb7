"""A late-fusion network starts from Mask2Former and Swin weights and computes what they do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import model.network.torchvision_guard  # noqa: F401
from model import checkpoint
from model.build import SIZES
from model.errors import WeightsError
from model.network.config import ReLAConfig
from model.network.rela import RelaNetwork
from model.starting_points import (
    rename_mask2former,
    rename_swin,
    start_from_mask2former,
    start_from_swin,
    write_start,
)

from timm.models.swin_transformer import SwinTransformer  # isort: skip
from transformers import (  # isort: skip
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    SwinConfig,
)


def mask2former(folder: Path, **changes: Any) -> Mask2FormerForUniversalSegmentation:
    """Save a random Mask2Former whose random weights are large enough to matter."""
    torch.manual_seed(3)
    swin = SwinConfig(
        embed_dim=16,
        depths=[1, 2, 2, 1],
        num_heads=[1, 2, 2, 4],
        window_size=4,
        image_size=96,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    sizes = {
        "feature_size": 64, "mask_feature_size": 64, "hidden_dim": 64, "encoder_layers": 2,
        "decoder_layers": 4, "dim_feedforward": 96, "num_queries": 16, "num_labels": 3,
    }  # fmt: skip
    config = Mask2FormerConfig(backbone_config=swin, **{**sizes, **changes})
    network = Mask2FormerForUniversalSegmentation(config).eval()
    with torch.no_grad():
        for name, value in network.named_parameters():
            if value.ndim > 1 and "embed" not in name:
                value.normal_(std=value[0].numel() ** -0.5)
            elif value.ndim == 1 and "norm" not in name:
                value.normal_(std=0.2)
    network.save_pretrained(folder)
    return network


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("mask2former")
    return folder, mask2former(folder)


def base() -> ReLAConfig:
    """A network of the sizes of `mask2former`."""
    rela = SIZES["rela-tiny"]
    return replace(
        rela,
        swin=replace(
            rela.swin, embed_dim=16, depths=(1, 2, 2, 1), num_heads=(1, 2, 2, 4), window_size=4
        ),
        pixel_decoder_layers=2,
        channels=64,
        mask_channels=64,
        regions_per_side=4,
        ria_layers=3,
        ria_hidden=96,
        input_size=96,
        text="minilm",
        text_channels=384,
        vectors=2,
    )


def started(folder: Path, **changes: Any) -> RelaNetwork:
    config = replace(base(), **changes)
    network = RelaNetwork(config).eval()
    start_from_mask2former(network, folder)
    return network


def forwards(
    network: RelaNetwork, theirs: Any, size: tuple[int, int]
) -> list[tuple[Tensor, Tensor]]:
    pixels = torch.rand((2, 3, *size), generator=torch.Generator().manual_seed(5)) * 255
    with torch.no_grad():
        pyramid = network.pyramid(pixels)
        mask_features, scales = network.pixel_decoder(pyramid)
        decoded = network.ria.decoder(scales, mask_features)
        image = (pixels - network.backbone.mean) / network.backbone.std
        pixel_level = theirs.model.pixel_level_module(image, output_hidden_states=True)
        expected = theirs.model.transformer_module(
            multi_scale_features=pixel_level.decoder_hidden_states,
            mask_features=pixel_level.decoder_last_hidden_state,
            output_hidden_states=True,
        )
    pairs = list(zip(pyramid.values(), pixel_level.encoder_hidden_states, strict=True))
    pairs += list(zip(scales, pixel_level.decoder_hidden_states, strict=True))
    pairs += [
        (mask_features, pixel_level.decoder_last_hidden_state),
        (decoded.queries, expected.last_hidden_state),
        (decoded.normed, expected.intermediate_hidden_states[-1].transpose(0, 1)),
        (
            torch.einsum("bqc,bchw->bqhw", decoded.filters, mask_features),
            expected.masks_queries_logits[-1],
        ),
    ]
    return pairs


@pytest.mark.parametrize("size", [(96, 96), (160, 128), (32, 64)])
def test_vision_half_computes_what_mask2former_computes(
    source: tuple[Path, Any], size: tuple[int, int]
) -> None:
    folder, theirs = source
    for ours, expected in forwards(started(folder), theirs, size):
        assert ours.shape == expected.shape
        assert float((ours - expected).abs().max()) <= 1e-4 * max(1, float(expected.abs().max()))


def test_every_vision_weight_is_filled(source: tuple[Path, Any]) -> None:
    folder, _ = source
    network = RelaNetwork(base())
    done = start_from_mask2former(network, folder)
    vision = {
        name
        for name, _ in network.named_parameters()
        if name.startswith(("backbone.", "pixel_decoder.", "ria."))
    }
    assert set(done.filled) == vision
    assert all("swin.layernorm" in name for name in done.left)


PUBLISHED = {
    "rela-tiny": {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24]},
    "rela-small": {"embed_dim": 96, "depths": [2, 2, 18, 2], "num_heads": [3, 6, 12, 24]},
    "rela-base": {"embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32]},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_of_mask2former_fit_our_named_networks(name: str) -> None:
    window = 12 if name == "rela-base" else 7
    stages = ["stage1", "stage2", "stage3", "stage4"]
    swin = SwinConfig(**PUBLISHED[name], window_size=window, out_features=stages)
    with torch.device("meta"):
        theirs = Mask2FormerForUniversalSegmentation(
            Mask2FormerConfig(backbone_config=swin, num_queries=100)
        )
        ours = RelaNetwork(replace(SIZES[name], mask_channels=256))
    renamed, _ = rename_mask2former(theirs.model.state_dict())
    wanted = {
        key: value.shape
        for key, value in ours.state_dict().items()
        if key.startswith(("backbone.", "pixel_decoder.", "ria."))
    }
    assert {key: value.shape for key, value in renamed.items()} == wanted


def test_fewer_mask_channels_keep_the_best_part_of_the_masks(source: tuple[Path, Any]) -> None:
    folder, theirs = source
    errors = []
    for channels in (48, 24, 8):
        masks, expected = forwards(started(folder, mask_channels=channels), theirs, (96, 96))[-1]
        errors.append(float((masks - expected).norm() / expected.norm()))
    assert errors == sorted(errors)


def test_folder_without_mask2former_is_refused(tmp_path: Path) -> None:
    network = RelaNetwork(base())
    with pytest.raises(WeightsError, match="no Mask2Former"):
        start_from_mask2former(network, tmp_path / "none")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(WeightsError):
        start_from_mask2former(network, tmp_path)


def test_network_of_other_sizes_is_refused_with_the_first_differences(
    source: tuple[Path, Any],
) -> None:
    folder, _ = source
    config = replace(base(), ria_layers=2)
    with pytest.raises(WeightsError, match="has no place"):
        start_from_mask2former(RelaNetwork(config), folder)
    with pytest.raises(WeightsError, match="not built like Mask2Former"):
        start_from_mask2former(RelaNetwork(SIZES["rela-mini"]), folder)


def small_swin() -> SwinTransformer:
    torch.manual_seed(4)
    return SwinTransformer(
        img_size=128, embed_dim=16, depths=(1, 2, 2, 1), num_heads=(1, 2, 2, 4), window_size=2,
        num_classes=3,
    ).eval()  # fmt: skip


def test_swin_starts_from_timms_weights_and_agrees_where_windows_divide_the_map(
    tmp_path: Path,
) -> None:
    theirs = small_swin()
    torch.save(theirs.state_dict(), tmp_path / "swin.pth")
    swin = replace(base().swin, window_size=2)
    network = RelaNetwork(replace(base(), swin=swin, pixel_decoder_layers=1, ria_layers=1)).eval()
    done = start_from_swin(network, tmp_path / "swin.pth")
    assert set(done.left) == {"norm.weight", "norm.bias", "head.fc.weight", "head.fc.bias"}
    image = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        x = theirs.patch_embed(image)
        y = network.backbone.swin.patch_embed(image)
        for stage, ours in zip(theirs.layers, network.backbone.swin.layers, strict=True):
            x, y = stage(x), ours(y)
            assert torch.allclose(x, y, atol=1e-4)
            y = ours.downsample(y) if ours.downsample is not None else y


def test_authors_form_keeps_its_patch_merging_in_place() -> None:
    authors = {"layers.0.downsample.reduction.weight": torch.zeros(1), "head.bias": torch.zeros(1)}
    renamed, left = rename_swin(authors)
    assert list(renamed) == ["layers.0.downsample.reduction.weight"] and left == ["head.bias"]


def test_swin_of_other_sizes_or_names_is_refused(tmp_path: Path) -> None:
    torch.save(small_swin().state_dict(), tmp_path / "swin.pth")
    network = RelaNetwork(replace(base(), swin=replace(base().swin, embed_dim=32, window_size=2)))
    with pytest.raises(WeightsError, match="does not fit rela-tiny"):
        start_from_swin(network, tmp_path / "swin.pth")
    with pytest.raises(WeightsError, match="neither a file nor a timm model"):
        start_from_swin(network, "no_such_swin")


def test_weights_to_start_a_training_from_are_written(
    source: tuple[Path, Any], tmp_path: Path
) -> None:
    folder, _ = source
    config = base()
    write_start(folder, config, tmp_path / "start.safetensors")
    network = checkpoint.load(tmp_path / "start.safetensors")
    expected = RelaNetwork(config)
    start_from_mask2former(expected, folder)
    for name in ("ria.decoder.query_features", "pixel_decoder.level_embedding"):
        half = expected.state_dict()[name].half().float()
        assert torch.equal(network.state_dict()[name], half)
