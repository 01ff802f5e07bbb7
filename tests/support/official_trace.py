"""Runs the official network on a recorded case and names what it computes as the oracle does.

The oracle (tests/data/parity, and ../shared/parity where it is at hand) holds tensors of the
official code on weights that are made from parameter names; see the README beside it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.asking import EarlyFusion
from model.network.masked_decoder import blocked_by
from model.official.config import OFFICIAL, OfficialConfig, TextConfig
from model.official.keys import rename_all
from model.official.network import OfficialOutput, OfficialRela
from model.official.verifier import OfficialVerifier
from training.learning.early_losses import early_losses
from training.learning.losses import means, total
from training.recipes.paper import PAPER

HERE = Path(__file__).parents[1] / "data" / "parity"
SHARED = Path(os.environ.get("REFERENT_SHARED", Path(__file__).parents[3] / "shared")) / "parity"

_SIZES = {
    "MODEL.SWIN.EMBED_DIM": "embed_dim",
    "MODEL.SWIN.DEPTHS": "depths",
    "MODEL.SWIN.NUM_HEADS": "heads",
    "MODEL.SWIN.WINDOW_SIZE": "window",
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": "conv_dim",
    "MODEL.SEM_SEG_HEAD.MASK_DIM": "mask_dim",
    "MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS": "encoder_layers",
    "MODEL.MASK_FORMER.HIDDEN_DIM": "hidden_dim",
    "MODEL.MASK_FORMER.DIM_FEEDFORWARD": "ffn_dim",
    "MODEL.MASK_FORMER.NHEADS": "decoder_heads",
}
_TEXT = {
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
    "intermediate_size": "ffn_dim",
    "max_position_embeddings": "positions",
}


def cases(folder: Path) -> list[tuple[str, str]]:
    """Configurations and cases that lie in a folder."""
    found = [file.stem.rsplit("_c", 1) for file in sorted(folder.glob("*_c*.npz"))]
    return [(config, f"c{case}") for config, case in found]


def case_config(folder: Path, name: str) -> OfficialConfig:
    """Sizes of a configuration of the oracle."""
    if name in ("swin_tiny", "swin_base"):
        return OFFICIAL[f"rela-official-{name.removeprefix('swin_')}"]
    about = json.loads((folder / f"{name}.json").read_text())
    parent = "tiny" if "tiny" in about["overrides_on"] else "base"
    values = OFFICIAL[f"rela-official-{parent}"].to_dict()
    for key, value in about["overrides"].items():
        if key == "MODEL.MASK_FORMER.DEC_LAYERS":
            values["decoder_layers"] = value - 1
        else:
            values[_SIZES[key]] = value
    text = TextConfig(**{_TEXT[key]: value for key, value in about["bert"].items()})
    return OfficialConfig.from_dict({**values, "name": name, "text": vars(text)})


def recipe(name: str, shape: list[int]) -> np.ndarray:
    """Weights of an official entry, from its name and shape alone."""
    count = int(np.prod(shape, dtype=np.int64))
    u = np.random.RandomState(zlib.crc32(name.encode())).random_sample(count) * 2 - 1
    tables = ("relative_position_bias_table", "level_embed", "query_feat.weight")
    if not shape:
        value = 0.5 + 0.4 * u
    elif len(shape) == 1:
        if name.endswith("weight"):
            value = 1 + 0.1 * u
        elif name.endswith("sampling_offsets.bias"):
            value = 2 * u
        else:
            value = (0.02 if name.endswith("minimap_embed.bias") else 0.1) * u
    elif name.endswith(tables) or any(
        part in name for part in ("query_embed.weight", "level_embed.weight", "_embeddings.weight")
    ):
        value = u
    else:
        gain = 1.0
        if name.endswith("minimap_embed.weight"):
            gain = 0.05
        elif name.endswith("mask_embed.layers.2.weight"):
            gain = 0.15
        elif name.startswith("text_encoder.") and name.endswith("output.dense.weight"):
            gain = 0.3
        value = gain * (3 / np.prod(shape[1:])) ** 0.5 * u
    return value.astype(np.float32).reshape(shape)


@functools.cache
def official_weights(folder: Path, name: str) -> dict[str, Tensor]:
    """The whole official state dict of a configuration, integer buffers among it."""
    listed = json.loads((folder / f"keys_{name}.json").read_text())
    shapes = listed["state_dict"]
    pairs = shapes.items() if isinstance(shapes, dict) else shapes
    integers = listed["dtypes_other_than_float32"]
    return {
        key: torch.zeros(shape, dtype=torch.int64)
        if key in integers
        else torch.from_numpy(recipe(key, shape))
        for key, shape in pairs
    }


def built(folder: Path, name: str) -> OfficialRela:
    """The network of a configuration with the recipe's weights."""
    network = OfficialRela(case_config(folder, name)).eval()
    network.load_state_dict(rename_all(official_weights(folder, name)).tensors)
    return network


