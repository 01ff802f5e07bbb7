"""The FAISS file of one model's prefilter vectors: built from the store, swapped in atomically.

It covers whole segments of the vectors tier, every album's alike; a search masks the rows that it
does not mean. Vector ids are ``row * V + v``, where a segment's rows begin at its base. A manifest
names the current file, so that one rename swaps both, and readers in other processes see it change.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import faiss as _faiss
import numpy as np

from indexer.db.owner import is_gone, new_owner
from indexer.features.store import make_folder
from model.replacing import replacing

# FAISS's own type stubs know neither its keyword arguments nor its NumPy wrappers.
faiss: Any = _faiss
FORMAT = 1
# Scoring everything costs about 0.6 us a photo and core; above this many photos lists pay.
FLAT_ROWS_MAX = 200_000
TRAIN_VECTORS = 200_000
ADD_ROWS = 4096
# A file up to this size is compared with its checksum whenever it is opened (0.3 s).
CHECK_BYTES_MAX = 256 * 1024 * 1024
# No build takes this long; a file without a manifest that is older was left by another machine.
LEFTOVER_S = 86400.0

VectorsOf = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Manifest:
    """What the current file covers."""

    file: str
    kind: str
    """``flat`` or ``ivf``."""
    vectors: int
    """V, vectors a photo."""
    dimensions: int
    segments: dict[str, tuple[int, int]]
    """Path of a segment → (base row, rows)."""
    rows: int
    bytes: int
    checksum: str


class VectorFileDamaged(Exception):
    """The file cannot be used; the prefilter rebuilds it, so that users never see this."""


def manifest_path(folder: Path, fingerprint: str) -> Path:
    """Return where the manifest of a model's vectors lies."""
    return folder / "faiss" / f"{fingerprint[:32]}.json"


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        VectorFileDamaged: it is missing or not a manifest.
    """
    try:
        fields = json.loads(path.read_text())
        if fields.pop("format") != FORMAT:
            raise VectorFileDamaged("it has another format")
        fields["segments"] = {name: (base, n) for name, base, n in fields["segments"]}
        return Manifest(**fields)
    except FileNotFoundError as error:
        raise VectorFileDamaged("there is none yet") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise VectorFileDamaged(f"its manifest cannot be read ({_why(error)})") from error


def _why(error: Exception) -> str:
    """Without the file's path, which the words of the system and of FAISS hold: clients read it."""
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


# By file as it was when it was mapped.
_mapped: WeakValueDictionary[tuple[str, int, int, int], Any] = WeakValueDictionary()


def read_index(path: Path, manifest: Manifest) -> Any:
    """Map a FAISS index read-only; while somebody holds it, others get the same one.

    Albums of one model share its file, so that three hundred of them map and check it once.

    Raises:
        VectorFileDamaged: the file is missing, cut short, changed, or no index.
    """
    try:
        status = path.stat()
        size = status.st_size
        key = (str(path), status.st_mtime_ns, status.st_ino, size)
        if size == manifest.bytes and (known := _mapped.get(key)) is not None:
            return known
        if size != manifest.bytes:
            raise VectorFileDamaged(f"it holds {size:,} bytes instead of {manifest.bytes:,}")
        if size <= CHECK_BYTES_MAX and checksum_of(path) != manifest.checksum:
            raise VectorFileDamaged("its bytes have changed")
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_READ_ONLY)
    except (OSError, RuntimeError) as error:
        raise VectorFileDamaged(f"it cannot be read ({_why(error)})") from error
    if index.ntotal != manifest.rows * manifest.vectors or index.d != manifest.dimensions:
        raise VectorFileDamaged("it does not hold what its manifest says")
    _mapped[key] = index
    return index


def checksum_of(path: Path) -> str:
    """Return the checksum of a whole file."""
    digest = blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def choose_kind(rows: int, flat_rows_max: int = FLAT_ROWS_MAX) -> str:
    """Return the kind of index for so many photos."""
    return "flat" if rows <= flat_rows_max else "ivf"


