"""Names as they are compared, for file systems write "é" as one character or as two, and shown."""

from __future__ import annotations

import os
import unicodedata


def comparable(name: str) -> str:
    """The composed form (NFC) of a name; bytes that are no UTF-8 stay as they are."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def comparable_path(path: bytes) -> str:
    """A path of the catalog as text to be compared; `os.fsencode` does not lead back to it."""
    return comparable(os.fsdecode(path))


def shown_path(path: bytes, root: bytes | None = None) -> str:
    """A path, or one below a root, for people: bytes that are no UTF-8 are written out."""
    whole = path if root is None else root.rstrip(b"/") + b"/" + path
    return whole.decode("utf-8", "backslashreplace")
