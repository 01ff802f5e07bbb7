"""Albums are renamed and their folders looked at and taken off, through the API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from indexer.db.tables import Job, Root
from indexer.jobs import jobs
from search_api.http.app import create_app
from search_api.http.keys import create_key
from tests.support.library import EXPRESSION, Library, make_library, paint

HERE = "http://127.0.0.1"


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """An album of two folders."""
    made = make_library(tmp_path, 4)
    paint(tmp_path / "more" / "one.png", 50)
    yield made
    made.engine.close()


@pytest.fixture
def client(library: Library) -> Iterator[TestClient]:
    app = create_app(library.settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    with TestClient(app, base_url=HERE) as made:
        yield made


def album(client: TestClient, name: str = "small") -> int:
    albums = client.get("/v1/albums").json()["albums"]
    number: int = next(each["id"] for each in albums if each["name"] == name)
    return number


def with_more(library: Library, client: TestClient) -> list[dict]:
    """Add the second folder, index, and tell the folders."""
    number = album(client)
    with library.engine.catalog.session() as session:
        session.add(Root(album_id=number, path=bytes(library.photos.parent / "more"), mounts=[]))
    library.index()
    folders: list[dict] = client.get(f"/v1/albums/{number}/folders").json()["folders"]
    return folders


def test_album_is_renamed_and_keeps_what_belongs_to_it(client: TestClient) -> None:
    number = album(client)
    run = client.post("/v1/search", json={"expression": EXPRESSION, "album": "small"}).json()
    answer = client.patch(f"/v1/albums/{number}", json={"name": " summer "})
    assert (answer.status_code, answer.json()["name"]) == (200, "summer")
    found = client.post("/v1/search", json={"expression": EXPRESSION, "album": "summer"})
    assert found.json()["run"]["coverage"]["total"] == 4
    assert client.get(f"/v1/search/{run['run']['id']}").json()["album"] == "summer"


def test_name_that_is_taken_or_empty_is_refused(client: TestClient) -> None:
    client.post("/v1/albums", json={"name": "other"})
    number = album(client)
    assert client.patch(f"/v1/albums/{number}", json={"name": "other"}).status_code == 409
    assert client.patch(f"/v1/albums/{number}", json={"name": "  "}).status_code == 422
    assert client.patch("/v1/albums/999", json={"name": "new"}).status_code == 404
    assert album(client) == number


def test_folder_that_went_away_is_offline_with_its_reason(
    client: TestClient, library: Library
) -> None:
    both = with_more(library, client)
    assert [(each["online"], each["photos"]) for each in both] == [(True, 4), (True, 1)]
    (library.photos.parent / "more").rename(library.photos.parent / "away")
    library.index()
    folders = client.get(f"/v1/albums/{album(client)}/folders").json()["folders"]
    assert [each["online"] for each in folders] == [True, False]
    assert "cannot be read" in folders[1]["reason"] and folders[1]["photos"] == 1
    assert folders[1]["seen_at"] == both[1]["seen_at"] < folders[0]["seen_at"]


def test_folder_is_taken_off_and_its_files_stay(client: TestClient, library: Library) -> None:
    folders = with_more(library, client)
    number = album(client)
    assert client.delete(f"/v1/albums/{number}/folders/{folders[1]['id']}").status_code == 204
    assert client.get(f"/v1/albums/{number}").json()["photos"] == 4
    assert (library.photos.parent / "more" / "one.png").is_file()
    (line,) = (
        each
        for each in client.get("/v1/audit").json()["lines"]
        if each["action"] == "folder dropped"
    )
    assert f"folder {folders[1]['id']} (…/more) of album {number} " in line["what"]
    assert client.delete(f"/v1/albums/{number}/folders/{folders[1]['id']}").status_code == 404


def test_uploads_are_not_taken_off(client: TestClient, library: Library) -> None:
    made = client.post("/v1/albums", json={"name": "new"}).json()["id"]
    content = (library.photos.parent / "more" / "one.png").read_bytes()
    client.post(f"/v1/albums/{made}/photos", files={"files": ("one.png", content)})
    (folder,) = client.get(f"/v1/albums/{made}/folders").json()["folders"]
    assert folder["uploads"]
    refused = client.delete(f"/v1/albums/{made}/folders/{folder['id']}")
    assert refused.status_code == 422 and "uploads" in refused.text


def test_only_admins_see_paths_and_take_folders_off(client: TestClient, library: Library) -> None:
    headers = {"x-api-key": create_key(library.engine.catalog, "w", ["read", "write"])}
    at = f"/v1/albums/{album(client)}/folders"
    (folder,) = client.get(at, headers=headers).json()["folders"]
    assert folder["path"] is None and str(library.photos) not in str(folder)
    assert client.delete(f"{at}/{folder['id']}", headers=headers).status_code == 403


def test_kinds_that_are_not_read_are_counted(client: TestClient, library: Library) -> None:
    number = album(client)
    assert client.get(f"/v1/albums/{number}").json()["unread"] == {}
    catalog = library.engine.catalog
    job = jobs.create(catalog, "index", album_id=number, width=1)
    with catalog.session() as session:
        row = session.scalars(select(Job).where(Job.id == job.id)).one()
        row.result = {"scan": {"unread": {"mov": 3}}}
    assert client.get(f"/v1/albums/{number}").json()["unread"] == {"mov": 3}
