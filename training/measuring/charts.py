"""Small charts and answer pictures for reports, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

INK, GRID, PAPER = "#22262b", "#dfe3e8", "#ffffff"
PALETTE = ("#1f6feb", "#d1472f", "#2a8f5b", "#8a5cd0", "#b7791f")
MASK = np.array([255, 64, 64], dtype=np.float32)
TRUTH = np.array([30, 200, 90], dtype=np.uint8)

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """A named line of (x, y) points, both in 0 to 1; dots are drawn where `dotted`."""

    name: str
    points: Sequence[Point]
    dotted: bool = False


@dataclass(frozen=True)
class Dots:
    """A named set of values for each row of a dot chart; rings where `hollow`."""

    name: str
    values: Sequence[Sequence[float]]
    hollow: bool = False


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Give Pillow's own font, so that reports look alike everywhere."""
    return ImageFont.load_default(size)


def line_chart(
    title: str,
    x_label: str,
    y_label: str,
    series: Sequence[Series],
    *,
    x_range: Point = (0.0, 1.0),
    y_range: Point = (0.0, 1.0),
    size: tuple[int, int] = (560, 480),
) -> Image.Image:
    """Draw lines in a labelled frame; points outside the ranges are moved to its edge."""
    width, height = size
    left, top, right, bottom = 70, 66, width - 20, height - 62
    scale = 2  # drawn twice as large, then reduced: smooth lines
    picture = Image.new("RGB", (width * scale, height * scale), PAPER)
    draw = ImageDraw.Draw(picture)

    def spot(point: Point) -> tuple[float, float]:
        x = (point[0] - x_range[0]) / (x_range[1] - x_range[0])
        y = (point[1] - y_range[0]) / (y_range[1] - y_range[0])
        x, y = min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0)
        return scale * (left + x * (right - left)), scale * (bottom - y * (bottom - top))

    def text(at: tuple[float, float], words: str, points: int, anchor: str, ink: str = INK) -> None:
        place = (at[0] * scale, at[1] * scale)
        draw.text(place, words, fill=ink, font=font(points * scale), anchor=anchor)

    for step in range(6):
        x = x_range[0] + (x_range[1] - x_range[0]) * step / 5
        y = y_range[0] + (y_range[1] - y_range[0]) * step / 5
        draw.line([spot((x, y_range[0])), spot((x, y_range[1]))], fill=GRID, width=scale)
        draw.line([spot((x_range[0], y)), spot((x_range[1], y))], fill=GRID, width=scale)
        text((left + (right - left) * step / 5, bottom + 8), f"{x:.3g}", 13, "ma")
        text((left - 8, bottom - (bottom - top) * step / 5), f"{y:.3g}", 13, "rm")
    text((left, 14), title, 17, "la")
    text(((left + right) / 2, height - 34), x_label, 14, "ma")
    text((left - 56, top - 28), y_label, 14, "la")
    for index, line in enumerate(series):
        ink = PALETTE[index % len(PALETTE)]
        spots = [spot(point) for point in line.points]
        if len(spots) > 1:
            draw.line(spots, fill=ink, width=2 * scale, joint="curve")
        for x, y in spots if line.dotted else ():
            r = 4 * scale
            draw.ellipse((x - r, y - r, x + r, y + r), fill=ink)
        text((right - 10, bottom - 22 - 20 * (len(series) - 1 - index)), line.name, 14, "ra", ink)
    return picture.resize(size, Image.Resampling.LANCZOS)


