"""From a decoded picture to the pixels that every network here sees. Free of torch.

Decoding itself, with its limits, belongs to the indexer; this module only fixes what a picture
means: upright, sRGB, eight bits, on white where it is transparent.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from model.network.colour import to_srgb

# ImageNet statistics, applied to RGB in 0..255.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)

# Part of every fingerprint: raise it when the pixels that most photos yield change. It has stayed
# while pictures with colour profiles came to be converted: untagged and sRGB ones are as they were.
PREPROCESSING = "squash-reducing-bicubic-1"


def upright(image: Image.Image) -> Image.Image:
    """Return the picture as a person would look at it: turned by its EXIF orientation, plain RGB.

    Args:
        image: any Pillow picture; of an animated one the current frame counts.
    Returns:
        A mode "RGB" picture in sRGB; width and height are exchanged for orientations 5 to 8.
        Transparent parts lie on white; `model.network.colour` says what becomes of other modes.
    """
    return to_srgb(ImageOps.exif_transpose(image))


def to_pixels(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Squash an upright RGB picture to the network's square input.

    The aspect ratio is given up, as in the reference implementation: every pixel of the photo is
    seen, and a mask maps back to the photo by plain scaling.

    Args:
        image: mode "RGB", any size from 1 x 1.
        size: side S of the network's input in pixels.
    Returns:
        (S, S, 3) uint8 RGB.
    """
    if image.mode != "RGB":
        image = upright(image)
    resized = image.resize((size, size), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.asarray(resized, dtype=np.uint8)
