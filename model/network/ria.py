"""RIA, Region-Image cross Attention: how P² regions collect image features. No language here.

Every form maps three scales and the mask features to region tokens F'_r and language-free region
masks. Shape legend: B photos, N = P² regions, C channels, L = h w positions of a scale.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.config import ReLAConfig
from model.network.masked_decoder import MLP, MaskedDecoder, sine_positions


def cell_positions(side: int, channels: int) -> Tensor:
    """Sine code of the centres of a P x P grid's cells: (P², C), rows first."""
    return sine_positions((side, side), channels, like=torch.zeros(1)).flatten(1).T.contiguous()


class MaskedRia(nn.Module):
    """Masked attention over three scales, as the reference's `original` branch has it.

    Each region starts out knowing the place of its cell; the rest is Mask2Former's decoder.
    """

    def __init__(self, config: ReLAConfig) -> None:
        super().__init__()
        c = config.channels
        self.decoder = MaskedDecoder(
            dim=c,
            ffn_dim=config.ria_hidden,
            layers=config.ria_layers,
            queries=config.regions,
            mask_dim=config.mask_channels,
        )
        with torch.no_grad():
            self.decoder.query_features.mul_(0.02)
            self.decoder.query_positions.copy_(cell_positions(config.regions_per_side, c))
        self.side = config.regions_per_side
        self.seed = nn.Linear(c, c) if config.ria_seeded else None

    def forward(self, scales: Sequence[Tensor], mask_features: Tensor) -> tuple[Tensor, Tensor]:
        """Collect.

        Args:
            scales: strides 32, 16, 8, each (B, C, h, w).
            mask_features: (B, C_m, H/4, W/4).
        Returns:
            region tokens F'_r (B, N, C); language-free region filters (B, N, C_m).
        """
        start = None
        if self.seed is not None:
            cells = F.adaptive_avg_pool2d(scales[-1], self.side)  # (B, C, P, P)
            start = self.seed(cells.flatten(2).transpose(1, 2))  # (B, N, C)
        decoded = self.decoder(scales, mask_features, start=start)
        return decoded.normed, decoded.filters


class PaperRia(nn.Module):
    """Equation 2 as printed: A_ri = softmax(Q_r GELU(F_i W_ik)^T), F'_r = A_ri GELU(F_i W_iv).

    F_i is the decoder's finest scale with its positions added, so that a region finds its place.
    """

    def __init__(self, config: ReLAConfig) -> None:
        super().__init__()
        c = config.channels
        self.content = nn.Parameter(torch.randn(config.regions, c) * 0.02)
        self.place = nn.Parameter(cell_positions(config.regions_per_side, c))
        self.key = nn.Linear(c, c, bias=False)  # W_ik
        self.value = nn.Linear(c, c, bias=False)  # W_iv
        self.norm = nn.LayerNorm(c)
        self.filter = MLP(c, c, config.mask_channels, 3)

    def collect(self, queries: Tensor, image: Tensor) -> Tensor:
        """Equation 2: Q_r (N, C) or (B, N, C), F_i (B, L, C) -> F'_r (B, N, C)."""
        scores = queries @ F.gelu(self.key(image)).transpose(1, 2)  # (B, N, L)
        values = F.gelu(self.value(image))
        return scores.float().softmax(-1).to(values.dtype) @ values

    def forward(self, scales: Sequence[Tensor], mask_features: Tensor) -> tuple[Tensor, Tensor]:
        """As `MaskedRia.forward`."""
        finest = scales[-1]
        positions = sine_positions(
            (finest.shape[-2], finest.shape[-1]), finest.shape[1], like=finest
        )
        image = (finest + positions).flatten(2).transpose(1, 2)  # (B, C, h, w) -> (B, L, C)
        regions = self.norm(self.collect(self.content + self.place, image))
        return regions, self.filter(regions)


class HardSplitRia(nn.Module):
    """Table 2, rows 1 and 2: regions are the cells of a fixed P x P grid, averaged."""

    def __init__(self, config: ReLAConfig) -> None:
        super().__init__()
        c = config.channels
        self.side = config.regions_per_side
        self.place = nn.Parameter(cell_positions(self.side, c))
        self.project = nn.Linear(c, c)
        self.norm = nn.LayerNorm(c)
        self.filter = MLP(c, c, config.mask_channels, 3)

    def forward(self, scales: Sequence[Tensor], mask_features: Tensor) -> tuple[Tensor, Tensor]:
        """As `MaskedRia.forward`."""
        cells = F.adaptive_avg_pool2d(scales[-1], self.side)  # (B, C, P, P)
        regions = self.norm(self.project(cells.flatten(2).transpose(1, 2)) + self.place)
        return regions, self.filter(regions)


def build_ria(config: ReLAConfig) -> MaskedRia | PaperRia | HardSplitRia:
    """The form that the configuration names."""
    if config.ria == "masked":
        return MaskedRia(config)
    return PaperRia(config) if config.ria == "paper" else HardSplitRia(config)
