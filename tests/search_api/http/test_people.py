"""Thirty people on one server: what each key may see, how long, and what is written down."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from indexer.db import audit
from indexer.db.clock import clock
from indexer.db.tables import ApiKey, Root
from indexer.folders.albums import change_album
from indexer.jobs import jobs
from search_api.errors import BadQuery
from search_api.http.app import create_app
from search_api.http.keys import create_key
from search_api.http.server_settings import ServerSettings
from tests.support.library import EXPRESSION, Library, make_library, paint
from workers.logging import configure_logging

HERE = "http://127.0.0.1"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Two albums: `small` with four photos and `other` with two."""
    folder = tmp_path_factory.mktemp("people")
    made = make_library(folder, 4)
    for number in (90, 91):
        paint(folder / "more" / f"{number}.png", number)
    made.add_album(folder / "more", "other")
    yield made
    made.engine.close()


@pytest.fixture
def client(library: Library) -> Iterator[TestClient]:
    app = create_app(
        library.settings,
        host="127.0.0.1",
        engine=library.engine,
        warm_up=False,
        limits=ServerSettings(require_keys=True),
    )
    with TestClient(app, base_url=HERE) as made:
        yield made


def of(key: str) -> dict[str, str]:
    return {"x-api-key": key}


@pytest.fixture
def admin(library: Library) -> dict[str, str]:
    return of(create_key(library.engine.catalog, "admin", ["admin"]))


@pytest.fixture
def limited(library: Library) -> dict[str, str]:
    """A key that may read and write the album `small` alone."""
    return of(create_key(library.engine.catalog, "ann", ["write"], albums=["small"]))


def search(client: TestClient, key: dict[str, str], **asked: Any) -> Any:
    body = {"expression": EXPRESSION, "mode": "exhaustive", "threshold": 0.0, **asked}
    return client.post("/v1/search", json=body, headers=key)


def test_key_of_one_album_finds_nothing_else_on_any_path(
    client: TestClient, library: Library, admin: dict[str, str], limited: dict[str, str]
) -> None:
    albums = {a["name"]: a["id"] for a in client.get("/v1/albums", headers=admin).json()["albums"]}
    run = search(client, admin, album="other").json()["run"]["id"]
    photo = client.get("/v1/photos?album=other", headers=admin).json()["photos"][0]["id"]
    job = jobs.create(library.engine.catalog, "index", album_id=albums["other"]).id
    with library.engine.catalog.reading() as session:
        folder = session.scalars(select(Root.id).where(Root.album_id == albums["other"])).first()
    ids = {"album_id": albums["other"], "photo_id": photo, "run_id": run, "job_id": job,
           "folder_id": folder}  # fmt: skip
    tried = 0
    for path, methods in client.get("/v1/openapi.json", headers=admin).json()["paths"].items():
        if not any(f"{{{name}}}" in path for name in ids):
            continue
        filled = path.replace("{action}", "pause").format(**ids)
        for method in methods:
            answer = client.request(method, filled, headers=limited)
            wanted = {404, 403} if client_is_refused_anyway(method, path) else {404}
            assert answer.status_code in wanted, (method, path, answer.text)
            tried += 1
    assert tried >= 20
    for path in ("/v1/photos", "/v1/jobs", "/v1/history", "/v1/marks/grefcoco.zip"):
        assert client.get(f"{path}?album=other", headers=limited).status_code == 404, path
    jobs.cancel(library.engine.catalog, job)


def client_is_refused_anyway(method: str, path: str) -> bool:
    """Whether only an admin may do this."""
    return (method, path) in {("delete", "/v1/albums/{album_id}"),
                              ("post", "/v1/albums/{album_id}/roots")}  # fmt: skip


