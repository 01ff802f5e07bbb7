"""Any network by its name, for every command: shipped, trained, or released and imported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.asking import Network


def load_network(name: str, device: str = "cpu") -> Network:
    """Load a network.

    Args:
        name: of a model, of a released network that was imported, or a weights file of either;
            `NAME:random-SEED` has random weights.
    Raises:
        UnknownModel, WeightsError: there is none, or its weights cannot be used.
    """
    from model.asking import EarlyFusion, LateFusion
    from model.build import load_predictor
    from model.official.verifier import load_verifier

    if (weights := released_weights(name)) is not None:
        return EarlyFusion(load_verifier(weights, device=device))
    return LateFusion(load_predictor(name, device=device))


def released_weights(name: str) -> str | Path | None:
    """Where a released network's weights are; None of a name that is no such network's.

    Raises:
        WeightsError: the network was not imported here.
    """
    from model.official.build import is_official
    from model.official.config import OFFICIAL

    if name.partition(":random-")[0] in OFFICIAL:
        if ":random-" in name:
            return name
        from indexer.settings import Settings
        from search_api.search.verifier import weights_of_verifier

        return weights_of_verifier(Settings(), name)
    path = Path(name)
    return path if path.suffix == ".safetensors" and is_official(path) else None
