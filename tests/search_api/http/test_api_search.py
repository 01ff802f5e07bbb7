"""The HTTP API answers searches, pages, masks, photos, albums and jobs."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from indexer.jobs import jobs
from model.predictor import Predictor
from search_api.http.app import create_app
from search_api.http.server_settings import ServerSettings
from search_api.search import planning
from search_api.search.tally import Tally
from tests.support.library import EXPRESSION, Library, make_library, paint
from tests.support.rle import from_rle

HERE = "http://127.0.0.1"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """A library that tests only read."""
    made = make_library(tmp_path_factory.mktemp("api"), 12)
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def client(library: Library) -> Iterator[TestClient]:
    """A browser's end of a server on loopback."""
    app = create_app(library.settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    with TestClient(app, base_url=HERE) as made:
        yield made


def find(client: TestClient, library: Library, **values: object) -> dict:
    body = {"expression": EXPRESSION, "threshold": library.threshold(), **values}
    answer = client.post("/v1/search", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def events_of(text: str) -> list[tuple[str, dict]]:
    blocks = [block.split("\n") for block in text.strip().split("\n\n")]
    return [(b[0].removeprefix("event: "), json.loads(b[1].removeprefix("data: "))) for b in blocks]


def test_search_answers_with_hits_coverage_and_timings(
    client: TestClient, library: Library
) -> None:
    found = find(client, library, size=3, rejected=2)
    run = found["run"]
    assert run["coverage"]["verified"] == run["coverage"]["total"] == 12
    assert run["coverage"]["matched"] > 3
    assert run["timings_ms"]["total"] > 0
    assert len(found["hits"]) == 3
    assert len(found["rejected"]) == 2
    assert not any(hit["accepted"] for hit in found["rejected"])
    first = found["hits"][0]
    assert first["confidence"] >= found["hits"][1]["confidence"]
    assert "server_path" not in first["photo"] or first["photo"]["server_path"] is None
    assert str(library.photos) not in json.dumps(found)


def test_pages_give_every_match_once(client: TestClient, library: Library) -> None:
    found = find(client, library, size=2)
    seen = [hit["photo"]["id"] for hit in found["hits"]]
    cursor = found["next_cursor"]
    while cursor:
        page = client.get(
            f"/v1/search/{found['run']['id']}/hits", params={"cursor": cursor, "size": 2}
        ).json()
        seen += [hit["photo"]["id"] for hit in page["hits"]]
        cursor = page["next_cursor"]
    assert len(seen) == len(set(seen)) == found["run"]["coverage"]["matched"]


def test_stream_tells_of_hits_as_they_are_verified(
    client: TestClient, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "BATCH", 4)
    body = {"expression": EXPRESSION, "mode": "exhaustive", "threshold": library.threshold()}
    answer = client.post("/v1/search", json=body, headers={"accept": "text/event-stream"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = events_of(answer.text)
    assert [name for name, _ in events if name != "hit"] == [
        "started", "progress", "progress", "progress", "done",
    ]  # fmt: skip
    hits = [data for name, data in events if name == "hit"]
    done = events[-1][1]
    assert {hit["photo"]["id"] for hit in hits} == set(done["order"])
    assert done["run"]["coverage"]["matched"] == len(hits)
    assert all(0 <= hit["confidence"] <= 1 and hit["rank"] is None for hit in hits)


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_search_that_is_removed_while_it_runs_ends_with_that_reason(
    client: TestClient, library: Library, monkeypatch: pytest.MonkeyPatch, accept: str
) -> None:
    judge = Predictor.judge

    def removed_meanwhile(*values: Any, **named: Any) -> Any:
        run = client.get("/v1/history").json()["runs"][0]
        if run["state"] == "running":
            assert client.delete(f"/v1/search/{run['id']}").status_code == 204
        return judge(*values, **named)

    monkeypatch.setattr(Predictor, "judge", removed_meanwhile)
    body = {"expression": EXPRESSION, "mode": "exhaustive", "threshold": 0.0}
    answer = client.post("/v1/search", json=body, headers={"accept": accept})
    if accept == "application/json":
        assert answer.status_code == 404
        problem = answer.json()
    else:
        name, problem = events_of(answer.text)[-1]
        assert name == "problem"
    assert problem["status"] == 404
    assert "removed while it ran" in problem["detail"]


def test_stream_of_an_impossible_search_is_a_problem_document(client: TestClient) -> None:
    answer = client.post(
        "/v1/search",
        json={"expression": "dog", "album": "nope"},
        headers={"accept": "text/event-stream"},
    )
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "small" in answer.json()["detail"]


def test_mask_comes_as_png_rle_and_polygons_of_the_upright_photo(
    client: TestClient, library: Library
) -> None:
    found = find(client, library)
    hit = found["hits"][0]
    at = f"/v1/search/{found['run']['id']}/hits/{hit['photo']['id']}"
    mask = client.get(f"{at}/mask.json").json()
    decoded = from_rle(mask["rle"])
    assert decoded.shape == (hit["photo"]["height"], hit["photo"]["width"])
    assert (mask["area"], mask["box"]) == (hit["area"], hit["box"])
    picture = Image.open(io.BytesIO(client.get(f"{at}/mask.png").content))
    assert np.array_equal(np.asarray(picture), decoded)
    small = client.get(f"{at}/mask.json", params={"side": 32}).json()
    assert max(small["width"], small["height"]) == 32
    for name, size in (("overlay.jpg?side=64", 64), ("minimap.png?side=100", 100)):
        drawn = client.get(f"{at}/{name}")
        assert drawn.headers["content-type"].startswith("image/")
        assert max(Image.open(io.BytesIO(drawn.content)).size) == size


def test_rejected_photo_has_an_empty_mask(client: TestClient, library: Library) -> None:
    found = find(client, library, threshold=1.0, rejected=1)
    assert found["hits"] == []
    photo = found["rejected"][0]["photo"]["id"]
    mask = client.get(f"/v1/search/{found['run']['id']}/hits/{photo}/mask.json").json()
    assert (mask["area"], mask["box"], mask["polygons"]) == (0, None, [])


def test_run_can_be_opened_listed_and_forgotten(client: TestClient, library: Library) -> None:
    run = find(client, library)["run"]
    again = client.get(f"/v1/search/{run['id']}").json()
    assert again["coverage"] == run["coverage"]
    assert client.get("/v1/history", params={"size": 1}).json()["runs"][0]["id"] == run["id"]
    assert client.delete(f"/v1/search/{run['id']}").status_code == 204
    assert client.get(f"/v1/search/{run['id']}").status_code == 404


def test_photos_thumbnails_and_originals_are_served(client: TestClient, library: Library) -> None:
    page = client.get("/v1/photos", params={"size": 5}).json()
    more = client.get("/v1/photos", params={"size": 100, "cursor": page["next_cursor"]}).json()
    assert [p["id"] for p in page["photos"] + more["photos"]] == list(range(1, 13))
    photo = page["photos"][0]
    thumbnail = client.get(f"/v1/photos/{photo['id']}/thumbnail", params={"size": 48})
    assert max(Image.open(io.BytesIO(thumbnail.content)).size) == 48
    original = client.get(f"/v1/photos/{photo['id']}/original")
    assert original.content == (library.photos / photo["path"]).read_bytes()
    assert original.headers["x-content-type-options"] == "nosniff"


def test_more_like_this_leaves_the_photo_itself_out(client: TestClient, library: Library) -> None:
    answer = client.post("/v1/similar", json={"photo": 1, "size": 4}).json()
    assert len(answer["photos"]) == 4
    assert 1 not in [each["photo"]["id"] for each in answer["photos"]]


def test_problem_names_the_field_and_what_would_be_right(client: TestClient) -> None:
    answer = client.post("/v1/search", json={"expression": "", "filters": {"gps": {"west": 999}}})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert {"type", "title", "status", "detail", "instance", "errors"} == problem.keys()
    assert "body.filters.gps.west" in [each["field"] for each in problem["errors"]]


@pytest.mark.parametrize(
    ("content", "field", "told"),
    [
        (b'{"expression": "dog"', "body", "is not valid JSON, at character 20"),
        (b'{"expression": "dog", "albun": "x"}', "body.albun", "correct its name"),
        (b'{"expression": "dog", "album": "x"}', "album", "small"),
        (b"{}", "body.expression", "is missing"),
        (b"[]", "body", "application/json"),
    ],
)
def test_problem_says_in_words_what_to_correct(
    client: TestClient, content: bytes, field: str, told: str
) -> None:
    answer = client.post(
        "/v1/search", content=content, headers={"content-type": "application/json"}
    ).json()
    assert answer["errors"][0]["field"] == field
    assert told in answer["errors"][0]["message"]


def test_problems_name_the_fields_of_the_request_that_was_made(client: TestClient) -> None:
    lost = "00000000-0000-4000-8000-000000000000"
    for body, field in (({"photo": 999}, "photo"), ({"photo": 1, "run": lost}, "run")):
        answer = client.post("/v1/similar", json=body)
        assert answer.status_code == 404
        assert [each["field"] for each in answer.json()["errors"]] == [field]
    assert "openapi.json" in client.get("/v1/nothing").json()["detail"]
    assert "Allow" in client.put("/v1/search").json()["detail"]


def test_models_health_readiness_and_metrics(client: TestClient, library: Library) -> None:
    find(client, library)
    models = client.get("/v1/models").json()["models"]
    assert models[0]["default"]
    assert models[0]["albums"] == ["small"]
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").status_code == 200
    text = client.get("/metrics").text
    assert 'referent_searches_total{mode="fast",state="done"}' in text
    assert 'referent_photos{album="small",status="indexed"} 12.0' in text


def test_schema_has_an_example_for_every_body_and_a_problem_for_every_error(
    client: TestClient,
) -> None:
    document = client.get("/v1/openapi.json").json()
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["responses"], path
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if body:
                name = body["schema"]["$ref"].rpartition("/")[2]
                assert schemas[name].get("examples"), name
            for status, response in operation["responses"].items():
                if status.startswith("4"):
                    assert "application/problem+json" in response["content"], (path, status)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[TestClient, Library, list[str]]]:
    """A server whose library a test may change, and the wake-ups that it sent."""
    made = make_library(tmp_path, 3)
    woken: list[str] = []
    app = create_app(
        made.settings,
        host="127.0.0.1",
        engine=made.engine,
        warm_up=False,
        wake=lambda: woken.append("wake"),
        limits=ServerSettings(concurrent_searches=1, waiting_searches=0, job_stream_s=0.2),
    )
    with TestClient(app, base_url=HERE) as client:
        yield client, made, woken
    made.engine.close()


def test_album_is_made_filled_by_upload_indexed_by_a_job_and_removed(
    own: tuple[TestClient, Library, list[str]], tmp_path: Path
) -> None:
    client, library, woken = own
    album = client.post("/v1/albums", json={"name": "new"}).json()
    assert client.post("/v1/albums", json={"name": "new"}).status_code == 409
    paint(tmp_path / "a.png", 7)
    paint(tmp_path / "b.png", 8)
    good, other = (tmp_path / "a.png").read_bytes(), (tmp_path / "b.png").read_bytes()
    answer = client.post(
        f"/v1/albums/{album['id']}/photos",
        files=[
            ("files", ("../../evil.png", good)),
            ("files", ("evil.png", other)),
            ("files", ("page.html", b"<script>alert(1)</script>")),
        ],
    )
    assert answer.status_code == 200, answer.text
    files = answer.json()["files"]
    assert [each["path"] for each in files] == ["evil.png", "evil (2).png", None]
    assert files[2]["reason"]
    assert woken == ["wake"]
    job = client.get(f"/v1/jobs/{answer.json()['job']}").json()
    assert (job["kind"], job["album"], job["state"]) == ("index", "new", "queued")
    library.index("new")
    assert client.get(f"/v1/albums/{album['id']}").json()["by_status"]["indexed"] == 2
    assert client.post(f"/v1/jobs/{job['id']}/cancel").json()["state"] == "cancelled"
    assert client.delete(f"/v1/albums/{album['id']}").status_code == 204
    assert not list((library.settings.home / "uploads").glob("*/*.png"))


def test_job_is_paused_resumed_cancelled_and_retried_by_requests_that_wake_the_runner(
    own: tuple[TestClient, Library, list[str]],
) -> None:
    client, library, woken = own
    body = {"kind": "index", "album": "small", "which": "all"}
    number = client.post("/v1/jobs", json=body).json()["id"]
    assert jobs.get(library.engine.catalog, number).parameters == {"which": "all"}
    at = f"/v1/jobs/{number}"
    for action, state in (
        ("pause", "paused"),
        ("resume", "queued"),
        ("cancel", "cancelled"),
        ("retry", "queued"),
    ):
        assert client.post(f"{at}/{action}").json()["state"] == state
        assert client.get(at).json()["state"] == state
    assert len(woken) == 5
    client.post(f"{at}/cancel")
    assert client.post(f"{at}/pause").status_code == 409


def test_stream_of_a_job_is_cut_while_it_waits_and_ends_with_it(
    own: tuple[TestClient, Library, list[str]],
) -> None:
    client, _, _ = own
    job = client.post("/v1/jobs", json={"kind": "index", "album": "small"}).json()
    at = f"/v1/jobs/{job['id']}"
    assert [(name, data["state"]) for name, data in events_of(client.get(f"{at}/events").text)] == [
        ("job", "queued")
    ]
    client.post(f"{at}/cancel")
    assert [(name, data["state"]) for name, data in events_of(client.get(f"{at}/events").text)] == [
        ("done", "cancelled")
    ]


def test_uploads_are_checked_again_after_the_server_was_stopped_and_started(
    own: tuple[TestClient, Library, list[str]],
) -> None:
    client, library, _ = own
    photo = next(library.photos.rglob("*.png")).read_bytes()
    files = [("files", ("again.png", photo))]
    assert client.post("/v1/albums/1/photos", files=files).json()["files"][0]["path"]
    with TestClient(client.app, base_url=HERE) as second:
        assert second.post("/v1/albums/1/photos", files=files).json()["files"][0]["path"]


def test_searches_beyond_the_limit_are_told_when_to_come_back(
    own: tuple[TestClient, Library, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _, _ = own
    started, go_on = threading.Event(), threading.Event()
    judge = Tally.judge

    def slow(self: object, *args: object, **kwargs: object) -> object:
        started.set()
        assert go_on.wait(30)
        return judge(self, *args, **kwargs)

    monkeypatch.setattr(Tally, "judge", slow)
    first: list[int] = []
    body = {"expression": "dog"}
    worker = threading.Thread(
        target=lambda: first.append(client.post("/v1/search", json=body).status_code)
    )
    worker.start()
    try:
        assert started.wait(30)
        turned_away = client.post("/v1/search", json=body)
    finally:
        go_on.set()
        worker.join()
    assert turned_away.status_code == 429
    assert int(turned_away.headers["retry-after"]) >= 1
    assert first == [200]
    assert client.post("/v1/search", json=body).status_code == 200


def test_server_ends_only_when_its_warm_up_has(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def slowly() -> None:
        time.sleep(1)
        told.append("warm")

    monkeypatch.setattr(library.engine, "warm_up", slowly)
    app = create_app(library.settings, host="127.0.0.1", engine=library.engine)
    with TestClient(app, base_url="http://127.0.0.1"):
        assert not told
    assert told == ["warm"]
