"""PNG files with more text or profile than a decoder takes: the picture counts, not these."""

from __future__ import annotations

import struct
import zlib

from PIL import PngImagePlugin

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COMPRESSED = (b"iCCP", b"zTXt", b"iTXt")
_TEXT = (*_COMPRESSED, b"tEXt")


def without_oversized(data: bytes) -> bytes:
    """A PNG's bytes without those chunks of text and profile that Pillow would refuse the whole
    file for; other files, and nearly all PNGs, as they are.

    A compressed chunk may unfold to 1 MiB (`PngImagePlugin.MAX_TEXT_CHUNK`), all text together to
    64 MiB (`MAX_TEXT_MEMORY`).
    """
    if not data.startswith(_SIGNATURE):
        return data
    left = PngImagePlugin.MAX_TEXT_MEMORY
    kept: list[memoryview] = []
    view, start, position = memoryview(data), 0, len(_SIGNATURE)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if kind in _TEXT:
            size = _unfolded(kind, view[position + 8 : end - 4])
            if size > left:
                kept.append(view[start:position])
                start = min(end, len(data))
            else:
                left -= size
        position = end
    return b"".join([*kept, view[start:]]) if kept else data


def _unfolded(kind: bytes, body: memoryview) -> int:
    """Bytes of a chunk when it is unfolded; of one that may not be, more than all text may have."""
    if kind not in _COMPRESSED:
        return len(body)
    limit = PngImagePlugin.MAX_TEXT_CHUNK
    after_name = bytes(body).partition(b"\0")[2]
    if kind == b"iTXt":
        if after_name[:1] != b"\1":
            return len(body)
        packed = after_name[2:].partition(b"\0")[2].partition(b"\0")[2]
    else:
        packed = after_name[1:]
    try:
        size = len(zlib.decompressobj().decompress(packed, limit + 1))
    except zlib.error:
        return 0
    return size if size <= limit else PngImagePlugin.MAX_TEXT_MEMORY + 1
