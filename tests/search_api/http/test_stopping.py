"""A server that is told to end, and what a probe hears while the database is away."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import uvicorn
from starlette.testclient import TestClient

from indexer.db.catalog import Catalog
from indexer.jobs import jobs
from model.predictor import Predictor
from search_api.http import readiness
from search_api.http.app import create_app
from search_api.http.schemas import SearchRequest
from search_api.http.streams import EventStream
from search_api.search import planning, runs
from search_api.search.query import NOBODY
from tests.support.library import EXPRESSION, Library, make_library
from tests.support.servers import free_port
from tests.support.terminal import Terminal

ASKED = {"expression": EXPRESSION, "mode": "exhaustive"}


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """A library that is served."""
    made = make_library(tmp_path, 6)
    yield made
    made.engine.close()


@pytest.fixture
def client(library: Library) -> Iterator[TestClient]:
    """A client of its server."""
    app = create_app(library.settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    with TestClient(app, base_url="http://127.0.0.1") as made:
        yield made


class AfterOneBatch:
    """The sign that a server shall end, given while the first batch of a search is judged."""

    def __init__(self) -> None:
        self.asked = 0

    def is_set(self) -> bool:
        self.asked += 1
        return self.asked > 2  # before the search, before its first batch


def test_search_that_a_stop_cuts_off_is_a_503_and_its_run_is_kept_as_stopped(
    client: TestClient, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "BATCH", 2)
    server: Any = client.app.state.server  # type: ignore[attr-defined]
    server.stopping = AfterOneBatch()
    answer = client.post("/v1/search", json=ASKED)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert answer.json()["type"].endswith("stopping")
    (run,), _ = runs.history(library.engine.catalog)
    assert run.state == "stopped"
    assert run.coverage.verified == 2
    assert any("stopped with its server" in note.text for note in run.notes)


def test_client_that_leaves_while_photos_are_judged_ends_its_search(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "BATCH", 1)
    judging, judge = threading.Event(), Predictor.judge

    def slowly(*values: Any, **named: Any) -> Any:
        judging.set()
        time.sleep(0.5)  # the client is gone by then
        return judge(*values, **named)

    monkeypatch.setattr(Predictor, "judge", slowly)
    app = create_app(library.settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    stream = EventStream(app.state.server, SearchRequest(**ASKED), NOBODY)
    scope = {"type": "http", "asgi": {"spec_version": "2.3"}, "headers": [], "method": "POST"}

    async def send(message: Any) -> None:
        await anyio.lowlevel.checkpoint()

    async def receive() -> dict[str, str]:
        await anyio.to_thread.run_sync(judging.wait)
        return {"type": "http.disconnect"}

    anyio.run(stream, scope, receive, send)
    (run,), _ = runs.history(library.engine.catalog)
    assert run.state == "stopped"
    assert run.coverage.verified < 6


def test_stream_that_a_stop_cuts_off_ends_with_what_was_verified(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "BATCH", 2)
    client.app.state.server.stopping = AfterOneBatch()  # type: ignore[attr-defined]
    events = client.post("/v1/search", json=ASKED, headers={"accept": "text/event-stream"}).text
    assert "event: done" in events
    assert '"state":"stopped"' in events


def test_nothing_begins_once_the_server_is_told_to_end(
    client: TestClient, library: Library
) -> None:
    waiting = jobs.create(library.engine.catalog, "verify", album_id=1)
    client.app.state.server.stopping.set()  # type: ignore[attr-defined]
    for accept in ("application/json", "text/event-stream"):
        answer = client.post("/v1/search", json=ASKED, headers={"accept": accept})
        assert answer.status_code == 503
    assert runs.history(library.engine.catalog)[0] == []
    assert client.get("/readyz").json() == {"status": "stopping"}
    assert client.get("/healthz").status_code == 200
    assert client.get(f"/v1/jobs/{waiting.id}/events").text.startswith("event: job")  # and ends


def test_serve_tells_the_application_when_it_is_asked_to_end(
    library: Library, referent: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bool] = []

    def run(listener: uvicorn.Server) -> None:
        listener.started = True
        state = listener.config.app.state.server  # type: ignore[union-attr]
        heard.append(state.stopping.is_set())
        listener.handle_exit(signal.SIGTERM, None)
        heard.append(state.stopping.is_set())

    monkeypatch.setattr(uvicorn.Server, "run", run)
    assert referent("serve")[0] == 0
    assert heard == [False, True]


def test_server_is_not_ready_while_the_database_is_away(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "GOOD_FOR_S", -1.0)
    assert client.get("/readyz").json() == {"status": "ok"}
    server = client.app.state.server  # type: ignore[attr-defined]
    there = server.readiness
    nowhere = f"postgresql://me@127.0.0.1:{free_port()}/referent"
    for away in (nowhere, f"sqlite:///{tmp_path}/no/folder/catalog.sqlite"):
        server.readiness = readiness.Readiness(Catalog(away))
        gone = client.get("/readyz")
        assert (gone.status_code, gone.json()) == (503, {"status": "no database"})
        assert gone.headers["retry-after"]
        assert client.get("/healthz").status_code == 200
    server.readiness = there
    assert client.get("/readyz").json() == {"status": "ok"}


def test_health_is_answered_while_every_thread_waits(client: TestClient) -> None:
    """Routes share a pool of threads; these two need none of it."""

    async def no_threads() -> float:
        from anyio import to_thread

        limiter = to_thread.current_default_thread_limiter()
        limiter.total_tokens = 1
        await limiter.acquire_on_behalf_of(no_threads)
        return limiter.available_tokens

    assert client.portal is not None
    assert client.portal.call(no_threads) == 0
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok"}
