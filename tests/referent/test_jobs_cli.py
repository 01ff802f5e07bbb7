"""`referent jobs` and `referent reindex` as a person types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from indexer.db.catalog import Catalog
from indexer.db.owner import new_owner
from indexer.db.tables import Photo
from indexer.folders.scan import scan_album
from indexer.jobs import jobs, slots
from indexer.jobs.failures import note_failure
from indexer.settings import Settings
from model.errors import ReferentError
from referent.jobs import app, line_of
from referent.main import app as main
from referent.reindex import reindex
from referent.worker import check_queues
from tests.support import albums
from workers.errors import ReindexRefused

STAND_IN = Path(__file__).parents[1] / "support" / "stand_in.py"


@pytest.fixture
def library(settings: Settings) -> Catalog:
    return Catalog.open(settings)


def typed(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.stdout


def test_empty_library_says_that_nothing_waits(library: Catalog) -> None:
    assert typed("list") == (0, "no job is waiting or running\n")


def test_job_is_started_paused_resumed_and_cancelled(library: Catalog, tmp_path: Path) -> None:
    albums.album(library, "family", albums.folder_of(tmp_path / "photos", 1))
    code, out = typed("start", "index", "--album", "family", "--which", "all", "--json")
    job = json.loads(out)
    assert (code, job["state"], job["parameters"]) == (0, "queued", {"which": "all"})
    number = str(job["id"])
    assert "paused" in typed("pause", number)[1]
    assert "queued" in typed("resume", number)[1]
    assert "cancelled" in typed("cancel", number)[1]
    assert typed("list")[1] == "no job is waiting or running\n"
    assert f"#{number}  index  family  cancelled" in typed("list", "--all")[1]
    assert "queued" in typed("retry", number)[1]


def test_folder_becomes_an_album_when_its_index_is_started(
    library: Catalog, tmp_path: Path
) -> None:
    folder = albums.folder_of(tmp_path / "photos", 1)
    code, out = typed("start", "index", "--album", "new", "--folder", str(folder), "--json")
    assert (code, json.loads(out)["album"]) == (0, "new")


def test_job_that_is_waited_for_prints_nothing_but_its_json_on_stdout(
    settings: Settings, tmp_path: Path
) -> None:
    folder = albums.folder_of(tmp_path / "photos", 2)
    (folder / "broken.jpg").write_bytes(b"no image")
    command = [sys.executable, str(STAND_IN), "jobs", "start", "index", "--album", "family",
               "--folder", str(folder), "--wait", "--json"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    job = json.loads(done.stdout)
    assert (job["state"], job["done"], job["failed"]) == ("done", 2, 1)
    assert "photo failed" in done.stderr


def test_failed_job_is_shown_with_its_photos_and_status_one(
    library: Catalog, tmp_path: Path
) -> None:
    job = jobs.create(library, "compact").id
    place = slots.take(library, job, 0, owner=new_owner(), lease_s=60)
    assert place is not None
    with library.session() as session:
        note_failure(session, job, None, "no space left")
    slots.finish(library, place, "failed", message="no space left")
    code, out = typed("show", str(job))
    assert code == 1
    assert "(no space left)" in out
    code, out = typed("show", str(job), "--json")
    assert json.loads(out)["failures"][0]["reason"] == "no space left"


@pytest.mark.parametrize(
    "words", [("start", "dance"), ("start", "index"), ("show", "9"), ("pause", "9")]
)
def test_what_cannot_be_done_is_an_error_with_a_remedy(
    library: Catalog, words: tuple[str, ...]
) -> None:
    done = CliRunner().invoke(app, list(words))
    assert isinstance(done.exception, ReferentError)


def test_line_of_a_running_job_tells_rate_and_time_left(library: Catalog) -> None:
    job = jobs.create(library, "compact")
    from dataclasses import replace

    running = replace(
        job, state="running", done=1200, total=5000, failed=2, rate=20.0, seconds_left=7300.0
    )
    assert line_of(running) == "#1  compact  running  1,200/5,000  2 failed  20.0/s  2 h 1 min left"


def test_reindex_without_a_model_and_mixed_wishes_are_refused(library: Catalog) -> None:
    with pytest.raises(ReindexRefused, match="--model"):
        reindex()
    with pytest.raises(ReindexRefused, match="alone"):
        reindex(rollback=True, model="rela-base")


def test_worker_refuses_a_queue_that_does_not_exist() -> None:
    assert check_queues("encode, matte") == ["encode", "matte"]
    with pytest.raises(ReferentError, match="dance"):
        check_queues("encode,dance")


def test_every_failed_photo_is_listed_with_its_reason_and_tried_again(
    library: Catalog, tmp_path: Path
) -> None:
    folder = albums.folder_of(tmp_path / "photos", 30)
    album = albums.album(library, "family", folder)
    scan_album(library, "family")
    with library.session() as session:
        for photo in session.scalars(select(Photo)):
            photo.status, photo.error = "failed", "is broken" if photo.id > 2 else "too large"
    listed = CliRunner().invoke(main, ["failed"])
    assert listed.exit_code == 0, listed.output
    assert len(listed.stdout.splitlines()) == 30
    few = CliRunner().invoke(main, ["failed", "family", "--reason", "LARGE", "--json"])
    assert [each["reason"] for each in json.loads(few.stdout)["failed"]] == ["too large"] * 2
    one = CliRunner().invoke(main, ["failed", "--photo", "7", "--retry", "--json"])
    (job,) = json.loads(one.stdout)["jobs"]
    assert jobs.get(library, job).album_id == album
    with library.reading() as session:
        statuses = {each.id: each.status for each in session.scalars(select(Photo))}
    assert [number for number, status in statuses.items() if status == "new"] == [7]
