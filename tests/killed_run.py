"""One `index_album` run in a process that a test kills: ``python killed_run.py HOME ALBUM``."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from fake_predictor import FakePredictor

from indexer import encoding, ingest
from indexer.settings import Settings


class Slow(FakePredictor):
    """Takes long enough that a kill can fall anywhere."""

    def encode(
        self, pixels: np.ndarray, tiers: Sequence[str] = ("tokens", "masks", "vectors")
    ) -> dict[str, np.ndarray]:
        time.sleep(0.02)
        return super().encode(pixels, tiers)


def main() -> None:
    """Commit every few photos and merge often, so that every step is under way often."""
    encoding.COMMIT_PHOTOS = 4
    ingest.COMPACT_SEGMENTS = 4
    settings = Settings(home=Path(sys.argv[1]), encode_batch=2, decode_workers=1)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    report = ingest.index_album(settings, sys.argv[2], Slow())
    sys.stdout.write(f"{report.indexed} {report.failed} {report.total} {report.seconds}\n")


if __name__ == "__main__":
    main()
