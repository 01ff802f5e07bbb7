"""Memory stays flat over ten thousand searches."""

from __future__ import annotations

import gc
from pathlib import Path

import psutil
import pytest

from search_api.search import retention
from search_api.search.pipeline import collect
from search_api.search.query import Query
from search_api.show.shown import show
from tests.support.library import make_library

SEARCHES = 10_000
SETTLED = 2_000
GROWTH_MAX = 0.05


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_memory_stays_flat_over_ten_thousand_searches(tmp_path: Path) -> None:
    library = make_library(tmp_path, 24)
    me = psutil.Process()
    threshold = library.threshold()
    fingerprint = library.predictor.fingerprints
    settled = 0
    peaks = []
    for number in range(SEARCHES):
        query = Query(
            expression=f"thing number {number}",
            threshold=threshold,
            mode="exhaustive" if number % 3 == 0 else "fast",
            rejected=number % 7,
        )
        done = collect(library.engine, query)
        show(library.engine, done.matched[:8], fingerprint)
        if number % 200 == 0:
            retention.prune_runs(library.engine.catalog, 100)
            gc.collect()
            if number == SETTLED:
                settled = me.memory_info().rss
            elif number > SETTLED:
                peaks.append(me.memory_info().rss)
    library.engine.close()
    print(f"{settled / 2**20:.0f} MiB after {SETTLED:,}, at most {max(peaks) / 2**20:.0f} later")
    assert max(peaks) <= settled * (1 + GROWTH_MAX), (settled, peaks)
