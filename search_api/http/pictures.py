"""Pictures as responses."""

from __future__ import annotations

import hashlib

from fastapi import Response

KEPT_S = 365 * 86_400


def image_response(content: bytes, media_type: str, *, for_good: bool = False) -> Response:
    """A picture that the browser may keep for itself.

    Args:
        for_good: its address tells its content, so it is never asked for again; else the browser
            asks each time whether it is still the same.
    """
    keep = f"max-age={KEPT_S}, immutable" if for_good else "no-cache"
    return Response(
        content,
        media_type=media_type,
        headers={
            "Cache-Control": f"private, {keep}",
            "ETag": f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"',
        },
    )
