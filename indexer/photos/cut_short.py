"""Files that end too early: what can be decoded of them is shown, as every viewer does.

Half-copied and half-recovered files are common, and most of their picture is there. A file of which
nothing can be seen still fails with its decoder's reason.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from PIL import ImageFile

from indexer.errors import PhotoUnreadable
from indexer.photos import jpeg2000, tiff
from model.errors import PhotoError

NOTE = "The file is cut short or damaged: what could be decoded of it is shown."
_JPEG, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
# Pillow knows of this only for all of a process.
_lenient = threading.Lock()

T = TypeVar("T")


def read(
    data: bytes, decode: Callable[[bytes], T], picture_of: Callable[[T], object]
) -> tuple[T, bool]:
    """Decode a file's bytes, also where its end is missing.

    Args:
        decode: of the bytes.
        picture_of: what it gave as anything that NumPy makes (H, W, 3) of.
    Returns:
        what ``decode`` gave, and whether the file was cut short.
    Raises:
        PhotoRefused, PhotoUnreadable: as ``decode`` does with the whole file.
    """
    try:
        return decode(data), False
    except PhotoUnreadable as error:
        reason = error
    try:
        found = _part_of(data, decode)
        if not is_blank(np.asarray(picture_of(found))):
            return found, True
    except PhotoError:
        pass
    whole = _length(data)
    if whole > len(data):
        raise PhotoUnreadable(f"is cut short: {len(data):,} of its {whole:,} bytes are there")
    raise reason


def _part_of(data: bytes, decode: Callable[[bytes], T]) -> T:
    """What can be decoded of a file of which all cannot."""
    if data.startswith(_JPEG):
        return _ended(data, decode)
    with _lenient:
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        try:
            return decode(jpeg2000.filled(data) if jpeg2000.is_jpeg2000(data) else data)
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = False


def _ended(data: bytes, decode: Callable[[bytes], T]) -> T:
    """Decode a JPEG with an end put to it; the decoder fills what is missing with grey.

    Where the file ends within a table or the header of a scan, it is left out as well.
    """
    try:
        return decode(data + _JPEG_END)
    except PhotoUnreadable:
        begun = max(data.rfind(marker) for marker in (b"\xff\xc4", b"\xff\xda"))
        return decode(data[: max(begun, 0)] + _JPEG_END)


def _length(data: bytes) -> int:
    """How many bytes a file says that it has; 0 where it does not say."""
    if tiff.is_tiff(data):
        return tiff.length(data)
    if data.startswith(b"RIFF"):
        return int.from_bytes(data[4:8], "little") + 8
    if data[4:8] not in (b"ftyp", b"jP  "):
        return 0
    at = 0
    while at + 16 <= len(data):  # ISO's boxes: HEIC, AVIF, JPEG 2000
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size < 8:  # to the end of the file, or no box
            return 0
        at += size
    return at


def is_blank(picture: np.ndarray) -> bool:
    """Whether all of a picture (H, W, 3) has one colour, as where nothing was decoded."""
    return bool((picture == picture[:1, :1]).all())
