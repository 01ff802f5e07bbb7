"""No message to a client holds a path of the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from indexer.db.catalog import Catalog
from indexer.db.tables import Root
from indexer.errors import CatalogLocked, NoSpaceLeft
from indexer.jobs import jobs, slots
from indexer.settings import Settings
from search_api.http.app import create_app
from search_api.http.hiding import PathHider
from search_api.search import albums
from tests.support.albums import album
from tests.support.library import Library, make_library


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    made = make_library(tmp_path_factory.mktemp("hiding"), 2)
    yield made
    made.engine.close()


@pytest.fixture
def client(library: Library) -> Iterator[TestClient]:
    app = create_app(library.settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    with TestClient(app, base_url="http://127.0.0.1") as made:
        yield made


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("cannot write /srv/photos/x/y.jpg: full", "cannot write …/y.jpg: full"),
        ("the segment '/var/lib/a/b.seg' is damaged", "the segment '…/b.seg' is damaged"),
        ("the database sqlite:////srv/a/catalog.sqlite is", "the database …/catalog.sqlite is"),
        ("the database postgresql+psycopg://me:***@db:5/x is", "the database …/x is"),
        ("GET /v1/albums lists them; see and/or 3.5 photos/s", None),
        ("20/300 of 'holiday/2024/a.jpg' failed", None),
        ("there is no '~/Photos'", None),
    ],
)
def test_folders_of_the_server_are_left_out_of_texts(
    catalog: Catalog, settings: Settings, said: str, shown: str | None
) -> None:
    assert PathHider(settings, catalog)(said) == (shown or said)


def test_folders_with_blanks_are_left_out_where_the_library_knows_them(
    catalog: Catalog, settings: Settings, tmp_path: Path
) -> None:
    root = tmp_path / "My own Photos"
    album(catalog, "a", root)
    with catalog.reading() as session:
        assert session.query(Root).count() == 1
    told = PathHider(settings, catalog)(f"{root}/2024/x.jpg is gone from {root}")
    assert told == "…/2024/x.jpg is gone from …"


def test_a_problem_and_a_job_tell_no_path(
    client: TestClient, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = str(library.settings.home)

    def locked(catalog: object, name: str, **by: object) -> None:
        raise CatalogLocked(f"the database {home}/catalog.sqlite is locked by another process")

    monkeypatch.setattr(albums, "create_album", locked)
    answer = client.post("/v1/albums", json={"name": "new"})
    assert answer.status_code == 503
    assert answer.json()["detail"] == "the database …/catalog.sqlite is locked by another process"
    catalog = library.engine.catalog
    job = jobs.create(catalog, "compact")
    place = slots.take_here(catalog, job.id, owner="me", lease_s=60)
    assert place is not None
    full = NoSpaceLeft(f"no space is left for {library.photos}/x.jpg")
    slots.finish(catalog, place, "failed", message=str(full), result={"seen": [f"{home}/a/b"]})
    told = client.get(f"/v1/jobs/{job.id}").json()
    assert told["message"] == "no space is left for …/x.jpg"
    assert told["result"] == {"seen": ["…/a/b"]}
    assert home not in client.get("/v1/jobs").text
    assert home not in client.get(f"/v1/jobs/{job.id}/events").text
