"""A real network of our own kind, small enough that a core encodes hundreds of photos a second."""

from __future__ import annotations

from pathlib import Path

import torch

from model import checkpoint
from model.network.config import ReLAConfig, SwinConfig
from model.network.rela import RelaNetwork

TINY = ReLAConfig(
    name="rela-atom",
    swin=SwinConfig(embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), window_size=2),
    input_size=64,
    pixel_decoder="fpn",
    channels=16,
    mask_channels=8,
    regions_per_side=4,
    ria_layers=3,
    ria_hidden=32,
    rla_layers=1,
    rla_hidden=32,
    text="minilm",
    text_channels=384,
    vectors=4,
    vector_channels=16,
    rough_layers=1,
)


def write_tiny_model(path: Path, seed: int = 1, config: ReLAConfig = TINY) -> str:
    """Write its weights file, random but the same for a seed; returns a name to load it by."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = RelaNetwork(config)
    checkpoint.save(network, path)
    return str(path)
