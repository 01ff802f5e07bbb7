"""Exports of a search run: what other programs read is what the API shows."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from starlette.testclient import TestClient

from indexer.folders.own_output import MARKER
from indexer.jobs import jobs
from search_api.http.app import create_app
from search_api.search import runs
from search_api.search.events import Done
from search_api.search.pipeline import collect
from search_api.search.query import Query
from search_api.show import exports
from tests.support.library import EXPRESSION, Library, make_library
from tests.support.rle import from_rle
from training.data.grefcoco import read
from workers.held import Held
from workers.inprocess import run_job


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    made = make_library(tmp_path_factory.mktemp("exports"), 8)
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def done(library: Library) -> Done:
    query = Query(expression=EXPRESSION, threshold=library.threshold(), mode="exhaustive")
    return collect(library.engine, query)


@pytest.fixture(scope="module")
def client(library: Library) -> Iterator[TestClient]:
    app = create_app(library.settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    with TestClient(app, base_url="http://127.0.0.1") as made:
        yield made


def test_coco_json_loads_and_its_masks_are_those_of_the_api(
    library: Library, done: Done, client: TestClient, tmp_path: Path
) -> None:
    exports.write_export(library.engine, done.run_id, "coco", tmp_path / "found.json")
    loaded = COCO(str(tmp_path / "found.json"))
    assert sorted(loaded.getImgIds()) == sorted(each.photo_id for each in done.matched)
    assert loaded.loadCats(loaded.getCatIds())[0]["name"] == EXPRESSION
    assert loaded.getAnnIds()
    for annotation in loaded.loadAnns(loaded.getAnnIds()):
        shown = client.get(
            f"/v1/search/{done.run_id}/hits/{annotation['image_id']}/mask.json"
        ).json()
        assert np.array_equal(loaded.annToMask(annotation), from_rle(shown["rle"]))
        assert annotation["bbox"] == shown["box"]
        assert annotation["area"] == shown["area"]


def test_csv_has_a_line_for_each_match(library: Library, done: Done, tmp_path: Path) -> None:
    exports.write_export(library.engine, done.run_id, "csv", tmp_path / "found.csv")
    with (tmp_path / "found.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["photo"]) for row in rows] == [each.photo_id for each in done.matched]
    assert {row["expression"] for row in rows} == {EXPRESSION}


def test_grefcoco_form_is_read_by_the_trainers_reader(
    library: Library, done: Done, tmp_path: Path
) -> None:
    exports.write_export(library.engine, done.run_id, "grefcoco", tmp_path / "found")
    samples = read(tmp_path / "found", "train").samples
    assert len(samples) == len(done.matched)


def test_contact_sheet_is_a_picture(library: Library, done: Done, tmp_path: Path) -> None:
    exports.write_export(library.engine, done.run_id, "sheet", tmp_path / "sheet.jpg")
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert min(sheet.size) > 100


def test_pieces_of_coco_json_are_one_document(library: Library, done: Done) -> None:
    run = runs.load(library.engine.catalog, done.run_id)
    document = json.loads("".join(exports.coco_json(library.engine, run)))
    assert len(document["images"]) == len(done.matched)


@pytest.mark.parametrize("form", exports.FORMS)
def test_export_job_writes_the_run_below_the_exports_folder(
    library: Library, done: Done, form: str
) -> None:
    catalog = library.engine.catalog
    parameters = {"run": done.run_id, "form": form}
    job = jobs.create(catalog, "export", parameters=parameters)
    ended = run_job(
        library.settings, catalog, job.id, Held(library.settings, engine=library.engine)
    )
    assert ended.state == "done", ended.message
    folder = library.settings.exports_dir / (ended.result or {})["folder"]
    (written,) = [each for each in folder.iterdir() if each.name != MARKER]
    if form == "coco":
        assert len(json.loads(written.read_text())["images"]) == len(done.matched)
    assert written.is_file() or any(written.iterdir())
