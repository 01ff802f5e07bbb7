"""A hit's box and area are those of its mask at the photo's size, whoever tells of them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco
from starlette.testclient import TestClient

from search_api.http.app import create_app
from search_api.search import runs
from search_api.show.manifest import read_entries
from search_api.show.shown import show
from tests.support.library import EXPRESSION, Library, make_library, paint
from tests.support.terminal import Terminal
from workers.held import Held
from workers.inprocess import run_job

SIZES = ((2311, 1733), (1250, 3017), (1025, 1024))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    folder = tmp_path_factory.mktemp("large")
    made = make_library(folder, 2)
    for number, size in enumerate(SIZES):
        paint(folder / "large" / f"{number}.jpg", number, size)
    made.add_album(folder / "large", "large")
    yield made
    made.engine.close()


def numbers(photo: int, box: Any, area: Any) -> tuple[int, tuple[float, ...], int]:
    return int(photo), tuple(float(v) for v in box), int(area)


def test_every_answer_gives_the_numbers_of_the_mask_itself(
    library: Library, referent: Terminal, tmp_path: Path
) -> None:
    app = create_app(library.settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    query = {"expression": EXPRESSION, "threshold": 0.0, "album": "large", "mode": "exhaustive"}
    with TestClient(app, base_url="http://127.0.0.1") as client:
        answer = client.post("/v1/search", json=query).json()
        run = answer["run"]["id"]
        ids = [hit["photo"]["id"] for hit in answer["hits"]]
        address = f"/v1/search/{run}/hits"
        masks = {each: client.get(f"{address}/{each}/mask.json").json() for each in ids}
        small = {each: client.get(f"{address}/{each}/mask.json?side=300").json() for each in ids}
        rows = list(csv.DictReader(io.StringIO(client.get(f"/v1/search/{run}/hits.csv").text)))
        document = client.get(f"/v1/search/{run}/coco.json").json()
        job = client.post("/v1/matte", json={"run": run, "mask_only": True}).json()["id"]
    told = {}
    for each, mask in masks.items():
        array = coco.decode(mask["rle"])
        assert array.shape == (mask["photo_height"], mask["photo_width"])
        y, x = np.nonzero(array)
        box = x.min(), y.min(), x.max() - x.min() + 1, y.max() - y.min() + 1
        told[each] = numbers(each, box, array.sum())
    assert len(told) == len(SIZES)
    assert any(box[0] > 0 and area > 10_000 for _, box, area in told.values())  # a true part
    expected = sorted(told.values())
    for each in (masks, small):
        assert sorted(numbers(i, m["box"], m["area"]) for i, m in each.items()) == expected
    hits = answer["hits"]
    assert sorted(numbers(h["photo"]["id"], h["box"], h["area"]) for h in hits) == expected
    edges = ("x", "y", "width", "height")
    in_csv = [numbers(row["photo"], [row[edge] for edge in edges], row["area"]) for row in rows]
    assert sorted(in_csv) == expected
    drawn = document["annotations"]
    assert sorted(numbers(a["image_id"], a["bbox"], a["area"]) for a in drawn) == expected

    models = Held(library.settings, load=lambda name: library.predictor)
    ended = run_job(library.settings, library.engine.catalog, job, models)
    folder = library.settings.exports_dir / (ended.result or {})["folder"]
    entries = read_entries(folder).values()
    assert sorted(numbers(e.photo, e.box, e.area) for e in entries) == expected

    words = ("search", EXPRESSION, "--album", "large", "--threshold", "0", "--json")
    printed = json.loads(referent(*words)[1].splitlines()[-1])["hits"]
    assert sorted(numbers(h["photo"], h["box"], h["area"]) for h in printed) == expected


def test_boxes_of_a_list_make_no_pixels(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    from model import masks
    from search_api.search.pipeline import collect
    from search_api.search.query import Query

    done = collect(library.engine, Query(expression=EXPRESSION, threshold=0.0, album="large"))
    run = runs.load(library.engine.catalog, done.run_id)

    def never(self: masks.Mask) -> None:
        raise AssertionError("a list made the pixels of a mask")

    monkeypatch.setattr(masks.Mask, "array", property(never))
    hits = show(library.engine, done.matched, run.fingerprints)
    assert len(hits) == len(SIZES)
    assert all(hit.box is not None and hit.area for hit in hits)
