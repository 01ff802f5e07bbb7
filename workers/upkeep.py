"""Jobs that tend the feature store: merging segments and finding damage."""

from __future__ import annotations

from dataclasses import asdict

from indexer.features import maintenance
from indexer.features import verify as verification
from indexer.features.store import FeatureStore
from indexer.jobs import jobs
from search_api.search import retention
from workers.turn import WAIT, Outcome, Turn


def compact(turn: Turn) -> Outcome:
    """Merge small segments and remove what nobody needs."""
    store = FeatureStore.open(turn.settings, turn.catalog)
    merged = maintenance.compact(turn.catalog, store, should_stop=turn.should_stop)
    if turn.should_stop():
        return WAIT
    removed = maintenance.collect(turn.catalog, store)
    retention.sweep_or_say(turn.catalog, turn.settings)
    return Outcome("done", {"merged": asdict(merged), "removed": asdict(removed)})


def verify(turn: Turn) -> Outcome:
    """Read every byte of the store; photos whose features are damaged are indexed again."""
    store = FeatureStore.open(turn.settings, turn.catalog)

    def tell(done: int, total: int) -> None:
        turn.report(done=done, total=total)

    report = verification.verify(turn.catalog, store, progress=tell, should_stop=turn.should_stop)
    if turn.should_stop():
        return WAIT
    again = [
        jobs.create(turn.catalog, "index", album_id=album, width=turn.settings.job_width).id
        for album in sorted(report.albums)
    ]
    result = {
        "segments": report.segments,
        "rows": report.rows,
        "damaged": [f"{path}: {fault}" for path, fault in report.damaged],
        "lost_rows": report.lost_rows,
        "attached": report.attached,
        "photos": report.photos[:1000],
        "index_jobs": again,
    }
    return Outcome("done", result)
