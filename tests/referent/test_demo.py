"""`referent demo`: what it runs, and the one picture of all answers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from PIL import Image

from referent import demo
from search_api.show.overlay import contact_sheet


def test_demo_shows_every_answer_the_empty_one_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        words = command[3:]
        commands.append(words)
        if words[0] != "search":
            return subprocess.CompletedProcess(command, 0)
        folder = Path(words[words.index("--out") + 1])
        folder.mkdir(parents=True)
        contact_sheet(words[1], "Nothing matches.", []).save(folder / demo.SHEET_NAME)
        return subprocess.CompletedProcess(command, int("zebra" in words[1]))

    monkeypatch.setattr(subprocess, "run", run)
    demo.demo(tmp_path)
    assert [words[0] for words in commands] == ["index"] + ["search"] * 4
    sheets = sorted((tmp_path / "answers").rglob("*.jpg"))
    whole = Image.open(tmp_path / demo.SHEET_NAME)
    assert len(sheets) == 4
    assert whole.height == sum(Image.open(sheet).height for sheet in sheets)


def test_every_photo_of_the_demo_names_its_source_and_licence() -> None:
    rows = {
        cells[1]: cells[3]
        for line in (demo.PHOTOS / "ATTRIBUTION.md").read_text(encoding="utf-8").splitlines()
        if len(cells := [cell.strip() for cell in line.split("|")]) == 5
    }
    photos = sorted(path.name for path in demo.PHOTOS.glob("*.jpg"))
    assert 24 <= len(photos) <= 40
    for name in photos:
        with Image.open(demo.PHOTOS / name) as picture:
            assert max(picture.size) <= 640
        assert "CC BY 2.0" in rows[name] or "no known copyright restrictions" in rows[name]
