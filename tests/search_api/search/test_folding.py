"""Matches that show nearly the same are told as one: copies, and shots of one minute."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from sqlalchemy import select, update

from indexer.db.tables import Photo
from search_api.http.app import create_app
from search_api.search import folding
from search_api.search.pipeline import collect
from search_api.search.query import Query
from tests.support.library import EXPRESSION, Library, make_library
from tests.support.page import let_match


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Eight photos, a copy of one, the same saved anew, in another album too."""
    made = make_library(tmp_path_factory.mktemp("folding"), 8)
    first = made.photos / "2020" / "000.jpg"
    shutil.copy(first, made.photos / "2021" / "copy.jpg")
    with Image.open(first) as image:
        image.save(made.photos / "2021" / "anew.png")
    made.index()
    let_match(made, "small", 1.0)
    yield made
    made.engine.close()


def names(library: Library) -> dict[str, int]:
    with library.engine.catalog.reading() as session:
        return {
            path.decode(): number for number, path in session.execute(select(Photo.id, Photo.path))
        }


def found(library: Library) -> list[set[int]]:
    run = collect(library.engine, Query(expression=EXPRESSION, album="small")).run
    groups = folding.folds(library.engine, run.id)
    assert all(len(group) == len(set(group)) > 1 for group in groups)
    return [set(group) for group in groups]


def test_copies_and_the_same_picture_saved_anew_fold_into_one(library: Library) -> None:
    ids = names(library)
    same = {ids["2020/000.jpg"], ids["2021/copy.jpg"], ids["2021/anew.png"]}
    assert [group for group in found(library) if group & same] == [same]


def test_photos_of_one_minute_fold_if_they_are_alike_and_others_do_not(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = names(library)
    one, two, three = (
        ids[f"20{20 + n % 3}/00{n}.{('jpg', 'png', 'webp')[n % 3]}"] for n in (1, 2, 3)
    )
    start = datetime(2022, 5, 1, 12, 0, 0)

    def taken(photo: int, seconds: float, source: str = "camera") -> None:
        with library.engine.catalog.session() as session:
            at = start + timedelta(seconds=seconds)
            session.execute(
                update(Photo).where(Photo.id == photo).values(taken_at=at, taken_source=source)
            )

    taken(one, 0)
    taken(two, 59)
    taken(three, 200)
    monkeypatch.setattr(folding, "BURST_FROM", 2.0)  # nothing is so alike
    assert not any({one, two} <= group for group in found(library))
    monkeypatch.setattr(folding, "BURST_FROM", -1.0)
    groups = found(library)
    assert any({one, two} <= group for group in groups)
    assert not any(three in group and one in group for group in groups)
    taken(two, 59, "name-day")
    assert not any({one, two} <= group for group in found(library))


def test_leader_is_the_best_match_and_blocks_agree_with_the_whole(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    looks = np.repeat(rng.normal(size=(10, 16)), 4, axis=0) + rng.normal(size=(40, 16)) * 0.01
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    mixed = rng.permutation(40)
    nan = np.full(40, np.nan)
    whole = folding._alike(list(mixed), looks[mixed], nan)
    monkeypatch.setattr(folding, "_BLOCK", 7)
    assert folding._alike(list(mixed), looks[mixed], nan) == whole
    assert sorted(sorted(int(each) // 4 for each in group) for group in whole) == [
        [number] * 4 for number in range(10)
    ]


def test_api_tells_the_groups_of_a_run(library: Library) -> None:
    app = create_app(library.settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 5000)) as client:
        asked = {"expression": EXPRESSION, "album": "small"}
        run = client.post("/v1/search", json=asked).json()["run"]["id"]
        hits = client.get(f"/v1/search/{run}/hits?size=100").json()["hits"]
        groups = client.get(f"/v1/search/{run}/folds").json()["folds"]
        rank = {hit["photo"]["id"]: hit["rank"] for hit in hits}
        assert groups and all(
            [rank[each] for each in group] == sorted(rank[each] for each in group)
            for group in groups
        )
        unknown = "0" * 8 + "-0000-4000-8000-" + "0" * 12
        assert client.get(f"/v1/search/{unknown}/folds").status_code == 404
