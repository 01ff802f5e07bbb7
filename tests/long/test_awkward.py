"""Every awkward photo at hand ends as indexed, or as failed with a reason, and none takes long."""

from __future__ import annotations

import os
import resource
from collections import Counter
from pathlib import Path

import psutil
import pytest
from sqlalchemy import select

from indexer.db.catalog import Catalog
from indexer.db.tables import Photo
from indexer.encoding.alone import index_album
from indexer.photos.decode import Decoder
from indexer.settings import Settings
from tests.support.albums import album
from tests.support.fake_predictor import FakePredictor

SHARED = Path(os.environ.get("REFERENT_SHARED", Path(__file__).parents[3] / "shared"))
FOLDER = SHARED / "photos" / "awkward"
LONGEST_S = 10.0
PEAK_MIB = 2048

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not FOLDER.is_dir(), reason="the awkward photos are not at hand"),
]


def test_every_awkward_photo_is_indexed_or_failed_with_a_reason(settings: Settings) -> None:
    with Catalog.open(settings) as catalog:
        album(catalog, "awkward", FOLDER)
        report = index_album(settings, "awkward", FakePredictor(), catalog=catalog)
        with catalog.reading() as session:
            rows = session.execute(select(Photo.status, Photo.error)).all()
    counts = Counter(status for status, _ in rows)
    assert counts == {"indexed": report.indexed, "failed": report.failed}
    assert len(rows) > 400 and report.indexed > report.failed > 0
    assert all(bool(error) == (status == "failed") for status, error in rows)
    peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in
             (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]  # fmt: skip
    print(f"{counts}, peak {max(peaks):.0f} MiB a process")
    assert sum(peaks) < PEAK_MIB


def processor_s() -> float:
    """What the decoding process has used, so that other work on the machine does not count."""
    times = [each.cpu_times() for each in psutil.Process().children()]
    return sum(each.user + each.system for each in times)


def test_no_awkward_photo_takes_over_ten_seconds(settings: Settings) -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    taken: dict[str, float] = {}
    with Decoder(settings, 480, workers=1) as decoder:
        at = processor_s()
        for each in decoder.decode((str(path), path) for path in files):
            now = processor_s()
            taken[each.key], at = max(0.0, now - at), now
    slowest = max(taken, key=taken.__getitem__)
    every = f"{len(taken)} files in {sum(taken.values()):.1f} s"
    print(f"{every}, the longest {Path(slowest).name} in {taken[slowest]:.2f} s")
    assert len(taken) == len(files)
    assert taken[slowest] < LONGEST_S
