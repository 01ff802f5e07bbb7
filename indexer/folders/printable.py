"""File names for people: whatever bytes a name holds, what is shown of it does nothing else."""

from __future__ import annotations

import os
import re
from pathlib import Path

from indexer.db.names import shown_path

# Control characters (escape sequences begin with one), line and paragraph separators, what turns
# the writing direction or is invisible, and the stand-ins for bytes that are no UTF-8.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


def printable(text: str) -> str:
    """The text with each character that would not be seen as itself written out: ``\\x1b``."""
    return _UNPRINTABLE.sub(_escaped, text)


def shown_file(file: Path) -> str:
    """A path as text that every encoding takes; bytes that are no UTF-8 are written out."""
    return shown_path(os.fsencode(file))


def _escaped(found: re.Match[str]) -> str:
    code = ord(found.group())
    if 0xDC80 <= code <= 0xDCFF:  # a byte, as os.fsdecode tells it
        code -= 0xDC00
    short = {9: "\\t", 10: "\\n", 13: "\\r"}
    return short.get(code) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")
