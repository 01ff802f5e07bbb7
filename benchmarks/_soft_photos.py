"""Photos with known soft alpha, drawn: hair, motion blur, thin parts; to measure matting on.

Everything is drawn several times too large and averaged down, so that a pixel that an edge or a
hair crosses holds exactly its share of the thing: the alpha is true, not estimated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Kind = Literal["hair", "blur", "thin"]
KINDS: tuple[Kind, ...] = ("hair", "blur", "thin")
_OVER = 4  # pixels drawn for one pixel kept, along each side
_STEPS = 16  # positions that are drawn for one motion blur


@dataclass(frozen=True)
class SoftPhoto:
    """A drawn photo and the truth about it.

    Attributes:
        pixels: (H, W, 3) uint8, the thing over its background.
        alpha: (H, W) float32 in [0, 1].
        foreground: (H, W, 3) uint8, the thing's own colours everywhere.
    """

    pixels: NDArray[np.uint8]
    alpha: NDArray[np.float32]
    foreground: NDArray[np.uint8]


def draw(kind: Kind, side: int, seed: int) -> SoftPhoto:
    """Draw a thing with soft edges on a textured background.

    Args:
        kind: "hair" (a body with several hundred strands), "blur" (it moved while the shutter was
            open) or "thin" (spokes, wires and a handle).
        side: of the square photo in pixels.
        seed: another photo for each.
    """
    dice = np.random.default_rng((KINDS.index(kind), seed))
    size = side * _OVER
    if kind == "hair":
        alpha = _hair(size, dice)
    elif kind == "thin":
        alpha = _thin(size, dice)
    else:
        alpha = _moved(_body(size, dice, 0.2), size, dice)
    alpha = cv2.resize(alpha, (side, side), interpolation=cv2.INTER_AREA)
    hue = dice.uniform(0, 180)
    behind = _texture(side, dice, hue, dice.uniform(0.08, 0.2))
    foreground = _texture(side, dice, hue + dice.uniform(50, 130), dice.uniform(0.05, 0.12))
    mixed = alpha[..., None] * foreground + (1 - alpha[..., None]) * behind
    noise = dice.normal(0, 1.5, mixed.shape)
    return SoftPhoto(
        (mixed + noise).round().clip(0, 255).astype(np.uint8),
        alpha.astype(np.float32),
        foreground.round().clip(0, 255).astype(np.uint8),
    )


def predicted(alpha: NDArray[np.float32], cells: int, seed: int) -> NDArray[np.float32]:
    """What a network's mask of this photo looks like: coarse, smooth, and off by a cell or so.

    Args:
        alpha: (H, W) the truth.
        cells: side of the network's mask.
    Returns:
        (cells, cells) float32 probabilities.
    """
    dice = np.random.default_rng(seed)
    height, width = alpha.shape
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    cell = height / cells
    shift = [
        cv2.resize(dice.normal(0, 0.8 * cell, (7, 7)).astype(np.float32), (width, height))
        for _ in range(2)
    ]
    moved = cv2.remap(alpha, columns + shift[0], rows + shift[1], cv2.INTER_LINEAR)
    coarse = cv2.resize(moved, (cells, cells), interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(coarse, (0, 0), 0.7)
    logits = 9 * (coarse - 0.42) + dice.normal(0, 0.3, coarse.shape)
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def errors(alpha: NDArray[np.float32], truth: NDArray[np.float32]) -> dict[str, float]:
    """How far an alpha is from the truth, both (H, W) in [0, 1], by the measures of the field.

    Returns:
        ``sad``, sum of absolute differences, in thousands; ``mse``; ``gradient``, in thousands
        (squared difference of the slopes of Gaussian derivatives, sigma 1.4 pixels).
    Source: Rhemann et al., A Perceptually Motivated Online Benchmark for Image Matting, CVPR 2009.
    """

    def slope(values: NDArray[np.float32]) -> NDArray[np.float32]:
        smooth = cv2.GaussianBlur(values.astype(np.float32), (0, 0), 1.4)
        down, across = np.gradient(smooth)
        return np.hypot(down, across)

    difference = alpha - truth
    return {
        "sad": float(np.abs(difference).sum() / 1000),
        "mse": float((difference**2).mean()),
        "gradient": float(((slope(alpha) - slope(truth)) ** 2).sum() / 1000),
    }


def _texture(side: int, dice: np.random.Generator, hue: float, depth: float) -> NDArray[np.float64]:
    """Smooth noise of several scales round one colour, (side, side, 3) in 0 to 255."""
    colour = np.array([[[hue % 180, dice.uniform(60, 190), dice.uniform(70, 210)]]], np.uint8)
    base = cv2.cvtColor(colour, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float64)
    out = np.zeros((side, side, 3))
    for cells, weight in ((3, 1.0), (9, 0.6), (40, 0.25), (160, 0.12)):
        noise = dice.normal(0, 1, (cells, cells, 3)) * (0.4, 0.4, 0.4) + dice.normal(
            0, 1, (cells, cells, 1)
        )
        out += weight * cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
    return (base + 255 * depth * out).clip(0, 255)


def _body(size: int, dice: np.random.Generator, radius: float) -> NDArray[np.float32]:
    """A lumpy shape in the middle, (size, size) in [0, 1]."""
    canvas = np.zeros((size, size), np.uint8)
    angles = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    wave = sum(
        dice.normal(0, 0.09 / k) * np.cos(k * angles + dice.uniform(0, 6)) for k in (2, 3, 4, 5)
    )
    reach = size * radius * (1 + wave)
    points = np.stack([size / 2 + reach * np.cos(angles), size / 2 + reach * np.sin(angles)], 1)
    cv2.fillPoly(canvas, [points.astype(np.int32)], 255)
    return np.asarray(canvas / 255, np.float32)


def _hair(size: int, dice: np.random.Generator) -> NDArray[np.float32]:
    canvas = (_body(size, dice, 0.2) * 255).astype(np.uint8)
    for _ in range(500):
        angle = dice.uniform(0, 2 * np.pi)
        length = size * dice.uniform(0.05, 0.13)
        start = size / 2 + size * 0.18 * np.array([np.cos(angle), np.sin(angle)])
        along = np.linspace(0, 1, 12)[:, None]
        bend = angle + dice.normal(0, 0.35) * along * 2
        line = start + along * length * np.concatenate([np.cos(bend), np.sin(bend)], 1)
        wide = max(1, round(size / 1200 * dice.uniform(0.7, 1.6)))
        cv2.polylines(canvas, [line.astype(np.int32)], False, 255, wide)
    return np.asarray(canvas / 255, np.float32)


def _thin(size: int, dice: np.random.Generator) -> NDArray[np.float32]:
    canvas = np.zeros((size, size), np.uint8)
    centre = np.array([size * 0.5, size * dice.uniform(0.46, 0.54)])
    radius = size * dice.uniform(0.22, 0.26)
    spot = tuple(int(v) for v in centre)
    cv2.circle(canvas, spot, int(radius), 255, int(size * 0.028))
    cv2.circle(canvas, spot, int(radius * 0.3), 255, -1)
    for angle in np.arange(9) * 2 * np.pi / 9 + dice.uniform(0, 1):
        end = centre + radius * np.array([np.cos(angle), np.sin(angle)])
        cv2.line(canvas, spot, tuple(int(v) for v in end), 255, max(2, int(size * 0.009)))
    handle = centre + radius * np.array([1.3, -1.1])
    cv2.line(canvas, spot, tuple(int(v) for v in handle), 255, int(size * 0.02))
    return np.asarray(canvas / 255, np.float32)


def _moved(body: NDArray[np.float32], size: int, dice: np.random.Generator) -> NDArray[np.float32]:
    """The mean of a shape along a short straight path: what an open shutter sees."""
    angle, length = dice.uniform(0, np.pi), size * dice.uniform(0.05, 0.1)
    total = np.zeros_like(body)
    for share in np.linspace(-0.5, 0.5, _STEPS):
        shift = share * length * np.array([np.cos(angle), np.sin(angle)])
        matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
        total += cv2.warpAffine(body, matrix, (size, size))
    return np.asarray(total / _STEPS, np.float32)
