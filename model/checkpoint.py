"""Weights files: safetensors with the configuration in their header. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from model import weights_file
from model.errors import WeightsError
from model.network.config import ReLAConfig
from model.network.rela import RelaNetwork

FORMAT = "referent-rela-1"


def save(network: RelaNetwork, path: Path, notes: dict[str, str] | None = None) -> None:
    """Write a network's weights as fp16, whole or not at all.

    Args:
        notes: what else the header should tell, such as steps and data.
    Raises:
        WeightsError: a weight is no finite number in fp16; nothing is written.
    """
    tensors = {
        name: value.detach().to(torch.float16).contiguous().cpu()
        for name, value in network.state_dict().items()
        if value.is_floating_point()
    }
    for name, value in tensors.items():
        if not torch.isfinite(value).all():
            raise WeightsError(f"{name} is not finite in fp16, so {path} is not written")
    header = {"format": FORMAT, "config": json.dumps(network.config.to_dict()), **(notes or {})}
    weights_file.write(path, tensors, header)


def header(path: Path) -> dict[str, Any]:
    """What a weights file says of itself: `config` as a dictionary, notes as text.

    Raises:
        WeightsError: the file is missing, truncated or not one of ours.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, Any] = dict(file.metadata() or {})
        if metadata.get("format") != FORMAT:
            raise WeightsError(
                f"{path} is not a weights file of this version (format {metadata.get('format')!r}, "
                f"expected {FORMAT!r}); made by `referent train`? import others with "
                "`referent models import`"
            )
        metadata["config"] = json.loads(metadata["config"])
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise WeightsError(
            f"weights file {path} cannot be read ({error}); "
            + (weights_file.looks_like(path) or "it may be truncated or damaged: fetch it again")
        ) from error
    return metadata


def load(
    path: Path,
    input_size: int | None = None,
    build: Callable[[ReLAConfig], RelaNetwork] = RelaNetwork,
) -> RelaNetwork:
    """Build the network that a weights file describes and fill it.

    Args:
        build: makes it of its configuration, where it is another form.
        input_size: side in pixels instead of the file's; for this Swin must have `built_for`.
    Raises:
        WeightsError: as `header`, and where a tensor is missing, unknown or of another shape.
    """
    config = ReLAConfig.from_dict(header(path)["config"])
    if input_size is not None:
        config = replace(config, input_size=input_size)
    network = build(config)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"weights file {path} cannot be read ({error})") from error
    fill(network, tensors, str(path))
    return network


def fill(network: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Copy tensors by name; every floating parameter and persistent buffer must be there.

    Raises:
        WeightsError: names the first entries that are missing, unknown or of another shape.
    """
    wanted = {n: v for n, v in network.state_dict().items() if v.is_floating_point()}
    problems = [f"missing {name}" for name in sorted(set(wanted) - set(tensors))]
    problems += [f"unknown {name}" for name in sorted(set(tensors) - set(wanted))]
    problems += [
        f"{name} has shape {tuple(tensors[name].shape)}, not {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    if problems:
        shown = "; ".join(problems[:5]) + (
            f"; and {len(problems) - 5} more" if problems[5:] else ""
        )
        raise WeightsError(f"{source} does not fit the network: {shown}")
    network.load_state_dict(tensors, strict=False)


def fingerprint(parts: Iterable[str], modules: Iterable[nn.Module | Tensor] = ()) -> str:
    """16 hex digits of a chain: texts (earlier fingerprints, settings) and weights, in order."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part.encode() + b"\0")
    for module in modules:
        tensors = {"": module} if isinstance(module, Tensor) else module.state_dict()
        for name in sorted(tensors):
            digest.update(name.encode() + b"\0")
            value = tensors[name].detach().cpu().contiguous()
            digest.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
