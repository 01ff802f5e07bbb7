"""Folders of pictures that Referent writes: what a name or a link has to do with them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from indexer.db.tables import Photo, Root
from indexer.folders.albums import ensure_album
from indexer.folders.own_folders import made_folder
from indexer.folders.own_output import MARKER
from indexer.folders.scan import scan_album
from indexer.jobs import jobs
from search_api.http.app import create_app
from search_api.http.server_settings import ServerSettings
from tests.support.library import EXPRESSION, Library, make_library, paint
from tests.support.terminal import Terminal
from workers.inprocess import run_job


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    made = make_library(tmp_path, 3)
    monkeypatch.setenv("REFERENT_HOME", str(made.settings.home))
    monkeypatch.setenv("REFERENT_MODEL", made.settings.model)
    yield made
    made.engine.close()


ANYTHING = ("--threshold", "0")


def test_pictures_written_into_an_album_do_not_become_photos_of_it(
    library: Library, referent: Terminal
) -> None:
    out = library.photos / "found"
    matte = referent("matte", EXPRESSION, "--out", str(library.photos / "2020" / "cut"), *ANYTHING)
    assert matte[0] in (0, 3), matte  # a mask may be empty at the photo's size
    assert referent("search", EXPRESSION, "--out", str(out), *ANYTHING)[0] == 0
    assert referent("search", EXPRESSION, "--out", str(library.photos), *ANYTHING)[0] == 0
    run = json.loads(referent("search", EXPRESSION, "--json", *ANYTHING)[1])["run"]
    assert referent("export", run, "--out", str(library.photos / "2021" / "sheet.jpg"))[0] == 0
    photo = next(library.photos.glob("2020/*.*"))
    home = library.photos / "segmented"
    referent("segment", str(photo), "a dog", "--model", library.settings.model, "--out", str(home))
    code, printed, _ = referent("index", str(library.photos), "--json")
    (report,) = json.loads(printed)["albums"]
    assert (code, report["total"], report["indexed"]) == (0, 3, 3)
    assert report["scan"]["left_out"] >= 5


def test_a_library_inside_an_album_keeps_its_uploads_and_exports_to_itself(
    library: Library, referent: Terminal
) -> None:
    app = create_app(library.settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        album = client.post("/v1/albums", json={"name": "uploaded"}).json()["id"]
        picture = library.photos / "new.png"
        paint(picture, 99)
        with picture.open("rb") as file:
            sent = client.post(f"/v1/albums/{album}/photos", files={"files": ("u.png", file)})
        assert sent.status_code == 200, sent.text
        picture.unlink()
    assert any(made_folder(library.engine.catalog, library.settings, "uploads", album).iterdir())
    run = json.loads(referent("search", EXPRESSION, "--json", *ANYTHING)[1])["run"]
    job = jobs.create(library.engine.catalog, "matte", parameters={"run": run})
    assert run_job(library.settings, library.engine.catalog, job.id).state == "done"
    with library.engine.catalog.session() as session:
        ensure_album(session, [library.photos.parent], name="around", exclude=["photos"])
    assert scan_album(library.engine.catalog, "around").files == 0
    library.index("uploaded")  # and is an album itself
    with library.engine.catalog.reading() as session:
        assert session.scalars(select(Photo).where(Photo.album_id == album)).one().path == b"u.png"


def test_a_name_of_254_bytes_is_shortened_and_the_others_are_written_too(
    library: Library, referent: Terminal, tmp_path: Path
) -> None:
    long = "ü" * 125 + ".png"
    assert len(long.encode()) == 254
    paint(library.photos / "2020" / long, 50)
    paint(library.photos / "2020" / (long[:-5] + "x.png"), 51)
    library.index()
    code, printed, _ = referent(
        "matte", EXPRESSION, "--out", str(tmp_path / "cut"), "--json", "--webp", *ANYTHING
    )
    told = json.loads(printed)
    assert told["matched"] == 5 and code == (0 if told["written"] == 5 else 3)
    assert not any("too long" in one["reason"] for one in told["failures"])
    items = json.loads((tmp_path / "cut" / "manifest.json").read_text())["items"]
    assert len({item["file"] for item in items}) == 5
    code, _, said = referent("search", EXPRESSION, "--out", str(tmp_path / "found"), *ANYTHING)
    assert code == 0, said
    assert len(list((tmp_path / "found" / "overlays").rglob("*.jpg"))) == 5
    assert len(list((tmp_path / "found" / "masks").rglob("*.png"))) == 5


def test_one_picture_that_cannot_be_written_is_listed_and_the_others_are_written(
    library: Library, referent: Terminal, tmp_path: Path
) -> None:
    name = "small/2021/001.png"  # a folder stands where this one is to be
    for place in ("cut", "found/masks"):
        (tmp_path / place / name).mkdir(parents=True)
    code, printed, _ = referent(
        "matte", EXPRESSION, "--out", str(tmp_path / "cut"), "--overwrite", "--json", *ANYTHING
    )
    told = json.loads(printed)
    assert code == 3 and told["failed"] >= 1
    (unwritten,) = [one for one in told["failures"] if "cannot write" in one["reason"]]
    assert unwritten["path"].endswith("2021/001.png")
    assert unwritten["reason"].endswith(f"cannot write {name}: Is a directory")
    assert (tmp_path / "cut" / "manifest.json").is_file()
    code, _, said = referent("search", EXPRESSION, "--out", str(tmp_path / "found"), *ANYTHING)
    assert code == 3
    assert "not drawn: 2021/001.png: cannot write" in said
    assert (tmp_path / "found" / "contact-sheet.jpg").is_file()
    assert len(list((tmp_path / "found" / "overlays").rglob("*.jpg"))) == 2


def test_pictures_of_linked_photos_are_shown_as_far_as_the_album_s_owner_allows(
    library: Library, tmp_path: Path
) -> None:
    year = tmp_path / "disk" / "2019"
    paint(year / "far.png", 70)
    (library.photos / "2019").symlink_to(year)
    library.index()
    catalog = library.engine.catalog

    def statuses(client: TestClient) -> set[int]:
        with catalog.reading() as session:
            number = session.scalars(select(Photo.id).where(Photo.path == b"2019/far.png")).one()
        kinds = ("thumbnail", "original")
        return {client.get(f"/v1/photos/{number}/{kind}").status_code for kind in kinds}

    for follows in (True, False):
        limits = ServerSettings(allow_server_folders=True, follow_links=follows)
        app = create_app(
            library.settings, host="127.0.0.1", engine=library.engine, warm_up=False, limits=limits
        )
        with TestClient(app, base_url="http://127.0.0.1") as client:
            with catalog.session() as session:  # as the command line adds a folder
                session.execute(update(Root).values(follow_links=True))
            assert statuses(client) == {200}
            album = client.get("/v1/albums").json()["albums"][0]["id"]
            added = client.post(f"/v1/albums/{album}/roots", json={"path": str(library.photos)})
            assert added.status_code == 200, added.text
            assert statuses(client) == ({200} if follows else {410})


def test_no_link_leads_out_of_an_uploaded_album(library: Library, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    paint(secret, 80)
    limits = ServerSettings(allow_server_folders=True, follow_links=True)
    app = create_app(
        library.settings, host="127.0.0.1", engine=library.engine, warm_up=False, limits=limits
    )
    with TestClient(app, base_url="http://127.0.0.1") as client:
        album = client.post("/v1/albums", json={"name": "uploaded"}).json()["id"]
        with secret.open("rb") as file:
            client.post(f"/v1/albums/{album}/photos", files={"files": ("u.png", file)})
        folder = made_folder(library.engine.catalog, library.settings, "uploads", album)
        (folder / "link.png").symlink_to(secret)
        library.index("uploaded")
        photos = client.get("/v1/photos", params={"album": "uploaded"}).json()["photos"]
        assert [each["path"] for each in photos] == ["u.png"]
        (folder / "u.png").unlink()
        (folder / "u.png").symlink_to(secret)
        number = photos[0]["id"]
        for kind in ("thumbnail", "original"):
            assert client.get(f"/v1/photos/{number}/{kind}").status_code == 410


def test_a_written_folder_says_whose_it_is(library: Library, referent: Terminal) -> None:
    out = library.photos / "found"
    referent("search", EXPRESSION, "--out", str(out), *ANYTHING)
    assert (out / MARKER).read_text().splitlines()[-1] == "*"
    shutil.rmtree(out)
    paint(out / "mine.png", 60)
    referent("search", EXPRESSION, "--out", str(out), *ANYTHING)
    names = (out / MARKER).read_text().splitlines()[1:]
    assert names == ["contact-sheet.jpg", "masks", "overlays"]
