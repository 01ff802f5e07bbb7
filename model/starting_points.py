"""Published weights that a late-fusion network can start from before it is trained.

Its vision half, Swin, pixel decoder and region queries up to RLA, is Mask2Former's, so a
transformers Mask2Former folder (COCO instance models on Swin-T, S, B) fills all of it.  Swin alone
starts from timm's ImageNet weights.  Word adapter and head start from nothing either way.  An
early-fusion network starts from Swin's ImageNet weights and a published BERT.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import model.network.torchvision_guard  # noqa: F401  (before transformers, which imports torchvision)
from model import checkpoint
from model.errors import WeightsError
from model.network.config import ReLAConfig
from model.network.rela import RelaNetwork
from model.network.ria import MaskedRia
from model.network.swin import Swin
from model.official.build import save_official
from model.official.keys import split_packed
from model.official.network import OfficialRela

from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation  # isort: skip
from timm.layers import resize_rel_pos_bias_table  # isort: skip

_ENCODER = r"^pixel_level_module\.encoder\."
_LAYER = _ENCODER + r"swin\.encoder\.layers\.(\d)\."
_BLOCK = _ENCODER + r"swin\.encoder\.layers\.(\d)\.blocks\.(\d+)\."
_PIXEL = r"^pixel_level_module\.decoder\."
_REGIONS = r"^transformer_module\."
_DECODER_LAYER = _REGIONS + r"decoder\.layers\.(\d+)\."
_RENAMES: tuple[tuple[str, str], ...] = (
    (
        _ENCODER + r"swin\.embeddings\.patch_embeddings\.projection\.",
        "backbone.swin.patch_embed.proj.",
    ),
    (_ENCODER + r"swin\.embeddings\.norm\.", "backbone.swin.patch_embed.norm."),
    (_BLOCK + r"layernorm_before\.", r"backbone.swin.layers.\1.blocks.\2.norm1."),
    (_BLOCK + r"layernorm_after\.", r"backbone.swin.layers.\1.blocks.\2.norm2."),
    (_BLOCK + r"mlp\.", r"backbone.swin.layers.\1.blocks.\2.mlp."),
    (_BLOCK + r"attention\.o_proj\.", r"backbone.swin.layers.\1.blocks.\2.attn.proj."),
    (
        _BLOCK + r"attention\.relative_position_bias\.",
        r"backbone.swin.layers.\1.blocks.\2.attn.",
    ),
    (_LAYER + r"downsample\.", r"backbone.swin.layers.\1.downsample."),
    (_PIXEL + r"level_embed$", "pixel_decoder.level_embedding"),
    (_PIXEL + r"input_projections\.", "pixel_decoder.input_projections."),
    (
        _PIXEL + r"encoder\.layers\.(\d+)\.self_attn_layer_norm\.",
        r"pixel_decoder.encoder.\1.norm1.",
    ),
    (_PIXEL + r"encoder\.layers\.(\d+)\.final_layer_norm\.", r"pixel_decoder.encoder.\1.norm2."),
    (_PIXEL + r"encoder\.layers\.(\d+)\.fc(\d)\.", r"pixel_decoder.encoder.\1.linear\2."),
    (_PIXEL + r"encoder\.layers\.", "pixel_decoder.encoder."),
    (_PIXEL + r"adapter_1\.", "pixel_decoder.lateral."),
    (_PIXEL + r"layer_1\.", "pixel_decoder.smooth."),
    (_PIXEL + r"mask_projection\.", "pixel_decoder.mask_projection."),
    (_REGIONS + r"queries_embedder\.weight$", "ria.decoder.query_positions"),
    (_REGIONS + r"queries_features\.weight$", "ria.decoder.query_features"),
    (_REGIONS + r"level_embed\.weight$", "ria.decoder.level_embedding"),
    (_REGIONS + r"input_projections\.", "ria.decoder.input_projections."),
    (_DECODER_LAYER + r"self_attn\.([qkv])_proj\.", r"ria.decoder.layers.\1.regions.attention.\2."),
    (_DECODER_LAYER + r"self_attn\.out_proj\.", r"ria.decoder.layers.\1.regions.attention.output."),
    (_DECODER_LAYER + r"self_attn_layer_norm\.", r"ria.decoder.layers.\1.regions.norm."),
    (_DECODER_LAYER + r"cross_attn\.out_proj\.", r"ria.decoder.layers.\1.cross.attention.output."),
    (_DECODER_LAYER + r"cross_attn\.", r"ria.decoder.layers.\1.cross.attention."),
    (_DECODER_LAYER + r"cross_attn_layer_norm\.", r"ria.decoder.layers.\1.cross.norm."),
    (_DECODER_LAYER + r"fc(\d)\.", r"ria.decoder.layers.\1.feed_forward.linear\2."),
    (_DECODER_LAYER + r"final_layer_norm\.", r"ria.decoder.layers.\1.feed_forward.norm."),
    (_REGIONS + r"decoder\.layernorm\.", "ria.decoder.norm."),
    (
        _REGIONS + r"decoder\.mask_predictor\.mask_embedder\.(\d)\.0\.",
        r"ria.decoder.mask_embedding.layers.\1.",
    ),
)
_QKV = re.compile(_BLOCK + r"attention\.([qkv])_proj\.(weight|bias)$")
_NORM = re.compile(_ENCODER + r"hidden_states_norms\.stage(\d)\.(weight|bias)$")
_SHORT = {"q": "query", "k": "key", "v": "value"}
_MASK_FILTER = "ria.decoder.mask_embedding.layers.2"
_MASK_FEATURES = "pixel_decoder.mask_projection"


@dataclass(frozen=True)
class Started:
    """What a network was given to start from."""

    filled: tuple[str, ...]
    """Entries that were filled, our names."""
    left: tuple[str, ...]
    """Entries of the source that were not used."""
    rank: int | None = None
    """Channels of the mask features when there were more in the source; then masks are no longer
    exactly the source's."""


