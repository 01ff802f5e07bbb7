"""The named models and their sizes, all in this one file."""

from __future__ import annotations

from pathlib import Path

import torch

from model import checkpoint
from model.calibration import Calibration, path_beside
from model.cards import Card, card_beside
from model.errors import UnknownModel, WeightsError
from model.network.config import ReLAConfig, SwinConfig
from model.network.rela import RelaNetwork
from model.precision import HeadDtype, keep_freed_memory
from model.precision import head_dtype as dtype_of
from model.predictor import Predictor
from model.text import TextEncoder

SIZES: dict[str, ReLAConfig] = {
    "rela-mini": ReLAConfig(
        name="rela-mini",
        swin=SwinConfig(
            embed_dim=32, depths=(2, 2, 4, 2), num_heads=(1, 2, 4, 8), window_size=7,
            conv_stem=True, built_for=224,
        ),
        input_size=224,
        pixel_decoder="fpn",
        channels=128,
        mask_channels=32,
        regions_per_side=8,
        ria_layers=3,
        ria_hidden=256,
        ria_seeded=True,
        rla_layers=3,
        word_heads=4,
        rla_hidden=256,
        pooling="attention",
        text="minilm",
        text_channels=384,
        text_layers=1,
        vector_layers=2,
        rough_layers=3,
    ),
    "rela-photo": ReLAConfig(
        name="rela-photo",
        swin=SwinConfig(
            stem="efficientnet-lite2", depths=(0, 0, 2, 2), num_heads=(0, 0, 4, 11), window_size=12,
        ),
        input_size=384,
        pixel_decoder="fpn",
        channels=128,
        mask_stride=8,
        mask_channels=32,
        regions_per_side=8,
        ria_layers=3,
        ria_hidden=256,
        ria_seeded=True,
        rla_layers=3,
        word_heads=4,
        rla_hidden=256,
        pooling="attention",
        text="minilm",
        text_channels=384,
        text_layers=1,
        vector_layers=2,
        rough_layers=3,
    ),
    "rela-tiny": ReLAConfig(
        name="rela-tiny",
        rough_layers=1,
        swin=SwinConfig(
            embed_dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24), window_size=7,
            drop_path=0.2, dense=True
        ),
    ),
    "rela-small": ReLAConfig(
        name="rela-small",
        rough_layers=1,
        swin=SwinConfig(
            embed_dim=96, depths=(2, 2, 18, 2), num_heads=(3, 6, 12, 24), window_size=7,
            drop_path=0.3, dense=True
        ),
    ),
    "rela-base": ReLAConfig(
        name="rela-base",
        rough_layers=1,
        swin=SwinConfig(
            embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32), window_size=12,
            drop_path=0.3, dense=True,
        ),
    ),
}  # fmt: skip


def config_of(name: str) -> ReLAConfig:
    """The configuration of a named size.

    Raises:
        UnknownModel: no such size; the message lists them.
    """
    try:
        return SIZES[name]
    except KeyError:
        raise UnknownModel(f"no model is called {name!r}; known: {', '.join(SIZES)}") from None


WEIGHTS_FOLDER = Path(__file__).parent / "weights"


def weights_of(name: str) -> Path:
    """Where a model's weights lie: beside this file, or the path that `name` is.

    Raises:
        UnknownModel: neither a known size nor a weights file.
        WeightsError: a known size without weights; the message says how to get them.
    """
    if name.endswith(".safetensors"):
        if not Path(name).is_file():
            raise UnknownModel(f"no weights file {name}; known models: {', '.join(SIZES)}")
        return Path(name)
    config_of(name)
    path = WEIGHTS_FOLDER / f"{name}.safetensors"
    if not path.is_file():
        raise WeightsError(
            f"{name} has no weights here; train them with `referent train`, or use rela-mini"
        )
    return path


def card_of(name: str) -> Card | None:
    """The card of a model whose weights lie here, without loading it; None where it has none.

    Args:
        name: as `load_predictor` takes it.
    Raises:
        CardError: it is damaged.
    """
    name = name.partition("+")[0]
    if name.endswith(".safetensors"):
        return card_beside(Path(name))
    return card_beside(WEIGHTS_FOLDER / f"{name}.safetensors")


def load_predictor(
    name: str,
    *,
    device: str = "cpu",
    random_seed: int | None = None,
    head_dtype: HeadDtype = "float32",
) -> Predictor:
    """Load a model with its text encoder and calibration.

    Args:
        name: a named size, the path of a weights file, or `NAME:random-SEED` for random weights.
        device: "cpu" or a CUDA device.
            `NAME+FOLDER` takes prefilter vectors from a dual encoder (`model.dual_encoder`).
        random_seed: random weights instead of trained ones, for tests and timings.
        head_dtype: the precision that the head judges in, see `model.precision`.
    Raises:
        UnknownModel, WeightsError: see `weights_of` and `model.checkpoint.load`.
    """
    if "+" in name and not Path(name).is_file():
        name, _, dual = name.partition("+")
        from model.dual_encoder import DualEncoder, DualPrefilter  # transformers is slow to load

        predictor = load_predictor(
            name, device=device, random_seed=random_seed, head_dtype=head_dtype
        )
        return DualPrefilter(predictor, DualEncoder(dual, device=device))
    keep_freed_memory()
    dtype = dtype_of(head_dtype, torch.device(device))
    base, _, suffix = name.partition(":random-")
    if suffix:
        if not suffix.isdecimal():
            raise UnknownModel(f"{name!r}: random weights are named like rela-mini:random-7")
        random_seed = int(suffix)
    if random_seed is not None:
        config = config_of(base)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_seed)
            network = RelaNetwork(config)
        text = TextEncoder(config.text, random_seed=random_seed)
        name = f"{base}:random-{random_seed}"
        return Predictor(network, text, None, device, name=name, head_dtype=dtype)
    path = weights_of(name)
    network = checkpoint.load(path)
    beside = path_beside(path)
    calibration = Calibration.load(beside) if beside.is_file() else Calibration()
    text = TextEncoder(network.config.text)
    name = network.config.name
    return Predictor(
        network, text, calibration, device, name=name, head_dtype=dtype, card=card_beside(path)
    )
