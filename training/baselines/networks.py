"""LAVT and VLT in our terms: networks that look at a photo anew for every expression.

They share image encoder, word features, sizes and, behind "+rela", pixel decoder, RIA and RLA with
the network of `model.network.rela`; so a table's rows differ in the method alone. None of them is
built in all details of its paper: what each is known for is there.

Shape legend: B photos, M pairs, T words, C channels, C_i channels of a level, S input side.

Sources: Yang et al., LAVT, CVPR 2022; Ding et al., Vision-Language Transformer, ICCV 2021.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.backbone import SwinBackbone
from model.network.config import ReLAConfig
from model.network.masked_decoder import (
    CrossAttentionLayer,
    FeedForwardLayer,
    SelfAttentionLayer,
    sine_positions,
    transformer_layer,
)
from model.network.rela import RelaNetwork, mask_logits
from model.network.rla import HeadOutput
from model.network.swin import LEVELS, Swin, SwinStage
from model.official.backbone import Fusion, Gate

QUERIES = 16  # N_q of VLT, its paper's best
VLT_LAYERS = 2  # of its transformer's encoder and decoder, each


@dataclass(frozen=True)
class Answer:
    """What a network says of M pairs.

    Attributes:
        mask_logits: (M, S/4, S/4).
        head: of ReLA, where it is the decoder; alone, a method has no no-target classifier.
    """

    mask_logits: Tensor
    head: HeadOutput | None


class PairNetwork(RelaNetwork):
    """A network that is asked pair by pair.

    Args:
        rela: whether ReLA stands in the place of the method's own decoder.
    """

    def __init__(self, config: ReLAConfig, *, rela: bool) -> None:
        super().__init__(replace(config, rough_layers=0))  # nothing here is searched with
        self.with_rela = rela
        if not rela:
            del self.pixel_decoder, self.ria, self.head

    def answer(self, pixels: Tensor, photo: Tensor, words: Tensor, mask: Tensor) -> Answer:
        """Answer M pairs.

        Args:
            pixels: (B, 3, S, S) RGB in 0..255. photo: (M,) which of them a pair asks.
            words: (M, T, C) F_t. mask: (M, T) True on real words.
        """
        fused = self.fuse(pixels, photo, words, mask)
        if not self.with_rela:
            return Answer(self.plain(fused, words, mask), None)
        encoded = self.decode(fused)
        output = self.judge(self.tokens(encoded.regions), words, mask)
        return Answer(mask_logits(output.coefficients, encoded.mask_features), output)

    def fuse(self, pixels: Tensor, photo: Tensor, words: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Features that have heard the expression: res2 .. res5, (M, C_i, h_i, w_i)."""
        raise NotImplementedError

    def plain(self, fused: dict[str, Tensor], words: Tensor, mask: Tensor) -> Tensor:
        """The method's own decoder: mask logits (M, S/4, S/4)."""
        raise NotImplementedError


