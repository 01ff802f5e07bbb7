"""What a late-fusion ReLA network is made of: frozen, validated, written into its weights file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from model.errors import ModelError

Ria = Literal["masked", "paper", "hard-input", "hard-decoder"]
Rla = Literal["both", "language", "region", "none"]
Filters = Literal["after", "before"]
Pooling = Literal["mean", "attention", "minimap-max", "presence"]
NoTarget = Literal["classifier", "pixels"]
PixelDecoder = Literal["fpn", "deformable"]
Storage = Literal["int8", "fp16"]


@dataclass(frozen=True)
class SwinConfig:
    """The image encoder: a Swin, or two Swin stages on a pretrained convolutional stem."""

    stem: str = ""
    """One of `model.network.stem.STEMS`: its maps at strides 8, 16 and 32 are read, and the last
    two stages refine the coarser ones; the first two have no blocks then. "" is Swin alone."""

    embed_dim: int = 96
    """Channels at stride 4; they double at strides 8, 16 and 32."""
    depths: tuple[int, int, int, int] = (2, 2, 6, 2)
    """Blocks a stage."""
    num_heads: tuple[int, int, int, int] = (3, 6, 12, 24)
    """Attention heads a stage."""
    window_size: int = 7
    """Side of an attention window, in patches."""
    drop_path: float = 0.0
    """Stochastic depth of the last block while training; none for a small network."""
    conv_stem: bool = False
    """Two 3 x 3 convolutions instead of a 4 x 4 patch: a network trained from nothing on little
    data learns several times faster (Xiao et al., Early Convolutions, NeurIPS 2021)."""
    built_for: int = 0
    """Input side in pixels that windows are fitted to; 0 is the network's own input_size."""
    dense: bool = False
    """Mask2Former's form (see `swin`): maps are padded before windows are shifted, and windows
    never shrink. What starts from published weights at 480 needs it; False is timm's form (see
    `fitted_swin`)."""


