"""safetensors files as bytes on a disk: written whole, alike for alike content, readable by all.

And what a file is that was taken for one, in words.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from model.replacing import replacing


def write(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all; equal content makes equal bytes.

    Its mode is that of any new file: the library's own is for the owner alone.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, durable=True) as part:
        part.touch()
        mode = part.stat().st_mode & 0o777
        save_file(dict(tensors), part, metadata=dict(header))
        part.chmod(mode)
        with part.open("rb+") as file:
            _order_header(file.fileno())


def _order_header(descriptor: int) -> None:
    """Sort the names of the header, which the library writes in any order: same bytes, in place."""
    size = int.from_bytes(os.pread(descriptor, 8, 0), "little")
    content = json.loads(os.pread(descriptor, size, 8))
    content["__metadata__"] = dict(sorted(content["__metadata__"].items()))
    ordered = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    assert len(ordered) <= size
    os.pwrite(descriptor, ordered.ljust(size), 8)


def looks_like(path: Path) -> str:
    """What a file is by its first bytes, in words that end a sentence; "" where nothing tells."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
        size = path.stat().st_size
    except OSError:
        return ""
    if not start:
        return "it is empty: fetch it again"
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return (
            "it is a web page, not the file: the address asks for a login or a click; fetch it anew"
        )
    if text.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, not the file: run `git lfs pull`"
    if start.startswith(b"PK\x03\x04") or (start[0] == 0x80 and 2 <= start[1] <= 5):
        return "it is a pickled PyTorch file: bring it in with `referent models import`"
    length = int.from_bytes(start[:8], "little")
    if start[8:9] == b"{" and size < 8 + length:
        return f"it is truncated, {size} bytes with a header of {length}: fetch it again"
    return ""
