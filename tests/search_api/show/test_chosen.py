"""One meaning of "what is shown": exports, cut-outs and "search within" hold the same photos."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from search_api.http.app import create_app
from search_api.search import corrections
from tests.support.library import EXPRESSION, Library, make_library
from workers.held import Held
from workers.inprocess import run_job


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    made = make_library(tmp_path_factory.mktemp("chosen"), 6)
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def client(library: Library) -> Iterator[TestClient]:
    app = create_app(library.settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    with TestClient(app, base_url="http://127.0.0.1") as made:
        yield made


def everywhere(client: TestClient, library: Library, run: str, **chosen: Any) -> set[int]:
    """The photos that CSV, COCO, cut-outs and a search within hold: all four the same."""
    named = {"photos": "photo"}
    params = {named.get(name, name): value for name, value in chosen.items()}
    rows = csv.DictReader(io.StringIO(client.get(f"/v1/search/{run}/hits.csv", params=params).text))
    held = {int(row["photo"]) for row in rows}
    coco = json.loads(client.get(f"/v1/search/{run}/coco.json", params=params).text)
    assert {image["id"] for image in coco["images"]} == held
    job = client.post("/v1/matte", json={"run": run, "mask_only": True, **chosen}).json()["id"]
    models = Held(library.settings, load=lambda name: library.predictor)
    ended = run_job(library.settings, library.engine.catalog, job, models)
    assert ended.state == "done" and ended.total == len(held)
    if not chosen.get("wrong"):
        filters = {"run": run} | {f"run_{name}": value for name, value in chosen.items()}
        query = {"expression": EXPRESSION, "threshold": 0.0, "filters": filters, "size": 100}
        within = client.post("/v1/search", json=query)
        assert {hit["photo"]["id"] for hit in within.json()["hits"]} == held, within.text
    return held


def test_exports_cut_outs_and_searches_within_hold_what_is_shown(
    client: TestClient, library: Library
) -> None:
    query = {"expression": EXPRESSION, "threshold": 0.0, "size": 100}
    found = client.post("/v1/search", json=query).json()
    run, hits = found["run"]["id"], found["hits"]
    ids = [hit["photo"]["id"] for hit in hits]
    assert everywhere(client, library, run) == set(ids) and len(ids) == 6
    least = hits[2]["confidence"]
    shown = {hit["photo"]["id"] for hit in hits if hit["confidence"] >= least}
    assert everywhere(client, library, run, least=least) == shown and len(shown) < 6
    assert everywhere(client, library, run, photos=[ids[1], ids[4]]) == {ids[1], ids[4]}
    corrections.mark(library.engine.catalog, run, ids[1], "wrong")
    assert everywhere(client, library, run) == set(ids) - {ids[1]}
    assert everywhere(client, library, run, photos=[ids[1], ids[4]]) == {ids[4]}
    assert everywhere(client, library, run, wrong=True) == set(ids)