@dataclass(frozen=True)
class ReLAConfig:
    """One network, at the paper's sizes but for `mask_channels`.

    Against the paper, `ria` has nine masked layers, `filters` come after RLA, RLA has norms and a
    skip, masks are scaled: docs/differences.md has the whole list, and what turns each off.
    """

    name: str
    """Under which `referent models` lists it."""
    swin: SwinConfig = field(default_factory=SwinConfig)
    input_size: int = 480
    """Side S of the square input, in pixels."""
    pixel_decoder: PixelDecoder = "deformable"
    """`deformable` as in the reference, or a lighter feature pyramid."""
    pixel_decoder_layers: int = 6
    """Encoder layers of the deformable decoder."""
    channels: int = 256
    """C, the width of region tokens and words."""
    mask_stride: int = 4
    """Pixels of the input a cell of the mask features; 8 on a stem, which is read from there."""
    mask_channels: int = 64
    """C_m, the width of mask features; they are most of what is cached."""
    regions_per_side: int = 10
    """P: 4, 8, 10 and 12 are the paper's Table 4."""
    ria: Ria = "masked"
    """How regions collect image features (Table 2): three scales of masked attention, equation 2
    as printed, or a hard split of the input or of the decoder's features."""
    ria_layers: int = 9
    """Layers of the masked form; a multiple of three visits each scale equally often."""
    ria_hidden: int = 2048
    """Hidden width of its feed-forward layers."""
    ria_seeded: bool = False
    """Whether a region of the masked form starts from the average of its own cell."""
    minimap_supervised: bool = True
    """Table 2, row 3: without it the minimap is a free gate."""
    rla: Rla = "both"
    """Table 3: region self-attention, region-word attention, both, or the baseline product."""
    rla_layers: int = 1
    """One is the paper; a second lets regions talk after they have heard the words."""
    word_heads: int = 1
    """Heads of the region-word attention; 1 is equation 3."""
    rla_hidden: int = 512
    """Hidden width of RLA's MLP."""
    filters: Filters = "after"
    """Whether region filters see the words; `before` (the paper) makes them language-free."""
    pooling: Pooling = "mean"
    """How F_r becomes one vector for the no-target score; mean is the paper's."""
    no_target: NoTarget = "classifier"
    """Table 6: the classifier decides, or fewer than 50 mask pixels (`model.pixel_rule`), for which
    cached tokens hold the mask features as well."""
    text: str = "bert-base-uncased"
    """Text encoder: `minilm` (PyPI package, offline) or a transformers folder or hub name."""
    text_channels: int = 768
    """C_t of that encoder's word features."""
    text_layers: int = 0
    """Own transformer layers over the frozen word features."""
    vectors: int = 16
    """V, prefilter vectors a photo."""
    vector_channels: int = 128
    """D of the prefilter's joint space; V * D * 2 bytes stay within 4 KB."""
    vector_layers: int = 0
    """Transformer layers in which regions look at each other before these vectors are read."""
    rough_layers: int = 0
    """RLA layers of the rough head, which ranks photos for the head itself (see `rough`); 0 is
    none: inner products rank."""
    store_tokens: Storage = "int8"
    """How cached region tokens are packed."""
    store_masks: Storage = "int8"
    """How cached mask features are packed."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built, naming the field."""
        choices = {"ria": Ria, "rla": Rla, "filters": Filters, "pooling": Pooling,
                   "no_target": NoTarget, "pixel_decoder": PixelDecoder,
                   "store_tokens": Storage, "store_masks": Storage}  # fmt: skip
        for name, kind in choices.items():
            if getattr(self, name) not in get_args(kind):
                raise ModelError(
                    f"{name}={getattr(self, name)!r} is unknown; choose one of {get_args(kind)}"
                )
        for name in ("input_size", "channels", "mask_channels", "regions_per_side", "rla_layers",
                     "word_heads", "vectors", "vector_channels"):  # fmt: skip
            if getattr(self, name) < 1:
                raise ModelError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("vector_layers", "rough_layers"):
            if getattr(self, name) < 0:
                raise ModelError(f"{name} must not be negative, not {getattr(self, name)}")
        if self.rough_layers and self.regions_per_side % 2:
            raise ModelError("rough_layers merge 2 x 2 regions: regions_per_side must be even")
        if self.rough_layers > self.rla_layers:
            raise ModelError("rough_layers begin as RLA's: there cannot be more than rla_layers")
        if self.mask_stride != (8 if self.swin.stem else 4):
            raise ModelError("mask_stride is 8 with a stem and 4 without one")
        if self.swin.stem and (self.pixel_decoder != "fpn" or self.ria == "hard-input"):
            raise ModelError("a stem is read by pixel_decoder='fpn', and not with ria='hard-input'")
        if self.input_size % 32:
            raise ModelError(f"input_size must be a multiple of 32, not {self.input_size}")
        if self.channels % 8 or self.channels % self.word_heads:
            raise ModelError("channels must be a multiple of 8 and of word_heads")
        if self.ria == "hard-input" and self.input_size % self.regions_per_side:
            raise ModelError("ria='hard-input' needs an input_size that regions_per_side divides")

    @property
    def regions(self) -> int:
        """P², how many region tokens a photo has."""
        return self.regions_per_side**2

    @property
    def mask_side(self) -> int:
        """Side of the mask features."""
        return self.input_size // self.mask_stride

    def to_dict(self) -> dict[str, Any]:
        """As JSON types, for weights files and fingerprints."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ReLAConfig:
        """Read what `to_dict` wrote; unknown keys are refused.

        Raises:
            ModelError: a key is unknown or a value cannot be used.
        """
        known = {f.name for f in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ModelError(
                f"the model's configuration has unknown keys {unknown}; it was written by a newer "
                "version of Referent: upgrade, or export the model again"
            )
        values = dict(values)
        if isinstance(swin := values.get("swin"), dict):
            lists: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in swin.items()
            }
            values["swin"] = SwinConfig(**lists)
        return cls(**values)
