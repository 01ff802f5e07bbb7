"""`referent matte`, its job and the API: from an expression to files that are all accounted for."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import delete
from starlette.testclient import TestClient
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from indexer.db.tables import JobFailure
from indexer.folders import own_output
from indexer.jobs import jobs
from indexer.jobs.failures import failures_of
from search_api.http.app import create_app
from search_api.search import runs
from search_api.search.events import Done
from search_api.search.photos import PhotoInfo, list_photos
from search_api.search.pipeline import collect
from search_api.search.query import Query
from search_api.show import matte
from search_api.show.archive import zip_of
from search_api.show.manifest import MANIFEST, Entry, note
from search_api.show.names import name_files
from tests.support.library import EXPRESSION, Library, make_library
from tests.support.terminal import Terminal
from workers.held import Held
from workers.inprocess import run_job


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    made = make_library(tmp_path_factory.mktemp("matte"), 6)
    yield made
    made.engine.close()


def search(library: Library) -> Done:
    query = Query(expression=EXPRESSION, threshold=0.0, mode="exhaustive")
    return collect(library.engine, query)


def models(library: Library) -> Held:
    return Held(library.settings, load=lambda name: library.predictor)


def files_of(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_command_accounts_for_every_match_and_does_only_what_is_missing_again(
    referent: Terminal, library: Library, tmp_path: Path
) -> None:
    words = ("matte", EXPRESSION, "--out", str(tmp_path / "out"), "--threshold", "0", "--json")
    code, out, _ = referent(*words)
    result = json.loads(out)
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())
    items = manifest["items"]
    assert len(items) == result["matched"] == 6
    done = [item for item in items if item["status"] == "done"]
    assert result["written"] == len(done) > 0
    assert code == (0 if len(done) == 6 else 3)
    assert all(item["reason"] for item in items if item["status"] != "done")
    written = {item["file"] for item in done}
    assert files_of(tmp_path / "out") == written | {MANIFEST, own_output.MARKER}
    for item in done:
        assert item["file"].startswith("small/202")  # subfolders are kept
        with Image.open(tmp_path / "out" / item["file"]) as picture:
            assert picture.mode == "RGBA"
            assert picture.getchannel("A").getextrema()[1] > 0
    gone, kept = (tmp_path / "out" / done[0]["file"]), (tmp_path / "out" / done[-1]["file"])
    before = kept.stat().st_mtime_ns
    gone.unlink()
    again = json.loads(referent(*words)[1])
    assert again["written"] == result["written"]
    assert gone.is_file()
    assert kept.stat().st_mtime_ns == before


def test_zip_holds_the_cut_outs_and_the_manifest(
    referent: Terminal, library: Library, tmp_path: Path
) -> None:
    archive = tmp_path / "found.zip"
    words = ("matte", EXPRESSION, "--out", str(archive), "--threshold", "0", "--mask-only")
    assert referent(*words)[0] in (0, 3)
    with zipfile.ZipFile(archive) as opened:
        items = json.loads(opened.read(MANIFEST))["items"]
        names = set(opened.namelist())
        stamp = {info.filename: info.CRC for info in opened.infolist()}
    assert names == {i["file"] for i in items if i["status"] == "done"} | {MANIFEST}
    assert referent(*words)[0] in (0, 3)
    with zipfile.ZipFile(archive) as opened:
        assert {info.filename: info.CRC for info in opened.infolist()}.keys() == stamp.keys()
    assert [p.name for p in tmp_path.iterdir()] == ["found.zip"]


def test_nothing_found_leaves_with_one_and_says_what_was_verified(
    referent: Terminal, tmp_path: Path
) -> None:
    code, out, _ = referent("matte", EXPRESSION, "--out", str(tmp_path / "out"), "--threshold", "1")
    assert code == 1
    assert "Nothing in 6 photos matches; every one was verified." in out
    assert not (tmp_path / "out").exists()


def test_picture_of_ones_own_stands_behind_cropped_cut_outs(
    referent: Terminal, library: Library, tmp_path: Path
) -> None:
    Image.new("RGB", (40, 30), (10, 20, 250)).save(tmp_path / "behind.png")
    words = ("--out", str(tmp_path / "out"), "--threshold", "0", "--webp", "--crop", "--json")
    picture = ("--background", str(tmp_path / "behind.png"))
    code, out, err = referent("matte", EXPRESSION, *words, *picture)
    assert code in (0, 3), err
    items = json.loads((tmp_path / "out" / MANIFEST).read_text())["items"]
    done = [item for item in items if item["status"] == "done"]
    assert len(done) == json.loads(out)["written"] > 0
    masks = tmp_path / "masks"  # the same cut-outs' alpha, over the whole photos
    words = ("--out", str(masks), "--threshold", "0", "--mask-only", "--json")
    assert referent("matte", EXPRESSION, *words)[0] in (0, 3)
    alpha_of = {
        item["photo"]: masks / item["file"]
        for item in json.loads((masks / MANIFEST).read_text())["items"]
    }
    for item in done:
        assert item["file"].endswith(".webp")
        with (
            Image.open(tmp_path / "out" / item["file"]) as made,
            Image.open(alpha_of[item["photo"]]) as alpha,
        ):
            assert made.mode == "RGB"
            box = alpha.point(lambda value: 255 if value > 8 else 0).getbbox()
            assert box is not None
            assert made.size == (box[2] - box[0], box[3] - box[1])


def test_background_that_is_none_is_refused(referent: Terminal, tmp_path: Path) -> None:
    words = ("--out", str(tmp_path / "out"), "--background", "no colour")
    code, _, err = referent("matte", EXPRESSION, *words)
    assert code == 2
    assert "no background" in err


def test_foreign_file_is_not_overwritten(library: Library, tmp_path: Path) -> None:
    run = runs.load(library.engine.catalog, search(library).run_id)
    options = matte.Options()
    item = matte.plan(library.engine, run, options)[0]
    target = tmp_path / item.file
    target.parent.mkdir(parents=True)
    target.write_bytes(b"mine")
    entry = matte.cut_out(library.engine, run, item, options, tmp_path, {})
    assert entry.status == "skipped"
    assert target.read_bytes() == b"mine"


def test_each_photo_is_tried_once_however_many_turns_a_job_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = make_library(tmp_path, 3)
    catalog = library.engine.catalog
    sorted(library.photos.rglob("*.*"))[0].unlink()
    tried: list[int] = []
    cut_out = matte.cut_out

    def counting(engine: Any, run: Any, item: matte.Item, *more: Any) -> Any:
        tried.append(item.photo.id)
        with catalog.session() as session:  # the report of a job is no memory of it
            session.execute(delete(JobFailure))
        return cut_out(engine, run, item, *more)

    monkeypatch.setattr(matte, "cut_out", counting)
    settings = library.settings.model_copy(update={"turn_s": 0.001})
    query = {"expression": EXPRESSION, "threshold": 0.0}
    job = jobs.create(catalog, "matte", parameters={"query": query})
    ended = run_job(settings, catalog, job.id, models(library), poll_s=0.01)
    assert ended.state == "done", ended.message
    assert sorted(tried) == [1, 2, 3]
    again = jobs.retry(catalog, job.id)
    assert run_job(settings, catalog, again.id, models(library)).state == "done"
    assert len(tried) == 3 + (ended.result or {})["failed"]
    library.engine.close()


def test_changed_and_missing_originals_are_told_of_and_stop_nothing(tmp_path: Path) -> None:
    library = make_library(tmp_path, 3)
    try:
        done = search(library)
        files = sorted(library.photos.rglob("*.*"))
        Image.new("RGB", (96, 72), "red").save(files[0])
        files[1].unlink()
        job = jobs.create(library.engine.catalog, "matte", parameters={"run": done.run_id})
        with capture_logs([merge_contextvars]) as lines:
            job = run_job(library.settings, library.engine.catalog, job.id, models(library))
        assert job.state == "done"
        logged = [line for line in lines if line["event"] == "photo not cut out"]
        told = failures_of(library.engine.catalog, job.id)
        assert {line["photo_id"] for line in logged} == {one.photo_id for one in told}
        assert {line["job_id"] for line in logged} == {job.id}
        items = json.loads(
            (library.settings.exports_dir / (job.result or {})["folder"] / MANIFEST).read_text()
        )["items"]
        reasons = {Path(item["path"]).name: item["reason"] or "" for item in items}
        assert "changed since it was indexed" in reasons[files[0].name]
        assert "gone" in reasons[files[1].name]
        assert job.result is not None
        assert job.result["failed"] == len(failures_of(library.engine.catalog, job.id)) >= 2
    finally:
        library.engine.close()


def test_names_never_collide_and_stay_inside(library: Library) -> None:
    one = list_photos(library.engine.catalog)[0]

    def photo(number: int, path: str) -> PhotoInfo:
        return PhotoInfo(**{**vars(one), "id": number, "path": path})

    paths = ("a/b.jpg", "a/b.jpg.png", "a/B.JPG", "../../etc/x.png", "a:b/c?.png")
    named = name_files([photo(i, path) for i, path in enumerate(paths)], "png")
    assert len({str(name).casefold() for name in named.values()}) == len(paths)
    assert named[0] == PurePosixPath("small/a/b.jpg.png")
    assert all(".." not in name.parts for name in named.values())


def test_api_cuts_out_a_selection_and_streams_its_zip(library: Library) -> None:
    done = search(library)
    app = create_app(library.settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        chosen = [each.photo_id for each in done.matched[:2]]
        body = {"run": done.run_id, "photos": chosen, "background": "#ffffff"}
        started = client.post("/v1/matte", json=body)
        assert started.status_code == 202, started.text
        job = started.json()["id"]
        assert started.json()["expression"] == EXPRESSION
        assert client.get(f"/v1/jobs/{job}/cutouts.zip").status_code == 409
        run_job(library.settings, library.engine.catalog, job, models(library))
        answer = client.get(f"/v1/jobs/{job}/cutouts.zip")
        assert answer.status_code == 200
        assert int(answer.headers["content-length"]) == len(answer.content)
        with zipfile.ZipFile(io.BytesIO(answer.content)) as opened:
            assert opened.testzip() is None
            items = json.loads(opened.read(MANIFEST))["items"]
        assert sorted(item["photo"] for item in items) == sorted(chosen)
        for bad in ({"background": "/etc/passwd"}, {"photos": []}, {"out": "/tmp"}):
            assert client.post("/v1/matte", json={"run": done.run_id, **bad}).status_code == 422


def test_zip_is_made_while_it_is_sent_and_never_sits_in_memory(tmp_path: Path) -> None:
    size = 64 << 20
    for number in range(2):
        name = f"{number}.png"
        entry = Entry(number, "small", name, "dog", 1.0, None, None, name, "done", None, "key")
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
        note(tmp_path, entry)
    stream, sent = zip_of(tmp_path), 0
    tracemalloc.start()
    try:
        for piece in stream:
            sent += len(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sent == len(stream) > 2 * size
    assert peak < size / 16
