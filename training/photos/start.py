"""What a network on a pretrained stem begins with.

The stem as published, its maps made standard by what they are over real photographs, Swin stages
that change nothing, and from a network of drawings whatever fits: how regions collect, how words
are heard, how they are compared.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from model import checkpoint
from model.network.config import ReLAConfig
from model.network.hybrid import HybridBackbone, Standard
from model.network.rela import RelaNetwork
from model.text import TextEncoder
from training.photos.maps import MapDump
from training.photos.trunk import trunk_with_words

_MEASURED = 600  # photos, evenly spaced, whose maps are measured


def begin(
    config: ReLAConfig, text: TextEncoder, dump: MapDump, donor: Path | None, seed: int
) -> RelaNetwork:
    """The network before its first step.

    Args:
        dump: maps of the photos that it will be trained on.
        donor: weights of another network with the same regions and head; None for random ones.
        seed: of what neither trunk nor donor has.
    """
    torch.manual_seed(seed)
    network = RelaNetwork(config)
    backbone = network.backbone
    assert isinstance(backbone, HybridBackbone)
    if donor is not None:
        _take(network, checkpoint.load(donor))
    trunk, words = trunk_with_words(config.swin.stem, text)
    backbone.stem.load_state_dict(trunk.state_dict())
    backbone.words.load_state_dict(words.state_dict())
    measure(backbone, dump)
    return network


def measure(backbone: HybridBackbone, dump: MapDump) -> None:
    """Set mean and deviation of every channel of the trunk's maps."""
    rows = np.linspace(0, len(dump) - 1, min(_MEASURED, len(dump))).astype(int)
    for name, values in dump.maps.items():
        x = torch.from_numpy(np.stack([values[row] for row in rows])).float()
        x = x.transpose(0, 1).flatten(1)  # (C, n h w)
        standard = backbone.standard[name]
        assert isinstance(standard, Standard)
        standard.mean.copy_(x.mean(1))
        standard.deviation.copy_(x.std(1).clamp_min(1e-3))


def _take(network: RelaNetwork, donor: RelaNetwork) -> None:
    """Copy what has the same shape; the pyramid's levels are counted from the coarsest."""
    given = dict(donor.state_dict())
    more = len(donor.backbone.channels) - len(network.backbone.channels)
    wanted = network.state_dict()
    for name, value in wanted.items():
        if name.startswith("backbone.") or ".laterals." in name:
            continue
        parts = name.split(".")
        if parts[:2] == ["pixel_decoder", "smooth"]:
            parts[2] = str(int(parts[2]) + more)
        found = given.get(".".join(parts))
        if found is not None and found.shape == value.shape:
            value.copy_(found)
    network.load_state_dict(wanted)
