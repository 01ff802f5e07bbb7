"""Composites: exact truth, splits kept apart, nothing held by who lies near it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from training.errors import DatasetError
from training.photos.composites import can_compose, compose
from training.photos.pack import Photo, read_pack
from training.photos.scenes import read_album

WIDTH, HEIGHT = 240, 180
PAINT = {"train": (220, 20, 20), "val": (20, 20, 220)}
NAMES = {1: "person", 2: "umbrella", 3: "sky"}


def _pack(folder: Path) -> list[Photo]:
    """Photos of one thing on grey, below sky, painted by the split that they belong to."""
    (folder / "images").mkdir(parents=True)
    images: list[dict[str, Any]] = []
    marks: list[dict[str, Any]] = []
    for number in range(24):
        file = f"{number}.png"
        images.append({"id": number, "file_name": file, "width": WIDTH, "height": HEIGHT,
                       "exhaustive": "coco80", "original_id": f"photo {number}"})  # fmt: skip
        for kind, (x, y, w, h) in ((1 + number % 2, (60, 60, 90, 100)), (3, (0, 0, WIDTH, 20))):
            marks.append({"id": len(marks), "image_id": number, "category_id": kind,
                          "bbox": [x, y, w, h], "iscrowd": 0,
                          "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]]})  # fmt: skip
    categories = [{"id": k, "name": name} for k, name in NAMES.items()]
    content = {"images": images, "annotations": marks, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))
    photos = read_pack(folder)
    for photo in photos:
        pixels = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
        pixels[60:160, 60:150] = PAINT[photo.split]
        Image.fromarray(pixels).save(photo.path)
    return photos


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("composites")
    return compose(_pack(folder / "own"), folder / "made", 20)


def _picture(photo: Photo) -> NDArray[np.int16]:
    with Image.open(photo.path) as picture:
        return np.asarray(picture.convert("RGB")).astype(np.int16)


def test_masks_show_what_was_pasted_and_nothing_twice(composed: Path) -> None:
    photos = read_pack(composed)
    assert len(photos) == 20
    assert {p.split for p in photos} == {"train", "val"}
    assert max(len(p.annotations) for p in photos) > 3
    for photo in photos:
        pixels = _picture(photo)
        masks = [a.mask(photo.height, photo.width) for a in photo.annotations if a.kind != "sky"]
        assert np.stack(masks).sum(0).max() == 1
        painted = np.abs(pixels - PAINT[photo.split]).max(-1) < 60
        shown = np.stack(masks).any(0)
        assert (painted & shown).sum() > 0.93 * max(painted.sum(), shown.sum())


def test_no_photo_of_one_split_is_part_of_the_others_composites(composed: Path) -> None:
    for photo in read_pack(composed):
        other = PAINT["val" if photo.split == "train" else "train"]
        assert not (np.abs(_picture(photo) - other).max(-1) < 60).any()


def test_who_was_pasted_beside_an_umbrella_does_not_hold_it(composed: Path, tmp_path: Path) -> None:
    album = read_album(read_pack(composed), tmp_path, 24)
    things = [t for told in album.told for t in told.scene.instances]
    assert {"person", "umbrella"} == {t.category for t in things}
    assert not any(t.holds or t.rides or t.stands_on for t in things)
    assert all("links" in t.unsure for t in things)


def test_what_was_composed_is_used_again_and_a_seed_says_which(
    composed: Path, tmp_path: Path
) -> None:
    photos = read_pack(composed.parent.parent.parent / "own")
    written = (composed / "instances.json").stat().st_mtime_ns
    assert compose(photos, composed.parent.parent, 20) == composed
    assert (composed / "instances.json").stat().st_mtime_ns == written
    again = compose(photos, tmp_path, 20)
    assert (again / "instances.json").read_text() == (composed / "instances.json").read_text()


def test_a_pack_without_masks_is_refused_with_the_remedy(tmp_path: Path) -> None:
    photos = [p for p in _pack(tmp_path / "own") if p.split == "train"]
    assert not can_compose(photos)
    with pytest.raises(DatasetError, match="composites to 0"):
        compose(photos, tmp_path, 4)


def test_another_packs_composites_are_others(composed: Path) -> None:
    photos = read_pack(composed.parent.parent.parent / "own")
    assert can_compose(photos)
    fewer = compose(photos[:-1], composed.parent.parent, 20)
    assert fewer != composed
    assert len(read_pack(fewer)) == 20
