"""Pictures as responses."""

from __future__ import annotations

import hashlib

from fastapi import Response


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
