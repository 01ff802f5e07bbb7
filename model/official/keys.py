"""From the names in an official checkpoint to ours: the one place that knows both.

Two forms change on the way: query, key and value of an attention are packed there, and window
indices are computed here, not stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

_PIXEL = r"^sem_seg_head\.pixel_decoder\."
_PREDICTOR = r"^sem_seg_head\.predictor\."
_RENAMES: tuple[tuple[str, str], ...] = (
    # Swin; blocks, merging and patches have the same names on both sides.
    (r"^backbone\.norm(\d)\.", r"backbone.norms.\1."),
    (r"^backbone\.layers\.(\d)\.res_gate\.0\.", r"backbone.gates.\1.linear1."),
    (r"^backbone\.layers\.(\d)\.res_gate\.2\.", r"backbone.gates.\1.linear2."),
    (r"^backbone\.layers\.(\d)\.fusion\.vis_project\.0\.", r"backbone.fusions.\1.vision."),
    (r"^backbone\.layers\.(\d)\.fusion\.project_mm\.0\.", r"backbone.fusions.\1.mix."),
    (
        r"^backbone\.layers\.(\d)\.fusion\.image_lang_att\.f_(query|key|value)\.0\.",
        r"backbone.fusions.\1.attention.\2.",
    ),
    (
        r"^backbone\.layers\.(\d)\.fusion\.image_lang_att\.W\.0\.",
        r"backbone.fusions.\1.attention.output.",
    ),
    # Pixel decoder
    (_PIXEL + r"input_proj\.", "pixel_decoder.input_projections."),
    (_PIXEL + r"transformer\.level_embed$", "pixel_decoder.level_embedding"),
    (_PIXEL + r"transformer\.encoder\.layers\.", "pixel_decoder.encoder."),
    (_PIXEL + r"adapter_1\.norm\.", "pixel_decoder.lateral.1."),
    (_PIXEL + r"adapter_1\.", "pixel_decoder.lateral.0."),
    (_PIXEL + r"layer_1\.norm\.", "pixel_decoder.smooth.1."),
    (_PIXEL + r"layer_1\.", "pixel_decoder.smooth.0."),
    (_PIXEL + r"mask_features\.", "pixel_decoder.mask_projection."),
    # Regions and words
    (_PREDICTOR + r"lang_weight$", "words.weight"),
    (_PREDICTOR + r"lang_proj\.", "words.projection."),
    (_PREDICTOR + r"RLA_lang_att\.multihead_attn\.", "words.attention.attention."),
    (_PREDICTOR + r"RLA_lang_att\.", "words.attention."),
    (_PREDICTOR + r"RIA_layers\.(\d+)\.multihead_attn\.", r"decoder.layers.\1.cross.attention."),
    (_PREDICTOR + r"RIA_layers\.(\d+)\.", r"decoder.layers.\1.cross."),
    (_PREDICTOR + r"RLA_vision\.(\d+)\.self_attn\.", r"decoder.layers.\1.regions.attention."),
    (_PREDICTOR + r"RLA_vision\.(\d+)\.", r"decoder.layers.\1.regions."),
    (_PREDICTOR + r"transformer_ffn_layers\.(\d+)\.", r"decoder.layers.\1.feed_forward."),
    (_PREDICTOR + r"input_proj\.", "decoder.input_projections."),
    (_PREDICTOR + r"decoder_norm\.", "decoder.norm."),
    (_PREDICTOR + r"query_feat\.weight$", "decoder.query_features"),
    (_PREDICTOR + r"static_query\.weight$", "decoder.query_features"),
    (_PREDICTOR + r"query_embed\.weight$", "decoder.query_positions"),
    (_PREDICTOR + r"level_embed\.weight$", "decoder.level_embedding"),
    (_PREDICTOR + r"mask_embed\.", "decoder.mask_embedding."),
    (_PREDICTOR + r"minimap_embed\.", "minimap."),
    (_PREDICTOR + r"nt_embed\.", "no_target."),
)

LANG_WEIGHT = "sem_seg_head.predictor.lang_weight"
"""Stored in official files but never read by the official loader."""

_IGNORED: tuple[tuple[str, str], ...] = (
    (r"\.relative_position_index$", "window indices are computed"),
    (r"^text_encoder\.embeddings\.(position_ids|token_type_ids)$", "counted, not learned"),
    (r"^text_encoder\.pooler\.", "the network reads words, not BERT's sentence vector"),
    (r"^(pixel_mean|pixel_std)$", "pixel statistics are part of the program"),
    (r"^criterion\.", "only training needs it"),
    (r"\.(num_batches_tracked)$", "only training needs it"),
)


@dataclass
class Renamed:
    """An official checkpoint under our names."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    official: dict[str, str] = field(default_factory=dict)
    """Our name -> the name in the file, for messages."""
    ignored: dict[str, str] = field(default_factory=dict)
    """Name in the file -> why it is not needed."""


def rename(name: str) -> str:
    """Return our name of an official entry; unknown names come back unchanged."""
    for pattern, replacement in _RENAMES:
        renamed, count = re.subn(pattern, replacement, name)
        if count:
            return re.sub(r"\.attention\.out_proj\.", ".attention.output.", renamed)
    return name


def without_module_prefix(names: Iterable[str]) -> dict[str, str]:
    """Map each name to itself without the ``module.`` that distributed training may prepend."""
    names = list(names)
    wrapped = bool(names) and all(name.startswith("module.") for name in names)
    return {name: name.removeprefix("module.") if wrapped else name for name in names}


def rename_all(official: Mapping[str, Tensor]) -> Renamed:
    """Bring an official state dict under our names, unpacking where forms differ."""
    renamed = Renamed()
    for stored, name in without_module_prefix(official).items():
        tensor = official[stored]
        reason = next((why for pattern, why in _IGNORED if re.search(pattern, name)), None)
        if reason is not None:
            renamed.ignored[stored] = reason
            continue
        ours = rename(name)
        for part, value in split_packed(ours, tensor).items():
            renamed.tensors[part] = value
            renamed.official[part] = stored
    return renamed


def split_packed(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """Take a packed ``in_proj`` of an attention apart; anything else comes back as it is."""
    packed = re.fullmatch(r"(.+\.attention)\.in_proj_(weight|bias)", name)
    if packed is None or not tensor.ndim or len(tensor) % 3:
        return {name: tensor}
    names = (f"{packed[1]}.{part}.{packed[2]}" for part in ("query", "key", "value"))
    return dict(zip(names, tensor.chunk(3), strict=True))


def lang_weight_as_loaded(renamed: Renamed) -> None:
    """Set the word weight to what the official loader leaves, 0, whatever the file says."""
    renamed.tensors["words.weight"] = torch.zeros(())
