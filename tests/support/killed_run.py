"""One `index_album` run in a process that a test kills: ``python killed_run.py HOME ALBUM``."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from indexer.db.catalog import Catalog
from indexer.encoding import commits, ingest
from indexer.encoding.alone import index_album
from indexer.features import vector_builds
from indexer.settings import Settings
from tests.support.fake_predictor import FakePredictor


class Slow(FakePredictor):
    """Takes long enough that a kill can fall anywhere."""

    def encode(
        self, pixels: np.ndarray, tiers: Sequence[str] = ("tokens", "masks", "vectors")
    ) -> dict[str, np.ndarray]:
        time.sleep(0.02)
        return super().encode(pixels, tiers)


def main() -> None:
    """Commit every few photos, merge and build FAISS's file each time: every step often."""
    commits.COMMIT_PHOTOS = 4
    ingest.COMPACT_SEGMENTS = 4
    vector_builds.UNCOVERED_ROWS, vector_builds.UNCOVERED_SHARE = 0, 0.0
    settings = Settings(home=Path(sys.argv[1]), encode_batch=2, decode_workers=1)
    began: dict[str, float] = {}

    def say(phase: str) -> None:
        if phase not in began:
            began[phase] = time.monotonic()
            sys.stdout.write(f"{phase} {began[phase] - began['ready']:.3f}\n")
            sys.stdout.flush()

    say("ready")
    with Catalog.open(settings) as catalog:
        index_album(
            settings, sys.argv[2], Slow(), catalog=catalog, progress=lambda at: say(at.phase)
        )
    say("done")


if __name__ == "__main__":
    main()
