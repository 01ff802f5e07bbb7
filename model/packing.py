"""How a photo's features are kept: one fixed-size record a tier, as structured numpy types.

A store copies records as opaque bytes; only this module knows what is inside. int8 values carry
one float32 scale a region token or mask channel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.network.config import ReLAConfig, Storage
from model.network.rla import RegionTokens
from model.network.stem import stem_channels
from model.network.swin import LEVELS

PACKING = "records-1"  # part of every fingerprint: raise it when the records' form changes

Records = NDArray[Any]


def _field(name: str, shape: tuple[int, ...], storage: Storage) -> list[tuple[Any, ...]]:
    if storage == "fp16":
        return [(name, "<f2", shape)]
    return [(name, "i1", shape), (f"{name}_scale", "<f4", shape[:1])]


def pyramid_levels(config: ReLAConfig) -> dict[str, tuple[int, int]]:
    """Channels and stride of each level that the image encoder gives."""
    if config.swin.stem:
        _, fine, middle, coarse = stem_channels(config.swin.stem)
        return {
            "res3": (fine, 8),
            "res4": (middle, 16),
            "res5": (coarse + config.text_channels, 32),
        }
    return {
        level: (config.swin.embed_dim * 2**index, 4 * 2**index)
        for index, level in enumerate(LEVELS)
    }


def record_types(config: ReLAConfig) -> dict[str, np.dtype[Any]]:
    """The record of one photo in each tier: tokens, masks, vectors, pyramid."""
    n, c, side = config.regions, config.channels, config.mask_side
    tokens = _field("sums", (n, c), config.store_tokens)
    if config.rla in ("both", "language"):
        tokens += _field("queries", (n, c), config.store_tokens)
    if config.filters == "before":
        tokens += [("filters", "<f2", (n, config.mask_channels))]
    masks = _field("features", (config.mask_channels, side, side), config.store_masks)
    if config.no_target == "pixels":  # the decision itself counts the mask's pixels
        tokens += masks
    vectors: list[tuple[Any, ...]] = [("vectors", "<f2", (config.vectors, config.vector_channels))]
    if config.rough_layers:
        vectors += _field("rough", (n // 4, c), config.store_tokens)
    levels: list[tuple[Any, ...]] = []
    for name, (channels, stride) in pyramid_levels(config).items():
        size = config.input_size // stride
        levels.append((name, "<f2", (channels, size, size)))
    return {
        "tokens": np.dtype(tokens),
        "masks": np.dtype(masks),
        "vectors": np.dtype(vectors),
        "pyramid": np.dtype(levels),
    }


def _write(records: Records, name: str, values: Tensor) -> None:
    """(B, R, ...) float -> fields `name` and, for int8, `name_scale` with one scale a row R."""
    if records.dtype[name].base == np.dtype("i1"):
        flat = values.float().flatten(2)  # (B, R, rest)
        scale = flat.abs().amax(-1).clamp_min(1e-8) / 127.0  # (B, R)
        packed = (flat / scale[..., None]).round().clamp(-127, 127).to(torch.int8)
        records[name] = packed.view(values.shape).cpu().numpy()
        records[f"{name}_scale"] = scale.cpu().numpy()
    else:
        records[name] = values.float().clamp(-65504, 65504).cpu().numpy().astype(np.float16)


def _read(records: Records, name: str, device: torch.device, dtype: torch.dtype) -> Tensor:
    values = torch.from_numpy(np.array(records[name])).to(device, dtype)
    if f"{name}_scale" not in (records.dtype.names or ()):
        return values
    scale = torch.from_numpy(np.array(records[f"{name}_scale"])).to(device, dtype)
    return values.mul_(scale.view(*scale.shape, *([1] * (values.dim() - 2))))


def pack_tokens(
    tokens: RegionTokens, dtype: np.dtype[Any], mask_features: Tensor | None = None
) -> Records:
    """B photos' tokens -> records (B,); with F_m (B, C_m, h, w) where the 50-pixel rule decides."""
    records = np.zeros(len(tokens.sums), dtype)
    for name in ("sums", "queries", "filters"):
        values = getattr(tokens, name)
        if values is not None:
            _write(records, name, values)
    if "features" in (dtype.names or ()):
        assert mask_features is not None
        _write(records, "features", mask_features)
    return records


def unpack_tokens(
    records: Records, device: torch.device, dtype: torch.dtype = torch.float32
) -> RegionTokens:
    """Records (B,) -> tokens, scaled back."""
    names = records.dtype.names or ()
    return RegionTokens(
        _read(records, "sums", device, dtype),
        _read(records, "queries", device, dtype) if "queries" in names else None,
        _read(records, "filters", device, dtype) if "filters" in names else None,
    )


def pack_masks(mask_features: Tensor, dtype: np.dtype[Any]) -> Records:
    """F_m (B, C_m, h, w) -> records (B,)."""
    records = np.zeros(len(mask_features), dtype)
    _write(records, "features", mask_features)
    return records


def unpack_masks(records: Records, device: torch.device) -> Tensor:
    """Records (B,) of the masks tier, or tokens that hold F_m -> F_m (B, C_m, h, w) float32."""
    return _read(records, "features", device, torch.float32)


def pack_vectors(vectors: Tensor, dtype: np.dtype[Any], rough: Tensor | None = None) -> Records:
    """(B, V, D), and the rough head's tokens (B, N / 4, C) where there are any -> records (B,)."""
    records = np.zeros(len(vectors), dtype)
    _write(records, "vectors", vectors)
    if rough is not None:
        _write(records, "rough", rough)
    return records


def unpack_rough(records: Records, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Records (B,) of the vectors tier -> the rough head's tokens (B, N / 4, C)."""
    return _read(records, "rough", device, dtype)


def pack_pyramid(pyramid: dict[str, Tensor], dtype: np.dtype[Any]) -> Records:
    """res2 .. res5 -> records (B,), fp16."""
    records = np.zeros(len(pyramid["res5"]), dtype)
    for name, values in pyramid.items():
        _write(records, name, values)
    return records


def unpack_pyramid(records: Records, device: torch.device) -> dict[str, Tensor]:
    """Records (B,) -> res2 .. res5, float32."""
    names = records.dtype.names or ()
    return {name: _read(records, name, device, torch.float32) for name in names}