def start_from_mask2former(network: RelaNetwork, folder: str | Path) -> Started:
    """Fill Swin, pixel decoder and region queries from a transformers Mask2Former folder.

    Where the network keeps fewer mask channels than the source has, filters and mask features are
    projected together onto the directions that matter most to their products.

    Args:
        network: late-fusion, masked RIA, deformable pixel decoder, Swin in the dense form.
        folder: with ``config.json`` and weights, or a hub name.
    Raises:
        WeightsError: the folder cannot be read or its sizes are not the network's.
    """
    _mask2former_config(folder)
    if not isinstance(network.ria, MaskedRia) or not isinstance(network.backbone.swin, Swin):
        raise WeightsError(
            f"{network.config.name} is not built like Mask2Former; start rela-tiny or rela-base"
        )
    try:
        source = Mask2FormerForUniversalSegmentation.from_pretrained(folder).model
    except (OSError, ValueError, RuntimeError) as error:
        raise WeightsError(f"Mask2Former weights in {folder} cannot be read ({error})") from error
    renamed, left = rename_mask2former(source.state_dict())
    rank = _fit_mask_channels(renamed, network.config.mask_channels)
    wanted = {
        name: value
        for name, value in network.state_dict().items()
        if name.startswith(("backbone.", "pixel_decoder.", "ria."))
    }
    _check(renamed, wanted, str(folder), network.config.name)
    network.load_state_dict(renamed, strict=False)
    return Started(tuple(sorted(renamed)), tuple(left), rank)