def dot_chart(
    title: str,
    rows: Sequence[str],
    panels: Sequence[tuple[str, *tuple[Dots, ...]]],
    *,
    panel_width: int = 190,
    row_height: int = 34,
) -> Image.Image:
    """Draw a panel a figure side by side, a line a row, and a dot a value.

    Args:
        rows: what the lines are called.
        panels: heading, and what is drawn; each panel has a scale of its own.
    """
    scale, left, top, gap = 2, 190, 84, 24
    width = left + len(panels) * (panel_width + gap)
    height = top + row_height * len(rows) + 40
    picture = Image.new("RGB", (width * scale, height * scale), PAPER)
    draw = ImageDraw.Draw(picture)

    def text(x: float, y: float, words: str, points: int, anchor: str, ink: str = INK) -> None:
        at = (x * scale, y * scale)
        draw.text(at, words, fill=ink, font=font(points * scale), anchor=anchor)

    def dot(x: float, y: float, index: int, hollow: bool) -> None:
        ink, box = PALETTE[index % len(PALETTE)], [scale * v for v in (x - 5, y - 5, x + 5, y + 5)]
        draw.ellipse(box, fill=None if hollow else ink, outline=ink, width=2 * scale)

    text(12, 10, title, 17, "la")
    for index, dots in enumerate(panels[0][1:] if panels else ()):
        dot(18 + 90 * index, 46, index, dots.hollow)
        text(30 + 90 * index, 38, dots.name, 14, "la", PALETTE[index % len(PALETTE)])
    lines = [top + row_height * (number + 0.5) for number in range(len(rows))]
    for row, y in zip(rows, lines, strict=True):
        text(left - 14, y, row, 13, "rm")
    for at, (heading, *series) in enumerate(panels):
        x0 = left + at * (panel_width + gap)
        text(x0 + panel_width / 2, top - 26, heading, 14, "ma")
        for y in lines:
            draw.line([(x0 * scale, y * scale), ((x0 + panel_width) * scale, y * scale)],
                      fill=GRID, width=scale)  # fmt: skip
        seen = [value for dots in series for values in dots.values for value in values]
        if not seen:
            continue
        low, high = min(seen), max(seen)
        margin = 0.1 * (high - low) or 1.0
        across = panel_width / (high - low + 2 * margin)
        for value, anchor in ((low, "la"), (high, "ra")):
            text(x0 + across * (value - low + margin), lines[-1] + 25, f"{value:.3g}", 12, anchor)
        for index, dots in enumerate(series):
            for y, values in zip(lines, dots.values, strict=True):
                for value in values:
                    dot(x0 + across * (value - low + margin), y, index, dots.hollow)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def answer_picture(
    photo: NDArray[np.uint8],
    truth: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    caption: Sequence[str],
    *,
    width: int = 320,
) -> Image.Image:
    """Draw an answer: the predicted pixels in red, the outline of the true ones in green.

    Args:
        photo: (H, W, 3) RGB.
        truth, predicted: (H, W).
        caption: lines under the picture.
        width: of the result in pixels.
    """
    shown = photo.astype(np.float32)
    shown[predicted] = 0.45 * shown[predicted] + 0.55 * MASK
    painted = shown.round().astype(np.uint8)
    painted[outline(truth, max(1, photo.shape[1] // 200))] = TRUTH
    scaled_height = max(1, round(photo.shape[0] * width / photo.shape[1]))
    picture = Image.fromarray(painted).resize((width, scaled_height), Image.Resampling.LANCZOS)
    lines = [line for words in caption for line in _wrapped(words, width - 12)]
    sheet = Image.new("RGB", (width, scaled_height + 10 + 17 * len(lines)), PAPER)
    sheet.paste(picture, (0, 0))
    draw = ImageDraw.Draw(sheet)
    for index, line in enumerate(lines):
        draw.text((6, scaled_height + 4 + 17 * index), line, fill=INK, font=font(13))
    return sheet


def outline(mask: NDArray[np.bool_], thickness: int) -> NDArray[np.bool_]:
    """Give the pixels within `thickness` outside a mask."""
    grown = mask.copy()
    for _ in range(thickness):
        padded = np.pad(grown, 1)
        grown = (
            padded[1:-1, 1:-1]
            | padded[:-2, 1:-1]
            | padded[2:, 1:-1]
            | padded[1:-1, :-2]
            | padded[1:-1, 2:]
        )
    return grown & ~mask


def sheet_of(pictures: Sequence[Image.Image], *, columns: int = 4, gap: int = 10) -> Image.Image:
    """Lay pictures out in rows, each as high as its highest picture."""
    rows = [pictures[start : start + columns] for start in range(0, len(pictures), columns)]
    heights = [max(picture.height for picture in row) for row in rows]
    width = max((sum(p.width + gap for p in row) for row in rows), default=gap) + gap
    sheet = Image.new("RGB", (width, sum(heights) + gap * (len(rows) + 1)), PAPER)
    y = gap
    for row, height in zip(rows, heights, strict=True):
        x = gap
        for picture in row:
            sheet.paste(picture, (x, y))
            x += picture.width + gap
        y += height + gap
    return sheet


def _wrapped(words: str, width: int) -> list[str]:
    lines, line = [], ""
    for word in words.split():
        longer = f"{line} {word}".strip()
        if line and font(13).getlength(longer) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line] if line else lines
