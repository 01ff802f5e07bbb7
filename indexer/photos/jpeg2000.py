"""JPEG 2000 whose end is missing: what is missing is filled, since a decoder takes only the whole.

A tile is stored coarse to fine, in packets that each begin with a bit that says whether anything
is in them. Zeros are packets of nothing, so a tile that is filled with them comes out coarser.
Source: ISO/IEC 15444-1, annexes A (markers, tile-parts) and B (packets).
"""

from __future__ import annotations

from model.errors import PhotoError

_START, _TILE_PART, _END = b"\xff\x4f\xff\x51", b"\xff\x90", b"\xff\xd9"
_BOXES = b"\0\0\0\x0cjP  "
# SOT, Lsot, Isot, Psot, TPsot, TNsot
_HEADER_BYTES = 12
# A file that claims to lack more than this is not filled.
_MOST_BYTES = 2**26


def is_jpeg2000(data: bytes) -> bool:
    """Whether a file begins as JPEG 2000 does, in boxes or as a bare codestream."""
    return data.startswith((_BOXES, _START))


def filled(data: bytes) -> bytes:
    """A file that was cut short with the tile at its end filled up, and an end put to it.

    Raises:
        PhotoError: it is cut short before its first tile, or claims to lack too much of it.
    """
    at = data.find(_START)
    if at >= 0:
        at += len(_START) - 2  # the first marker that has a length
        while data[at : at + 2] not in (_TILE_PART, b""):  # the main header's segments
            at += 2 + max(int.from_bytes(data[at + 2 : at + 4], "big"), 2)
    first = at
    while data[at : at + 2] == _TILE_PART and at + _HEADER_BYTES <= len(data):
        length = int.from_bytes(data[at + 6 : at + 10], "big")  # 0: all that follows
        lacks = at + length - len(data)
        if lacks > _MOST_BYTES:
            break
        if length == 0 or lacks >= 0:
            return data + bytes(max(lacks, 0)) + _END
        at += max(length, _HEADER_BYTES)
    if at == first:
        raise PhotoError("is cut short before its first tile, or lacks too much of it")
    return data[:at] + _END