def test_lists_and_searches_of_a_limited_key_hold_its_albums_alone(
    client: TestClient, admin: dict[str, str], limited: dict[str, str]
) -> None:
    def names(path: str, what: str) -> set[str]:
        return {each["album"] for each in client.get(path, headers=limited).json()[what]}

    shown = client.get("/v1/albums", headers=limited).json()["albums"]
    assert [album["name"] for album in shown] == ["small"]
    assert names("/v1/photos", "photos") == {"small"}
    assert names("/v1/jobs", "jobs") <= {"small"}
    models = client.get("/v1/models", headers=limited).json()["models"]
    assert {name for model in models for name in model["albums"]} == {"small"}
    found = search(client, limited).json()
    assert {hit["photo"]["album"] for hit in found["hits"]} == {"small"}
    assert found["run"]["coverage"]["total"] == 4
    everyones = search(client, admin).json()
    assert everyones["run"]["coverage"]["total"] == 6
    mine = found["hits"][0]["photo"]["id"]
    others = next(
        hit["photo"]["id"] for hit in everyones["hits"] if hit["photo"]["album"] == "other"
    )
    similar = client.post("/v1/similar", json={"photo": mine}, headers=limited).json()
    assert {each["photo"]["album"] for each in similar["photos"]} == {"small"}
    for path, body in (
        ("/v1/similar", {"photo": others}),
        ("/v1/similar", {"photo": mine, "album": "other"}),
        ("/v1/search", {"expression": EXPRESSION, "album": "other"}),
        ("/v1/search", {"expression": EXPRESSION, "filters": {"run": everyones["run"]["id"]}}),
        ("/v1/matte", {"run": everyones["run"]["id"]}),
        ("/v1/jobs", {"kind": "index", "album": "other"}),
    ):
        assert client.post(path, json=body, headers=limited).status_code == 404, (path, body)
    for path, body in (
        ("/v1/albums", {"name": "mine"}),
        ("/v1/jobs", {"kind": "verify", "album": "small"}),
        ("/v1/keys", {"name": "x", "scopes": ["read"]}),
    ):
        assert client.post(path, json=body, headers=limited).status_code == 403, (path, body)
    assert client.get("/metrics", headers=limited).status_code == 403


def test_searches_of_a_limited_key_are_its_own_to_open(
    client: TestClient, library: Library, limited: dict[str, str]
) -> None:
    run = search(client, limited).json()["run"]["id"]
    assert client.get(f"/v1/search/{run}/hits", headers=limited).status_code == 200
    second = of(create_key(library.engine.catalog, "bob", ["write"], albums=["small"]))
    assert client.get(f"/v1/search/{run}", headers=second).status_code == 404
    assert client.delete(f"/v1/search/{run}", headers=second).status_code == 404


def test_each_key_has_a_history_of_its_own_and_admins_see_all(
    client: TestClient, library: Library, admin: dict[str, str]
) -> None:
    catalog = library.engine.catalog
    keys = [of(create_key(catalog, name, ["write"])) for name in ("one", "two")]
    made = [search(client, key, album="small").json()["run"]["id"] for key in keys]

    def history(key: dict[str, str], more: str = "") -> list[str]:
        answer = client.get(f"/v1/history{more}", headers=key)
        return [run["id"] for run in answer.json()["runs"]]

    assert [history(key) for key in keys] == [[made[0]], [made[1]]]
    assert history(admin) == []
    assert history(admin, "?everyone=true")[:2] == made[::-1]
    assert client.get("/v1/history?everyone=true", headers=keys[0]).status_code == 403
    assert client.delete(f"/v1/search/{made[0]}", headers=keys[1]).status_code == 403
    assert client.delete(f"/v1/search/{made[0]}", headers=keys[0]).status_code == 204
    assert client.delete(f"/v1/search/{made[1]}", headers=admin).status_code == 204


def test_key_ends_when_its_time_is_over(client: TestClient, library: Library) -> None:
    key = create_key(library.engine.catalog, "guest", ["read"], days=1)
    number = int(key.split("_")[1])
    assert client.get("/v1/photos", headers=of(key)).status_code == 200
    assert client.post("/v1/session", json={"key": key}).status_code == 200
    with library.engine.catalog.session() as session:
        session.execute(update(ApiKey).where(ApiKey.id == number).values(expires_at=clock() - 1.0))
    assert client.get("/v1/photos", headers=of(key)).status_code == 401
    assert client.get("/v1/photos").status_code == 401  # its session as well
    client.cookies.clear()


