"""What a server holds for searches is let go when nobody searches, and comes back by itself."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from search_api.http.app import create_app
from search_api.search import pipeline
from search_api.search.engine import Engine
from search_api.search.events import Done
from search_api.search.query import Query
from tests.support.library import EXPRESSION, Library, make_library
from workers.held import Held


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    made = make_library(tmp_path_factory.mktemp("idle"), 8)
    yield made
    made.engine.close()


@pytest.fixture
def engine(library: Library) -> Iterator[Engine]:
    """One that loads its network itself, and so can load it again."""
    with Engine.open(library.settings) as opened:
        yield opened


def answer(engine: Engine) -> list[tuple[int, float]]:
    query = Query(expression=EXPRESSION, album="small", threshold=0.0)
    done = [event for event in pipeline.search(engine, query) if isinstance(event, Done)][-1]
    return [(hit.photo_id, hit.confidence) for hit in done.matched]


def held(engine: Engine) -> list[weakref.ref[object]]:
    view = engine.views("small")[0]
    return [weakref.ref(each) for each in (view.predictor.network, view.snapshot, view.prefilter)]


def test_what_is_idle_is_let_go_and_the_next_answer_is_the_same(engine: Engine) -> None:
    first, parts = answer(engine), held(engine)
    assert engine.let_go(0.0)
    gc.collect()
    assert [part() for part in parts] == [None, None, None]
    assert not engine.let_go(0.0)  # there is nothing left
    assert answer(engine) == first and len(first) == 8


def test_what_was_used_lately_stays(engine: Engine) -> None:
    answer(engine)
    view = engine.views("small")[0]
    assert not engine.let_go(3600.0)
    assert engine.views("small")[0] is view and engine.models.default is view.predictor


def test_search_that_runs_keeps_what_it_holds(engine: Engine) -> None:
    expected = answer(engine)
    query = Query(expression=EXPRESSION, album="small", threshold=0.0, mode="exhaustive")
    events = pipeline.search(engine, query)
    next(events)
    engine.let_go(0.0)
    done = [event for event in events if isinstance(event, Done)][-1]
    assert [(hit.photo_id, hit.confidence) for hit in done.matched] == expected


def test_network_that_was_given_stays_for_it_cannot_be_loaded_again(library: Library) -> None:
    answer(library.engine)
    library.engine.let_go(0.0)
    assert library.engine.models.default is library.predictor


def test_server_lets_go_by_itself_and_still_answers(library: Library, tmp_path: Path) -> None:
    settings = library.settings.model_copy(update={"idle_s": 0.2})
    with Engine.open(settings) as engine:
        app = create_app(settings, host="127.0.0.1", engine=engine, warm_up=False)
        with TestClient(app, base_url="http://127.0.0.1") as client:
            body = {"expression": EXPRESSION, "threshold": 0.0}
            first = client.post("/v1/search", json=body).json()
            network = weakref.ref(engine.models.default.network)
            until = time.monotonic() + 60
            while network() is not None and time.monotonic() < until:
                time.sleep(0.05)
            assert network() is None
            again = client.post("/v1/search", json=body).json()
    assert [hit["confidence"] for hit in again["hits"]] == [
        hit["confidence"] for hit in first["hits"]
    ]


def test_jobs_let_their_network_go_between_turns(library: Library) -> None:
    models = Held(library.settings, load=lambda name: library.predictor)
    models.network("any")
    models.let_go(3600.0)
    assert models.models.held("any") is library.predictor
    models.let_go(0.0)
    assert models.models.held("any") is None
    assert models.network("any") is library.predictor


def test_jobs_keep_one_engine_until_it_is_idle_or_another_network_is_asked_for(
    library: Library,
) -> None:
    catalog = library.engine.catalog
    models = Held(library.settings, load=lambda name: library.predictor)
    engine = models.engine(catalog)
    (view,) = engine.views("small")
    assert models.engine(catalog) is engine
    assert engine.views("small") == [view] and view.predictor is library.predictor
    models.network("another")
    assert models.engine(catalog) is not engine
    models.close()
    assert not engine._views
    with catalog.reading() as session:  # which is not theirs to close
        assert session.execute(select(1)).scalar() == 1


def test_jobs_of_a_server_use_its_engine_and_leave_it(library: Library) -> None:
    models = Held(library.settings, engine=library.engine)
    views = library.engine.views("small")
    assert models.engine(library.engine.catalog) is library.engine
    assert models.network(library.settings.model) is library.predictor
    models.close()
    assert library.engine.views("small") == views
