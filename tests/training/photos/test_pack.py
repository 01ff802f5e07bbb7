import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.photo_pack import content, write_pack
from training.errors import DatasetError
from training.photos.pack import read_pack


def test_a_folder_of_folders_and_a_single_one_are_read(tmp_path: Path) -> None:
    write_pack(tmp_path / "pack" / "own")
    assert len(read_pack(tmp_path / "pack")) == len(read_pack(tmp_path / "pack" / "own")) == 6


def test_the_split_is_a_property_of_the_photo_not_of_its_place(tmp_path: Path) -> None:
    rows = content()
    rows["images"].reverse()
    first = {p.key: p.split for p in read_pack(write_pack(tmp_path / "a"))}
    assert {p.key: p.split for p in read_pack(write_pack(tmp_path / "b", rows))} == first


def _twice(rows: dict[str, Any]) -> None:
    rows["annotations"][1]["id"] = 1


def _without_categories(rows: dict[str, Any]) -> None:
    rows["categories"] = []


def _of_another_size(rows: dict[str, Any]) -> None:
    rows["annotations"][0]["segmentation"] = {"size": [10, 10], "counts": [100]}


def _of_no_photo(rows: dict[str, Any]) -> None:
    rows["annotations"][0]["image_id"] = 99


def _of_no_kind(rows: dict[str, Any]) -> None:
    rows["annotations"][2]["category_id"] = 77


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_twice, "annotation id 1 is there twice"),
        (_without_categories, "has no categories"),
        (_of_another_size, "annotation 1 has a mask of"),
        (_of_no_photo, "belong to image 99"),
        (_of_no_kind, "annotation 3 has the unknown category 77"),
    ],
)
def test_a_damaged_pack_is_refused_with_file_and_entry(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], None], says: str
) -> None:
    rows = content()
    spoil(rows)
    with pytest.raises(DatasetError, match=says) as refused:
        read_pack(write_pack(tmp_path, rows))
    assert "instances.json" in str(refused.value)


def test_a_missing_pack_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"images/ and instances\.json"):
        read_pack(tmp_path)
    (tmp_path / "instances.json").write_text(json.dumps({"images": []}), encoding="utf-8")
    with pytest.raises(DatasetError, match="not in COCO's form"):
        read_pack(tmp_path)
