"""What cannot be meant is refused with the field's name, never ignored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import update
from starlette.testclient import TestClient

from indexer.db.tables import SearchRun
from search_api.http.app import create_app
from search_api.search import runs
from search_api.search.filters import Filters
from tests.support.library import EXPRESSION, Library, make_library
from tests.support.terminal import Terminal


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    made = make_library(tmp_path_factory.mktemp("refused"), 3)
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def client(library: Library) -> Iterator[TestClient]:
    app = create_app(library.settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    with TestClient(app, base_url="http://127.0.0.1") as made:
        yield made


BOX = {"west": 8.0, "south": 47.0, "east": 9.0, "north": 48.0}
REFUSED: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"taken_from": "2024-05-01T12:00:00Z"}, "taken_from", "without Z"),
    ({"taken_before": "2024-05-01T12:00:00+02:00"}, "taken_before", "without Z"),
    ({"taken_from": "2024-05-02", "taken_before": "2024-05-01"}, "taken_before", "later"),
    ({"taken_from": "2024-05-01", "taken_before": "2024-05-01"}, "taken_before", "later"),
    ({"gps": {**BOX, "north": 46.0}}, "gps.north", "47"),
    ({"gps": {k: v for k, v in BOX.items() if k != "east"}}, "gps.east", "missing"),
    ({"formats": ["jpeg", "docx"]}, "formats.1", "'docx' is no file type"),
)


@pytest.mark.parametrize(("filters", "field", "why"), REFUSED)
def test_a_filter_that_cannot_be_met_is_named(
    client: TestClient, filters: dict[str, Any], field: str, why: str
) -> None:
    for path, body in (
        ("search", {"expression": EXPRESSION}),
        ("similar", {"photo": 1}),
    ):
        answer = client.post(f"/v1/{path}", json={**body, "filters": filters})
        assert answer.status_code == 422
        problem = answer.json()["errors"][0]
        assert problem["field"] == f"body.filters.{field}"
        assert why in problem["message"]


def test_what_can_be_met_is_taken(client: TestClient) -> None:
    for filters in (
        {"taken_from": "2024-05-01T12:00:00", "taken_before": "2024-05-01T12:00:01"},
        {"gps": {**BOX, "west": 170, "east": -170}},  # across the date line
        {"gps": {**BOX, "north": 47.0}},
        {"formats": ["JPG", ".heic", "MPO", "tif", "jpeg2000"]},
    ):
        answer = client.post("/v1/search", json={"expression": EXPRESSION, "filters": filters})
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("photos?page=2", "page"),
        ("photos?album=small&sort=taken_at", "sort"),
        ("albums?Roots=true", "Roots"),
        ("jobs?state=done", "state"),
        ("history?limit=3", "limit"),
        ("photos/1/thumbnail?width=300", "width"),
    ],
)
def test_a_parameter_that_a_path_does_not_take_is_named(
    client: TestClient, path: str, name: str
) -> None:
    answer = client.get(f"/v1/{path}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == f"query.{name}"
    assert f"'{name}'" in answer.json()["detail"]


def test_the_command_line_names_the_option(referent: Terminal) -> None:
    for words, option in (
        (("--taken-from", "2024-05-01T12:00:00Z"), "--taken-from"),
        (("--taken-from", "2024-05-02", "--taken-before", "2024-05-01"), "--taken-before"),
        (("--gps", "8,48,9,47"), "--gps"),
        (("--type", "docx"), "--type"),
    ):
        status, _, err = referent("search", EXPRESSION, *words)
        assert status == 2 and err.startswith(f"error: {option}: "), err


def test_a_run_from_before_such_filters_were_refused_opens_again(
    client: TestClient, library: Library
) -> None:
    found = client.post("/v1/search", json={"expression": EXPRESSION}).json()["run"]
    old = {"formats": ["docx"], "taken_from": "2024-05-02T00:00:00Z", "taken_before": "2024-05-01"}
    with pytest.raises(ValidationError):
        Filters.model_validate(old)
    with library.engine.catalog.session() as session:
        session.execute(update(SearchRun).where(SearchRun.id == found["id"]).values(filters=old))
    assert runs.load(library.engine.catalog, found["id"]).filters.formats == ("docx",)
    assert client.get(f"/v1/search/{found['id']}").status_code == 200
