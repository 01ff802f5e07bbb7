"""When the prefilter's FAISS file is built anew, and of what."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

import numpy as np

from indexer.errors import DamagedSegment
from indexer.features import vector_file
from indexer.features.snapshot import Snapshot
from indexer.features.vector_file import Manifest, VectorFileDamaged

log = logging.getLogger(__name__)

# The file is rebuilt when more photos than this, and than this share, are not covered by it.
UNCOVERED_ROWS = 2000
UNCOVERED_SHARE = 0.2


class HasVectors(Protocol):
    """What the prefilter needs of a predictor."""

    @property
    def fingerprints(self) -> dict[str, str]:
        """Tier → fingerprint."""

    def vectors_of(self, records: np.ndarray) -> np.ndarray:
        """Return float32 (B, V, D) of records (B,)."""


def needs_build(folder: Path, snapshot: Snapshot) -> str | None:
    """Return why the FAISS file has to be built; None where it is good enough."""
    path = vector_file.manifest_path(folder, snapshot.fingerprints["vectors"])
    segments = np.unique(snapshot.places("vectors").segment)
    if not len(segments[segments >= 0]):
        return None
    try:
        manifest = vector_file.read_manifest(path)
        vector_file.read_index(path.parent / manifest.file, manifest)
    except VectorFileDamaged as error:
        return str(error)
    paths = snapshot.segment_paths(int(each) for each in segments if each >= 0)
    known = [number for number, name in paths.items() if name in manifest.segments]
    outside = int((~np.isin(snapshot.places("vectors").segment, known)).sum())
    if outside > UNCOVERED_ROWS and outside > UNCOVERED_SHARE * len(snapshot):
        return f"{outside:,} of {len(snapshot):,} photos are not in it"
    return None


def build(
    folder: Path,
    snapshot: Snapshot,
    predictor: HasVectors,
    *,
    flat_rows_max: int = vector_file.FLAT_ROWS_MAX,
) -> Manifest | None:
    """Build the FAISS file over every live segment of the model's vectors and swap it in.

    Returns:
        what it covers; None where there are no vectors yet.
    Raises:
        OSError: it cannot be written; the old one stays.
    """
    fingerprint = predictor.fingerprints["vectors"]
    segments = snapshot.live_segments(fingerprint)
    usable = []
    for path, rows in segments:
        try:
            snapshot.store.rows(path)
        except DamagedSegment as error:
            log.warning("%s", error)
        else:
            usable.append((path, rows))
    if not sum(rows for _, rows in usable):
        return None
    return vector_file.build(
        folder,
        fingerprint,
        usable,
        snapshot.store.rows,
        predictor.vectors_of,
        flat_rows_max=flat_rows_max,
    )
