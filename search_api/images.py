"""Pictures as bytes and as responses."""

from __future__ import annotations

import hashlib
import io

import numpy as np
from fastapi import Response
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


def image_response(content: bytes, media_type: str) -> Response:
    """A picture that the browser may keep for itself."""
    return Response(
        content,
        media_type=media_type,
        headers={
            "Cache-Control": "private, max-age=3600",
            "ETag": f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"',
        },
    )
