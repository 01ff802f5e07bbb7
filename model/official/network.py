"""The released ReLA network: fused Swin, pixel decoder, region queries that hear the words once.

Shared with our own network: Swin's blocks, the pixel decoder, the masked-attention decoder.
Different, each in one place:

* language enters every Swin stage (``backbone.FusedSwin``);
* regions look at the words after the first cross-attention only, scaled by a learned number and by
  ``language_weight`` (``WordsToRegions``), and padding is looked at as well;
* region filters are made after RLA, from the last layer (as in our default);
* the minimap has two channels, background and target, and weighs the filters instead of the masks;
* the no-target classifier is the mean of what an MLP says of every region.

Shape legend: B batch, Q regions, C channels, C_m mask channels, T tokens, C_t their width.

Source: Liu et al., GRES, CVPR 2023, section 4; differences from it are those of the released code.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.bert import Bert, BertSizes
from model.network.masked_decoder import MLP, CrossAttentionLayer, MaskedDecoder
from model.network.pixel_decoder import MSDeformAttnPixelDecoder
from model.official.backbone import FusedSwin
from model.official.config import OfficialConfig, TextConfig

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
"""Of RGB in 0..255; not part of the weights file."""


class OfficialOutput(NamedTuple):
    """What the network says of a batch."""

    minimap: Tensor
    """(B, Q, 2) logits: is there background, is there a target in the region"""
    masks: Tensor
    """(B, 2, H/4, W/4) logits of background and target"""
    no_target: Tensor
    """(B, 2) logits of: there is a target, there is none"""
    filters: Tensor
    """(B, Q, C_m) region filters"""
    mask_features: Tensor
    """(B, C_m, H/4, W/4)"""

    def region_masks(self) -> Tensor:
        """Mask logits of every region, (B, Q, H/4, W/4)."""
        return torch.einsum("bqc,bchw->bqhw", self.filters, self.mask_features)

    def no_target_logit(self) -> Tensor:
        """Log-odds that the expression refers to nothing, (B,); positive empties the mask."""
        return self.no_target[:, 1] - self.no_target[:, 0]

    def mask_logit(self) -> Tensor:
        """Log-odds of target against background, (B, H/4, W/4); positive is target."""
        return self.masks[:, 1] - self.masks[:, 0]


def build_bert(config: TextConfig) -> Bert:
    """Return a BERT that waits for its weights."""
    return Bert(
        BertSizes(
            vocabulary=config.vocab_size,
            channels=config.hidden_size,
            layers=config.layers,
            heads=config.heads,
            hidden=config.ffn_dim,
            positions=config.positions,
        ),
        fused=False,  # rounds as the reference's does; 20 tokens cost nothing
    )


class WordsToRegions(nn.Module):
    """RLA's word attention, as faint as the released networks have it."""

    def __init__(self, config: OfficialConfig) -> None:
        super().__init__()
        self.projection = nn.Linear(config.text.hidden_size, config.hidden_dim, bias=False)
        self.attention = CrossAttentionLayer(dim=config.hidden_dim, heads=config.decoder_heads)
        self.weight = nn.Parameter(torch.zeros(()))
        self.scale = config.language_weight

    def forward(self, regions: Tensor, words: Tensor) -> Tensor:
        """Return regions (B, Q, C) with some of words (B, T, C_t) added."""
        heard = self.attention(regions, self.projection(words)) * self.weight.sigmoid()
        return regions + heard * self.scale


class OfficialRela(nn.Module):
    """One of the released networks."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: OfficialConfig) -> None:
        super().__init__()
        self.config = config
        self.text_encoder = build_bert(config.text)
        self.backbone = FusedSwin(config)
        self.pixel_decoder = MSDeformAttnPixelDecoder(
            self.backbone.channels,
            conv_dim=config.conv_dim,
            mask_dim=config.mask_dim,
            layers=config.encoder_layers,
            heads=config.decoder_heads,
            ffn_dim=config.encoder_ffn_dim,
        )
        self.words = WordsToRegions(config)
        self.decoder = MaskedDecoder(
            dim=config.hidden_dim,
            heads=config.decoder_heads,
            ffn_dim=config.ffn_dim,
            layers=config.decoder_layers,
            queries=config.regions,
            mask_dim=config.mask_dim,
            in_dim=config.conv_dim,
        )
        self.minimap = nn.Linear(config.hidden_dim, 2)
        self.no_target = MLP(config.hidden_dim, config.hidden_dim, 2, 2)
        self.register_buffer("mean", torch.tensor(PIXEL_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(PIXEL_STD).view(3, 1, 1), persistent=False)

    def read(self, tokens: Tensor, word_mask: Tensor) -> Tensor:
        """Return word features (B, T, C_t) of token ids (B, T); the mask is 1 on real tokens."""
        out: Tensor = self.text_encoder(tokens, word_mask)
        return out

    def prepare(self, pixels: Tensor) -> Tensor:
        """Normalise RGB pixels (B, 3, H, W) in 0..255, then pad right and below with zeros."""
        image = (pixels.to(self.mean.dtype) - self.mean) / self.std
        height, width = image.shape[-2:]
        divisor = self.config.size_divisor
        return F.pad(image, (0, -width % divisor, 0, -height % divisor))

    def forward(self, pixels: Tensor, words: Tensor, word_mask: Tensor) -> OfficialOutput:
        """Judge photos, each with the expression of its row.

        Args:
            pixels: (B, 3, H, W) RGB in 0..255, any size, any number type.
            words: (B, T, C_t) from ``read``.
            word_mask: (B, T), 1 on real tokens.
        Returns:
            The outputs at a quarter of the *padded* size.
        """
        pyramid = self.backbone(self.prepare(pixels), words, word_mask)
        mask_features, multi_scale = self.pixel_decoder(pyramid)

        def hear(layer: int, regions: Tensor) -> Tensor:
            return self.words(regions, words) if layer == 0 else regions

        decoded = self.decoder(multi_scale, mask_features, after_cross=hear)
        minimap = self.minimap(decoded.normed)
        # (B, Q, 2) x (B, Q, C_m) -> (B, 2, C_m): the filters of target and background
        both = torch.einsum("bqa,bqc->bac", minimap, decoded.filters)
        return OfficialOutput(
            minimap=minimap,
            masks=torch.einsum("bac,bchw->bahw", both, mask_features),
            no_target=self.no_target(decoded.normed).mean(dim=1),
            filters=decoded.filters,
            mask_features=mask_features,
        )
