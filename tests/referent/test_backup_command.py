"""A library that was uploaded to and searched, backed up and restored as a person types it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from indexer.db.catalog import Catalog
from indexer.folders import own_folders
from indexer.settings import Settings
from search_api.http.app import create_app
from search_api.http.keys import create_key
from search_api.search.engine import Engine
from tests.support.library import EXPRESSION, Library, make_library, paint
from tests.support.terminal import Terminal

HERE = "http://127.0.0.1"


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    made = make_library(tmp_path / "one", 6)
    yield made
    made.engine.close()


def found_by(client: TestClient, key: str) -> list[tuple[str, str, float]]:
    """Album, path and confidence of each match, in order."""
    asked = {"expression": EXPRESSION, "mode": "exhaustive", "threshold": 0.0}
    answer = client.post("/v1/search", json=asked, headers={"x-api-key": key})
    assert answer.status_code == 200, answer.text
    return [
        (hit["photo"]["album"], hit["photo"]["path"], hit["confidence"])
        for hit in answer.json()["hits"]
    ]


def server(settings: Settings, library: Library) -> TestClient:
    engine = Engine.open(settings, library.predictor)
    return TestClient(
        create_app(settings, host="127.0.0.1", engine=engine, warm_up=False), base_url=HERE
    )


def test_restored_library_answers_with_equal_confidences(
    library: Library, referent: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = create_key(library.engine.catalog, "me", ["admin"])
    with server(library.settings, library) as client:
        album = client.post("/v1/albums", json={"name": "sent"}, headers={"x-api-key": key}).json()
        paint(tmp_path / "sent.jpg", 70)
        sent = {"files": ("sent.jpg", io.BytesIO((tmp_path / "sent.jpg").read_bytes()))}
        client.post(f"/v1/albums/{album['id']}/photos", files=sent, headers={"x-api-key": key})
        library.index("sent")
        before = found_by(client, key)
        assert client.post("/v1/session", json={"key": key}).status_code == 200
        assert client.get("/v1/albums").status_code == 200
        cookie = dict(client.cookies)
    assert len(before) == 7
    assert {album for album, _, _ in before} == {"small", "sent"}

    backup = tmp_path / "disk" / "backup"
    code, out, _ = referent("backup", str(backup), "--quiet")
    assert code == 0, out
    assert "files of" in out
    assert referent("backup", str(backup), "--check")[0] == 0
    library.photos.rename(tmp_path / "photos elsewhere")

    home = tmp_path / "two" / "home"
    monkeypatch.setenv("REFERENT_HOME", str(home))
    code, out, err = referent("restore", str(backup), "--quiet")
    assert code == 0, err
    assert f"not on this machine: {library.photos}" in err
    code, _, err = referent("restore", str(backup), "--quiet")
    assert code == 2
    assert "holds albums already" in err
    code, _, err = referent(
        "albums", "small", "--moved", str(library.photos), str(tmp_path / "photos elsewhere")
    )
    assert code == 0, err

    again = Settings()
    with server(again, library) as client:
        assert found_by(client, key) == before
        (photo,) = client.get("/v1/photos?album=sent", headers={"x-api-key": key}).json()["photos"]
        original = client.get(f"/v1/photos/{photo['id']}/original", headers={"x-api-key": key})
        assert original.content == (tmp_path / "sent.jpg").read_bytes()
        client.cookies.update(cookie)
        assert client.get("/v1/albums").status_code == 200  # the session lives on
        client.cookies.clear()
        # A new album of the restored library has a folder that the old one never gave to another.
        with Catalog.open(again) as catalog:
            new = client.post("/v1/albums", json={"name": "new"}, headers={"x-api-key": key})
            folder = own_folders.made_folder(catalog, again, "uploads", new.json()["id"])
        assert list(folder.iterdir()) == []
