"""Swin in timm's form is timm's: weights, their names, and features to the bit or nearly so."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import model.network.torchvision_guard  # noqa: F401
from model import checkpoint
from model.build import weights_of
from model.network.backbone import SwinBackbone, conv_stem
from model.network.config import SwinConfig
from model.network.swin import LEVELS

from timm.models.swin_transformer import SwinTransformer  # isort: skip

UNEVEN = SwinConfig(
    embed_dim=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 2, 4), window_size=5, drop_path=0.1
)


def timms(config: SwinConfig, built_for: int) -> SwinTransformer:
    swin = SwinTransformer(
        img_size=built_for,
        embed_dim=config.embed_dim,
        depths=config.depths,
        num_heads=config.num_heads,
        window_size=config.window_size,
        drop_path_rate=config.drop_path,
        num_classes=0,
        strict_img_size=False,
    )
    swin.norm = nn.Identity()
    if config.conv_stem:
        swin.patch_embed.proj = conv_stem(config.embed_dim)
    return swin.eval()


@torch.inference_mode()
def timms_pyramid(swin: SwinTransformer, backbone: SwinBackbone, pixels: Tensor) -> list[Tensor]:
    x = swin.patch_embed((pixels - backbone.mean) / backbone.std)
    pyramid = []
    for stage, norm in zip(swin.layers, backbone.norms, strict=True):
        x = stage(x)
        pyramid.append(norm(x).permute(0, 3, 1, 2))
    return pyramid


def agree(backbone: SwinBackbone, config: SwinConfig, built_for: int, side: int) -> None:
    swin = timms(config, built_for)
    # Strict: the names are timm's as well, so the fingerprints of what is cached are the same.
    swin.load_state_dict(backbone.swin.state_dict())
    pixels = torch.randint(0, 256, (2, 3, side, side), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        ours = backbone(pixels.float())
    for level, theirs in zip(LEVELS, timms_pyramid(swin, backbone, pixels.float()), strict=True):
        assert float((ours[level] - theirs).abs().max()) < 1e-6, level


@pytest.mark.parametrize("side", [224, 320])
def test_shipped_weights_give_timms_features(side: int) -> None:
    network = checkpoint.load(weights_of("rela-mini")).eval()
    agree(network.backbone, network.config.swin, network.config.swin.built_for, side)


@pytest.mark.parametrize(("built_for", "side"), [(96, 96), (96, 160), (160, 160), (160, 64)])
def test_windows_that_do_not_divide_a_map_or_cover_it_are_timms(built_for: int, side: int) -> None:
    torch.manual_seed(built_for + side)
    backbone = SwinBackbone(UNEVEN, built_for).eval()
    for value in backbone.parameters():
        nn.init.normal_(value, std=value[0].numel() ** -0.5 if value.ndim > 1 else 0.2)
    agree(backbone, UNEVEN, built_for, side)
