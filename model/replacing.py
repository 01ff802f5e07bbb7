"""The one way to write a file or folder that must be there whole or not at all."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SUFFIX = ".referent.part"


@contextmanager
def replacing(path: Path, *, part: Path | None = None, durable: bool = False) -> Iterator[Path]:
    """Give the block a name to write under, which takes the path's place when the block ends.

    Where the block raises, what was written goes and what was there before stays.

    Args:
        path: a file, or a folder where there is none yet.
        part: the name in the same folder; default a hidden one of this thread's own, which
            `clear_parts` knows after a kill.
        durable: the file is on the disk, under its name, when this returns.
    """
    if part is None:
        stem = os.fsdecode(os.fsencode(path.name)[:120])
        part = path.with_name(f".{stem}.{os.getpid()}-{threading.get_native_id()}{_SUFFIX}")
    try:
        yield part
        if durable:
            sync(part)
        part.replace(path)
        if durable:
            sync_folder(path.parent)
    finally:
        _remove(part)


def clear_parts(folder: Path) -> None:
    """Remove what writers that were killed left in a folder and below; nobody may write there."""
    for part in list(folder.rglob(f".*{_SUFFIX}")):
        _remove(part)


def _remove(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part)
    else:
        part.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames and removals in a folder durable."""
    sync(folder)


def sync(path: Path) -> None:
    """Make a file's content durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
