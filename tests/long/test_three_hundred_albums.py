"""A server of 304 albums that may hold 256 descriptors: it starts, answers, and lets files go."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from indexer.db.tables import Segment
from indexer.encoding import ingest
from indexer.encoding.encode import Ingest
from indexer.folders.albums import ensure_album
from indexer.folders.scan import scan_album
from indexer.photos.decode import Decoder
from tests.support.library import EXPRESSION, Library, make_library, paint
from tests.support.servers import Fleet, free_port, removed_but_held, wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]
ALBUMS, PHOTOS, DESCRIPTORS = 304, 8, 256
LOG_BYTES_MAX = 1_000_000


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    made = make_library(tmp_path, 1)
    with Decoder(made.settings, made.predictor.input_size, workers=1) as decoder:
        for album in range(ALBUMS):
            name = f"album {album:03d}"
            folder = tmp_path / "many" / name
            for photo in range(PHOTOS):
                paint(folder / f"{photo}.png", 1000 + album * PHOTOS + photo, (32, 24))
            index(made, decoder, folder, name)
    yield made
    made.engine.close()


def index(library: Library, decoder: Decoder, folder: Path, name: str) -> None:
    """As a worker does that keeps its decoder: each album's features in segments of their own."""
    catalog = library.engine.catalog
    with catalog.session() as session:
        album = ensure_album(session, [folder], name=name).id
    scan_album(catalog, name)
    with Ingest(library.settings, catalog, album, library.predictor, decoder=decoder) as part:
        assert part.run() == "done"
        ingest.finish(library.settings, catalog, part.version, library.predictor, complete=False)


class Server:
    """`referent serve` under a limit of descriptors."""

    def __init__(self, library: Library, folder: Path) -> None:
        self.port = free_port()
        self.fleet = Fleet(
            folder,
            {
                "REFERENT_HOME": str(library.settings.home),
                "REFERENT_MODEL": library.settings.model,
                "REFERENT_DECODE_WORKERS": "1",
                "REFERENT_DECODE_TIMEOUT_S": "60",
            },
        )
        serve = f'ulimit -n {DESCRIPTORS}; exec "$0" -m referent.main "$@"'
        self.process = self.fleet.start(
            "serve", "--port", str(self.port), "--threads", "1",
            name="serve", command=("bash", "-c", serve, sys.executable),
        )  # fmt: skip

    def call(self, path: str, body: object = None, method: str | None = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=300) as answer:
            text = answer.read()
            return json.loads(text) if text else None

    def search(self, **asked: object) -> Any:
        return self.call("/v1/search", {"expression": EXPRESSION, "threshold": 0.0, **asked})

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.fleet.log_of("serve")[-2000:]
        try:
            return bool(self.call("/readyz"))
        except (urllib.error.URLError, OSError):
            return False

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))  # noqa: PTH208

    def run(self, kind: str, album: str) -> None:
        """Run a job to its end."""
        number = self.call("/v1/jobs", {"kind": kind, "album": album})["id"]
        wait_until(
            lambda: self.call(f"/v1/jobs/{number}")["finished_at"] is not None,
            timeout_s=600, every_s=0.5, what=f"the job {kind}",
        )  # fmt: skip


def test_few_descriptors_are_enough_for_many_albums(library: Library, tmp_path: Path) -> None:
    server = Server(library, tmp_path / "logs")
    try:
        wait_until(server.is_ready, timeout_s=900, every_s=1.0, what="readiness")
        assert server.descriptors() < DESCRIPTORS
        found = server.search(mode="exhaustive")
        assert found["run"]["coverage"]["verified"] == ALBUMS * PHOTOS + 1
        names = [album["name"] for album in server.call("/v1/albums")["albums"]]
        assert len(names) == ALBUMS + 1
        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(lambda name: server.search(album=name), names))
        assert [each["run"]["coverage"]["verified"] for each in answers].count(PHOTOS) == ALBUMS
        assert server.search(mode="fast")["run"]["state"] == "done"

        # Compaction retires what every opened album holds; deletions take albums away.
        server.run("compact", names[0])
        for album in server.call("/v1/albums")["albums"][:50]:
            server.call(f"/v1/albums/{album['id']}", method="DELETE")
        left = ALBUMS + 1 - 50

        def nothing_is_held() -> bool:
            server.run("compact", names[-1])
            with library.engine.catalog.reading() as session:
                live = session.scalar(
                    select(func.sum(Segment.bytes)).where(Segment.state == "live")
                )
            files = library.settings.features_dir.glob("*/*/*.seg")
            there = sum(file.stat().st_size for file in files)
            held = removed_but_held(server.process.pid, library.settings.features_dir)
            return there <= 1.1 * float(live or 0) and not held

        library.engine.close()  # this process holds no view
        wait_until(nothing_is_held, timeout_s=300, every_s=5.0, what="the end of retired files")
        assert len(server.call("/v1/albums")["albums"]) == left
        assert server.search()["run"]["coverage"]["total"] >= (left - 1) * PHOTOS
        assert server.descriptors() < DESCRIPTORS
        log = server.fleet.log_of("serve")
        assert "Too many open files" not in log
        assert len(log) < LOG_BYTES_MAX
    finally:
        server.fleet.kill_all()
