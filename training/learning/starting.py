"""What a run begins with: weights of ours, or published ones that fit part of the network."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch

from model import checkpoint
from model.errors import WeightsError
from model.official.build import is_official
from model.official.config import OfficialConfig
from model.official.network import OfficialRela
from training.recipes.recipe import Recipe

RANDOM = "random"
BERT = "bert-base-uncased"


def starting_weights(start: str | Path, recipe: Recipe, folder: Path) -> Path | None:
    """Bring what a run begins with into a weights file of ours.

    Args:
        start: a weights file of ours; a Mask2Former folder or hub name, or Swin weights (see
            `model.starting_points`); "random", or nothing, for random weights.
        folder: of the run; published weights are rewritten to `start.safetensors` in it.
    Returns:
        The file, or None for random weights.
    Raises:
        WeightsError: they cannot be read, or are for another network.
    """
    if str(start) in ("", RANDOM):
        return None
    path = Path(start)
    if path.suffix == ".safetensors" and path.is_file() and _is_ours(path):
        return path
    written = folder / "start.safetensors"
    if int(os.environ.get("RANK", "0")):
        return _waited(written)
    from model.starting_points import write_start

    try:
        write_start(start, recipe.config, written)
    except WeightsError as error:
        raise WeightsError(
            f"{error}; name other weights with --start, or --start {RANDOM} for none"
        ) from error
    return written


def early_start(start: str | Path, recipe: Recipe, folder: Path) -> Path | None:
    """What a run of an early-fusion network begins with, in the form of imported weights.

    Args:
        start: such a file; Swin weights (see `model.starting_points`), beside which BERT begins as
            `BERT` was published; "random", or nothing, for random weights.
        folder: of the run.
    Raises:
        WeightsError: they cannot be read, or are for another network.
    """
    if str(start) in ("", RANDOM):
        return None
    if is_official(Path(start)):
        return Path(start)
    written = folder / "start.safetensors"
    if int(os.environ.get("RANK", "0")):
        return _waited(written)
    from model.starting_points import write_early_start

    config = recipe.network
    assert isinstance(config, OfficialConfig)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = OfficialRela(config)
    try:
        write_early_start(start, BERT, network, written)
    except WeightsError as error:
        raise WeightsError(
            f"{error}; name other weights with --start, or --start {RANDOM} for none"
        ) from error
    return written


def _is_ours(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format") == checkpoint.FORMAT
    except (OSError, SafetensorError):
        return True  # damaged; reading it says so


def _waited(written: Path, limit_s: float = 600.0) -> Path:
    """Other processes wait for the first to write the file."""
    begun = time.monotonic()
    while not written.is_file():
        if time.monotonic() - begun > limit_s:
            raise WeightsError(f"{written} was not written within {limit_s:.0f} seconds")
        time.sleep(0.2)
    return written
