"""A day of thirty people, pressed into minutes: what it leaves on the disk is what is live."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from starlette.testclient import TestClient

from indexer.db.tables import OwnFolder, Segment
from indexer.features import maintenance
from indexer.folders import own_folders
from indexer.jobs import jobs
from search_api.http.app import create_app
from search_api.search import retention
from tests.support.library import EXPRESSION, Library, make_library, paint
from tests.support.servers import removed_but_held
from workers.held import Held
from workers.inprocess import run_job

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]
ALBUMS, ROUNDS, PHOTOS = 8, 10, 6


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    made = make_library(tmp_path, 4)
    yield made
    made.engine.close()


def bytes_below(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


class Day:
    """Uploads, searches, exports, cut-outs and deletions through the API; jobs in this process."""

    def __init__(self, library: Library, client: TestClient, folder: Path) -> None:
        self.library, self.client, self.folder = library, client, folder
        self.models = Held(library.settings, engine=library.engine)
        self.dice = random.Random(7)
        self.painted = 0
        self.albums: dict[int, str] = {}

    def work(self) -> None:
        """Do what waits."""
        catalog = self.library.engine.catalog
        for job in reversed(jobs.list_jobs(catalog, states=("queued", "running"))):
            done = run_job(self.library.settings, catalog, job.id, self.models)
            assert done.state == "done", done

    def post(self, path: str, **body: Any) -> Any:
        answer = self.client.post(path, json=body)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def upload(self, album: int) -> None:
        files = []
        for _ in range(PHOTOS):
            self.painted += 1
            file = self.folder / f"{self.painted}.png"
            paint(file, 5000 + self.painted)
            files.append(("files", (file.name, file.read_bytes())))
        answer = self.client.post(f"/v1/albums/{album}/photos", files=files)
        assert answer.status_code == 200, answer.text

    def round(self) -> None:
        while len(self.albums) < ALBUMS:
            made = self.post("/v1/albums", name=f"album {self.painted}")
            self.albums[made["id"]] = made["name"]
            self.upload(made["id"])
        self.upload(self.dice.choice(list(self.albums)))
        self.work()
        run = self.post("/v1/search", expression=EXPRESSION, mode="exhaustive", threshold=0.0)
        self.post("/v1/matte", run=run["run"]["id"], photos=[run["hits"][0]["photo"]["id"]])
        catalog = self.library.engine.catalog
        jobs.create(catalog, "export", parameters={"run": run["run"]["id"], "form": "csv"})
        self.work()
        for album in self.dice.sample(sorted(self.albums), 2):
            assert self.client.delete(f"/v1/albums/{album}").status_code == 204
            del self.albums[album]
        self.work()


def test_disk_holds_what_is_live_and_at_most_a_tenth_more(library: Library, tmp_path: Path) -> None:
    settings = library.settings
    app = create_app(settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        day = Day(library, client, tmp_path / "painted")
        for _ in range(ROUNDS):
            day.round()
        catalog, store = library.engine.catalog, library.engine.store
        library.engine.let_go(0.0)
        jobs.create(catalog, "compact")
        day.work()
        retention.sweep(catalog, settings)
        maintenance.collect(catalog, store)
        library.engine.let_outdated_go()  # as a server does every ten seconds
        with catalog.reading() as session:
            live = int(session.scalar(
                select(func.sum(Segment.bytes)).where(Segment.state == "live")
            ) or 0)  # fmt: skip
            owned = session.execute(
                select(OwnFolder.kind, OwnFolder.owner_id).where(OwnFolder.owner_id.is_not(None))
            ).all()
        folders = [
            own_folders.known_folder(catalog, settings, kind, owner) for kind, owner in owned
        ]
        kept = sum(bytes_below(folder) for folder in folders if folder is not None)
        segments = sum(file.stat().st_size for file in settings.features_dir.glob("*/*/*.seg"))
        assert segments <= 1.1 * live
        assert removed_but_held(os.getpid(), settings.features_dir) == []
        photos = client.get("/v1/photos?size=100").json()["photos"]
        needed = len({photo["version"] for photo in photos})
        with catalog.reading() as session:
            rows = session.scalar(
                select(func.sum(Segment.rows)).where(
                    Segment.state == "live", Segment.tier == "tokens"
                )
            )
        assert rows <= 1.1 * needed
        own = bytes_below(settings.uploads_dir) + bytes_below(settings.exports_dir)
        assert own <= 1.1 * kept + 4096  # the marks that these folders are ours
        albums = client.get("/v1/albums").json()["albums"]
        assert {album["id"] for album in albums} >= set(day.albums)
        assert len(list(settings.uploads_dir.iterdir())) <= len(day.albums) + 3
