"""Pictures of what the network saw: minimap and region masks, the paper's Figure 7."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from model import packing
from model.packing import Records
from model.predictor import Predictor, Words


@torch.inference_mode()
def region_filters(predictor: Predictor, tokens: Records, words: Words) -> NDArray[np.float32]:
    """F_f of every region for one photo and expression: (N, C_m).

    Args:
        tokens: record (1,) of the tokens tier. words: one expression.
    """
    head = predictor.network.head
    cached = packing.unpack_tokens(tokens, predictor.device)
    if cached.filters is not None:
        filters = cached.filters
    else:
        length = int(words.mask[0].sum())
        text, mask = words.features[:1, :length], words.mask[:1, :length]
        filters = head.filter(head.regions(cached, text, mask))
    return np.asarray(filters[0].float().cpu().numpy(), dtype=np.float32)


@torch.inference_mode()
def region_masks(
    predictor: Predictor, features: Records, filters: NDArray[np.float32]
) -> NDArray[np.float32]:
    """M_r of every region for one photo and expression.

    Args:
        features: record (1,) of the masks tier. filters: (N, C_m).
    Returns:
        (N, H/4, W/4) probabilities in [0, 1].
    Source: GRES section 4.1, M_r^n = F_f^n F_m.
    """
    f_m = packing.unpack_masks(features, predictor.device)
    # (N, C_m) x (1, C_m, h, w) -> (N, h, w)
    logits = torch.einsum("nc,bchw->bnhw", torch.from_numpy(filters).to(f_m), f_m)[0]
    return np.asarray(logits.sigmoid().cpu().numpy(), dtype=np.float32)


def heat(values: NDArray[np.float32], side: int) -> Image.Image:
    """A grid of values in [0, 1] as a square picture, dark blue over red to yellow."""
    grid = np.clip(values, 0, 1)
    stops = np.array([[12, 16, 48], [120, 28, 109], [237, 105, 37], [252, 255, 164]], np.float32)
    at = grid * (len(stops) - 1)
    low = np.minimum(at.astype(int), len(stops) - 2)
    part = (at - low)[..., None]
    colours = stops[low] * (1 - part) + stops[low + 1] * part
    return Image.fromarray(colours.astype(np.uint8)).resize((side, side), Image.Resampling.NEAREST)


def region_figure(
    photo: Image.Image, minimap: NDArray[np.float32], regions: NDArray[np.float32], shown: int = 8
) -> Image.Image:
    """Photo, minimap, and the masks of the regions that count most, side by side in two rows.

    Args:
        photo: upright.
        minimap: (P, P) in [0, 1].
        regions: (N, h, w) region masks in [0, 1].
        shown: how many of them.
    """
    side, gap = 224, 12
    p, minimap = len(minimap), minimap.ravel()
    tiles = [(photo.resize((side, side)), "photo")]
    tiles.append((heat(minimap.reshape(p, p), side), f"minimap {p} x {p}"))
    for n in np.argsort(-minimap)[:shown]:
        mask = Image.fromarray((regions[n] * 255).astype(np.uint8)).resize((side, side))
        tiles.append((mask.convert("RGB"), f"region {n % p},{n // p}: x = {minimap[n]:.2f}"))
    columns = (len(tiles) + 1) // 2
    sheet = Image.new("RGB", (columns * (side + gap) + gap, 2 * (side + 30) + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (tile, title) in enumerate(tiles):
        x = gap + index % columns * (side + gap)
        y = gap + index // columns * (side + 30)
        sheet.paste(tile, (x, y))
        draw.text((x, y + side + 4), title, fill="black")
    return sheet
