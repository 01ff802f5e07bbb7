"""ReLA with late fusion: a photo is encoded once, without language, and judged many times.

Source: Liu, Ding, Jiang, GRES, CVPR 2023, section 4; DESIGN section 2 for the order of things.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.backbone import SwinBackbone
from model.network.config import ReLAConfig
from model.network.fpn import FeaturePyramid
from model.network.hybrid import HybridBackbone
from model.network.masked_decoder import MLP, Attention, transformer_layer
from model.network.pixel_decoder import MSDeformAttnPixelDecoder
from model.network.ria import build_ria
from model.network.rla import HeadOutput, RegionTokens, RlaHead
from model.network.rough import RoughHead
from model.network.swin import LEVELS


@dataclass(frozen=True)
class Encoded:
    """One batch of photos, decoded.

    Attributes:
        regions: (B, N, C) region tokens F'_r.
        region_filters: (B, N, C_m) language-free filters; times F_m they are region masks.
        mask_features: (B, C_m, H/4, W/4) F_m; H/8 x W/8 on a stem.
        finest: (B, C, H/8, W/8) the decoder's finest scale, for auxiliary losses.
    """

    regions: Tensor
    region_filters: Tensor
    mask_features: Tensor
    finest: Tensor


class WordAdapter(nn.Module):
    """From the text encoder's word features to F_t, and to the prefilter's sentence vector."""

    def __init__(self, config: ReLAConfig) -> None:
        super().__init__()
        c = config.channels
        self.project = nn.Linear(config.text_channels, c)
        self.layers = nn.ModuleList(transformer_layer(c) for _ in range(config.text_layers))
        self.norm = nn.LayerNorm(c)
        self.sentence = MLP(c, 2 * c, config.vector_channels, 2)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """(E, T, C_t) word features, (E, T) True on real words -> F_t (E, T, C)."""
        x = self.project(features)
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=~mask)
        return self.norm(x)

    def sentence_vector(self, words: Tensor, mask: Tensor) -> Tensor:
        """F_t (E, T, C) -> unit vectors (E, D) in the prefilter's space."""
        weights = mask.to(words.dtype)[..., None]
        mean = (words * weights).sum(1) / weights.sum(1)
        return F.normalize(self.sentence(mean).float(), dim=-1)


class VectorPool(nn.Module):
    """Region tokens as V unit vectors in the prefilter's space."""

    def __init__(self, config: ReLAConfig) -> None:
        super().__init__()
        c = config.channels
        self.layers = nn.ModuleList(transformer_layer(c) for _ in range(config.vector_layers))
        self.queries = nn.Parameter(torch.randn(config.vectors, c))
        self.attention = Attention(dim=c, heads=8)
        self.norm = nn.LayerNorm(c)
        self.project = MLP(c, 2 * c, config.vector_channels, 2)

    def forward(self, regions: Tensor) -> Tensor:
        """F'_r (B, N, C) -> (B, V, D)."""
        for layer in self.layers:
            regions = layer(regions)
        queries = self.queries.expand(len(regions), -1, -1)
        pooled = self.norm(queries + self.attention(queries, regions, regions))
        return F.normalize(self.project(pooled).float(), dim=-1)


class RelaNetwork(nn.Module):
    """The whole network but for the text encoder, which is frozen or lives beside it."""

    def __init__(self, config: ReLAConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone: SwinBackbone | HybridBackbone = (
            HybridBackbone(config.swin, config.text_channels)
            if config.swin.stem
            else SwinBackbone(config.swin, config.input_size)
        )
        if config.pixel_decoder == "fpn":
            self.pixel_decoder: nn.Module = FeaturePyramid(
                self.backbone.channels, config.channels, config.mask_channels
            )
        else:
            self.pixel_decoder = MSDeformAttnPixelDecoder(
                self.backbone.channels,
                conv_dim=config.channels,
                mask_dim=config.mask_channels,
                layers=config.pixel_decoder_layers,
            )
        self.ria = build_ria(config)
        self.words = WordAdapter(config)
        self.head = RlaHead(config)
        self.vector_pool = VectorPool(config)
        self.rough = RoughHead(config) if config.rough_layers else None

    def pyramid(self, pixels: Tensor) -> dict[str, Tensor]:
        """Swin: (B, 3, S, S) RGB in 0..255 -> res2 .. res5, (B, C_i, S/s, S/s)."""
        if self.config.ria != "hard-input":
            return self.backbone(pixels)
        p = self.config.regions_per_side
        side = pixels.shape[-1] // p
        cells = pixels.unflatten(2, (p, side)).unflatten(4, (p, side))  # (B, 3, p, s, p, s)
        cells = cells.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)  # (B p p, 3, s, s)
        padded = -(-side // 32) * 32
        cells = F.interpolate(cells, size=(padded, padded), mode="bilinear", align_corners=False)
        stitched = {}
        features = self.backbone(cells)
        for level, stride in zip(LEVELS, (4, 8, 16, 32), strict=True):
            x = features[level]
            x = x.unflatten(0, (len(pixels), p, p)).permute(0, 3, 1, 4, 2, 5)
            x = x.flatten(4, 5).flatten(2, 3)  # (B, C, p h, p w)
            size = pixels.shape[-1] // stride
            stitched[level] = F.interpolate(x, size=(size, size), mode="bilinear")
        return stitched

    def decode(self, pyramid: dict[str, Tensor]) -> Encoded:
        """Pixel decoder and RIA."""
        mask_features, scales = self.pixel_decoder(pyramid)
        regions, filters = self.ria(scales, mask_features)
        return Encoded(regions, filters, mask_features, scales[-1])

    def tokens(self, regions: Tensor) -> RegionTokens:
        """What is cached of F'_r (B, N, C) for the head."""
        return self.head.tokens(regions)

    def judge(self, tokens: RegionTokens, words: Tensor, mask: Tensor) -> HeadOutput:
        """The head on M pairs; words F_t (M or 1, T, C)."""
        return self.head(tokens, words, mask)


def mask_logits(coefficients: Tensor, mask_features: Tensor) -> Tensor:
    """Equation 1 after its sum was taken: (M, C_m), (M, C_m, h, w) -> logits (M, h, w)."""
    return torch.einsum("mc,mchw->mhw", coefficients, mask_features)
