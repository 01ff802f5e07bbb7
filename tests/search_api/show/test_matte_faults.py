"""`referent matte` where something is in the way: a kill, a full disk, files that are there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from search_api.show import manifest
from tests.support.library import EXPRESSION, Library, make_library
from tests.support.terminal import Terminal

PHOTOS = 8
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    made = make_library(tmp_path_factory.mktemp("faults"), PHOTOS)
    yield made
    made.engine.close()


def environment(library: Library) -> dict[str, str]:
    return {"REFERENT_HOME": str(library.settings.home), "REFERENT_MODEL": library.settings.model}


def command(out: Path) -> list[str]:
    words = [EXPRESSION, "--out", str(out), "--threshold", "0", "--json"]
    return [sys.executable, "-m", "referent.main", "matte", *words]


def pictures(folder: Path) -> dict[str, int]:
    """When each cut-out in a folder was last written."""
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*.png")}


def done(folder: Path) -> set[str]:
    """Cut-outs that a folder's journal or manifest calls done."""
    entries = manifest.read_entries(folder).values()
    return {entry.file for entry in entries if entry.status == "done"}


def test_killed_job_is_gone_on_with_by_the_same_command(
    library: Library, referent: Terminal, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(out), cwd=ROOT, env=os.environ | environment(library), stdout=subprocess.DEVNULL
    )
    while len(done(out)) < 2 and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before, kept = pictures(out), done(out)
    assert 2 <= len(kept) < PHOTOS, "the kill came too late to show anything"
    code, printed, _ = referent(*command(out)[3:])
    result = json.loads(printed)
    assert result["matched"] == result["written"] + result["failed"] == PHOTOS
    assert code == (0 if result["written"] == PHOTOS else 3)
    assert result["skipped"] == 0  # what the kill left half noted is ours
    after = pictures(out)
    assert all(after[name] == before[name] for name in kept)
    assert set(after) == done(out)
    assert not list(out.rglob("*part"))
    assert not (out / manifest.JOURNAL).exists()


def test_file_written_just_before_a_kill_is_known_for_ours(
    referent: Terminal, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = json.loads(referent(*command(out)[3:])[1])
    items = json.loads((out / manifest.MANIFEST).read_text())["items"]
    (out / manifest.MANIFEST).unlink()
    entries = [manifest.Entry(**item) for item in items if item["status"] == "done"]
    for entry in entries[1:]:
        manifest.note(out, entry)
    with (out / manifest.JOURNAL).open("a") as journal:
        journal.write('\n{"photo": 1, "alb')  # the kill fell into this line
    manifest.note(out, manifest.Entry(**{**vars(entries[0]), "status": "begun"}))
    before = pictures(out)
    again = json.loads(referent(*command(out)[3:])[1])
    assert again["written"] == first["written"] and again["skipped"] == 0
    changed = {name for name, at in pictures(out).items() if at != before[name]}
    assert changed == {entries[0].file}


@pytest.mark.root
@pytest.mark.timeout(600)
def test_full_disk_ends_with_a_sentence_and_the_same_command_goes_on(
    library: Library, tmp_path: Path
) -> None:
    out = tmp_path / "disk" / "out"
    out.parent.mkdir()
    script = f"""
        mount -t tmpfs -o size=24k tmpfs {out.parent} || exit 99
        "$@"; echo "first $?"
        find {out.parent} -name '*part' | sed 's/^/left /'
        find {out} -name '*.png' -printf 'before %P %T@\\n'
        mount -o remount,size=64m {out.parent}
        "$@"; echo "second $?"
        find {out} -name '*.png' -printf 'after %P %T@\\n'
    """
    ended = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *command(out)],
        cwd=ROOT,
        env=os.environ | environment(library),
        text=True,
        capture_output=True,
        check=False,
    )
    lines = ended.stdout.splitlines()
    assert "first 2" in lines, ended.stdout + ended.stderr
    assert "no space is left for" in ended.stderr and "Traceback" not in ended.stderr
    assert not [line for line in lines if line.startswith("left ")]
    before = {line.removeprefix("before ") for line in lines if line.startswith("before ")}
    after = {line.removeprefix("after ") for line in lines if line.startswith("after ")}
    assert 0 < len(before) < len(after)
    result = json.loads(next(line for line in lines if line.startswith("{")))
    assert result["written"] == len(after) and result["skipped"] == 0
    assert len(before - after) <= 1  # only one that was not noted any more is written again


def test_other_options_replace_only_with_overwrite(referent: Terminal, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = json.loads(referent(*command(out)[3:])[1])
    before = pictures(out)
    words = [*command(out)[3:], "--background", "white"]
    skipped = json.loads(referent(*words)[1])
    assert skipped["written"] == 0 and skipped["skipped"] == first["written"]
    assert "other options" in skipped["failures"][0]["reason"]
    assert pictures(out) == before
    replaced = json.loads(referent(*words, "--overwrite")[1])
    assert replaced["written"] == first["written"]
    for name, at in pictures(out).items():
        assert at > before[name]
        with Image.open(out / name) as picture:
            assert picture.mode == "RGB"


@pytest.mark.parametrize("name", ["out", "out.zip"])
def test_folder_of_another_expression_is_refused(
    referent: Terminal, tmp_path: Path, name: str
) -> None:
    out = tmp_path / name
    referent(*command(out)[3:])
    before = sorted(tmp_path.rglob("*"))
    other = ["matte", "the blue circle", "--out", str(out), "--threshold", "0"]
    code, _, err = referent(*other)
    assert code == 2
    assert f"{out} holds the cut-outs of {EXPRESSION!r}" in err
    assert sorted(tmp_path.rglob("*")) == before
    assert referent(*other, "--overwrite")[0] in (0, 3)