def test_keys_are_made_listed_rotated_and_revoked_through_the_api(
    client: TestClient, library: Library, admin: dict[str, str]
) -> None:
    asked = {"name": "ann", "scopes": ["read"], "albums": ["small"], "days": 30}
    made = client.post("/v1/keys", json=asked, headers=admin)
    assert made.status_code == 201, made.text
    old = made.json()
    assert (old["albums"], old["scopes"]) == (["small"], ["read"])
    assert 29 * 86_400 < old["expires_at"] - old["created_at"] < 31 * 86_400
    assert client.get("/v1/photos", headers=of(old["key"])).status_code == 200
    rotated = client.post(f"/v1/keys/{old['id']}/rotate", json={"hours": 1}, headers=admin).json()
    assert rotated["id"] == old["id"]
    for key in (old["key"], rotated["key"]):
        assert client.get("/v1/photos", headers=of(key)).status_code == 200
    again = client.post(f"/v1/keys/{old['id']}/rotate", json={}, headers=admin).json()
    for key, status in ((old["key"], 401), (rotated["key"], 401), (again["key"], 200)):
        assert client.get("/v1/photos", headers=of(key)).status_code == status
    assert client.delete(f"/v1/keys/{old['id']}", headers=admin).json()["revoked_at"]
    assert client.get("/v1/photos", headers=of(again["key"])).status_code == 401
    listed = client.get("/v1/keys", headers=admin)
    mine = next(key for key in listed.json()["keys"] if key["id"] == old["id"])
    assert mine["last_used_at"]
    assert again["key"] not in listed.text
    assert client.post(f"/v1/keys/{old['id']}/rotate", json={}, headers=admin).status_code == 404
    own = int(admin["x-api-key"].split("_")[1])
    assert client.delete(f"/v1/keys/{own}", headers=admin).status_code == 403
    assert client.get("/v1/keys", headers=of(create_key(library.engine.catalog, "w", ["write"]))
                      ).status_code == 403  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [{"scopes": ["admin"], "albums": ["small"]}, {"scopes": ["read"], "albums": []},
     {"scopes": ["read"], "days": 0.0}],
    ids=["admin of some albums", "no album", "no time"],
)  # fmt: skip
def test_keys_that_make_no_sense_are_refused(library: Library, more: dict[str, Any]) -> None:
    with pytest.raises(BadQuery):
        create_key(library.engine.catalog, "x", **more)


def test_bearer_is_taken_like_the_header_of_our_own(client: TestClient, library: Library) -> None:
    key = create_key(library.engine.catalog, "prometheus", ["read"])
    assert client.get("/metrics", headers={"authorization": f"Bearer {key}"}).status_code == 200
    for wrong in (f"Bearer {key}x", f"Basic {key}", "Bearer"):
        answer = client.get("/metrics", headers={"authorization": wrong})
        assert answer.status_code == 401, wrong


def test_audit_tells_who_signed_in_changed_keys_and_deleted_what(
    client: TestClient, library: Library, admin: dict[str, str]
) -> None:
    key = create_key(library.engine.catalog, "ann", ["admin"])
    ann = int(key.split("_")[1])
    for _ in range(5):  # a line a minute is enough: nobody shall fill the disk with them
        assert client.post("/v1/session", json={"key": "rf_1_wrong"}).status_code == 401
    client.post("/v1/session", json={"key": key})
    album = client.post("/v1/albums", json={"name": "gone"}).json()["id"]
    client.delete(f"/v1/albums/{album}", headers={"x-request-id": "deletion-1"})
    client.delete("/v1/session")
    page = client.get("/v1/audit?size=5", headers=admin).json()
    told = [(line["action"], line["who"], line["key_id"]) for line in page["lines"]]
    assert told == [
        ("sign-out", "ann", ann),
        ("album deleted", "ann", ann),
        ("album made", "ann", ann),
        ("sign-in", "ann", ann),
        ("sign-in refused", "nobody", None),
    ]
    assert page["lines"][1]["what"] == f"album {album} (gone), 0 photos"
    assert page["lines"][1]["request_id"] == "deletion-1"
    older = client.get(f"/v1/audit?cursor={page['next_cursor']}", headers=admin).json()
    assert older["lines"][0]["action"] == "key made"
    assert re.match(r"command line \(.+\)", older["lines"][0]["who"])
    assert key not in json.dumps([vars(line) for line in audit.lines(library.engine.catalog)])
    assert client.get("/v1/audit", headers=of(create_key(library.engine.catalog, "w", ["write"]))
                      ).status_code == 403  # fmt: skip


def told(client: TestClient, headers: dict[str, str], count: int) -> list[tuple[str, str, str]]:
    """The newest lines of the audit, oldest first."""
    lines = client.get(f"/v1/audit?size={count}", headers=headers).json()["lines"]
    return [(line["action"], line["what"], line["who"]) for line in reversed(lines)]


