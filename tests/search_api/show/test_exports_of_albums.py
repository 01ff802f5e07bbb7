"""Exports of searches over several albums: every match, every file, one number each."""

from __future__ import annotations

import csv
import io
import json
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pycocotools.coco import COCO
from starlette.testclient import TestClient

from indexer.encoding.alone import index_album
from indexer.folders.albums import ensure_album
from indexer.jobs.failures import failures_of
from model.build import load_predictor
from search_api.http.app import create_app
from search_api.search import runs
from search_api.search.events import Done
from search_api.search.photos import by_id
from search_api.search.pipeline import collect
from search_api.search.query import Query
from search_api.show import exports
from search_api.show.exports import CSV_COLUMNS
from search_api.show.file_names import FileNames
from tests.support.library import EXPRESSION, Library, make_library, paint
from tests.support.tiny_model import write_tiny_model
from workers.held import Held
from workers.inprocess import run_job

FORMULA = '=HYPERLINK("http:evil","a").png'


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Three albums with equal names; one has two folders, one is served by another model."""
    folder = tmp_path_factory.mktemp("albums")
    made = make_library(folder, 3)
    for number, root in enumerate(("one", "two", "three")):
        paint(folder / root / "2024" / "a.png", 10 + number)
    paint(folder / "one" / FORMULA, 20)
    with made.engine.catalog.session() as session:
        ensure_album(session, [folder / "one", folder / "two"], name="twice")
        ensure_album(session, [folder / "three"], name="other")
    made.index("twice")
    other = load_predictor(write_tiny_model(folder / "other.safetensors", seed=2))
    assert other.fingerprints["masks"] != made.predictor.fingerprints["masks"]
    index_album(made.settings, "other", other, catalog=made.engine.catalog)
    # As if it were installed under its name.
    made.engine.models._held[other.name] = other
    made.engine.models._alive[other.name] = other
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def done(library: Library) -> Done:
    return collect(library.engine, Query(expression=EXPRESSION, threshold=0.0, mode="exhaustive"))


@pytest.fixture(scope="module")
def client(library: Library) -> Iterator[TestClient]:
    app = create_app(library.settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    with TestClient(app, base_url="http://127.0.0.1") as made:
        yield made


def test_matches_of_an_album_of_another_model_have_their_masks(
    library: Library, done: Done, client: TestClient
) -> None:
    photos = by_id(library.engine.catalog, [each.photo_id for each in done.matched])
    assert {photo.album for photo in photos.values()} == {"small", "twice", "other"}
    for photo_id, photo in photos.items():
        answer = client.get(f"/v1/search/{done.run_id}/hits/{photo_id}/mask.json")
        assert answer.status_code == 200, (photo.album, answer.text)
    document = json.loads(client.get(f"/v1/search/{done.run_id}/coco.json").text)
    assert document["without_mask"] == []
    run = runs.load(library.engine.catalog, done.run_id)
    assert all(each.mask is not None for each in exports.exported(library.engine, run))


def test_matches_of_albums_of_two_models_are_cut_out_together(
    library: Library, done: Done, client: TestClient
) -> None:
    job = client.post("/v1/matte", json={"run": done.run_id, "mask_only": True}).json()["id"]
    models = Held(library.settings, engine=library.engine)
    ended = run_job(library.settings, library.engine.catalog, job, models)
    models.close()
    assert (ended.state, ended.done + ended.failed) == ("done", len(done.matched))
    reasons = {each.reason for each in failures_of(library.engine.catalog, job)}
    assert reasons <= {"failed: the mask is empty at the photo's size"}  # random networks
    for photo in by_id(library.engine.catalog, [each.photo_id for each in done.matched]):
        drawn = client.get(f"/v1/search/{done.run_id}/hits/{photo}/overlay.jpg")
        assert drawn.status_code == 200, drawn.text


def test_pycocotools_finds_every_file_of_albums_with_equal_names(
    library: Library, done: Done, tmp_path: Path
) -> None:
    exports.write_export(library.engine, done.run_id, "coco", tmp_path / "found.json")
    images = list(COCO(str(tmp_path / "found.json")).imgs.values())
    names = [image["file_name"] for image in images]
    assert len(images) == len(done.matched)
    assert len(set(map(str.casefold, names))) == len(names)
    photos = by_id(library.engine.catalog, [image["id"] for image in images])
    for image in images:
        target = tmp_path / "files" / image["file_name"]
        target.parent.mkdir(parents=True, exist_ok=True)
        urllib.request.urlretrieve(image["coco_url"], target)  # as COCO.download does
    for image in images:
        content = (tmp_path / "files" / image["file_name"]).read_bytes()
        assert content == photos[image["id"]].file.read_bytes()


def test_clients_find_every_file_and_no_path_of_the_server(
    library: Library, done: Done, client: TestClient
) -> None:
    text = client.get(f"/v1/search/{done.run_id}/coco.json").text
    assert str(library.photos.parent) not in text
    for image in json.loads(text)["images"]:
        assert client.get(image["coco_url"]).status_code == 200
    taken = client.get(f"/v1/search/{done.run_id}/grefcoco.zip")
    with zipfile.ZipFile(io.BytesIO(taken.content)) as opened:
        for name in opened.namelist():
            assert str(library.photos.parent).encode() not in opened.read(name)
        references = json.loads(opened.read("grefs(unc).json"))
    names = {each["file_name"] for each in references}
    assert len(names) == len(done.matched)


def test_a_name_is_the_same_for_the_same_photo_and_no_other(library: Library, done: Done) -> None:
    photos = by_id(library.engine.catalog, [each.photo_id for each in done.matched])
    names = FileNames()
    first = {number: names.of(photo) for number, photo in photos.items()}
    assert first == {number: names.of(photo) for number, photo in photos.items()}
    assert len(set(first.values())) == len(photos)


def test_a_spreadsheet_computes_nothing_of_a_csv(client: TestClient, done: Done) -> None:
    rows = list(csv.DictReader(io.StringIO(client.get(f"/v1/search/{done.run_id}/hits.csv").text)))
    assert len(rows) == len(done.matched)
    assert "'" + FORMULA in {row["path"] for row in rows}
    for row in rows:
        for name in CSV_COLUMNS:
            assert not row[name].lstrip().startswith(("=", "+", "-", "@")), row
