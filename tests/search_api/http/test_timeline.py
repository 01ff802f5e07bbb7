"""Albums looked at without searching: their order, their headings, the same bytes once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, update

from indexer.db.tables import Photo
from search_api.http.app import create_app
from search_api.http.keys import create_key
from search_api.search import timeline
from tests.support.library import Library, make_library, paint

PHOTOS = 15


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Dated photos, two without a date, one copy of a file, one file that is no photo."""
    made = make_library(tmp_path_factory.mktemp("timeline"), PHOTOS)
    shutil.copy(made.photos / "2020" / "000.jpg", made.photos / "2021" / "again.jpg")
    (made.photos / "2021" / "broken.jpg").write_bytes(b"no photo at all")
    made.index()
    with made.engine.catalog.session() as session:
        ids = session.scalars(select(Photo.id).order_by(Photo.id)).all()
        session.execute(update(Photo).where(Photo.id.in_(ids[1:3])).values(taken_at=None))
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def client(library: Library) -> Iterator[TestClient]:
    """A client on loopback."""
    app = create_app(library.settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 5000)) as made:
        yield made


def everything(client: TestClient, order: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A timeline and all of its photos, fetched in stretches."""
    asked = {"album": "small", "order": order}
    whole = client.get("/v1/timeline", params=asked).raise_for_status().json()
    photos: list[dict[str, Any]] = []
    while len(photos) < whole["photos"]:
        page = client.get("/v1/timeline/photos", params={**asked, "first": len(photos), "size": 4})
        photos += page.raise_for_status().json()["photos"]
    return whole, photos


def test_same_bytes_and_unreadable_files_are_counted_once_and_told(client: TestClient) -> None:
    whole, photos = everything(client, "newest")
    assert (whole["photos"], whole["searchable"], whole["unreadable"]) == (PHOTOS, PHOTOS, 1)
    assert len({photo["id"] for photo in photos}) == PHOTOS
    assert "2021/again.jpg" not in {photo["path"] for photo in photos}


@pytest.mark.parametrize(("order", "newest"), [("newest", True), ("oldest", False)])
def test_photos_stand_by_time_under_months_and_those_without_a_date_come_last(
    client: TestClient, order: str, newest: bool
) -> None:
    whole, photos = everything(client, order)
    times = [photo["taken_at"] for photo in photos]
    assert times[-2:] == [None, None] and whole["groups"][-1] == {"key": None, "photos": 2}
    assert times[:-2] == sorted(times[:-2], reverse=newest)
    months = [time and time[:7] for time in times]
    assert [g["key"] for g in whole["groups"] for _ in range(g["photos"])] == months


def test_photos_stand_by_name_and_by_folder(client: TestClient) -> None:
    whole, photos = everything(client, "folder")
    assert [photo["path"] for photo in photos] == sorted(photo["path"] for photo in photos)
    assert [group["key"] for group in whole["groups"]] == ["2020", "2021", "2022"]
    _, photos = everything(client, "name")
    names = [photo["path"].rpartition("/")[2] for photo in photos]
    assert names == sorted(names, key=str.casefold)


def test_other_places_of_the_same_bytes_are_told(client: TestClient) -> None:
    _, photos = everything(client, "folder")
    copies = client.get(f"/v1/photos/{photos[0]['id']}/copies").json()["photos"]
    assert [copy["path"] for copy in copies] == ["2021/again.jpg"]
    assert client.get(f"/v1/photos/{photos[-1]['id']}/copies").json() == {"photos": []}


def test_timeline_follows_the_album(client: TestClient, library: Library) -> None:
    before = client.get("/v1/timeline", params={"album": "small"}).json()
    assert client.get("/v1/timeline", params={"album": "small"}).json() == before
    paint(library.photos / "2022" / "zz.png", 900)
    library.index()
    after = client.get("/v1/timeline", params={"album": "small"}).json()
    assert after["revision"] != before["revision"]
    assert after["photos"] == before["photos"] + 1
    (library.photos / "2022" / "zz.png").unlink()
    library.index()
    assert client.get("/v1/timeline").json()["photos"] == before["photos"]


def test_key_of_some_albums_sees_theirs_alone(
    client: TestClient, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = library.photos.parent / "other"
    other.mkdir()
    shutil.copy(library.photos / "2020" / "000.jpg", other / "mine.jpg")
    paint(other / "second.png", 77)
    library.add_album(other, "other")
    key = create_key(library.engine.catalog, "ann", ["read"], albums=["other"])
    headers = {"x-api-key": key}
    assert client.get("/v1/timeline", headers=headers).json()["photos"] == 2
    assert client.get("/v1/timeline").json()["photos"] == PHOTOS + 1
    photos = client.get("/v1/timeline/photos", headers=headers).json()["photos"]
    assert {photo["album"] for photo in photos} == {"other"}
    assert client.get("/v1/timeline?album=small", headers=headers).status_code == 404
    mine = next(photo["id"] for photo in photos if photo["path"] == "mine.jpg")
    at = f"/v1/photos/{mine}/copies"
    assert client.get(at, headers=headers).json() == {"photos": []}
    assert len(client.get(at).json()["photos"]) == 2
    shutil.copy(other / "mine.jpg", other / "third.jpg")
    library.index("other")
    monkeypatch.setattr(timeline, "COPIES_SHOWN", 1)  # the first lies in another album
    shown = client.get(at, headers=headers).json()["photos"]
    assert [each["path"] for each in shown] == ["third.jpg"]


def test_unknown_album_and_order_are_refused(client: TestClient) -> None:
    assert client.get("/v1/timeline", params={"album": "none"}).status_code == 404
    assert client.get("/v1/timeline", params={"order": "random"}).status_code == 422


def test_timeline_of_many_photos_is_made_once_and_sliced(
    client: TestClient, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    with library.engine.catalog.reading() as session:
        assert session.scalar(select(func.count()).select_from(Photo)) >= PHOTOS
    client.get("/v1/timeline").raise_for_status()
    monkeypatch.setattr("search_api.search.timeline._made", lambda *_: pytest.fail("made again"))
    client.get("/v1/timeline/photos", params={"first": 3}).raise_for_status()
