"""A number of the API means one thing for ever, and what was deleted is not shown again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from search_api.http.app import create_app
from tests.support.library import EXPRESSION, Library, make_library, paint
from workers.held import Held
from workers.inprocess import run_job


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    made = make_library(tmp_path_factory.mktemp("numbers"), 3)
    yield made
    made.engine.close()


@pytest.fixture
def client(library: Library) -> Iterator[TestClient]:
    app = create_app(library.settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    with TestClient(app, base_url="http://127.0.0.1") as made:
        yield made


def run(library: Library, job: int) -> None:
    models = Held(library.settings, load=lambda name: library.predictor)
    assert run_job(library.settings, library.engine.catalog, job, models).state == "done"


def fill(client: TestClient, library: Library, name: str, picture: Path) -> dict[str, Any]:
    """An album of one uploaded picture: its number, its photo, and a job that cut it out."""
    album = client.post("/v1/albums", json={"name": name}).json()["id"]
    with picture.open("rb") as content:
        taken = client.post(f"/v1/albums/{album}/photos", files={"files": (f"{name}.png", content)})
    run(library, taken.json()["job"])
    photos = client.get("/v1/photos", params={"album": name}).json()["photos"]
    query = {"expression": EXPRESSION, "album": name, "threshold": 0.0}
    found = client.post("/v1/search", json=query).json()["run"]["id"]
    job = client.post("/v1/matte", json={"run": found, "mask_only": True}).json()["id"]
    run(library, job)
    return {"album": album, "photos": photos, "job": job}


def test_an_album_in_a_deleted_ones_place_shows_nothing_of_it(
    client: TestClient, library: Library, tmp_path: Path
) -> None:
    for number in (0, 1):
        paint(tmp_path / f"{number}.png", 100 + number)
    gone = fill(client, library, "gone", tmp_path / "0.png")
    assert client.get(f"/v1/jobs/{gone['job']}/cutouts.zip").status_code == 200
    assert client.delete(f"/v1/albums/{gone['album']}").status_code == 204
    left = [file for file in library.settings.home.rglob("*") if "gone.png" in file.name]
    assert left == []
    new = fill(client, library, "new", tmp_path / "1.png")
    assert [photo["path"] for photo in new["photos"]] == ["new.png"]
    assert new["job"] > gone["job"] and new["album"] > gone["album"]
    for address in (f"photos/{gone['photos'][0]['id']}/thumbnail", f"jobs/{gone['job']}"):
        assert client.get(f"/v1/{address}").status_code == 404


def test_a_thumbnail_is_kept_for_good_only_under_its_contents_address(
    client: TestClient, library: Library
) -> None:
    photo = client.get("/v1/photos", params={"album": "small", "size": 1}).json()["photos"][0]
    address = f"/v1/photos/{photo['id']}/thumbnail"
    plain = client.get(address)
    assert plain.headers["cache-control"] == "private, no-cache"
    known = client.get(address, params={"v": photo["version"]})
    assert "immutable" in known.headers["cache-control"]
    file = library.photos / photo["path"]
    before = file.read_bytes()
    try:  # another picture in its place, not indexed yet: nobody may keep it under the old address
        paint(file, 4711)
        os.utime(file, (0, 0))
        other = client.get(address, params={"v": photo["version"]})
        assert other.content != known.content
        assert other.headers["cache-control"] == "private, no-cache"
    finally:
        file.write_bytes(before)
