"""Real workers: processes of the `referent` command on PostgreSQL and a Redis of the test's own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import func, select

from indexer.db.tables import EncodeClaim, FeatureRow, JobSlot, Segment
from indexer.jobs import jobs
from tests.support.servers import OwnRedis, wait_until
from tests.support.tiny_model import write_tiny_model
from tests.support.trial_library import Library, make_photos, undisturbed

pytestmark = [pytest.mark.postgres, pytest.mark.redis]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[OwnRedis]:
    server = OwnRedis(tmp_path / "redis")
    server.start()
    yield server
    server.stop()


def test_worker_writes_the_swin_tier_and_a_search_afterwards_makes_no_swin_call(
    tmp_path: Path, redis: OwnRedis, postgres_url: str
) -> None:
    photos = make_photos(tmp_path / "photos", 6)
    model = write_tiny_model(tmp_path / "tiny.safetensors")
    library = Library(
        tmp_path, photos, model, redis=redis, database_url=postgres_url, keep_pyramid="true"
    )
    try:
        library.fleet.start("worker", "--queues", "encode", name="worker")
        library.start_beat()
        done = library.wait_for(library.job(), timeout_s=240)
        assert done.state == "done", library.fleet.log_of("worker")
        with library.catalog.reading() as session:
            rows = dict(
                session.execute(
                    select(Segment.tier, func.count())
                    .join(FeatureRow, FeatureRow.segment_id == Segment.id)
                    .group_by(Segment.tier)
                ).all()
            )  # type: ignore[arg-type]
        assert rows == {"pyramid": 6, "tokens": 6, "masks": 6, "vectors": 6}
        assert searched_without_swin(library) == 6
    finally:
        library.close()


def searched_without_swin(library: Library) -> int:
    """Search exhaustively here; returns the photos verified, and fails if Swin ran once."""
    from model.build import load_predictor
    from search_api.search.engine import Engine
    from search_api.search.events import Done
    from search_api.search.pipeline import search
    from search_api.search.query import Query

    predictor = load_predictor(library.settings.model)
    calls: list[object] = []
    predictor.network.backbone.register_forward_hook(lambda *_: calls.append(1))
    engine = Engine.open(library.settings, predictor)
    try:
        events = list(search(engine, Query(expression="the red one", mode="exhaustive")))
    finally:
        engine.close()
    (done,) = [event for event in events if isinstance(event, Done)]
    assert calls == []
    return int(done.coverage.verified)


@pytest.mark.long
def test_worker_that_is_killed_in_mid_batch_costs_nothing(
    tmp_path: Path, redis: OwnRedis, postgres_url: str
) -> None:
    photos = make_photos(tmp_path / "photos", 80, broken=2)
    expected = undisturbed(tmp_path / "undisturbed", photos)
    library = Library(tmp_path, photos, redis=redis, database_url=postgres_url)
    library.pace(0.2)
    try:
        library.start_beat()
        worker = library.start_worker("worker")
        job = library.job()
        for number in range(2):
            wait_until(lambda: claimed(library) > 0, timeout_s=240, what="work in flight")
            if number == 0:  # the child that computes; its parent replaces it
                for child in psutil.Process(worker.pid).children():
                    child.send_signal(signal.SIGKILL)
            redis.client().flushall()
        done = library.wait_for(job, timeout_s=240)
        assert (done.state, done.done, done.failed) == ("done", 78, 2)
        wait_until(lambda: held(library) == 0, what="the end of the turn")
        assert library.faults() == []
        assert library.index().differences(expected) == []
        # SIGTERM ends it in peace.
        worker.terminate()
        assert worker.wait(120) == 0
    finally:
        library.close()


def test_pause_reaches_a_real_worker(tmp_path: Path, redis: OwnRedis, postgres_url: str) -> None:
    photos = make_photos(tmp_path / "photos", 120)
    library = Library(tmp_path, photos, redis=redis, database_url=postgres_url)
    library.pace(0.5)
    try:
        library.start_beat()
        library.start_worker("worker")
        job = library.job()
        wait_until(lambda: claimed(library) > 0, timeout_s=240, what="work in flight")
        jobs.pause(library.catalog, job)
        wait_until(lambda: held(library) == 0, timeout_s=60, what="the pause")
        assert jobs.get(library.catalog, job).state == "paused"
        assert claimed(library) == 0
        jobs.cancel(library.catalog, job)
        assert jobs.get(library.catalog, job).state == "cancelled"
    finally:
        library.close()


def claimed(library: Library) -> int:
    with library.catalog.reading() as session:
        query = select(func.count()).select_from(EncodeClaim).where(EncodeClaim.error.is_(None))
        return session.scalar(query) or 0


def held(library: Library) -> int:
    with library.catalog.reading() as session:
        query = select(func.count()).select_from(JobSlot).where(JobSlot.lease_owner.is_not(None))
        return session.scalar(query) or 0