class Lavt(PairNetwork):
    """Language in every stage of Swin (PWAM), and a decoder of convolutions."""

    def __init__(self, config: ReLAConfig, *, rela: bool) -> None:
        super().__init__(config, rela=rela)
        assert isinstance(self.backbone, SwinBackbone), "a stem has no stages to put language in"
        channels, c = self.backbone.channels, config.channels
        self.fusions = nn.ModuleList(Fusion(dim=width, text_dim=c) for width in channels)
        self.gates = nn.ModuleList(Gate(width) for width in channels[:-1])
        if not rela:
            self.decoder = PlainDecoder(channels, c)

    def fuse(self, pixels: Tensor, photo: Tensor, words: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Run Swin once a pair."""
        backbone = self.backbone
        assert isinstance(backbone, SwinBackbone)
        swin = backbone.swin
        norms = swin.norms if isinstance(swin, Swin) else backbone.norms
        x = swin.patch_embed((pixels - backbone.mean) / backbone.std).index_select(0, photo)
        pyramid = {}
        for index, (level, stage, norm) in enumerate(zip(LEVELS, swin.layers, norms, strict=True)):
            x = stage(x)  # (M, h, w, C_i)
            fused = self.fusions[index](x.flatten(1, 2), words, mask)  # (M, h w, C_i)
            pyramid[level] = norm(fused).view(x.shape).permute(0, 3, 1, 2)
            if index < len(self.gates):
                x = x + (self.gates[index](fused) * fused).view(x.shape)
            merge = cast(SwinStage, stage).downsample if isinstance(swin, Swin) else None
            if merge is not None:  # the other form merges where a stage begins
                x = merge(x)
        return pyramid

    def plain(self, fused: dict[str, Tensor], words: Tensor, mask: Tensor) -> Tensor:
        """Convolutions from the coarsest level up."""
        logits: Tensor = self.decoder(fused)
        return logits


class PlainDecoder(nn.Module):
    """A coarser map is enlarged, joined with the finer one and convolved, up to stride 4.

    Group norms stand for the paper's batch norms: the pairs of a batch share its photos.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        inputs = [channels[-1], *(width for _ in channels[:-1])]
        self.joins = nn.ModuleList(
            _convolved(below + level, width)
            for below, level in zip(inputs[:-1], reversed(channels[:-1]), strict=True)
        )
        self.mask = nn.Conv2d(width, 1, 1)

    def forward(self, pyramid: dict[str, Tensor]) -> Tensor:
        """res2 .. res5, (M, C_i, h_i, w_i) -> (M, h_2, w_2)."""
        x = pyramid[LEVELS[-1]]
        for level, join in zip(reversed(LEVELS[:-1]), self.joins, strict=True):
            finer = pyramid[level]
            x = F.interpolate(x, size=finer.shape[-2:], mode="bilinear", align_corners=False)
            x = join(torch.cat([x, finer], dim=1))
        logits: Tensor = self.mask(x).squeeze(1)
        return logits


def _convolved(inner: int, outer: int) -> nn.Sequential:
    """Two 3 x 3 convolutions, (M, inner, h, w) -> (M, outer, h, w)."""
    return nn.Sequential(
        nn.Conv2d(inner, outer, 3, padding=1, bias=False),
        nn.GroupNorm(8, outer),
        nn.ReLU(),
        nn.Conv2d(outer, outer, 3, padding=1, bias=False),
        nn.GroupNorm(8, outer),
        nn.ReLU(),
    )


class Vlt(PairNetwork):
    """Queries made of the expression ask a transformer over features that the sentence gated."""

    def __init__(self, config: ReLAConfig, *, rela: bool) -> None:
        super().__init__(config, rela=rela)
        channels, c = self.backbone.channels, config.channels
        self.gates = nn.ModuleList(nn.Linear(c, width) for width in channels)
        if rela:
            return
        self.laterals = nn.ModuleList(nn.Conv2d(width, c, 1) for width in channels)
        self.encoder = nn.ModuleList(transformer_layer(c) for _ in range(VLT_LAYERS))
        self.generate = QueryGeneration(c)
        self.cross = nn.ModuleList(CrossAttentionLayer(dim=c, heads=8) for _ in range(VLT_LAYERS))
        self.own = nn.ModuleList(SelfAttentionLayer(dim=c, heads=8) for _ in range(VLT_LAYERS))
        self.forwards = nn.ModuleList(
            FeedForwardLayer(dim=c, ffn_dim=2 * c) for _ in range(VLT_LAYERS)
        )
        self.balance = nn.Sequential(nn.Linear(2 * c, c), nn.ReLU(), nn.Linear(c, 1))
        self.smooth = _convolved(QUERIES + c, c)
        self.mask = nn.Conv2d(c, 1, 1)

    def fuse(self, pixels: Tensor, photo: Tensor, words: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Run Swin once a photo, and multiply every level by what the whole sentence says."""
        pyramid = self.backbone(pixels)
        sentence = _mean(words, mask)  # (M, C)
        return {
            level: pyramid[level].index_select(0, photo) * gate(sentence)[..., None, None]
            for level, gate in zip(LEVELS, self.gates, strict=True)
        }

    def plain(self, fused: dict[str, Tensor], words: Tensor, mask: Tensor) -> Tensor:
        """Generated queries ask the image; their answers, weighted, are read as masks."""
        fine, middle, *coarse = (
            lateral(fused[level]) for level, lateral in zip(LEVELS, self.laterals, strict=True)
        )  # (M, C, h_i, w_i) each
        size = middle.shape[-2:]  # stride 8
        for x in coarse:
            middle = middle + F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        place = sine_positions((size[0], size[1]), middle.shape[1], like=middle)
        tokens = (middle + place).flatten(2).transpose(1, 2)  # (M, h w, C)
        for layer in self.encoder:
            tokens = layer(tokens)
        queries = self.generate(tokens, words, mask)  # (M, N_q, C)
        answers = queries
        for cross, own, forward in zip(self.cross, self.own, self.forwards, strict=True):
            answers = forward(own(cross(answers, tokens)))
        trust = self.balance(torch.cat([queries, answers], -1)).sigmoid()  # (M, N_q, 1)
        maps = (trust * answers) @ tokens.transpose(1, 2)  # (M, N_q, h w)
        maps = maps.unflatten(2, size) * answers.shape[-1] ** -0.5
        maps = F.interpolate(maps, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        logits: Tensor = self.mask(self.smooth(torch.cat([maps, fine], 1))).squeeze(1)
        return logits


class QueryGeneration(nn.Module):
    """VLT's: each query weighs the words anew, by what the image shows."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.look = nn.Linear(channels, QUERIES)
        self.image = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Image tokens (M, L, C), words (M, T, C), mask (M, T) -> queries (M, N_q, C)."""
        weights = self.look(tokens).softmax(1)  # (M, L, N_q): where a query looks
        seen = F.relu(self.image(weights.transpose(1, 2) @ tokens))  # (M, N_q, C)
        scores = (seen @ F.relu(self.key(words)).transpose(1, 2)).float()  # (M, N_q, T)
        scores = (scores * words.shape[-1] ** -0.5).masked_fill(~mask[:, None], float("-inf"))
        made: Tensor = scores.softmax(-1).to(words.dtype) @ F.relu(self.value(words))
        return made


def _mean(words: Tensor, mask: Tensor) -> Tensor:
    """(M, T, C), (M, T) -> (M, C) over the real words."""
    weights = mask.to(words.dtype)[..., None]
    return (words * weights).sum(1) / weights.sum(1)


BASELINES: dict[str, Callable[[ReLAConfig], PairNetwork]] = {
    "lavt": lambda config: Lavt(config, rela=False),
    "lavt+rela": lambda config: Lavt(config, rela=True),
    "vlt": lambda config: Vlt(config, rela=False),
    "vlt+rela": lambda config: Vlt(config, rela=True),
}
