from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from model.replacing import clear_parts, replacing


def names(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


def test_file_is_there_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_text("before")
    with pytest.raises(RuntimeError), replacing(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before"
    with replacing(path, durable=True) as part:
        part.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert names(tmp_path) == ["kept"]


def test_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    def fill(part: Path) -> None:
        part.mkdir()
        (part / "a").write_text("a")

    with pytest.raises(RuntimeError), replacing(tmp_path / "made") as part:
        fill(part)
        raise RuntimeError
    assert names(tmp_path) == []
    with replacing(tmp_path / "made") as part:
        fill(part)
    assert names(tmp_path) == ["made"]
    with pytest.raises(OSError), replacing(tmp_path / "made") as part:
        fill(part)  # another was quicker
    assert names(tmp_path) == ["made"]


@pytest.mark.parametrize("name", ["x" * 250, "ü" * 120, os.fsdecode(b"\xff\xfe" * 100)])
def test_long_and_odd_names_can_be_written(tmp_path: Path, name: str) -> None:
    with replacing(tmp_path / name) as part:
        part.write_text("whole")
    assert names(tmp_path) == [name]


def test_what_a_killed_writer_left_is_cleared_away_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / ".mine.part").write_text("a download")
    for path in (tmp_path / "file", tmp_path / "below" / "folder"):
        with replacing(path) as part:
            part.mkdir()
            left = tmp_path / path.relative_to(tmp_path).parent / part.name
        path.rename(left)
    clear_parts(tmp_path)
    assert sorted(names(tmp_path)) == [".mine.part", "below"] and names(tmp_path / "below") == []


def test_two_threads_do_not_write_into_each_other(tmp_path: Path) -> None:
    inside = threading.Barrier(2)

    def write(text: str) -> None:
        with replacing(tmp_path / "kept") as part, part.open("w") as file:
            file.write(text)
            inside.wait()
            file.write(text)

    threads = [threading.Thread(target=write, args=(text,)) for text in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "kept").read_text() in ("aa", "bb")
    assert names(tmp_path) == ["kept"]
