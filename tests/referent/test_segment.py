"""One photo on the command line, end to end with the shipped weights."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image
from typer.testing import CliRunner

from indexer.folders.own_output import MARKER
from referent.main import app
from tests.support.rle import from_rle
from training.drawing.scenes import make_photo


def test_segment_writes_pictures_and_prints_the_answer(tmp_path: Path) -> None:
    pixels, _, _ = make_photo(3, "test", 320, 240)
    photo = tmp_path / "photo.png"
    Image.fromarray(pixels).save(photo)
    out = tmp_path / "answer"
    result = CliRunner().invoke(
        app, ["segment", str(photo), "everything in the foreground", "--out", str(out), "--json"]
    )
    answer = json.loads(result.stdout)
    assert result.exit_code == (0 if answer["target"] else 1)
    assert 0 <= answer["p_no_target"] <= 1
    assert from_rle(answer["rle"]).shape == (240, 320)
    assert {p.name for p in out.iterdir()} == {
        MARKER, "overlay.jpg", "mask.png", "minimap.png", "regions.png",
    }  # fmt: skip
    assert Image.open(out / "mask.png").size == (320, 240)


def test_many_photos_and_expressions_are_asked_in_one_process(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.fromarray(make_photo(ord(name[0]), "test", 96, 64)[0]).save(tmp_path / name)
    out = tmp_path / "answers"
    command = ["segment", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "the tree", "--also",
               "two dogs", "--out", str(out)]  # fmt: skip
    answers = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    asked = [(Path(row["photo"]).name, row["expression"]) for row in answers]
    assert asked == [(p, e) for p in ("a.png", "b.png") for e in ("the tree", "two dogs")]
    assert len({row["pictures"] for row in answers}) == 4
    assert all((Path(row["pictures"]) / "overlay.jpg").is_file() for row in answers)
    printed = CliRunner().invoke(app, command)
    assert printed.exit_code == (0 if any(row["target"] for row in answers) else 1)
    assert printed.stdout.count("p(no target)") == 4 and "b.png, 'two dogs'" in printed.stdout


def test_models_are_listed_and_shown() -> None:
    listed = json.loads(CliRunner().invoke(app, ["models", "list", "--json"]).stdout)
    assert {row["name"] for row in listed} >= {"rela-mini", "rela-tiny", "rela-base"}
    shown = json.loads(CliRunner().invoke(app, ["models", "show", "rela-mini"]).stdout)
    assert shown["config"]["text"] == "minilm" and shown["parameters"] < 12e6
