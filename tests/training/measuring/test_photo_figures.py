"""Figures on real photographs: what is asked is true of them, and every bar has its figure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model.build import load_predictor
from tests.support.tiny_model import write_tiny_model
from training.measuring import photo_sets, suite
from training.measuring.report import BARS, look_up, summary
from training.photos.kinds import COCO80
from training.photos.pack import read_pack
from training.photos.scenes import Album, read_album

SIDE = 120
NAMES = {1: "person", 2: "dog", 3: "car"}
PAINT = ((210, 20, 20), (20, 40, 210), (20, 160, 40))


def _write(folder: Path, labelled: bool, count: int = 60) -> None:
    """Photos with three coloured things each, or with a label alone."""
    (folder / "images").mkdir(parents=True)
    images: list[dict[str, Any]] = []
    marks: list[dict[str, Any]] = []
    for number in range(count):
        pixels = np.full((SIDE, SIDE, 3), 120, np.uint8)
        image = {"id": number, "file_name": f"{number}.png", "width": SIDE, "height": SIDE}
        if labelled:
            pixels[20:100, 20:100] = PAINT[number % 3]
            images.append(image | {"exhaustive": None, "labels": [("lotus", "anchor")[number % 2]]})
        else:
            images.append(image | {"exhaustive": "coco80"})
            for place in range(3):
                x, y, w, h = 4 + 40 * place, 40, 30, 30 + 10 * place
                pixels[y : y + h, x : x + w] = PAINT[(number + place) % 3]
                mark = {"id": len(marks), "image_id": number, "iscrowd": 0}
                mark |= {"category_id": 1 + (number // 2 + place // 2) % 3, "bbox": [x, y, w, h]}
                marks.append(mark | {"segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]]})
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
    categories = [{"id": k, "name": name} for k, name in NAMES.items()]
    content = {"images": images, "annotations": marks, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Album:
    folder = tmp_path_factory.mktemp("pack")
    _write(folder / "pack" / "everyday", labelled=False)
    _write(folder / "pack" / "caltech-101", labelled=True)
    return read_album(read_pack(folder / "pack"), folder / "cache", 16)


def test_only_held_out_photos_are_asked_and_every_answer_is_known(album: Album) -> None:
    asked = photo_sets.nouns_and_expressions(album)
    held_out = [t for t in photo_sets.held_out(album) if t.photo.known >= COCO80]
    assert 0 < len(held_out) == len(asked.photos) < 60
    assert asked.truth.shape == (len(asked.expressions), len(held_out))
    nouns = [k for k, kind in enumerate(asked.kinds) if kind == "category"]
    assert len(nouns) == len(COCO80)
    by_noun = dict(zip((asked.expressions[k] for k in nouns), asked.truth[nouns], strict=True))
    for at, told in enumerate(held_out):
        assert by_noun["dog"][at] == any(t.category == "dog" for t in told.scene.instances)
    assert not by_noun["zebra"].any()
    for k, kind in enumerate(asked.kinds):
        assert kind == "category" or (asked.truth[k] == 1).any(), asked.expressions[k]


def test_nouns_without_marks_are_those_that_only_labels_name(album: Album) -> None:
    unnamed = photo_sets.unnamed(album)
    assert unnamed.expressions == ("anchor", "lotus")
    assert (unnamed.truth.sum(0) == 1).all()


def test_what_is_left_out_is_something_else(album: Album) -> None:
    held_out = photo_sets.held_out(album)
    rests = photo_sets.rests(album)
    assert len(rests) > 2
    for rest in rests:
        assert rest.expression != rest.left_out
        assert held_out[rest.photo].photo.folder == "everyday"


def test_every_bar_has_its_figure(album: Album, tmp_path: Path) -> None:
    model = load_predictor(write_tiny_model(tmp_path / "tiny.safetensors"))
    figures = suite.evaluate_photos(model, album, quiet=True).figures
    for key, _, _ in BARS["photos:val"]:
        value = look_up(figures, key)
        if value is None:  # random weights may return nothing at all
            assert key.startswith(("album.precision", "prefilter", "complements")), key
        else:
            assert 0 <= value <= 1, (key, value)
    lines = summary(figures).splitlines()
    assert sum("met" in line or "MISSED" in line for line in lines) == len(BARS["photos:val"])
