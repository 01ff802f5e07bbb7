"""A released network from its imported weights file."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from model import weights_file
from model.errors import WeightsError
from model.official.config import OfficialConfig, official_config
from model.official.network import OfficialRela

FORMAT = "referent-official-1"


@lru_cache(maxsize=4)
def empty_network(config: OfficialConfig) -> OfficialRela:
    """Return the network without memory for its weights: names and shapes only."""
    with torch.device("meta"):
        return OfficialRela(config)


def read_header(path: Path) -> dict[str, str]:
    """Return what a weights file says of itself.

    Raises:
        WeightsError: the file is missing, truncated or not an imported released network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"weights file {path} cannot be read ({error}); "
            + (weights_file.looks_like(path) or "import it again with `referent models import`")
        ) from error
    if header.get("format") != FORMAT or "config" not in header:
        raise WeightsError(
            f"{path} is no imported released network (format {header.get('format')!r}); "
            "import the official checkpoint with `referent models import`"
        )
    return header


def is_official(path: Path) -> bool:
    """Whether a file is an imported released network; False of one that cannot be read."""
    try:
        return bool(read_header(path))
    except WeightsError:
        return False


def save_official(network: OfficialRela, path: Path, notes: dict[str, str]) -> None:
    """Write a network that was trained here, fp16, in the form of an imported one.

    Args:
        notes: what else the header should tell, such as steps.
    Raises:
        WeightsError: a weight is no finite number in fp16; nothing is written.
    """
    tensors = {
        name: value.detach().half().contiguous().cpu()
        for name, value in network.state_dict().items()
    }
    for name, value in tensors.items():
        if not torch.isfinite(value).all():
            raise WeightsError(f"{name} is not finite in fp16, so {path} is not written")
    header = {"format": FORMAT, "config": json.dumps(network.config.to_dict()), **notes}
    weights_file.write(path, tensors, header)


def load_official(path: Path) -> OfficialRela:
    """Build the network that an imported weights file describes and fill it, in evaluation mode.

    Raises:
        WeightsError: as ``read_header``, or a tensor is missing or of another shape.
    """
    header = read_header(path)
    try:
        config = OfficialConfig.from_dict(json.loads(header["config"]))
        network = OfficialRela(config)
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        network.load_state_dict(tensors)
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        raise WeightsError(
            f"weights file {path} does not hold the network that it names ({error}); "
            "import the checkpoint again with `referent models import`"
        ) from error
    return network.eval().requires_grad_(False)


def random_official(name: str, seed: int, config: OfficialConfig | None = None) -> OfficialRela:
    """Return a released network's architecture with random weights, for tests and timings."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = OfficialRela(config or official_config(name))
    return network.eval().requires_grad_(False)
