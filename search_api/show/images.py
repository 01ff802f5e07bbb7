"""Pictures as bytes."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

JPEG_QUALITY = 86


def jpeg(image: Image.Image) -> bytes:
    """A JPEG without metadata: where a photo was taken stays on the server."""
    out = io.BytesIO()
    image.convert("RGB").save(out, "JPEG", quality=JPEG_QUALITY, subsampling="4:2:0")
    return out.getvalue()


def png(image: Image.Image) -> bytes:
    """A PNG without metadata."""
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=3)
    return out.getvalue()


def mask_png(mask: np.ndarray) -> bytes:
    """A mask, bool (H, W), as a PNG of one bit a pixel; white is the referent."""
    return png(Image.fromarray(mask.astype(np.uint8) * 255).convert("1", dither=Image.Dither.NONE))