def test_audit_tells_every_change_of_an_album(
    client: TestClient, library: Library, admin: dict[str, str], tmp_path: Path
) -> None:
    album = client.post("/v1/albums", json={"name": "old"}, headers=admin).json()["id"]
    client.patch(f"/v1/albums/{album}", json={"name": "new"}, headers=admin)
    client.patch(f"/v1/albums/{album}", json={"name": "new"}, headers=admin)  # as it was
    for name in ("2023", "2024"):
        paint(tmp_path / name / "a.png", 3)
    with library.engine.catalog.session() as session:
        change_album(session, "new", add=[tmp_path / "2023"], exclude=["raw"])
        change_album(session, "new", add=[tmp_path / "2023"], exclude=["raw"])  # again
        change_album(session, "new", moved=[(tmp_path / "2023", tmp_path / "2024")])
        change_album(session, "new", drop=[tmp_path / "2024"], rename="last")
    client.delete(f"/v1/albums/{album}", headers=admin)
    account = audit.at_the_command_line().name
    lines = told(client, admin, 8)
    folder = lines[2][1].split()[1]
    assert lines == [
        ("album made", f"album {album} (old)", "admin"),
        ("album renamed", f"album {album} (new), old until then", "admin"),
        ("folder added", f"folder {folder} (…/2023) of album {album} (new)", account),
        ("album changed", f"album {album} (new), exclude: ['raw']", account),
        ("folder moved", f"folder {folder} (…/2024) of album {album} (new), 0 photos", account),
        ("folder dropped", f"folder {folder} (…/2024) of album {album} (new), 0 photos", account),
        ("album renamed", f"album {album} (last), new until then", account),
        ("album deleted", f"album {album} (last), 0 photos", "admin"),
    ]


def test_audit_tells_whose_verdict_was_lost(
    client: TestClient, library: Library, admin: dict[str, str]
) -> None:
    asked = {"expression": EXPRESSION, "threshold": 0.0}
    found = client.post("/v1/search", json=asked, headers=admin).json()
    photo = found["hits"][0]["photo"]["id"]
    mark = f"/v1/search/{found['run']['id']}/hits/{photo}/mark"
    for verdict in ("right", "right", "wrong"):
        assert client.put(mark, json={"verdict": verdict}, headers=admin).status_code == 200
    for _ in range(2):
        client.delete(mark, headers=admin)
    about = f"on photo {photo} for {EXPRESSION!r}"
    assert told(client, admin, 2) == [
        ("mark replaced", f"right by wrong, {about}", "admin"),
        ("mark taken back", f"wrong, {about}", "admin"),
    ]
    assert "mark" not in str(told(client, admin, 3)[0])


def test_each_request_has_a_number_and_a_line(
    client: TestClient, library: Library, limited: dict[str, str]
) -> None:
    stream = StringIO()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    configure_logging(stream=stream)
    try:
        given = client.get("/v1/albums", headers={**limited, "x-request-id": "from-nginx.7"})
        own = client.get("/v1/photos", headers={"x-request-id": "no good\\n"})
        client.get("/healthz")
    finally:
        root.handlers[:], root.level = before
    assert given.headers["x-request-id"] == "from-nginx.7"
    assert re.fullmatch("[0-9a-f]{16}", own.headers["x-request-id"])
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    first, second = (line for line in lines if line["event"] == "request")
    assert (first["request_id"], first["who"], first["path"]) == (
        "from-nginx.7", "ann", "/v1/albums",
    )  # fmt: skip
    assert (first["status"], first["method"]) == (200, "GET")
    assert first["bytes"] == len(given.content)
    assert (second["status"], second["who"]) == (401, None)
    assert second["request_id"] == own.headers["x-request-id"]
    assert limited["x-api-key"] not in stream.getvalue()


def test_deleting_an_album_frees_the_disk_of_its_features(
    client: TestClient, library: Library, admin: dict[str, str], tmp_path: Path
) -> None:
    paint(tmp_path / "brief" / "a.png", 95)
    library.add_album(tmp_path / "brief", "brief")
    albums = client.get("/v1/albums", headers=admin).json()["albums"]
    number = next(album["id"] for album in albums if album["name"] == "brief")
    assert client.delete(f"/v1/albums/{number}", headers=admin).status_code == 204
    unfinished = client.get("/v1/jobs?unfinished=true", headers=admin).json()["jobs"]
    (job,) = (each for each in unfinished if each["kind"] == "compact")
    assert job["state"] == "queued"
    jobs.cancel(library.engine.catalog, job["id"])
