"""Where features lie, kept in a file: opening a large album again does not read a million rows.

A file belongs to one revision of its albums, so it is never stale, only unused; it carries a
checksum, and one that does not fit is ignored. Losing all of them loses nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np

from model.replacing import replacing

# Below this the catalog answers in a fraction of a second.
ROWS_MIN = 20_000
FILES_MAX = 64
_DIGEST_BYTES = 20


def load(folder: Path, key: Sequence[str]) -> np.ndarray | None:
    """Return the rows (N, 3) int64 that were kept under a key, or None.

    Args:
        folder: the feature store's folder.
        key: what is looked at (albums, fingerprint, statuses), then the revision.
    """
    try:
        data = _path(folder, key).read_bytes()
    except OSError:
        return None
    digest, body = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if blake2b(body, digest_size=_DIGEST_BYTES).digest() != digest or len(body) % 24:
        return None
    return np.frombuffer(body, np.int64).reshape(-1, 3)


def keep(folder: Path, key: Sequence[str], rows: np.ndarray) -> None:
    """Keep rows (N, 3) int64 under a key, in place of those of earlier revisions.

    Small ones are not kept; where the folder cannot be written, nothing happens.
    """
    if len(rows) < ROWS_MIN:
        return
    path = _path(folder, key)
    body = np.ascontiguousarray(rows, np.int64).tobytes()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_bytes(blake2b(body, digest_size=_DIGEST_BYTES).digest() + body)
    except OSError:
        return
    _forget_old(path)


def _path(folder: Path, key: Sequence[str]) -> Path:
    *what, revision = key
    return folder / "places" / f"{_digest('|'.join(what))}-{_digest(revision)}"


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=10).hexdigest()


def _forget_old(path: Path) -> None:
    """Remove earlier revisions, what a killed process left, and all but the newest files."""
    stem = path.name.partition("-")[0]
    with contextlib.suppress(OSError):
        by_age = sorted(path.parent.iterdir(), key=lambda each: -each.stat().st_mtime)
        for number, each in enumerate(by_age):
            outdated = each.name.startswith((f"{stem}-", ".")) or number >= FILES_MAX
            if each != path and outdated:
                each.unlink(missing_ok=True)
