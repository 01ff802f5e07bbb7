"""From a decoded picture to the pixels that every network here sees. Free of torch.

Decoding itself, with its limits, belongs to the indexer; this module only fixes what a picture
means: upright, RGB, eight bits, on white where it is transparent.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

# ImageNet statistics, applied to RGB in 0..255.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)

# Part of every fingerprint: raise it when the pixels that a photo yields change.
PREPROCESSING = "squash-reducing-bicubic-1"


def upright(image: Image.Image) -> Image.Image:
    """Return the picture as a person would look at it: turned by its EXIF orientation, plain RGB.

    Args:
        image: any Pillow picture; of an animated one the current frame counts.
    Returns:
        A mode "RGB" picture; width and height are exchanged for orientations 5 to 8.
        Transparent parts lie on white; 16-bit and float greys are scaled by their own range.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I", "F"):
        image = _scaled_grey(image)
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(ground, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _scaled_grey(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8), mode="L")
    values = np.asarray(image, dtype=np.float32)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    top = float(values.max(initial=0.0))
    if image.mode == "I":  # Pillow opens most 16-bit PNGs so
        top = 65535.0 if top > 255.0 else 255.0
    elif top <= 1.0:
        top = 1.0
    np.multiply(values, 255.0 / max(top, 1e-12), out=values)
    return Image.fromarray(np.clip(values, 0, 255, out=values).round().astype(np.uint8), mode="L")


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
