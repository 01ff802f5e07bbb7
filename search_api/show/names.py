"""Files for photos: subfolders and whole names are kept, none collide, any system takes them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

from indexer.db.names import comparable
from search_api.search.photos import PhotoInfo

# File systems take 255 bytes; some are left for what others put behind a name.
_NAME_BYTES = 250


def name_files(
    photos: Iterable[PhotoInfo], suffix: str | None, *, taken: Collection[str] = ()
) -> dict[int, PurePosixPath]:
    """A relative file for each photo by its id, below a folder named as its album.

    Names do not depend on which other photos are there, but where two would be the same. A name
    that is too long is cut, and told apart by a digest of the whole.

    Args:
        suffix: of the files, without a dot; a photo that has it keeps its name as it is. None:
            every photo keeps its name.
        taken: names that are not to be used.
    """
    chosen: dict[int, PurePosixPath] = {}
    used = {_as_one(name) for name in taken}
    for photo in sorted(photos, key=lambda each: each.id):
        *folders, name = [
            plain(part) for part in PurePosixPath(photo.path).parts if part not in ("/", ".")
        ]
        folder = PurePosixPath(*(_fitting(part) for part in (plain(photo.album), *folders)))
        stem, end = _parted(name)
        if suffix is not None:
            stem, end = stem if end.lower() == f".{suffix}" else name, f".{suffix}"
        file, number = folder / _fitting(stem, end), photo.id
        while _as_one(str(file)) in used:
            file = folder / _fitting(stem, f"-{number}{end}")
            number += 1
        used.add(_as_one(str(file)))
        chosen[photo.id] = file
    return chosen


def _as_one(name: str) -> str:
    """What some file systems take for the same name: neither case nor Unicode form tell apart."""
    return comparable(name).casefold()


def _parted(name: str) -> tuple[str, str]:
    """A name's stem and its suffix with the dot."""
    stem, dot, suffix = name.rpartition(".")
    return (stem, dot + suffix) if stem else (name, "")


def plain(part: str) -> str:
    """A path's part that no file system and no zip reader reads as something else."""
    cleaned = "".join("_" if c in '\\:*?"<>|' or ord(c) < 32 else c for c in part).replace("/", "_")
    cleaned = cleaned.strip(" ") if cleaned.strip(". ") else ""
    return cleaned or "_"


def _fitting(name: str, end: str = "") -> str:
    """A name with its end, cut where it would be too long."""
    whole = name.encode("utf-8", "surrogateescape")
    if len(whole) + len(end) <= _NAME_BYTES:
        return name + end
    end = f"~{hashlib.blake2b(whole, digest_size=4).hexdigest()}{end}"
    return whole[: _NAME_BYTES - len(end)].decode("utf-8", "ignore") + end
