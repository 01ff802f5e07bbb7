"""References of RefCOCO, RefCOCO+ and RefCOCOg as published: a list of rows in a pickle.

The pickle comes from the internet, so nothing in it runs: plain values are all that is read,
whatever names a class or a function is refused, and of each row only the known fields are taken,
so that what is shared many times over within the pickle stays as small as it was. Rows are given
back as gRefCOCO's file has them: one reader goes on with both.

Source: Yu et al., ECCV 2016 (RefCOCO, RefCOCO+); Mao et al., CVPR 2016 (RefCOCOg); the files are
those of lichengunc/refer.
"""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

from training.errors import DatasetError

FILES = ("refs(unc).p", "refs(umd).p", "refs(google).p")
MAX_BYTES = 256 * 2**20  # published ones have some tens of megabytes
MAX_SENTENCES = 2_000_000  # RefCOCO has 142,209
MAX_CHARACTERS = 1_000  # a sentence

# What reading a damaged or hostile pickle may raise, besides pickle's own error.
_BROKEN = (pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError, TypeError,
           AttributeError, OverflowError, MemoryError, AssertionError, RecursionError,
           struct.error)  # fmt: skip


# Python's own form, not the compiled one: that one makes room for as many memoised values as the
# pickle claims to have, 64 GB for nine bytes. It takes some seconds for RefCOCO.
class _Plain(pickle._Unpickler):
    """Reads numbers, texts, lists, tuples and dictionaries."""

    def find_class(self, module: str, name: str) -> Any:
        """Refuse: this is where a pickle gets hold of code."""
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def load(path: Path) -> list[dict[str, Any]]:
    """The references of a published file, each with its annotation in a list.

    Raises:
        DatasetError: it is missing, too large, damaged, holds more than plain values, or is not a
            list of references.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DatasetError(f"{path} is larger than {MAX_BYTES} bytes: no reference file is")
        with path.open("rb") as file:
            rows = _Plain(file, encoding="utf-8", errors="replace").load()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror or error})") from error
    except _BROKEN as error:
        raise DatasetError(
            f"{path} is damaged, or holds more than plain values ({error}): download it again"
        ) from error
    try:
        return _references(rows)
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{path} is not a list of references ({error})") from error


def _references(rows: Any) -> list[dict[str, Any]]:
    if not isinstance(rows, list) or not rows:
        raise TypeError("no list")
    if sum(len(_typed(row["sentences"], list)) for row in rows) > MAX_SENTENCES:
        raise ValueError(f"more than {MAX_SENTENCES} sentences")
    return [
        {
            "ref_id": _typed(row["ref_id"], int),
            "image_id": _typed(row["image_id"], int),
            "split": _typed(row["split"], str),
            "ann_id": [_typed(row["ann_id"], int)],
            "sentences": [_sentence(sentence) for sentence in row["sentences"]],
        }
        for row in rows
    ]


def _sentence(row: Any) -> dict[str, Any]:
    texts = {key: _typed(row[key], str) for key in ("raw", "sent") if key in row}
    if not texts or any(len(text) > MAX_CHARACTERS for text in texts.values()):
        raise ValueError("a sentence without text, or of too much")
    return {**texts, "sent_id": _typed(row["sent_id"], int)}


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r:.40} where {kind.__name__} belongs")
    return value
