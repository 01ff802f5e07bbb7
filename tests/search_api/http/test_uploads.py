"""What an upload is answered with is in the album, whatever the file was called."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import func, select
from starlette.testclient import TestClient

from indexer.db.tables import JobSlot, Photo, Root
from indexer.folders import own_folders
from indexer.folders.albums import change_album
from indexer.folders.globs import EXTENSION_OF, is_photo_name
from indexer.photos.picture import FORMATS
from search_api.http.app import create_app
from search_api.http.server_settings import ServerSettings
from search_api.search import uploads
from tests.support.library import Library, make_library, paint

HERE = "http://127.0.0.1"


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    made = make_library(tmp_path, 1)
    yield made
    made.engine.close()


@pytest.fixture
def client(library: Library) -> Iterator[TestClient]:
    settings = library.settings.model_copy(update={"job_width": 3})
    library.engine.settings = settings
    app = create_app(settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    with TestClient(app, base_url=HERE) as made:
        yield made


@pytest.fixture
def album(client: TestClient) -> int:
    number: int = client.post("/v1/albums", json={"name": "new"}).json()["id"]
    return number


def upload(client: TestClient, album: int, *files: tuple[str, bytes]) -> list[dict]:
    answer = client.post(f"/v1/albums/{album}/photos", files=[("files", each) for each in files])
    assert answer.status_code == 200, answer.text
    found: list[dict] = answer.json()["files"]
    return found


def picture(tmp_path: Path, seed: int, suffix: str = "jpg") -> bytes:
    paint(tmp_path / f"{seed}.{suffix}", seed)
    return (tmp_path / f"{seed}.{suffix}").read_bytes()


def counts(client: TestClient, album: int) -> dict[str, int]:
    found: dict[str, int] = client.get(f"/v1/albums/{album}").json()["by_status"]
    return found


def test_photo_of_any_name_gets_one_that_a_scan_sees_and_is_indexed(
    client: TestClient, library: Library, album: int, tmp_path: Path
) -> None:
    sent = {
        "photo": ("photo.jpg", "jpg"),
        "noextension": ("noextension.png", "png"),
        "IMG.JPEG_original": ("IMG.JPEG_original.jpg", "jpg"),
        "scan.pdf": ("scan.pdf.webp", "webp"),
        "plain.JPG": ("plain.JPG", "jpg"),
    }
    for seed, (name, (kept, suffix)) in enumerate(sent.items(), start=50):
        found = upload(client, album, (name, picture(tmp_path, seed, suffix)))
        assert [each["path"] for each in found] == [kept]
    assert counts(client, album)["new"] == len(sent)  # counted before any scan
    library.index("new")
    assert counts(client, album) == {"indexed": len(sent), "new": 0, "failed": 0, "missing": 0}


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_that_is_read_has_an_extension_that_a_scan_takes(format: str) -> None:
    assert is_photo_name(b"x." + EXTENSION_OF[format].encode())


def test_same_bytes_again_are_answered_with_the_photo_that_is_there(
    client: TestClient, library: Library, album: int, tmp_path: Path
) -> None:
    data = picture(tmp_path, 60)
    first, second = upload(client, album, ("a.jpg", data), ("b.jpg", data))
    assert (first["path"], first["known"]) == ("a.jpg", False)
    assert (second["path"], second["known"], second["photo"]) == ("a.jpg", True, first["photo"])
    library.index("new")
    (third,) = upload(client, album, ("photo", data))
    assert (third["path"], third["photo"]) == ("a.jpg", first["photo"])
    assert client.get(f"/v1/photos/{first['photo']}").json()["path"] == "a.jpg"
    assert counts(client, album)["indexed"] == 1


def test_same_bytes_are_taken_anew_where_the_photo_s_file_is_gone(
    client: TestClient, library: Library, album: int, tmp_path: Path
) -> None:
    data = picture(tmp_path, 61)
    upload(client, album, ("a.jpg", data), ("b.jpg", picture(tmp_path, 62)))
    with library.engine.catalog.reading() as session:
        folder = session.scalars(select(Root.path).where(Root.album_id == album)).one()
    Path(folder.decode(), "a.jpg").unlink()
    (again,) = upload(client, album, ("a.jpg", data))
    assert not again["known"]
    library.index("new")
    assert counts(client, album)["indexed"] == 2


def test_same_bytes_sent_by_many_at_once_are_one_photo(
    client: TestClient, library: Library, album: int, tmp_path: Path
) -> None:
    data = picture(tmp_path, 63)
    together = threading.Barrier(4)
    numbers: list[int] = []

    def send(name: str) -> None:
        together.wait()
        numbers.append(upload(client, album, (name, data))[0]["photo"])

    threads = [threading.Thread(target=send, args=(f"{n}.jpg",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(numbers) == 4
    assert len(set(numbers)) == 1
    with library.engine.catalog.reading() as session:
        assert session.scalar(select(func.count()).where(Photo.album_id == album)) == 1


def test_upload_that_the_album_s_globs_leave_out_is_refused_with_the_reason(
    client: TestClient, library: Library, album: int, tmp_path: Path
) -> None:
    with library.engine.catalog.session() as session:
        change_album(session, "new", exclude=["*.png"])
    (refused,) = upload(client, album, ("a.png", picture(tmp_path, 64, "png")))
    assert refused["path"] is None
    assert "globs" in refused["reason"]


def test_jobs_of_uploads_and_folders_have_as_many_places_as_the_setting_says(
    client: TestClient, library: Library, album: int, tmp_path: Path
) -> None:
    upload(client, album, ("a.jpg", picture(tmp_path, 65)))
    with library.engine.catalog.reading() as session:
        assert session.scalar(select(func.count()).select_from(JobSlot)) == 3


def test_failed_photos_are_listed_with_reasons_filtered_and_tried_again(
    client: TestClient, library: Library, album: int, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(b"no picture")
    (folder / "empty.jpg").touch()
    library.add_album(folder, "mixed")
    number = {each["name"]: each["id"] for each in client.get("/v1/albums").json()["albums"]}[
        "mixed"
    ]
    query = {"album": "mixed", "status": "failed"}
    everyone = client.get("/v1/photos", params=query).json()["photos"]
    assert len(everyone) == 4
    (empty,) = client.get("/v1/photos", params={**query, "reason": "Is EMPTY"}).json()["photos"]
    assert (empty["path"], empty["error"]) == ("empty.jpg", "is empty")
    paint(folder / "empty.jpg", 70)
    paint(folder / "0.jpg", 71)
    one = client.post(f"/v1/albums/{number}/retry", json={"photos": [empty["id"]]}).json()
    assert (one["photos"], one["job"] is not None) == (1, True)
    assert counts(client, number) == {"indexed": 0, "new": 1, "failed": 3, "missing": 0}
    rest = client.post(f"/v1/albums/{number}/retry", json={"reason": "known image format"}).json()
    assert (rest["photos"], rest["job"]) == (3, one["job"])
    library.index("mixed")
    assert counts(client, number) == {"indexed": 2, "new": 0, "failed": 2, "missing": 0}
    none = client.post(f"/v1/albums/{number}/retry", json={"reason": "nothing of the kind"}).json()
    assert none == {"photos": 0, "job": None}
    assert client.post("/v1/albums/999/retry", json={}).status_code == 404


def test_uploads_wait_on_the_disk_of_the_library_and_leave_nothing(
    client: TestClient, library: Library, album: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_files: set[str] = set()
    take = uploads.take_upload

    def looked_at(*arguments: object, **options: object) -> object:
        for link in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):  # of the listing itself
                open_files.add(str(link.readlink()))
        return take(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(uploads, "take_upload", looked_at)
    upload(client, album, ("large.jpg", os.urandom(3 * 2**20)))
    incoming = own_folders.incoming(library.settings)
    assert any(Path(name).parent == incoming for name in open_files)
    assert list(incoming.iterdir()) == []


def test_uploads_beyond_the_room_for_them_are_turned_away_before_they_are_read(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = ServerSettings(spool_mib=1)
    app = create_app(
        library.settings, limits=limits, host="127.0.0.1", engine=library.engine, warm_up=False
    )
    with TestClient(app, base_url=HERE) as client:
        album = client.post("/v1/albums", json={"name": "new"}).json()["id"]
        spool = app.state.server.spool
        spool.taken = 2**20  # another request's
        sent = {"files": ("a.jpg", picture(tmp_path, 64))}
        answer = client.post(f"/v1/albums/{album}/photos", files=sent)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "10")
        spool.taken = 0
        full = SimpleNamespace(free=10 * 2**20)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
        answer = client.post(f"/v1/albums/{album}/photos", files=sent)
        assert answer.status_code == 507, answer.text
        monkeypatch.undo()
        assert client.post(f"/v1/albums/{album}/photos", files=sent).status_code == 200
        assert spool.taken == 0