class Trace:
    """Tensors of one forward pass under the oracle's names."""

    def __init__(self, network: OfficialRela) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._handles: list[Any] = []
        swin, pixel, decoder = network.backbone, network.pixel_decoder, network.decoder
        self._keep(swin.patch_embed, "patch_embed", lambda x: x.permute(0, 3, 1, 2))
        for i, stage in enumerate(swin.layers):
            for j, block in enumerate(stage.blocks):
                self._keep(block, f"swin.{i}.block{j}", lambda x: x.flatten(1, 2))
            self._keep(swin.fusions[i].attention, f"swin.{i}.lang_att", lambda x: x.transpose(1, 2))
            self._keep(swin.fusions[i], f"swin.{i}.fusion")
            if stage.downsample is not None:
                self._keep(swin.gates[i], f"swin.{i}.res_gate")
                self._keep(stage.downsample, f"swin.{i}.down", lambda x: x.flatten(1, 2))
        for i in range(3):
            self._keep(pixel.input_projections[i], f"pix.input_proj{i}")
        for i, layer in enumerate(pixel.encoder):
            self._keep(layer, f"pix.enc{i}")
        for i, layer in enumerate(decoder.layers):
            self._keep(layer.cross, f"dec.{i}.RIA", lambda x: x.transpose(0, 1))
            self._keep(layer.regions, f"dec.{i}.RLA_vision", lambda x: x.transpose(0, 1))
            self._keep(layer, f"dec.{i}.out", lambda x: x.transpose(0, 1))
        self._keep(network.words.projection, "dec.lang_proj")
        self._keep(network.words.attention, "dec.RLA_lang_att", lambda x: x.transpose(0, 1))

    def _keep(self, module: nn.Module, name: str, form: Any = lambda x: x) -> None:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            self.tensors[name] = form(output)

        self._handles.append(module.register_forward_hook(hook))

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()


def attention_bits(network: OfficialRela, traced: dict[str, Tensor], layer: int) -> Tensor:
    """(B * heads, Q, h * w) bits of a layer's mask, before empty rows are opened again."""
    decoder = network.decoder
    batch = traced["mask_features"].shape[0]
    if layer == 0:
        queries = decoder.query_features.expand(batch, -1, -1)
    else:
        queries = traced[f"dec.{layer - 1}.out"].transpose(0, 1)
    filters = decoder.mask_embedding(decoder.norm(queries))
    masks = torch.einsum("bqc,bchw->bqhw", filters, traced["mask_features"])
    size = traced[f"multi_scale{layer % 3}"].shape[-2:]
    masks = nn.functional.interpolate(masks, size=size, mode="bilinear", align_corners=False)
    blocked = masks.sigmoid().flatten(2) < 0.5
    assert torch.equal(  # the bits that the network used, up to the rows that it opened
        blocked_by(masks)[:, 0], blocked & ~blocked.all(-1, keepdim=True)
    )
    return blocked.repeat_interleave(network.config.decoder_heads, dim=0)


def run_case(
    network: OfficialRela, recorded: Any
) -> tuple[dict[str, Tensor], OfficialOutput, dict[str, Tensor]]:
    """Run a case: traced tensors under the oracle's names, the output, the losses."""
    dtype = network.mean.dtype
    tokens, mask = (torch.from_numpy(recorded[f"lang_{key}"]) for key in ("tokens", "mask"))
    pixels = torch.from_numpy(recorded["image"]).to(dtype)
    trace = Trace(network)
    try:
        words = network.read(tokens, mask)
        image = network.prepare(pixels)
        pyramid = network.backbone(image, words, mask)
        features = network.pixel_decoder(pyramid)
        output = network(pixels, words, mask)
    finally:
        trace.close()
    traced = trace.tensors
    traced |= {"lang_feat": words, **pyramid, "mask_features": features.mask_features}
    traced |= {f"multi_scale{i}": level for i, level in enumerate(features.multi_scale)}
    for layer in range(network.config.decoder_layers + 1):
        traced[f"dec.attn_mask{layer}"] = attention_bits(network, traced, layer)
    size = tuple(image.shape[-2:])
    large = F.interpolate(output.masks, size=size, mode="bilinear", align_corners=False)
    traced |= {
        "pred_logits": output.minimap,
        "pred_masks": output.masks,
        "all_masks": output.region_masks(),
        "nt_label": output.no_target,
        "ref_seg": large.sigmoid(),
        "nt_prob": output.no_target.sigmoid(),
    }
    losses = {}
    if "gt_mask_merged.packed" in recorded:
        width = image.shape[-1]
        truth = np.unpackbits(recorded["gt_mask_merged.packed"], axis=-1)[:, 0, :, :width]
        sums = early_losses(output, torch.from_numpy(truth), torch.from_numpy(recorded["empty"]))
        computed = means(sums)
        losses = {
            "mask_ce": computed["mask"],
            "minimap_ce": computed["minimap"],
            "nt_ce": computed["no_target"],
            "loss_mask_weighted": total(computed, PAPER.losses),
        }
    return traced, output, losses


def small_early_fusion(name: str = "rela-official-tiny", size: int = 64) -> EarlyFusion:
    """A small network of the released architecture, on photos of 64 pixels."""
    network = built(HERE, "tiny_a")
    network.config = dataclasses.replace(network.config, input_size=size)
    return EarlyFusion(OfficialVerifier(network, name=name))
