"""Which colour a person would say that a thing has, measured inside its mask.

Sure colours only: a thing of several colours, or of one between two names, has none.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scene import COLOURS

_SURE = 0.45  # share of the visible pixels that makes a colour the thing's own
_APART = 1.8  # and how many times the next colour's share
_PERHAPS = 0.10  # a smaller share than this and nobody would say the colour
_LEAST_PIXELS = 60


@dataclass(frozen=True)
class Shade:
    """The colour of a thing.

    Attributes:
        sure: one of COLOURS, or "" where people would differ.
        perhaps: others that somebody might say.
    """

    sure: str
    perhaps: tuple[str, ...]


def names(rgb: NDArray[np.uint8]) -> NDArray[np.int8]:
    """The index in COLOURS of each pixel, -1 where two names are as good: (n, 3) -> (n,)."""
    hsv = cv2.cvtColor(rgb[None], cv2.COLOR_RGB2HSV)[0].astype(np.int32)
    hue, saturation, value = hsv[:, 0] * 2, hsv[:, 1], hsv[:, 2]  # 0..358, 0..255, 0..255
    chroma = saturation * value // 255
    found = np.full(len(rgb), -1, np.int8)

    def name(colour: str, where: NDArray[np.bool_]) -> None:
        found[where & (found < 0)] = COLOURS.index(colour)

    name("black", value < 55)
    name("black", (value < 75) & (chroma < 22))
    name("white", (value > 195) & (chroma < 28))
    name("grey", (chroma < 22) & (value >= 80) & (value <= 185))
    vivid = chroma >= 38
    red = (hue < 14) | (hue >= 345)
    name("pink", vivid & red & (value > 190) & (saturation < 150))
    name("red", vivid & red & (saturation > 110) & (value > 75))
    name("brown", vivid & (hue >= 8) & (hue < 46) & (value < 150))
    name("orange", vivid & (hue >= 14) & (hue < 40) & (value >= 165) & (saturation > 120))
    name("yellow", vivid & (hue >= 44) & (hue < 68) & (value > 140) & (saturation > 80))
    name("green", vivid & (hue >= 76) & (hue < 165))
    name("blue", vivid & (hue >= 186) & (hue < 256))
    name("purple", vivid & (hue >= 264) & (hue < 305))
    name("pink", vivid & (hue >= 305) & (hue < 345) & (value > 120))
    return found


def shade_of(picture: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Shade | None:
    """The colour of what a mask shows: (H, W, 3), (H, W); None where too little is seen."""
    pixels = picture[mask]
    if len(pixels) < _LEAST_PIXELS:
        return None
    counts = np.bincount(names(pixels) + 1, minlength=len(COLOURS) + 1)
    shares = counts[1:] / len(pixels)
    order = np.argsort(-shares)
    first, second = float(shares[order[0]]), float(shares[order[1]])
    best = COLOURS[int(order[0])]
    sure = best if first >= _SURE and first >= _APART * second else ""
    # What has no clear name may be any that is near; a share of it counts for all that are there.
    perhaps = tuple(
        COLOURS[int(k)] for k in order if shares[k] >= _PERHAPS and COLOURS[int(k)] != sure
    )
    return Shade(sure, perhaps)
