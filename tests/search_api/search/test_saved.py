"""Saved searches: new photos are judged once, in a run of their own, and told to who wants it."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, update

from indexer.db.tables import SavedJudged, SavedTelling
from indexer.jobs import jobs, watching
from search_api.errors import BadQuery
from search_api.http.app import create_app
from search_api.http.keys import create_key
from search_api.http.server_settings import ServerSettings
from search_api.search import saved, tellings, webhooks
from search_api.search.engine import Engine
from search_api.search.runs import Run
from tests.support.library import EXPRESSION, Library, make_library, paint
from tests.support.page import let_match
from tests.support.terminal import Terminal
from workers.held import Held
from workers.inprocess import run_job

ALBUM_OF = {"other": "other", "photos": "small"}
ATOM = "{http://www.w3.org/2005/Atom}"


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """An album of six photos, all of which match."""
    made = make_library(tmp_path, 6)
    let_match(made, "small", 1.0)
    yield made
    made.engine.close()


@pytest.fixture
def client(library: Library) -> Iterator[TestClient]:
    """A client that shows a key."""
    app = create_app(
        library.settings,
        host="127.0.0.1",
        engine=library.engine,
        limits=ServerSettings(require_keys=True),
        warm_up=False,
    )
    with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 5000)) as made:
        yield made


def key_of(library: Library, scope: str, **more: Any) -> dict[str, str]:
    return {"x-api-key": create_key(library.engine.catalog, scope, [scope], **more)}


def keep(client: TestClient, key: dict[str, str], **more: Any) -> Any:
    body = {"name": "Rex", "expression": EXPRESSION, "album": "small", **more}
    answer = client.post("/v1/saved", json=body, headers=key)
    assert answer.status_code == 201, answer.text
    return answer.json()


def judge(library: Library) -> list[Run | None]:
    """What the job does after an indexing."""
    catalog = library.engine.catalog
    return [
        saved.judge_new(library.engine, each, 1, stopping=lambda: False)
        for each in saved.of_album(catalog, 1)
    ]


def test_only_new_photos_are_judged_and_each_of_them_once(
    client: TestClient, library: Library
) -> None:
    key = key_of(library, "write")
    kept = keep(client, key)
    assert judge(library) == [None]
    for number in range(2):
        paint(library.photos / "2023" / f"new{number}.png", 500 + number)
    library.index()
    (run,) = judge(library)
    assert run is not None and (run.coverage.verified, run.coverage.matched) == (2, 2)
    hits = client.get(f"/v1/search/{run.id}/hits", headers=key).json()["hits"]
    assert {hit["photo"]["path"] for hit in hits} == {"2023/new0.png", "2023/new1.png"}
    assert judge(library) == [None]
    (library.photos / "2023" / "copy.png").write_bytes(
        (library.photos / "2023" / "new0.png").read_bytes()
    )
    library.index()
    assert judge(library) == [None]  # the same bytes again
    told = client.get("/v1/saved", headers=key).json()["saved"]
    assert [(each["id"], [n["run"] for n in each["news"]]) for each in told] == [
        (kept["id"], [run.id])
    ]
    assert client.get("/v1/history", headers=key).json()["runs"] == []


def test_filters_of_a_saved_search_hold_for_new_photos_too(
    client: TestClient, library: Library
) -> None:
    keep(client, key_of(library, "write"), filters={"path": "2023/*"})
    for folder in ("2023", "2024"):
        paint(library.photos / folder / "new.png", 600 + int(folder))
    library.index()
    (run,) = judge(library)
    assert run is not None and run.coverage.verified == 1
    assert judge(library) == [None]


def test_search_of_a_key_that_is_no_good_any_more_is_not_asked(
    client: TestClient, library: Library
) -> None:
    admin, writer = key_of(library, "admin"), key_of(library, "write")
    keep(client, writer)
    number = next(
        each["id"]
        for each in client.get("/v1/keys", headers=admin).json()["keys"]
        if each["name"] == "write"
    )
    client.delete(f"/v1/keys/{number}", headers=admin)
    paint(library.photos / "2023" / "new.png", 700)
    library.index()
    assert judge(library) == [None]


def test_key_of_other_albums_gets_no_news_of_this_one(client: TestClient, library: Library) -> None:
    paint(library.photos.parent / "other" / "one.png", 800)
    library.add_album(library.photos.parent / "other", "other")
    key = key_of(library, "write", albums=["other"])
    keep(client, key, album=None)
    paint(library.photos / "2023" / "new.png", 801)
    library.index()
    assert judge(library) == [None]
    assert (
        client.post(
            "/v1/saved", json={"name": "x", "expression": "dog", "album": "small"}, headers=key
        ).status_code
        == 404
    )


def test_others_saved_searches_are_not_there(client: TestClient, library: Library) -> None:
    kept = keep(client, key_of(library, "write"))
    other = key_of(library, "write")
    assert client.get("/v1/saved", headers=other).json() == {"saved": []}
    at = f"/v1/saved/{kept['id']}"
    assert client.patch(at, json={"name": "mine"}, headers=other).status_code == 404
    assert client.delete(at, headers=other).status_code == 404
    assert client.get(f"{at}/feed.atom", headers=other).status_code == 404
    unjudged = {"expression": "dog", "filters": {"unjudged_by": kept["id"]}}
    assert client.post("/v1/search", json=unjudged, headers=other).status_code == 404


def test_feed_has_an_entry_for_each_indexing_and_takes_the_key_as_a_password(
    client: TestClient, library: Library
) -> None:
    key = key_of(library, "write")
    kept = keep(client, key, name="Rex & <friends>")
    at = f"/v1/saved/{kept['id']}/feed.atom"
    assert client.get(at).status_code == 401
    for number in range(2):
        paint(library.photos / "2023" / f"{number}.png", 900 + number)
        library.index()
        judge(library)
    answer = client.get(at, auth=("anyone", key["x-api-key"]))
    assert answer.headers["content-type"].startswith("application/atom+xml")
    feed = ElementTree.fromstring(answer.content)
    assert feed.findtext(f"{ATOM}title") == "Rex & <friends>"
    entries = feed.findall(f"{ATOM}entry")
    assert [entry.findtext(f"{ATOM}summary") for entry in entries] == ["2023/1.png", "2023/0.png"]
    link = entries[0].find(f"{ATOM}link")
    assert link is not None and "/?run=" in link.attrib["href"]
    assert client.get("/v1/saved", auth=("anyone", key["x-api-key"])).status_code == 401


def test_indexing_at_the_command_line_lets_saved_searches_look(
    client: TestClient, library: Library, referent: Terminal
) -> None:
    keep(client, key_of(library, "write"))
    for folder, kinds in ((library.photos.parent / "other", []), (library.photos, ["watch"])):
        paint(folder / "new.png", 960)
        status, _, wrong = referent("index", str(folder), "--album", ALBUM_OF[folder.name])
        assert status == 0, wrong
        assert [job.kind for job in jobs.list_jobs(library.engine.catalog)] == kinds


def test_removed_search_takes_its_runs_with_it(client: TestClient, library: Library) -> None:
    key = key_of(library, "write")
    kept = keep(client, key)
    paint(library.photos / "2023" / "new.png", 950)
    library.index()
    (run,) = judge(library)
    assert run is not None
    assert client.delete(f"/v1/saved/{kept['id']}", headers=key).status_code == 204
    assert client.get(f"/v1/search/{run.id}", headers=key).status_code == 404
    with library.engine.catalog.reading() as session:
        assert session.scalar(select(func.count()).select_from(SavedJudged)) == 0


class Hook(http.server.BaseHTTPRequestHandler):
    """Keeps what it is told; answers as the path says: /500/200 fails once, then never again."""

    told: list[Any]

    def do_POST(self) -> None:
        statuses = self.path.strip("/").split("/")
        answer = statuses[min(len(self.told), len(statuses) - 1)]
        self.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(int(answer))
        self.send_header("Location", "/200")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hook() -> Iterator[tuple[str, list[Any]]]:
    """The address of a program of this network, and what it was told."""
    told: list[Any] = []
    server = http.server.HTTPServer(("127.0.0.1", 0), type("Told", (Hook,), {"told": told}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", told
    server.shutdown()
    server.server_close()


def tell(engine: Engine) -> int:
    return tellings.tell_due(engine, 1, stopping=lambda: False)


def let_pause_pass(library: Library) -> None:
    with library.engine.catalog.session() as session:
        session.execute(update(SavedTelling).values(due_at=0.0))


def test_webhook_is_told_of_matches_and_only_an_admin_sets_it(
    client: TestClient, library: Library, hook: tuple[str, list[Any]]
) -> None:
    address, told = hook
    writer, admin = key_of(library, "write"), key_of(library, "admin")
    refused = {"name": "x", "expression": "dog", "webhook": f"{address}/200"}
    assert client.post("/v1/saved", json=refused, headers=writer).status_code == 403
    kept = keep(client, admin, webhook=f"{address}/200")
    at = f"/v1/saved/{kept['id']}"
    assert client.patch(at, json={"webhook": ""}, headers=writer).status_code == 403
    paint(library.photos / "2023" / "new.png", 970)
    library.index()
    judge(library)
    assert tell(library.engine) == 0 and told == []
    (shown,) = client.get("/v1/saved", headers=admin).json()["saved"]
    assert "REFERENT_WEBHOOK_HOSTS" in shown["trouble"] and shown["told_at"] is None
    library.engine.settings = library.settings.model_copy(
        update={"webhook_hosts": "nas.lan, 127.0.0.1"}
    )
    assert tell(library.engine) == 0  # its pause is not over
    let_pause_pass(library)
    assert tell(library.engine) == 1
    assert (told[0]["name"], told[0]["matched"]) == ("Rex", 1)
    assert [photo["path"] for photo in told[0]["photos"]] == ["2023/new.png"]
    (shown,) = client.get("/v1/saved", headers=admin).json()["saved"]
    assert (shown["trouble"], shown["again_at"]) == (None, None) and shown["told_at"]
    lines = client.get("/v1/audit", headers=admin).json()["lines"]
    assert any(line["action"] == "webhook set" for line in lines)


def test_webhook_that_fails_twice_is_told_by_whoever_runs_jobs_then_and_once(
    client: TestClient,
    library: Library,
    hook: tuple[str, list[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, told = hook
    monkeypatch.setattr(watching, "TOLD_EVERY_S", 0.0)
    admin = key_of(library, "admin")
    keep(client, admin, webhook=f"{address}/500/503/200")
    paint(library.photos / "2023" / "new.png", 980)
    library.index()
    watching.ask_saved_searches(library.engine.catalog, 1)
    settings = library.settings.model_copy(update={"webhook_hosts": "127.0.0.1"})

    def shown() -> Any:
        return client.get("/v1/saved", headers=admin).json()["saved"][0]

    def look() -> None:
        """A server begins, looks for work, does it and ends."""
        with Engine.open(settings) as engine:
            watching.tell_webhooks_again(engine.catalog)
            for job in jobs.list_jobs(engine.catalog, states=jobs.UNFINISHED):
                done = run_job(settings, engine.catalog, job.id, Held(settings, engine=engine))
                assert done.state == "done", done.message

    for tries, trouble in ((1, "answered 500"), (2, "answered 503")):
        look()
        assert len(told) == tries
        at = shown()
        assert trouble in at["trouble"] and at["told_at"] is None and at["again_at"]
        look()
        assert len(told) == tries  # its pause is not over
        let_pause_pass(library)
    look()
    assert [each["run"] for each in told] == [shown()["news"][0]["run"]] * 3
    assert (shown()["trouble"], shown()["again_at"]) == (None, None) and shown()["told_at"]
    before = len(jobs.list_jobs(library.engine.catalog))
    look()
    assert (len(told), len(jobs.list_jobs(library.engine.catalog))) == (3, before)


def test_webhook_that_never_takes_it_is_given_up_and_says_so(
    client: TestClient,
    library: Library,
    hook: tuple[str, list[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, told = hook
    library.engine.settings = library.settings.model_copy(update={"webhook_hosts": "127.0.0.1"})
    admin = key_of(library, "admin")
    keep(client, admin, webhook=f"{address}/500")
    paint(library.photos / "2023" / "new.png", 985)
    library.index()
    judge(library)
    monkeypatch.setattr(tellings, "PAUSES_S", (0.0, 0.0))
    for _ in range(5):
        tell(library.engine)
    assert len(told) == 3
    (shown,) = client.get("/v1/saved", headers=admin).json()["saved"]
    assert shown["again_at"] is None
    assert "tried 3 times and is given up" in shown["trouble"]


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00::1", "::ffff:10.0.0.1",
                "0.0.0.0", "100.64.0.1", "224.0.0.1", "2002:7f00:1::"],
)  # fmt: skip
def test_webhook_does_not_lead_into_the_servers_network(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolved(*_: object, **__: object) -> list[Any]:
        return [(0, 0, 0, "", ("93.184.216.34", 80)), (0, 0, 0, "", (address, 80))]

    monkeypatch.setattr(webhooks.socket, "getaddrinfo", resolved)
    with pytest.raises(webhooks.WebhookFailed, match="own network"):
        webhooks.post("http://example.com/", {})


def test_webhook_goes_to_the_address_that_was_checked_and_follows_no_redirect(
    hook: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, told = hook
    port = int(address.rpartition(":")[2])
    answers = iter([[(0, 0, 0, "", ("127.0.0.1", port))]])  # asked again, it has no answer
    monkeypatch.setattr(webhooks.socket, "getaddrinfo", lambda *_, **__: next(answers))
    with pytest.raises(webhooks.WebhookFailed, match="answered 302"):
        webhooks.post(
            f"http://hook.example:{port}/302", {"a": 1}, inner_hosts=frozenset({"hook.example"})
        )
    assert told == [{"a": 1}]


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://a/b", "http://", "https://me:key@a.example/", "nonsense",
            "http://a.example:99999/", "http://a.example/\nHost: b"],
)  # fmt: skip
def test_address_that_is_no_webhooks_is_refused(url: str) -> None:
    with pytest.raises(BadQuery):
        webhooks.checked(url)
