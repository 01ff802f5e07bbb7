"""Draws masks on photos: a crisp outline, a light tint, everything else a little darker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

ACCENT: Colour = (255, 176, 32)
_HALO: Colour = (16, 18, 24)
_TINT = 0.22
_DIM = 0.62
_SHEET_BACKGROUND: Colour = (22, 24, 29)
_SHEET_TILE: Colour = (31, 34, 41)
_SHEET_TEXT: Colour = (236, 238, 242)
_SHEET_FAINT: Colour = (150, 156, 168)


def outlines(mask: np.ndarray, tolerance_px: float = 0.6) -> list[np.ndarray]:
    """The borders of a mask, holes included (to be filled by the even-odd rule).

    Args:
        mask: bool (H, W).
        tolerance_px: how far a simplified border may stray.
    Returns:
        One int32 array (n, 2) of x, y pixels per border, largest first. Specks and threads have
        none beside larger parts; alone they are a line there and back.
    """
    found, _ = cv2.findContours(
        np.ascontiguousarray(mask, dtype=np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
    )
    simple = [cv2.approxPolyDP(border, tolerance_px, True)[:, 0, :] for border in found]
    kept = [border for border in simple if len(border) >= 3]
    if not kept:
        kept = [np.stack([b[0], b[-1] + (len(b) == 1), b[0]]) for b in simple]
    return sorted(kept, key=lambda border: -abs(cv2.contourArea(border)))


def draw_mask(image: Image.Image, mask: np.ndarray, *, colour: Colour = ACCENT) -> Image.Image:
    """The photo with a mask on it.

    Args:
        image: upright RGB photo.
        mask: bool (H, W) of the same size.
    Returns:
        A new RGB image of the same size.
    """
    pixels = np.asarray(image.convert("RGB")).astype(np.float32)
    if not mask.any():
        return Image.fromarray(pixels.astype(np.uint8))
    # One pixel of blur on the mask's weight hides the staircase of the tint's edge.
    weight = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.8)[:, :, None]
    inside = pixels * (1 - _TINT) + np.asarray(colour, np.float32) * _TINT
    mixed = np.clip(pixels * _DIM * (1 - weight) + inside * weight, 0, 255).astype(np.uint8)
    canvas = np.ascontiguousarray(mixed)
    line = max(1, round(max(canvas.shape[:2]) / 420))
    borders = outlines(mask)
    cv2.polylines(canvas, borders, True, _HALO, line + 2, cv2.LINE_AA)
    cv2.polylines(canvas, borders, True, colour, line, cv2.LINE_AA)
    return Image.fromarray(canvas)


def draw_minimap(minimap: np.ndarray, side_px: int = 320) -> Image.Image:
    """The minimap as a square picture, dark where nothing is, bright where a target is likely.

    Args:
        minimap: float (P²,) in [0, 1], rows first.
    """
    cells = round(float(np.sqrt(minimap.size)))
    grid = np.clip(minimap.reshape(cells, cells), 0, 1).astype(np.float32)[:, :, None]
    low, high = np.asarray(_HALO, np.float32), np.asarray(ACCENT, np.float32)
    picture = Image.fromarray((low + (high - low) * grid).astype(np.uint8))
    return picture.resize((side_px, side_px), Image.Resampling.NEAREST)


@dataclass(frozen=True)
class Tile:
    """One picture of a contact sheet with the line below it; a faint one did not match."""

    image: Image.Image
    caption: str
    faint: bool = False


def contact_sheet(
    title: str, subtitle: str, tiles: Sequence[Tile], *, columns: int = 4, tile_px: int = 320
) -> Image.Image:
    """Several pictures on one, under a title; with no tiles the subtitle says it all.

    Returns:
        RGB, ``columns`` tiles wide at most.
    """
    columns = max(1, min(columns, len(tiles) or 2))
    gap, caption_px, head_px = 16, 30, 84
    rows = -(-len(tiles) // columns)
    height_px = round(tile_px * 0.75)
    width = gap + columns * (tile_px + gap)
    sheet = Image.new(
        "RGB", (width, head_px + rows * (height_px + caption_px + gap) + gap), _SHEET_BACKGROUND
    )
    draw = ImageDraw.Draw(sheet)
    _text(draw, (gap, 18), title, 24, _SHEET_TEXT, width - 2 * gap)
    _text(draw, (gap, 52), subtitle, 15, _SHEET_FAINT, width - 2 * gap)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        left = gap + column * (tile_px + gap)
        top = head_px + row * (height_px + caption_px + gap)
        draw.rectangle((left, top, left + tile_px - 1, top + height_px - 1), fill=_SHEET_TILE)
        picture = tile.image.convert("RGB")
        picture.thumbnail((tile_px, height_px), Image.Resampling.LANCZOS)
        place = (left + (tile_px - picture.width) // 2, top + (height_px - picture.height) // 2)
        sheet.paste(picture, place)
        ink = _SHEET_FAINT if tile.faint else _SHEET_TEXT
        _text(draw, (left, top + height_px + 7), tile.caption, 14, ink, tile_px)
    return sheet


def _text(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    size_px: int,
    ink: Colour,
    width: int,
) -> None:
    """Write one line, cut with an ellipsis where it would be too wide."""
    font = ImageFont.load_default(size_px)
    shown = text
    while shown and draw.textlength(shown if shown == text else shown + "…", font=font) > width:
        shown = shown[:-1]
    draw.text(place, shown if shown == text else shown + "…", font=font, fill=ink)
