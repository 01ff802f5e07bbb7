"""What would grow without end goes after its time, whoever sweeps; the rest stays."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, update
from starlette.testclient import TestClient

from indexer.db.catalog import Catalog
from indexer.db.clock import clock
from indexer.db.tables import Hit, Job, JobSlot, SearchRun
from indexer.folders import own_folders
from indexer.jobs import jobs
from indexer.settings import Settings
from search_api.http import state
from search_api.http.app import create_app
from search_api.search import retention
from tests.support.library import Library, make_library
from tests.support.servers import wait_until
from workers.sweeper import Sweeper

DAY_S = 86_400.0


def run_of(catalog: Catalog, key: int | None, number: int, state: str = "done") -> str:
    """A search that was made `number` seconds after 1970."""
    name = f"{key}-{number}"
    with catalog.session() as session:
        session.execute(
            insert(SearchRun).values(
                id=name, expression="x", mode="fast", state=state, key_id=key, created_at=number
            )
        )
    return name


def runs_left(catalog: Catalog) -> set[str]:
    with catalog.reading() as session:
        return set(session.scalars(select(SearchRun.id)))


def ended(catalog: Catalog, days_ago: float, kind: str = "export", state: str = "done") -> int:
    """A job that ended so long ago."""
    number = jobs.create(catalog, kind, parameters={"run": str(days_ago), "form": "csv"}).id
    with catalog.session() as session:
        session.execute(
            update(Job)
            .where(Job.id == number)
            .values(state=state, finished_at=clock() - days_ago * DAY_S, active_key=None)
        )
    return number


def test_each_key_keeps_its_own_newest_searches(catalog: Catalog, settings: Settings) -> None:
    mine = [run_of(catalog, 1, number) for number in range(3)]
    script = [run_of(catalog, 2, 100 + number) for number in range(6)]
    nobodys = [run_of(catalog, None, 200 + number) for number in range(4)]
    kept = Settings(home=settings.home, kept_runs=3)
    assert retention.sweep(catalog, kept).runs == 4
    assert runs_left(catalog) == {*mine, *script[3:], *nobodys[1:]}
    assert retention.sweep(catalog, kept).runs == 0


def test_searches_that_a_crash_cut_off_end_and_others_go_on(
    catalog: Catalog, settings: Settings
) -> None:
    run_of(catalog, None, 5, state="running")
    now = catalog.now()
    run_of(catalog, None, int(now), state="running")
    retention.sweep(catalog, settings)
    with catalog.reading() as session:
        assert session.scalars(select(SearchRun.state).order_by(SearchRun.created_at)).all() == [
            "stopped",
            "running",
        ]


def test_old_exports_go_first_and_then_their_jobs_with_all_that_is_theirs(
    catalog: Catalog, settings: Settings
) -> None:
    old, middle, young = (ended(catalog, days) for days in (100, 40, 3))
    running = jobs.create(catalog, "compact").id
    folders = {
        job: own_folders.made_folder(catalog, settings, "export", job)
        for job in (old, middle, young)
    }
    for folder in folders.values():
        (folder / "hits.csv").write_text("rank\n")
    swept = retention.sweep(catalog, settings)
    assert (swept.jobs, swept.folders) == (1, 2)
    assert [folder.exists() for folder in folders.values()] == [False, False, True]
    with catalog.reading() as session:
        assert set(session.scalars(select(Job.id))) == {middle, young, running}
        assert old not in set(session.scalars(select(JobSlot.job_id)))
    for_ever = settings.model_copy(update={"keep_jobs_days": 0.0, "keep_exports_days": 0.0})
    assert retention.sweep(catalog, for_ever) == retention.Swept(0, 0, 0, 0)


def test_what_is_kept_is_told_with_its_rule(catalog: Catalog, settings: Settings) -> None:
    run_of(catalog, 1, 1)
    job = ended(catalog, 1)
    folder = own_folders.made_folder(catalog, settings, "export", job)
    (folder / "hits.csv").write_text("12345678")
    told = {each.what: each for each in retention.kept(catalog, settings)}
    assert told["searches in the history"].number == 1
    assert told["searches in the history"].rule == "2,000 of each key (REFERENT_KEPT_RUNS)"
    exports = told["cut-outs and exports"]
    assert (exports.number, exports.bytes) == (1, 8)
    assert exports.rule == "30 days (REFERENT_KEEP_EXPORTS_DAYS)"
    assert told["jobs that ended"].number == 1


def test_beat_sweeps_also_while_redis_is_away(lite: Catalog, settings: Settings) -> None:
    old = ended(lite, 100)
    away = settings.model_copy(
        update={"redis_url": type(settings.redis_url)("redis://127.0.0.1:1/0")}
    )
    sweeper = Sweeper(away, lite)
    thread = threading.Thread(target=sweeper.run)
    thread.start()
    try:
        wait_until(lambda: not exists(lite, old), what="the sweep")
    finally:
        sweeper.stop()
        thread.join(30)


def test_server_sweeps_while_it_serves(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "EVERY_S", 0.0)
    monkeypatch.setattr(state, "LOOK_S", 0.05)
    catalog = library.engine.catalog
    app = create_app(library.settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/healthz").status_code == 200
        old = ended(catalog, 100)
        wait_until(lambda: not exists(catalog, old), what="the sweep")


def test_hits_go_with_their_searches(library: Library) -> None:
    catalog = library.engine.catalog
    name = run_of(catalog, 7, 1)
    run_of(catalog, 7, 2)
    values = {"photo_id": 1, "rank": 0, "confidence": 0.5, "accepted": True}
    with catalog.session() as session:
        session.execute(insert(Hit).values(run_id=name, **values))
    assert retention.prune_runs(catalog, 1) == 1
    with catalog.reading() as session:
        assert session.scalar(select(func.count()).where(Hit.run_id == name)) == 0


def exists(catalog: Catalog, job: int) -> bool:
    with catalog.reading() as session:
        return session.get(Job, job) is not None


@pytest.fixture
def lite(settings: Settings) -> Iterator[Catalog]:
    with Catalog.open(settings) as opened:
        yield opened


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    made = make_library(tmp_path, 1)
    yield made
    made.engine.close()
