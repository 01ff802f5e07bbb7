"""A marker in folders of photos that Referent itself wrote, which every scan leaves out."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from model.replacing import replacing

MARKER = ".referent-output"
ALL = "*"
_ABOUT = "# Written by Referent: scans leave out the names below (* is everything here).\n"


def make_room(base: Path, target: Path) -> None:
    """Make the folders of a file that is to be written, and mark it as Referent's own.

    A folder that is new or empty is marked whole. Where other files lie already only the names
    that are written are marked, so that photos of someone stay photos.

    Args:
        base: the outermost folder that may be marked.
        target: the file, below it or directly in it.
    Raises:
        OSError: it cannot be written.
    """
    base.mkdir(parents=True, exist_ok=True)
    folder = base
    for name in target.relative_to(base).parts:
        found = names_in(os.fsencode(folder))
        if found is None:
            if not any(entry.name[0] != "." for entry in folder.iterdir()):
                _write(folder, {ALL})
                break
            found = set()
        if os.fsencode(ALL) in found or os.fsencode(name) in found:
            break
        place = folder / name
        if place == target or not place.exists():
            _write(folder, {*map(os.fsdecode, found), name})
            break
        folder = place
    target.parent.mkdir(parents=True, exist_ok=True)


def mark(folder: Path, *names: str) -> None:
    """Mark names in a folder, or `ALL` of it, whether they are there or not."""
    found = names_in(os.fsencode(folder)) or set()
    if not found.issuperset(map(os.fsencode, names)):
        _write(folder, {*map(os.fsdecode, found), *names})


def names_in(folder: bytes) -> set[bytes] | None:
    """What a folder's marker names (``*`` stands for all of it); None where there is none."""
    path = os.path.join(folder, os.fsencode(MARKER))  # noqa: PTH118 - bytes
    with suppress(OSError), open(path, "rb") as file:  # noqa: PTH123
        lines = file.read().split(b"\n")
        return {line for line in lines if line and not line.startswith(b"#")}
    return None


def is_own(found: set[bytes] | None, name: bytes | None = None) -> bool:
    """Whether a marker covers its whole folder, or the name."""
    return found is not None and (os.fsencode(ALL) in found or name in found)


def _write(folder: Path, names: set[str]) -> None:
    """Whole or not at all; a name that is lost to a writer beside us comes with its next file."""
    with replacing(folder / MARKER) as part:
        part.write_bytes(os.fsencode(_ABOUT + "".join(f"{name}\n" for name in sorted(names))))
