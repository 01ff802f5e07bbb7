"""The journal of a folder of cut-outs: what a job's next turn knows of the ones before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from search_api.show import manifest
from search_api.show.manifest import Entry, SoFar

ENTRY = Entry(
    photo=1, album="small", path="a.jpg", expression="kid", confidence=0.9, box=(1, 2, 3, 4),
    area=9, file="small/a.png", status="failed", reason="no", key="k",
)  # fmt: skip


def test_job_finds_its_run_and_what_it_did_whoever_wrote_between(tmp_path: Path) -> None:
    assert manifest.of_job(tmp_path, 7) == SoFar(None, {})
    manifest.begin(tmp_path, 7, "run-a")
    manifest.note(tmp_path, ENTRY)
    manifest.begin(tmp_path, 8, "run-b")
    manifest.note(tmp_path, replace(ENTRY, file="small/b.png", status="done"))
    with (tmp_path / manifest.JOURNAL).open("a") as journal:
        journal.write('\n{"job": 7, "ru')  # a kill fell into this line
    so_far = manifest.of_job(tmp_path, 7)
    assert so_far.run == "run-a"
    assert {file: each.status for file, each in so_far.entries.items()} == {"small/a.png": "failed"}
    assert manifest.of_job(tmp_path, 8).entries.keys() == {"small/b.png"}
    assert manifest.read_entries(tmp_path).keys() == {"small/a.png", "small/b.png"}


def test_job_that_is_begun_again_knows_its_run_and_tries_everything(tmp_path: Path) -> None:
    manifest.begin(tmp_path, 7, "run-a")
    manifest.note(tmp_path, ENTRY)
    manifest.begin(tmp_path, 7, "run-a")
    assert manifest.of_job(tmp_path, 7) == SoFar("run-a", {})
    assert manifest.read_entries(tmp_path)["small/a.png"].status == "failed"


def test_folder_without_matches_is_as_it_was_before(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    manifest.begin(folder, 7, "run-a")
    manifest.forget(folder)
    assert not folder.exists()
    (tmp_path / "mine.txt").write_text("kept")
    manifest.begin(tmp_path, 7, "run-a")
    manifest.forget(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["mine.txt"]