def rename_mask2former(source: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Bring a transformers Mask2Former state dict under the names of ``RelaNetwork``.

    Returns:
        our entries; names of the source that have no place.
    """
    renamed: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {}
    left = []
    for name, tensor in source.items():
        if found := _QKV.match(name):
            stage, block, which, kind = found.groups()
            key = f"backbone.swin.layers.{stage}.blocks.{block}.attn.qkv.{kind}"
            parts.setdefault(key, {})[which] = tensor
        elif found := _NORM.match(name):
            renamed[f"backbone.swin.norms.{int(found[1]) - 1}.{found[2]}"] = tensor
        else:
            ours = next(
                (re.sub(old, new, name) for old, new in _RENAMES if re.match(old, name)), None
            )
            if ours is None:
                left.append(name)
            else:
                ours = re.sub(
                    r"\.attention\.([qkv])\.", lambda m: f".attention.{_SHORT[m[1]]}.", ours
                )
                renamed.update(split_packed(ours, tensor))
    for key, qkv in parts.items():
        renamed[key] = torch.cat([qkv[which] for which in "qkv"])
    return renamed, left


def start_from_swin(network: RelaNetwork, weights: str | Path) -> Started:
    """Fill Swin alone from ImageNet weights.

    Args:
        network: its Swin in the dense form.
        weights: a file (``.safetensors``, ``.pth``) in timm's or the authors' form, or the name of
            a timm model, whose weights timm then fetches.
    Raises:
        WeightsError: they cannot be read or are for another Swin.
    """
    if not isinstance(network.backbone.swin, Swin):
        raise WeightsError(f"{network.config.name} has no Swin in the dense form")
    window = network.config.swin.window_size
    return fill_swin(network.backbone.swin, window, weights, network.config.name)


def fill_swin(swin: Swin, window: int, weights: str | Path, name: str) -> Started:
    """As `start_from_swin`, of any Swin; what it has beyond an ImageNet classifier stays.

    Args:
        window: side of its windows, patches. name: of its network.
    """
    renamed, left = rename_swin(_read_swin(weights))
    for entry, table in renamed.items():
        if entry.endswith("relative_position_bias_table") and len(table) != (2 * window - 1) ** 2:
            renamed[entry] = resize_rel_pos_bias_table(
                table,
                new_window_size=(window, window),
                new_bias_shape=((2 * window - 1) ** 2, table.shape[1]),
            )
    beyond = ("norms.", "fusions.", "gates.")
    wanted = {key: value for key, value in swin.state_dict().items() if not key.startswith(beyond)}
    _check(renamed, wanted, str(weights), name)
    swin.load_state_dict(renamed, strict=False)
    return Started(tuple(sorted(renamed)), tuple(left))


def rename_swin(source: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Bring timm's or the authors' Swin classifier under the names of our `Swin`."""
    # timm merges patches at the start of a stage, the authors (and we) at the end of the last.
    at_start = "layers.1.downsample.reduction.weight" in source and (
        "layers.0.downsample.reduction.weight" not in source
    )
    renamed, left = {}, []
    for name, tensor in source.items():
        if name.endswith(("relative_position_index", "attn_mask")):
            continue
        if not name.startswith(("patch_embed.", "layers.")):
            left.append(name)
            continue
        if at_start and (found := re.match(r"layers\.(\d)\.downsample\.", name)):
            name = name.replace(found[0], f"layers.{int(found[1]) - 1}.downsample.")
        renamed[name] = tensor
    return renamed, left


def write_start(source: str | Path, base: ReLAConfig, path: Path) -> Started:
    """Write weights that ``referent train --start`` begins with.

    Args:
        source: a Mask2Former folder or hub name, or Swin weights (see ``start_from_swin``).
        base: the network to train; its sizes must be the source's.
        path: the safetensors file to write.
    Raises:
        WeightsError: the source cannot be read or does not fit.
    """
    network = RelaNetwork(base)
    if (Path(source).is_dir() and (Path(source) / "config.json").is_file()) or "mask2former" in str(
        source
    ):
        started = start_from_mask2former(network, source)
    else:
        started = start_from_swin(network, source)
    notes = {"started_from": str(source), "steps": "0"}
    checkpoint.save(network, Path(path), notes)
    return started


def _mask2former_config(folder: str | Path) -> Any:
    try:
        config = Mask2FormerConfig.from_pretrained(folder)
    except (OSError, ValueError, json.JSONDecodeError) as error:
        raise WeightsError(
            f"no Mask2Former in {folder} ({error}); docs/real-photos.md names the files"
        ) from error
    if config.model_type != "mask2former" or config.backbone_config.model_type != "swin":
        raise WeightsError(f"{folder} holds a {config.model_type}, not a Mask2Former on Swin")
    return config


def _read_swin(weights: str | Path) -> Mapping[str, Tensor]:
    path = Path(weights)
    if not path.is_file():
        return _fetch_timm(str(weights))
    from model.importing import read_state_dict

    return read_state_dict(path)


def _fetch_timm(name: str) -> Mapping[str, Tensor]:
    import timm

    try:
        found: Mapping[str, Tensor] = timm.create_model(name, pretrained=True).state_dict()
    except (OSError, RuntimeError, ValueError) as error:
        raise WeightsError(
            f"{name} is neither a file nor a timm model whose weights can be fetched ({error})"
        ) from error
    return found


def _fit_mask_channels(renamed: dict[str, Tensor], channels: int) -> int | None:
    """Reduce filters and mask features to ``channels``, keeping their products as well as can be.

    A mask logit is (W h + b) . (V f + c) = [h, 1] A [f, 1] with A = [W, b]^T [V, c]; the best
    A of a lower rank is its truncated singular value decomposition.
    """
    weight, bias = renamed[f"{_MASK_FILTER}.weight"], renamed[f"{_MASK_FILTER}.bias"]
    vision, offset = renamed[f"{_MASK_FEATURES}.weight"], renamed[f"{_MASK_FEATURES}.bias"]
    if len(weight) <= channels:
        return None
    left = torch.cat([weight, bias[:, None]], dim=1).double()  # (C_m, C + 1)
    right = torch.cat([vision.flatten(1), offset[:, None]], dim=1).double()  # (C_m, C' + 1)
    u, s, vt = torch.linalg.svd(left.T @ right)
    root = s[:channels].sqrt()
    filters = (u[:, :channels] * root).T.float()  # (channels, C + 1)
    features = (vt[:channels] * root[:, None]).float()
    renamed[f"{_MASK_FILTER}.weight"] = filters[:, :-1].contiguous()
    renamed[f"{_MASK_FILTER}.bias"] = filters[:, -1].contiguous()
    renamed[f"{_MASK_FEATURES}.weight"] = features[:, :-1, None, None].contiguous()
    renamed[f"{_MASK_FEATURES}.bias"] = features[:, -1].contiguous()
    return channels


def _check(
    given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: str, name: str
) -> None:
    problems = [f"{key} is missing" for key in sorted(wanted.keys() - given.keys())]
    problems += [f"{key} has no place" for key in sorted(given.keys() - wanted.keys())]
    problems += [
        f"{key} is {tuple(given[key].shape)}, not {tuple(wanted[key].shape)}"
        for key in sorted(wanted.keys() & given.keys())
        if given[key].shape != wanted[key].shape
    ]
    if problems:
        raise WeightsError(
            f"{source} does not fit {name}: {'; '.join(problems[:5])}"
            + (f"; and {len(problems) - 5} more" if problems[5:] else "")
        )


def write_early_start(swin: str | Path, bert: str, network: OfficialRela, path: Path) -> None:
    """Write what an early-fusion network's training begins with, in the form of imported weights.

    Args:
        swin: see ``start_from_swin``. bert: a folder in transformers' form, or a hub's name.
        network: random; it is filled.
    Raises:
        WeightsError: one of them cannot be read or is of another size.
    """
    from model.published_bert import read_bert  # transformers loads slowly

    fill_swin(network.backbone, network.config.window, swin, network.config.name)
    published, _ = read_bert(bert)
    own = network.text_encoder
    _check(published.state_dict(), own.state_dict(), bert, network.config.name)
    own.load_state_dict(published.state_dict())
    save_official(network, path, {"started_from": f"{swin}, {bert}", "steps": "0"})
