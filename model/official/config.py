"""Sizes of the released early-fusion networks, and where to find the official value of each."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from model.errors import ModelError, UnknownModel


@dataclass(frozen=True)
class TextConfig:
    """The BERT that came with the network; its width is fixed by the fusion layers."""

    vocab_size: int = 30522
    hidden_size: int = 768
    layers: int = 12
    heads: int = 12
    ffn_dim: int = 3072
    positions: int = 512
    """Longest sentence that BERT could read; expressions are cut to ``max_tokens``."""


@dataclass(frozen=True)
class OfficialConfig:
    """One early-fusion network."""

    name: str
    """Under which `referent models` lists it."""
    embed_dim: int
    """MODEL.SWIN.EMBED_DIM"""
    depths: tuple[int, ...]
    """MODEL.SWIN.DEPTHS"""
    heads: tuple[int, ...]
    """MODEL.SWIN.NUM_HEADS"""
    window: int
    """MODEL.SWIN.WINDOW_SIZE"""
    mlp_ratio: float = 4.0
    """MODEL.SWIN.MLP_RATIO"""
    drop_path: float = 0.3
    """MODEL.SWIN.DROP_PATH_RATE: stochastic depth of the last block, while training alone"""
    conv_dim: int = 256
    """MODEL.SEM_SEG_HEAD.CONVS_DIM, width of the pixel decoder"""
    mask_dim: int = 256
    """MODEL.SEM_SEG_HEAD.MASK_DIM, C_m"""
    encoder_layers: int = 6
    """MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS"""
    encoder_ffn_dim: int = 1024
    """Written into the reference's code, whatever its configuration says"""
    hidden_dim: int = 256
    """MODEL.MASK_FORMER.HIDDEN_DIM, C"""
    ffn_dim: int = 2048
    """MODEL.MASK_FORMER.DIM_FEEDFORWARD"""
    decoder_heads: int = 8
    """MODEL.MASK_FORMER.NHEADS; the pixel decoder has as many"""
    decoder_layers: int = 9
    """MODEL.MASK_FORMER.DEC_LAYERS - 1"""
    regions: int = 100
    """P²; the reference's minimap is 10 x 10 whatever its configuration says"""
    language_weight: float = 0.1
    """MODEL.MASK_FORMER.LANG_ATT_WEIGHT: how much of the words reaches the regions"""
    size_divisor: int = 32
    """MODEL.MASK_FORMER.SIZE_DIVISIBILITY: images are padded to a multiple of it"""
    input_size: int = 480
    """INPUT.IMAGE_SIZE: photos are squashed to this square"""
    max_tokens: int = 20
    """REFERRING.MAX_TOKENS, [CLS] and [SEP] among them"""
    text: TextConfig = field(default_factory=TextConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if len(self.depths) != 4 or len(self.heads) != 4:
            raise ModelError(f"{self.name}: depths and heads need one number for each of 4 stages")
        if min(*self.depths, self.decoder_layers, self.regions) < 1 or self.window < 2:
            raise ModelError(f"{self.name}: layers, regions and windows must be positive")

    def to_dict(self) -> dict[str, Any]:
        """As JSON types, for the weights file and the fingerprint."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> OfficialConfig:
        """Read what ``to_dict`` wrote.

        Raises:
            ModelError: a key is unknown or missing.
        """
        try:
            text = TextConfig(**values["text"])
            lists = {key: tuple(values[key]) for key in ("depths", "heads")}
            return cls(**{**values, **lists, "text": text})
        except (TypeError, KeyError) as error:
            raise ModelError(
                f"the configuration does not fit this version of Referent ({error}); "
                "import the checkpoint again"
            ) from error


OFFICIAL = {
    "rela-official-tiny": OfficialConfig(
        name="rela-official-tiny",
        embed_dim=96,
        depths=(2, 2, 6, 2),
        heads=(3, 6, 12, 24),
        window=7,
    ),
    "rela-official-base": OfficialConfig(
        name="rela-official-base",
        embed_dim=128,
        depths=(2, 2, 18, 2),
        heads=(4, 8, 16, 32),
        window=12,
    ),
}
"""The released networks by name."""


def official_config(name: str) -> OfficialConfig:
    """Return the sizes of a released network.

    Raises:
        UnknownModel: there is none of that name.
    """
    try:
        return OFFICIAL[name]
    except KeyError:
        raise UnknownModel(
            f"no released network is called {name!r}; choose one of {', '.join(OFFICIAL)}"
        ) from None
