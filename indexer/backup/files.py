"""The files of a library that its catalog cannot do without, and how they are copied.

Photos in people's own folders are not among them, nor what is computed again when it is needed
(FAISS files, readers' marks).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Literal, get_args

from indexer.settings import Settings
from model.replacing import replacing

Place = Literal["features", "uploads", "exports", "models", "secrets"]
PLACES: tuple[Place, ...] = get_args(Place)
_BLOCK = 1 << 20
# Whoever writes a file or a folder gives it its name when it is whole; until then it is called so.
_UNFINISHED = (".part", ".partial")


@dataclass(frozen=True)
class Found:
    """One file of a library."""

    place: Place
    path: str
    """Below its place, ``/`` between; bytes that are no UTF-8 as `os.fsdecode` tells them."""
    file: Path
    size: int
    mtime_ns: int


def base_of(settings: Settings, place: Place) -> Path:
    """Where a library keeps the files of a place."""
    return {
        "features": settings.features_dir,
        "uploads": settings.uploads_dir,
        "exports": settings.exports_dir,
        "models": settings.models_dir,
        "secrets": settings.session_secret_file.parent,
    }[place]


def found_files(
    settings: Settings, segments: Iterable[str], own: Iterable[tuple[str, str]]
) -> Iterator[Found]:
    """What a library has now of what its catalog names; what is not there is left out.

    Args:
        segments: paths of feature segments.
        own: kind and name of the folders that the library made (`own_folders`).
    """
    for segment in segments:
        yield from _one(settings, "features", segment)
    for kind, name in own:
        place: Place = "uploads" if kind == "uploads" else "exports"
        base = base_of(settings, place)
        for folder, folders, names in os.walk(base / name):
            folders[:] = sorted(each for each in folders if not each.endswith(_UNFINISHED))
            for each in sorted(names):
                below = Path(folder, each).relative_to(base).as_posix()
                yield from _one(settings, place, below)
    for model in sorted(settings.models_dir.glob("*")):
        yield from _one(settings, "models", model.name)
    yield from _one(settings, "secrets", settings.session_secret_file.name)


def _one(settings: Settings, place: Place, path: str) -> Iterator[Found]:
    file = base_of(settings, place) / path
    if file.name.endswith(_UNFINISHED) or file.is_symlink() or not file.is_file():
        return
    try:
        status = file.stat()
    except OSError:
        return
    yield Found(place, path, file, status.st_size, status.st_mtime_ns)


def digest_of(file: Path) -> str:
    """blake2b-256 of a file's bytes, in hex."""
    digest = blake2b(digest_size=32)
    with file.open("rb") as source:
        while block := source.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def copy(source: Path, target: Path) -> str:
    """Copy a file under a name that appears when it is whole and on the disk.

    It keeps its time; only its owner may read it.

    Returns:
        its digest (`digest_of`), of the bytes that were written.
    Raises:
        OSError: it cannot be read or written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = blake2b(digest_size=32)
    with replacing(target, durable=True) as part:
        with source.open("rb") as reading, part.open("xb") as writing:
            os.fchmod(writing.fileno(), 0o600)
            while block := reading.read(_BLOCK):
                digest.update(block)
                writing.write(block)
            status = os.fstat(reading.fileno())
        os.utime(part, ns=(status.st_mtime_ns, status.st_mtime_ns))
    return digest.hexdigest()
