"""`referent search` on the command line: what it prints, writes and leaves with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.support.library import EXPRESSION, Library, make_library
from tests.support.rle import from_rle
from tests.support.terminal import Terminal


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """A library that tests only read."""
    made = make_library(tmp_path_factory.mktemp("cli"), 8)
    yield made
    made.engine.close()


def test_json_gives_path_confidence_box_area_and_rle(referent: Terminal, library: Library) -> None:
    threshold = str(library.threshold())
    code, out, _ = referent("search", EXPRESSION, "--json", "--threshold", threshold)
    found = json.loads(out)
    assert code == 0
    assert found["coverage"]["verified"] == 8
    assert len(found["hits"]) == found["coverage"]["matched"] > 0
    for hit in found["hits"]:
        mask = from_rle(hit["rle"])
        assert Path(hit["path"]).is_file()
        assert mask.shape == (hit["height"], hit["width"])
        assert mask.sum() == hit["area"]
        assert hit["confidence"] >= float(threshold)


def test_table_shows_confidence_and_box_and_paths_only_paths(
    referent: Terminal, library: Library
) -> None:
    code, out, _ = referent("search", EXPRESSION, "--threshold", "0", "--top", "3")
    assert code == 0
    assert "confidence" in out
    assert "and 5 more" in out
    assert "8 match; 8 of 8 photos were verified." in out
    code, out, _ = referent("search", EXPRESSION, "--threshold", "0", "--paths", "--path", "*.png")
    assert code == 0
    assert sorted(Path(line) for line in out.splitlines()) == sorted(library.photos.rglob("*.png"))


def test_nothing_found_leaves_with_one_and_says_how_many_were_verified(referent: Terminal) -> None:
    code, out, _ = referent("search", EXPRESSION, "--threshold", "1", "--rejected", "2")
    assert code == 1
    assert "Nothing in 8 photos matches; every one was verified." in out
    assert out.count("rejected") == 2
    code, out, err = referent("search", EXPRESSION, "--threshold", "1", "--paths")
    assert (code, out) == (1, "")
    assert "every one was verified" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["?"], "the expression"),
        (["dog", "--album", "nope"], "small"),
        (["dog", "--mode", "slow"], "--mode"),
        (["dog", "--gps", "1,2"], "--gps"),
        (["dog", "--taken-from", "yesterday"], "--taken-from"),
        (["dog", "--run", "12"], "--run"),
        (["dog", "--run", "00000000-0000-4000-8000-000000000000"], "no search run"),
    ],
)
def test_error_leaves_with_two_and_one_line(
    referent: Terminal, words: list[str], told: str
) -> None:
    code, out, err = referent("search", *words)
    assert (code, out) == (2, "")
    assert told in err
    assert "Traceback" not in err


def test_out_writes_overlays_masks_and_a_contact_sheet(
    referent: Terminal, library: Library, tmp_path: Path
) -> None:
    code, _, err = referent("search", EXPRESSION, "--threshold", "0", "--out", str(tmp_path / "o"))
    assert code == 0
    photos = sorted(path.relative_to(library.photos) for path in library.photos.rglob("*.*"))
    masks = sorted((tmp_path / "o" / "masks" / "small").rglob("*.png"))
    overlays = sorted((tmp_path / "o" / "overlays" / "small").rglob("*.jpg"))
    assert len(masks) == len(overlays) == len(photos) == 8
    for photo in photos:
        kept = tmp_path / "o" / "masks" / "small" / photo
        mask = kept if kept.suffix == ".png" else kept.with_name(kept.name + ".png")
        assert Image.open(mask).size == Image.open(library.photos / photo).size
    assert Image.open(tmp_path / "o" / "contact-sheet.jpg").width > 600
    assert "contact-sheet.jpg" in err


def test_out_keeps_the_mask_of_a_photo_whose_file_is_gone_and_names_it(
    referent: Terminal, library: Library, tmp_path: Path
) -> None:
    photo = next(library.photos.rglob("*.webp"))
    away = photo.rename(tmp_path / "away.webp")
    code, _, err = referent("search", EXPRESSION, "--threshold", "0", "--out", str(tmp_path / "o"))
    away.rename(photo)
    assert code == 3  # the rest was written
    assert f"not drawn: {photo.relative_to(library.photos)}" in err
    assert len(list((tmp_path / "o" / "masks").rglob("*.png"))) == 8
    assert len(list((tmp_path / "o" / "overlays").rglob("*.jpg"))) == 7


def test_output_folder_that_cannot_be_written_is_an_error(
    referent: Terminal, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    code, _, err = referent(
        "search", EXPRESSION, "--threshold", "0", "--out", str(tmp_path / "file")
    )
    assert code == 2
    assert str(tmp_path / "file") in err


def test_keys_are_made_listed_and_revoked(referent: Terminal) -> None:
    code, key, _ = referent("keys", "create", "phone", "--scope", "read")
    assert code == 0
    number = key.split("_")[1]
    assert "phone" in referent("keys", "list")[1]
    assert referent("keys", "revoke", number)[0] == 0
    assert json.loads(referent("keys", "list", "--json")[1])[-1]["revoked_at"]
    assert referent("keys", "revoke", "999")[0] == 2
    assert referent("keys", "create", "x", "--scope", "root")[0] == 2
