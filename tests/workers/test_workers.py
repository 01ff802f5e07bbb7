"""The two runners: jobs in this process, and real Celery workers on a real Redis."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select, update

from indexer.db.catalog import Catalog
from indexer.db.clock import clock
from indexer.db.owner import new_owner
from indexer.db.tables import FeatureRow, JobSlot, Photo, Segment
from indexer.encoding import claims, ingest
from indexer.encoding.commits import Tally
from indexer.errors import CatalogUnreachable, JobParametersInvalid
from indexer.features import versions
from indexer.folders import scan
from indexer.jobs import jobs, slots
from indexer.jobs.failures import failures_of
from indexer.settings import Settings
from model.errors import ReferentError, UnknownModel
from tests.support import albums
from tests.support.fake_predictor import FakePredictor
from tests.support.servers import OwnRedis, wait_until
from workers import indexing, kinds
from workers.held import Held
from workers.inprocess import InProcessRunner, run_job
from workers.turn import Outcome, Turn
from workers.work import run_turn


@pytest.fixture
def quick(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Settings]:
    """Settings for small albums on a busy machine, whichever catalog is in use."""
    monkeypatch.setenv("REFERENT_DECODE_WORKERS", "1")
    monkeypatch.setenv("REFERENT_DECODE_TIMEOUT_S", "60")
    monkeypatch.setenv("REFERENT_TURN_S", "5")
    return Settings


@pytest.fixture
def models(quick: Callable[[], Settings]) -> Iterator[Held]:
    held = Held(quick(), load=lambda name: FakePredictor(name=name))  # type: ignore[arg-type,return-value]
    yield held
    held.close()


def do(kind: str, function: Callable[[Turn], Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a kind of job be done by a function of the test's own."""
    module = sys.modules[__name__]
    monkeypatch.setattr(module, "_stand_in", function, raising=False)
    monkeypatch.setattr(kinds, "FUNCTIONS", {**kinds.FUNCTIONS, kind: f"{__name__}:_stand_in"})


def test_album_is_indexed_by_a_job_and_the_report_names_what_failed(
    catalog: Catalog, quick: Callable[[], Settings], models: Held, tmp_path: Path
) -> None:
    folder = albums.folder_of(tmp_path / "photos", 20)
    (folder / "broken.jpg").write_bytes(b"no image")
    (folder / "film.mov").write_bytes(b"no photo")
    album = albums.album(catalog, "family", folder)
    job = jobs.create(catalog, "index", album_id=album).id
    seen: list[jobs.JobView] = []
    done = run_job(quick(), catalog, job, models, on_progress=seen.append)
    assert done.state == "done"
    assert (done.done, done.total, done.failed) == (20, 21, 1)
    assert done.result is not None
    assert done.result["indexed"] == 20
    assert done.message == "1 files of kinds that are not read: 1 mov"
    assert seen[-1] == done
    failed = failures_of(catalog, job)
    assert [Path(one.path or "").name for one in failed] == ["broken.jpg"]
    assert "image" in failed[0].reason


