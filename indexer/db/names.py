"""Names as they are compared: file systems write "é" as one character or as two."""

from __future__ import annotations

import os
import unicodedata


def comparable(name: str) -> str:
    """The composed form (NFC) of a name; bytes that are no UTF-8 stay as they are."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def comparable_path(path: bytes) -> str:
    """A path of the catalog as text to be compared; `os.fsencode` does not lead back to it."""
    return comparable(os.fsdecode(path))
