"""A search that several processes judge gives the answer of one, whoever dies, stops or is away."""

from __future__ import annotations

import gc
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from pydantic import SecretStr

from indexer.folders.albums import delete_album
from indexer.settings import Settings
from search_api.search import planning, runs
from search_api.search.engine import Engine
from search_api.search.events import Done, Started
from search_api.search.judging import Judged, packed, unpacked
from search_api.search.pipeline import collect, search
from search_api.search.query import Query
from search_api.search.tally import Tally
from tests.support.library import EXPRESSION, Library, make_library, paint
from tests.support.page import let_match
from tests.support.servers import Fleet, OwnRedis, wait_until
from workers import judging, tasks
from workers.broker import connect
from workers.held import Held
from workers.judging import Board, Workers, help_with

pytestmark = [pytest.mark.redis]
PHOTOS = 40


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    made = make_library(tmp_path_factory.mktemp("judging"), PHOTOS)
    with made.engine:
        let_match(made, "small", 0.4)
        yield made


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[OwnRedis]:
    server = OwnRedis(tmp_path / "redis")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def settings(library: Library, redis: OwnRedis, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Small batches, so that there are ranges to share; leases that end soon."""
    monkeypatch.setattr(planning, "BATCH", 2)
    monkeypatch.setattr(planning, "SHARED_FROM", 0)
    monkeypatch.setattr(judging, "RANGE_BATCHES", 1)
    monkeypatch.setattr(judging, "LEASE_MS", 400)
    url = SecretStr(redis.url)
    return library.settings.model_copy(update={"redis_url": url, "judge_workers": 2})


QUERY = Query(expression=EXPRESSION, mode="exhaustive", rejected=5)


def same(done: Done, other: Done) -> bool:
    """Equal to the last bit: photos, confidences, what masks are made of, and what is counted."""

    def told(of: Done) -> list[Any]:
        return [
            (d.photo_id, d.confidence, d.accepted, d.no_target_logit, d.minimap.tobytes(),
             d.coefficients.tobytes())
            for d in (*of.matched, *of.rejected)
        ]  # fmt: skip

    counts = done.run.at_threshold == other.run.at_threshold
    return told(done) == told(other) and done.coverage == other.coverage and counts


def slow(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """The searching process takes so long for a batch."""
    judge = Tally.judge

    def waiting(self: Tally, shares: Any) -> Judged:
        time.sleep(seconds)
        return judge(self, shares)

    monkeypatch.setattr(Tally, "judge", waiting)


class Helping:
    """Helps with whatever search is begun, in a thread of its own."""

    def __init__(self, library: Library, settings: Settings) -> None:
        self.ranges = 0
        self._library, self._settings = library, settings
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with connect(self._settings) as client, Engine.open(self._library.settings) as engine:
            while not self._stopped.wait(0.02):
                for key in client.keys("referent:judge:*:asked"):
                    run = key.decode().split(":")[2]
                    self.ranges += help_with(run, self._settings, lambda: engine)

    def __enter__(self) -> Helping:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(30)


def test_what_another_process_judged_is_the_same_to_the_last_bit(
    library: Library, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = collect(library.engine, QUERY)
    assert alone.matched and alone.rejected
    slow(monkeypatch, 0.1)
    with Helping(library, settings) as helping:
        together = collect(library.engine, QUERY, helpers=Workers(settings))
    assert helping.ranges > 0
    assert same(together, alone)
    with connect(settings) as client:
        assert not client.keys("referent:judge:*:[afr]*")  # nothing of it is left there


def test_questions_of_several_parts_are_shared_too(
    library: Library, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = QUERY.model_copy(update={"expression": f'"{EXPRESSION}" OR NOT dog'})
    alone = collect(library.engine, query)
    slow(monkeypatch, 0.1)
    with Helping(library, settings) as helping:
        together = collect(library.engine, query, helpers=Workers(settings))
    assert helping.ranges > 0
    assert same(together, alone)


def test_the_range_of_a_helper_that_died_is_given_to_another(
    library: Library, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = collect(library.engine, QUERY)
    slow(monkeypatch, 0.05)
    taken: list[int | None] = []
    events = search(library.engine, QUERY, helpers=Workers(settings))
    with connect(settings) as client:
        for event in events:
            if isinstance(event, Started):
                board = Board(client, event.run_id)
            elif board.asked is not None and len(taken) < 2:
                taken.append(board.claim(400))  # and never heard of again
            last = event
    assert all(number is not None for number in taken)
    assert isinstance(last, Done)
    assert same(last, alone)


def test_an_answer_that_comes_twice_counts_once(
    library: Library, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = collect(library.engine, QUERY)
    slow(monkeypatch, 0.05)
    answer = Board.answer

    def twice(self: Board, number: int, blob: bytes) -> None:
        answer(self, number, blob)
        answer(self, number, blob)

    monkeypatch.setattr(Board, "answer", twice)
    with Helping(library, settings) as helping:
        together = collect(library.engine, QUERY, helpers=Workers(settings))
    assert helping.ranges > 0
    assert same(together, alone)


def test_without_a_broker_and_without_workers_the_answer_is_there_all_the_same(
    library: Library, settings: Settings, redis: OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = collect(library.engine, QUERY)
    assert same(collect(library.engine, QUERY, helpers=Workers(settings)), alone)
    slow(monkeypatch, 0.02)
    found: list[object] = []
    for event in search(library.engine, QUERY, helpers=Workers(settings)):
        found.append(event)
        if len(found) == 5:
            redis.stop()  # in the middle
    assert isinstance(found[-1], Done)
    assert same(found[-1], alone)
    assert same(collect(library.engine, QUERY, helpers=Workers(settings)), alone)


def test_a_search_that_is_stopped_stops_its_helpers_and_leaves_nothing(
    library: Library, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch, 0.05)
    events = search(library.engine, QUERY, helpers=Workers(settings))
    with connect(settings) as client:
        while not client.keys("referent:judge:*:asked"):
            event = next(events)
        (key,) = client.keys("referent:judge:*:asked")
        board = Board(client, key.decode().split(":")[2])
        number = board.claim(400)
        assert number is not None
        assert board.hold(number)
        events.close()
        assert not board.hold(number)  # what a helper asks before each batch
        assert board.asked is None
        board.answer(number, b"too late")
        assert not client.keys("referent:judge:*:answers")
    run = runs.load(library.engine.catalog, event.run_id)  # type: ignore[union-attr]
    assert run.state == "stopped"


def test_a_helper_whose_album_is_another_does_not_help(
    library: Library, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "state_of", lambda view: ("another",))
    slow(monkeypatch, 0.02)
    alone = collect(library.engine, QUERY)
    with Helping(library, settings) as helping:
        together = collect(library.engine, QUERY, helpers=Workers(settings))
    assert helping.ranges == 0
    assert same(together, alone)


def test_what_is_packed_comes_back_as_it_was(library: Library) -> None:
    done = collect(library.engine, QUERY)
    spread = np.arange(19, dtype=np.int64)
    judged = Judged([*done.matched, *done.rejected], 40, 2, spread)
    again = unpacked(packed(judged))
    assert (again.verified, again.damaged, again.spread.tolist()) == (40, 2, spread.tolist())
    assert packed(again) == packed(judged)


def test_real_workers_help_and_one_that_is_killed_loses_nothing(
    library: Library, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = collect(library.engine, QUERY)
    environment = {
        "REFERENT_HOME": str(library.settings.home),
        "REFERENT_MODEL": library.settings.model,
        "REFERENT_REDIS_URL": settings.redis_url.get_secret_value(),
    }
    slow(monkeypatch, 0.3)
    helped = 0
    answers = Board.answers

    def counted(self: Board) -> list[tuple[int, bytes]]:
        nonlocal helped
        found = answers(self)
        helped += len(found)
        return found

    monkeypatch.setattr(Board, "answers", counted)
    monkeypatch.setattr(judging, "LEASE_MS", 3000)
    with Fleet(tmp_path / "logs", environment) as fleet:
        worker = fleet.start("worker", "--queues", "judge", name="judge")

        def has_helped() -> bool:
            assert same(collect(library.engine, QUERY, helpers=Workers(settings)), alone)
            return helped > 0

        wait_until(has_helped, timeout_s=120, what="help: " + fleet.log_of("judge"))
        events = search(library.engine, QUERY, helpers=Workers(settings))
        before = helped
        for event in events:
            if helped > before and worker.poll() is None:
                for child in psutil.Process(worker.pid).children():
                    child.send_signal(signal.SIGKILL)  # the one that judges
                worker.kill()
            last = event
        assert worker.wait(20) == -signal.SIGKILL
    assert isinstance(last, Done)
    assert same(last, alone)
    assert len({d.photo_id for d in last.matched}) == len(last.matched)


def test_a_worker_lets_albums_go_that_have_changed(
    library: Library, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(library.photos.parent / "gone" / "one.jpg", 77)
    library.add_album(library.photos.parent / "gone", "gone")
    models = Held(library.settings)
    engine = models.engine(library.engine.catalog)
    pinned = weakref.ref(engine.views("gone")[0])
    assert models.let_outdated_go() == 0
    with library.engine.catalog.session() as session:
        delete_album(session, "gone")
    monkeypatch.setattr(tasks, "TIDY_S", 0.01)
    threading.Thread(target=tasks._tidy, args=(models,), daemon=True).start()
    wait_until(lambda: gc.collect() >= 0 and pinned() is None, timeout_s=20, what="the view")
    models.close()