def train(sample: np.ndarray, kind: str, rows: int) -> Any:
    """Make an empty index of a kind from sample vectors (M, D) float32."""
    dimensions = sample.shape[1]
    if kind == "flat":
        index: Any = faiss.IndexScalarQuantizer(
            dimensions, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )
        index.sq.rangestat_arg = 0.05  # room for vectors beyond the sample's range
    else:
        lists = int(max(1, min(4 * np.sqrt(rows), len(sample) // 39)))
        coarse = faiss.IndexFlatIP(dimensions)
        coarse.this.disown()
        # Codes of the vectors themselves, not of residuals: then one query table serves all lists.
        index = faiss.IndexIVFScalarQuantizer(
            coarse,
            dimensions,
            lists,
            faiss.ScalarQuantizer.QT_8bit,
            faiss.METRIC_INNER_PRODUCT,
            False,
        )
        index.own_fields = True
        index.sq.rangestat_arg = 0.05
    index.train(sample)
    return index


def build(
    folder: Path,
    fingerprint: str,
    segments: Sequence[tuple[str, int]],
    rows_of: Callable[[str], np.ndarray],
    vectors_of: VectorsOf,
    *,
    flat_rows_max: int = FLAT_ROWS_MAX,
) -> Manifest:
    """Build the file over whole segments and swap it in.

    Args:
        folder: the feature store's folder.
        segments: (path, rows) in the order of their rows.
        rows_of: maps a segment's path to its records (rows,).
        vectors_of: records (B,) → float32 (B, V, D).
    Raises:
        OSError: no space is left, or the folder cannot be written; the old file stays.
    """
    total = sum(rows for _, rows in segments)
    kind = choose_kind(total, flat_rows_max)
    sample = _sample(segments, total, rows_of, vectors_of)  # (m, V, D)
    vectors, dimensions = sample.shape[1:]
    index = train(sample.reshape(-1, dimensions), kind, total)
    bases: dict[str, tuple[int, int]] = {}
    base = 0
    for path, count in segments:
        records = rows_of(path)
        for start in range(0, count, ADD_ROWS):
            block = vectors_of(records[start : start + ADD_ROWS]).reshape(-1, dimensions)
            if kind == "flat":
                index.add(block)
            else:
                first = (base + start) * vectors
                index.add_with_ids(block, np.arange(first, first + len(block)))
        bases[path] = (base, count)
        base += count
    return _swap_in(folder, fingerprint, index, kind, vectors, dimensions, bases, total)


def _sample(
    segments: Sequence[tuple[str, int]],
    total: int,
    rows_of: Callable[[str], np.ndarray],
    vectors_of: VectorsOf,
) -> np.ndarray:
    """Read evenly spread photos' vectors (m, V, D) to train on."""
    blocks: list[np.ndarray] = []
    step = 1
    for path, count in segments:
        records = rows_of(path)
        if not blocks:
            per_photo = vectors_of(records[:1]).shape[1]
            step = max(1, total * per_photo // TRAIN_VECTORS)
        if count:
            blocks.append(vectors_of(records[:count:step]))
    return np.concatenate(blocks)


def _swap_in(
    folder: Path,
    fingerprint: str,
    index: Any,
    kind: str,
    vectors: int,
    dimensions: int,
    segments: dict[str, tuple[int, int]],
    rows: int,
) -> Manifest:
    target = manifest_path(folder, fingerprint)
    make_folder(target.parent)
    # The name tells who made the file, so that `sweep` knows what a crash left.
    owner = new_owner().replace("/", "_")
    name = f"{target.stem}-{owner}.faiss"
    path = target.parent / name
    try:
        with replacing(path, part=path.with_name(f"{name}.part"), durable=True) as part:
            faiss.write_index(index, str(part))
    except RuntimeError as error:  # FAISS turns a failed write into this, without the errno
        raise OSError(f"cannot write {path}: {error}") from error
    manifest = Manifest(
        file=name,
        kind=kind,
        vectors=vectors,
        dimensions=dimensions,
        segments=segments,
        rows=rows,
        bytes=path.stat().st_size,
        checksum=checksum_of(path),
    )
    fields = {**manifest.__dict__, "format": FORMAT}
    fields["segments"] = [[path, base, n] for path, (base, n) in segments.items()]
    hidden = target.with_name(f"{target.stem}-{owner}.json.part")
    with replacing(target, part=hidden, durable=True) as part:
        part.write_text(json.dumps(fields))
    remove_old(target, keep=name)
    return manifest


def remove_old(manifest: Path, *, keep: str) -> None:
    """Unlink the files that a manifest named before; whoever has mapped one keeps it."""
    for path in manifest.parent.glob(f"{manifest.stem}-*"):
        if path.name != keep:
            path.unlink(missing_ok=True)


def sweep(folder: Path) -> int:
    """Remove what builders that were killed left; return its bytes.

    Args:
        folder: the feature store's folder.
    """
    named = set()
    for manifest in (folder / "faiss").glob("*.json"):
        with contextlib.suppress(VectorFileDamaged):
            named.add(read_manifest(manifest).file)
    removed = 0
    for path in (folder / "faiss").glob("*-*"):
        if path.name in named:
            continue
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            owner = path.name.rpartition("-")[2].partition(".")[0].replace("_", "/")
            if is_gone(owner) or time.time() - status.st_mtime > LEFTOVER_S:
                path.unlink()
                removed += status.st_size
    return removed