def test_job_counts_every_failed_photo_also_equal_ones_and_those_no_scan_could_read(
    catalog: Catalog,
    quick: Callable[[], Settings],
    models: Held,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REFERENT_MAX_FILE_MIB", "1")
    folder = albums.folder_of(tmp_path / "photos", 3)
    shutil.copy(folder / "0000.jpg", folder / "copy.jpg")
    for name in ("broken.jpg", "equal.jpg"):
        (folder / name).write_bytes(b"no image")
    with (folder / "huge.jpg").open("wb") as file:
        file.truncate(2**21)
    job = jobs.create(catalog, "index", album_id=albums.album(catalog, "family", folder)).id
    done = run_job(quick(), catalog, job, models)
    assert done.result is not None
    assert (done.done, done.total, done.failed) == (4, 7, 3)
    assert (done.result["indexed"], done.result["failed"]) == (4, 3)
    assert len(failures_of(catalog, job)) == 3


class Growing(list[tuple[int, str, str]]):
    """A worker's failures, to which another thread adds one while they are read."""

    late: tuple[int, str, str] | None = None

    def __iter__(self) -> Iterator[tuple[int, str, str]]:
        yield from self[:]
        if self.late is not None:
            self.append(self.late)
            self.late = None


def test_failures_that_come_while_others_are_noted_are_in_the_report_too(
    catalog: Catalog,
    quick: Callable[[], Settings],
    models: Held,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    album = albums.album(catalog, "family", albums.folder_of(tmp_path / "photos", 2))
    scan.scan_album(catalog, "family")
    with catalog.reading() as session:
        first, second = session.scalars(select(Photo.id).order_by(Photo.id))

    def noting(turn: Turn) -> Outcome:
        tally = Tally(failures=Growing([(first, "first", "is broken")]))
        tally.failures.late = (second, "second", "is broken, too")  # type: ignore[attr-defined]
        indexing._note_failures(turn, tally)
        assert [photo for photo, _, _ in tally.failures] == [second]
        indexing._note_failures(turn, tally)
        indexing._note_failures(turn, tally)
        assert tally.failures == []
        return Outcome("done")

    do("index", noting, monkeypatch)
    job = jobs.create(catalog, "index", album_id=album).id
    assert run_job(quick(), catalog, job, models).state == "done"
    noted = [(one.photo_id, one.reason, one.attempts) for one in failures_of(catalog, job)]
    assert noted == [(first, "is broken", 1), (second, "is broken, too", 1)]


def test_runner_takes_a_job_when_it_is_woken_and_new_photos_when_it_runs_again(
    catalog: Catalog, quick: Callable[[], Settings], models: Held, tmp_path: Path
) -> None:
    folder = albums.folder_of(tmp_path / "photos", 4)
    album = albums.album(catalog, "family", folder)
    with InProcessRunner(quick(), catalog, models, poll_s=60) as runner:
        time.sleep(0.1)
        first = jobs.create(catalog, "index", album_id=album).id
        runner.wake()
        wait_until(lambda: jobs.get(catalog, first).finished, what="the first job")
        albums.folder_of(folder, 3, first=4)
        second = jobs.create(catalog, "index", album_id=album).id
        runner.wake()
        wait_until(lambda: jobs.get(catalog, second).finished, what="the second job")
    before, after = jobs.get(catalog, first).result or {}, jobs.get(catalog, second).result or {}
    assert (before["scan"]["new"], after["scan"]["new"], after["scan"]["unchanged"]) == (4, 3, 4)
    assert after == {**before, "indexed": 7, "scan": after["scan"]}


@pytest.mark.parametrize("runners", [1, 2])
def test_photos_that_come_while_an_index_is_past_its_scan_are_indexed_by_it(
    catalog: Catalog,
    quick: Callable[[], Settings],
    models: Held,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    runners: int,
) -> None:
    folder = albums.folder_of(tmp_path / "photos", 6)
    album = albums.album(catalog, "family", folder)
    more = tmp_path / "more"
    came = iter(range(3))
    original = ingest.finish

    def finish(*arguments: Any, **options: Any) -> Any:
        """At the very end of the index photos, and a folder, are added, and it is asked for."""
        version = original(*arguments, **options)
        number = next(came, None)
        if number is not None:
            if number == 0:
                albums.album(catalog, "family", albums.folder_of(more, 2, first=90))
            albums.folder_of(folder, 4, first=10 * (number + 1))
            assert jobs.create(catalog, "index", album_id=album).id == job
        return version

    monkeypatch.setattr(ingest, "finish", finish)
    job = jobs.create(catalog, "index", album_id=album).id
    started = [InProcessRunner(quick(), catalog, models, poll_s=0.1) for _ in range(runners)]
    for runner in started:
        runner.start()
    wait_until(lambda: jobs.get(catalog, job).finished, what="the job")
    for runner in started:
        runner.stop()
    done = jobs.get(catalog, job)
    assert (done.state, done.result and done.result["indexed"]) == ("done", 6 + 2 + 3 * 4)


def test_photos_that_come_while_another_model_is_swapped_in_are_indexed_with_it(
    catalog: Catalog,
    quick: Callable[[], Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = albums.folder_of(tmp_path / "photos", 3)
    album = albums.album(catalog, "family", folder)
    held = Held(quick(), load=lambda name: FakePredictor(name, name=name))  # type: ignore[arg-type,return-value]
    run_job(quick(), catalog, jobs.create(catalog, "index", album_id=album).id, held)
    run_job(
        quick(),
        catalog,
        jobs.create(catalog, "reindex", album_id=album, parameters={"model": "new"}).id,
        held,
    )
    versions.rollback(catalog, album)
    albums.folder_of(folder, 3, first=3)
    original = ingest.finish
    swaps = iter([lambda: versions.rollback(catalog, album)])

    def finish(*arguments: Any, **options: Any) -> Any:
        next(swaps, lambda: None)()
        return original(*arguments, **options)

    monkeypatch.setattr(ingest, "finish", finish)
    done = run_job(quick(), catalog, jobs.create(catalog, "index", album_id=album).id, held)
    held.close()
    assert done.result is not None
    assert (done.result["model"], done.result["indexed"], done.result["new"]) == ("new", 6, 0)


def test_two_runners_share_one_job_and_encode_each_photo_once(
    catalog: Catalog, quick: Callable[[], Settings], tmp_path: Path
) -> None:
    album = albums.album(catalog, "family", albums.folder_of(tmp_path / "photos", 60))
    job = jobs.create(catalog, "index", album_id=album, width=2).id
    predictors = [FakePredictor(), FakePredictor()]
    held = [Held(quick(), load=lambda name, each=each: each) for each in predictors]  # type: ignore[misc,arg-type,return-value]
    runners = [InProcessRunner(quick(), catalog, each, poll_s=0.1) for each in held]
    for runner in runners:
        runner.start()
    wait_until(lambda: jobs.get(catalog, job).finished, what="the job")
    for runner, each in zip(runners, held, strict=True):
        runner.stop()
        each.close()
    assert jobs.get(catalog, job).state == "done"
    with catalog.reading() as session:
        rows = session.scalar(select(func.count()).select_from(FeatureRow))
        kept = session.scalar(select(func.sum(Segment.rows)).where(Segment.state == "live"))
    assert rows == kept == 60 * 3  # nothing was encoded twice and thrown away


def test_pause_is_heard_in_mid_job_and_resume_finishes_it(
    catalog: Catalog,
    quick: Callable[[], Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns: list[str] = []

    def slow(turn: Turn) -> Outcome:
        turns.append("started")
        deadline = time.monotonic() + 30
        while not turn.should_stop() and time.monotonic() < deadline:
            if len(turns) > 1:
                return Outcome("done", {"turns": len(turns)})
            time.sleep(0.02)
        return Outcome("wait")

    do("compact", slow, monkeypatch)
    job = jobs.create(catalog, "compact").id
    with InProcessRunner(quick(), catalog, poll_s=0.2) as runner:
        runner.wake()
        wait_until(lambda: len(turns) == 1, what="the first turn")
        jobs.pause(catalog, job)
        wait_until(lambda: jobs.get(catalog, job).workers == 0, what="the pause")
        assert jobs.get(catalog, job).state == "paused"
        jobs.resume(catalog, job)
        runner.wake()
        wait_until(lambda: jobs.get(catalog, job).finished, what="the end")
    assert jobs.get(catalog, job).result == {"turns": 2}


def test_cancel_is_heard_in_mid_job(
    catalog: Catalog, quick: Callable[[], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(turn: Turn) -> Outcome:
        while not turn.should_stop():
            time.sleep(0.02)
        return Outcome("wait")

    do("compact", endless, monkeypatch)
    job = jobs.create(catalog, "compact").id
    with InProcessRunner(quick(), catalog, poll_s=0.2):
        wait_until(lambda: jobs.get(catalog, job).workers == 1, what="the start")
        jobs.cancel(catalog, job)
        wait_until(lambda: jobs.get(catalog, job).state == "cancelled", what="the end")


def turn_at(catalog: Catalog, settings: Settings, job: int) -> str:
    place = slots.take_here(catalog, job, owner=new_owner(), lease_s=settings.job_lease_s)
    assert place is not None
    return run_turn(settings, catalog, Held(settings), place, stopping=lambda: False)


def test_error_that_a_user_can_mend_fails_the_job_with_its_sentence(
    catalog: Catalog, quick: Callable[[], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(turn: Turn) -> Outcome:
        raise UnknownModel("no model is called x: see `referent models`")

    do("compact", broken, monkeypatch)
    job = jobs.create(catalog, "compact").id
    turn_at(catalog, quick(), job)
    view = jobs.get(catalog, job)
    assert (view.state, view.workers) == ("failed", 0)
    assert view.message == "no model is called x: see `referent models`"
    assert jobs.retry(catalog, job).message is None


def test_fault_that_nobody_foresaw_is_tried_three_times(
    catalog: Catalog, quick: Callable[[], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(turn: Turn) -> Outcome:
        raise ZeroDivisionError("by zero")

    do("compact", broken, monkeypatch)
    job = jobs.create(catalog, "compact").id
    states = []
    for _ in range(3):
        turn_at(catalog, quick(), job)
        states.append(jobs.get(catalog, job).state)
    assert states == ["running", "running", "failed"]
    assert "(ZeroDivisionError)" in (jobs.get(catalog, job).message or "")


def test_catalog_that_does_not_answer_leaves_the_job_for_later(
    catalog: Catalog, quick: Callable[[], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(turn: Turn) -> Outcome:
        raise CatalogUnreachable("gone for a while")

    do("compact", broken, monkeypatch)
    job = jobs.create(catalog, "compact").id
    for _ in range(5):
        assert turn_at(catalog, quick(), job) == "wait"
    assert jobs.get(catalog, job).state == "running"


def test_worker_gives_back_what_it_holds_as_soon_as_the_catalog_answers_again(
    catalog: Catalog, quick: Callable[[], Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody else could take it over before its leases end: the worker lives."""
    album = albums.album(catalog, "family", albums.folder_of(tmp_path / "photos", 3))
    scan.scan_album(catalog, "family")
    release, asked = claims.release, []

    def away(*arguments: Any) -> None:
        asked.append(arguments)
        if len(asked) < 3:
            raise CatalogUnreachable("gone for a moment")
        release(*arguments)

    def broken(turn: Turn) -> Outcome:
        work, _ = claims.claim(catalog, album, {"tokens": "t"}, turn.place.owner, limit=3)
        assert len(work) == 3
        raise CatalogUnreachable("gone for a moment")

    do("compact", broken, monkeypatch)
    monkeypatch.setattr(claims, "release", away)
    job = jobs.create(catalog, "compact").id
    assert turn_at(catalog, quick(), job) == "wait"
    assert (len(asked), jobs.get(catalog, job).workers) == (3, 0)
    work, _ = claims.claim(catalog, album, {"tokens": "t"}, "another", limit=3)
    assert [one.attempts for one in work] == [1, 1, 1]


def test_worker_that_lost_its_place_does_not_end_the_job(
    catalog: Catalog, quick: Callable[[], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(turn: Turn) -> Outcome:
        with catalog.session() as session:
            session.execute(update(JobSlot).values(lease_until=clock() - 1))
        assert slots.take_here(catalog, turn.job.id, owner="other", lease_s=60) is not None
        return Outcome("done", {"by": "the late one"})

    do("compact", late, monkeypatch)
    job = jobs.create(catalog, "compact").id
    turn_at(catalog, quick(), job)
    view = jobs.get(catalog, job)
    assert (view.state, view.result, view.workers) == ("running", None, 1)


def test_upkeep_jobs_merge_segments_and_find_damage(
    catalog: Catalog, quick: Callable[[], Settings], models: Held, tmp_path: Path
) -> None:
    settings = quick()
    folder = albums.folder_of(tmp_path / "photos", 6)
    album = albums.album(catalog, "family", folder)
    run_job(settings, catalog, jobs.create(catalog, "index", album_id=album).id, models)
    albums.folder_of(folder, 6, first=6)
    run_job(settings, catalog, jobs.create(catalog, "index", album_id=album).id, models)
    merged = run_job(settings, catalog, jobs.create(catalog, "compact").id, models)
    assert merged.result is not None
    assert merged.result["merged"]["merged"] >= 6
    with catalog.reading() as session:
        path = session.scalars(
            select(Segment.path).where(Segment.state == "live", Segment.tier == "tokens")
        ).one()
    (settings.features_dir / path).unlink()
    found = run_job(settings, catalog, jobs.create(catalog, "verify").id, models)
    assert found.result is not None
    assert len(found.result["damaged"]) == 1
    mended = run_job(settings, catalog, found.result["index_jobs"][0], models)
    assert mended.result is not None
    assert (mended.result["indexed"], mended.result["new"]) == (12, 0)


def test_kind_that_nobody_does_is_refused() -> None:
    with pytest.raises(JobParametersInvalid, match="dance"):
        kinds.function_of("dance")


@pytest.mark.parametrize("kind", sorted(kinds.FUNCTIONS))
def test_kind_of_job_has_a_function_and_a_queue(kind: str) -> None:
    assert kind in jobs.KINDS
    assert callable(kinds.function_of(kind))
    assert jobs.QUEUE_OF_KIND[kind] in jobs.QUEUES


def test_worker_parent_imports_neither_torch_nor_faiss() -> None:
    code = (
        "import sys; from indexer.settings import Settings; import workers.tasks as t;"
        "from workers.celery_app import make_app; t.register(make_app(Settings()));"
        "print([m for m in ('torch', 'faiss', 'transformers', 'timm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_job_that_needs_no_network_does_not_wait_for_torch() -> None:
    code = (
        "import sys; import workers.indexing, workers.reindex, workers.upkeep;"
        "print([m for m in ('torch', 'transformers', 'timm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_messages_are_json_and_far_apart_from_any_task(settings: Settings) -> None:
    from workers.celery_app import make_app

    conf = make_app(settings).conf
    assert list(conf.accept_content) == ["json"]
    assert conf.task_serializer == conf.result_serializer == "json"
    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert conf.broker_transport_options["visibility_timeout"] > conf.task_time_limit
    assert conf.task_time_limit > settings.turn_s
    assert conf.worker_concurrency == 1


def test_process_that_grew_or_worked_long_is_replaced(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workers.celery_app import make_app

    monkeypatch.setenv("REFERENT_WORKER_MAX_TASKS", "7")
    monkeypatch.setenv("REFERENT_WORKER_MAX_MEMORY_MIB", "300")
    conf = make_app(Settings()).conf
    assert conf.worker_max_tasks_per_child == 7
    assert conf.worker_max_memory_per_child == 300 * 1024


def test_process_holds_one_model(settings: Settings) -> None:
    loaded: list[weakref.ref[FakePredictor]] = []

    def load(name: str) -> FakePredictor:
        assert not [one for one in loaded if one() is not None]  # the last one is gone by now
        made = FakePredictor(name=name)
        loaded.append(weakref.ref(made))
        return made

    models = Held(settings, load=load)  # type: ignore[arg-type]
    for name in ("a", "a", "b"):
        assert models.network(name).name == name
    assert len(loaded) == 2


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    server = OwnRedis(tmp_path / "redis")
    server.start()
    yield server
    server.stop()


@pytest.mark.redis
def test_sweeper_sends_once_for_what_is_free_and_not_while_nobody_reads(
    catalog: Catalog, settings: Settings, own_redis: OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workers.broker import queue_lengths
    from workers.sweeper import Sweeper

    monkeypatch.setenv("REFERENT_REDIS_URL", own_redis.url)
    now = Settings()
    album = albums.album(catalog, "family")
    jobs.create(catalog, "index", album_id=album, width=3)
    jobs.create(catalog, "compact")
    sweeper = Sweeper(now, catalog)
    assert sweeper.sweep() == 4
    assert queue_lengths(now) == {"encode": 3, "matte": 1, "judge": 0}
    assert sweeper.sweep() == 0  # woken a moment ago
    for _ in range(5):
        sweeper.sweep(after_s=0)
    assert queue_lengths(now) == {"encode": 3, "matte": 1, "judge": 0}
    own_redis.client().flushall()
    assert sweeper.sweep(after_s=0) == 4
    message = json.loads(own_redis.client().lindex("matte", 0))  # type: ignore[arg-type]
    assert message["content-type"] == "application/json"


@pytest.mark.redis
def test_broker_that_is_away_is_named_without_its_password(settings: Settings) -> None:
    from workers.broker import ping

    away = settings.model_copy(update={"redis_url": SecretStr("redis://:secret@127.0.0.1:1/0")})
    with pytest.raises(ReferentError, match=r"127\.0\.0\.1:1") as caught:
        ping(away)
    assert "secret" not in str(caught.value)
