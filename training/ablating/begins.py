"""An equal start: what two variants have in common begins with the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

from model import checkpoint
from model.errors import WeightsError
from model.network.config import ReLAConfig
from model.network.rela import RelaNetwork

TRUNK = "backbone."


def begin(
    config: ReLAConfig,
    full: ReLAConfig,
    trunk: Path | None,
    seed: int,
    path: Path,
    build: Callable[[ReLAConfig], RelaNetwork] = RelaNetwork,
) -> None:
    """Write what a variant begins with.

    Every tensor that the full network has too, by name and shape, is the full network's of this
    seed; the image encoder is the trunk's. Only the encoder starts trained, as in the paper: parts
    behind it would favour the form that they were trained in.

    Args:
        config: of the variant. full: of the full network.
        trunk: a weights file of ours with this image encoder; None leaves that random.
        path: of the weights file to write.
        build: makes the variant's network of its configuration.
    Raises:
        WeightsError: the trunk's image encoder is another one.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        common = RelaNetwork(full).state_dict()
        torch.manual_seed(seed)
        network = build(config)
    if trunk is not None:
        kept = {n: v.float() for n, v in load_file(trunk).items() if n.startswith(TRUNK)}
        wanted = {n: v.shape for n, v in common.items() if n.startswith(TRUNK)}
        wanted = {n: shape for n, shape in wanted.items() if common[n].is_floating_point()}
        if wanted != {n: v.shape for n, v in kept.items()}:
            raise WeightsError(
                f"the image encoder in {trunk} is not the one of {full.name}; name other weights "
                "with --start, or --start random for none"
            )
        common |= kept
    own = network.state_dict()
    shared = {n: v for n, v in common.items() if n in own and own[n].shape == v.shape}
    network.load_state_dict({**own, **shared})
    checkpoint.save(network, path)
