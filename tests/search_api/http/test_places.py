"""Photos on a map: clusters of a part of the globe, the date line, whose photos are told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from indexer.db.tables import Photo
from search_api.http.app import create_app
from search_api.http.keys import create_key
from tests.support.library import Library, make_library, paint

PARIS, ROUEN, FIJI, SAMOA = (2.35, 48.86), (1.1, 49.44), (178.4, -18.1), (-171.8, -13.8)
TAKEN = [PARIS, PARIS, ROUEN, FIJI, SAMOA]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Five photos with a place, the others without."""
    made = make_library(tmp_path_factory.mktemp("places"), 8)
    with made.engine.catalog.session() as session:
        session.execute(update(Photo).values(lon=None, lat=None))
        for number, (lon, lat) in zip(session.scalars(select(Photo.id)).all(), TAKEN, strict=False):
            session.execute(update(Photo).where(Photo.id == number).values(lon=lon, lat=lat))
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def client(library: Library) -> Iterator[TestClient]:
    """A client on loopback."""
    app = create_app(library.settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 5000)) as made:
        yield made


def asked(client: TestClient, **box: float | int | str) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/v1/places", params=box).raise_for_status().json()
    return found


def counts(found: dict[str, Any]) -> list[int]:
    return [cluster["photos"] for cluster in found["clusters"]]


def test_the_whole_globe_gathers_what_lies_near(client: TestClient) -> None:
    found = asked(client, album="small", cells=8)
    assert (found["photos"], found["located"]) == (8, 5)
    assert counts(found) == [3, 1, 1]
    france = found["clusters"][0]
    assert france["lat"] == pytest.approx((2 * PARIS[1] + ROUEN[1]) / 3)
    box = {"west": ROUEN[0], "south": PARIS[1], "east": PARIS[0], "north": ROUEN[1]}
    assert france["box"] == pytest.approx(box)


def test_a_closer_look_tells_them_apart_and_a_search_takes_a_clusters_box(
    client: TestClient,
) -> None:
    found = asked(client, west=0, south=48, east=4, north=50)
    assert counts(found) == [2, 1]
    filters = {"gps": found["clusters"][0]["box"]}
    body = {"expression": "dog", "mode": "exhaustive", "filters": filters}
    answer = client.post("/v1/search", json=body).raise_for_status().json()
    assert answer["run"]["coverage"]["filtered"] == 2


def test_a_box_over_the_date_line_is_one_piece(client: TestClient) -> None:
    found = asked(client, west=170, south=-30, east=-160, north=0, cells=1)
    assert counts(found) == [2]
    (cluster,) = found["clusters"]
    assert cluster["box"] == pytest.approx(
        {"west": FIJI[0], "south": FIJI[1], "east": SAMOA[0], "north": SAMOA[1]}
    )
    assert cluster["lon"] == pytest.approx(-176.7)
    assert found["bounds"]["west"] == pytest.approx(FIJI[0])  # by the Pacific, the shorter way
    assert found["bounds"]["east"] == pytest.approx(PARIS[0])


def test_what_cannot_be_a_box_is_named(client: TestClient) -> None:
    refused = client.get("/v1/places", params={"south": 10, "north": 5})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "north"
    assert client.get("/v1/places", params={"album": "nowhere"}).status_code == 404


def test_a_key_for_another_album_sees_no_place(
    client: TestClient, library: Library, tmp_path: Path
) -> None:
    paint(tmp_path / "other" / "new.jpg", 999)
    library.add_album(tmp_path / "other", "other")
    key = create_key(library.engine.catalog, "guest", ["read"], albums=["other"])
    seen = client.get("/v1/places", headers={"x-api-key": key}).raise_for_status().json()
    assert (seen["photos"], seen["located"], seen["bounds"]) == (1, 0, None)
