"""RefCOCO's published form: a pickle that is read without running it."""

import os
import pickle
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from referent.evaluate import parse
from tests.support.tiny_model import TINY
from tests.support.train_process import RECIPE
from tests.training.data.test_grefcoco import annotation, folder_of, seen
from training.data import grefcoco, refer
from training.data.grefcoco_batches import GrefSampler
from training.errors import DatasetError
from training.learning.session import RECIPES
from training.measuring.suite import folder_pairs
from training.recipes.recipe import LossWeights


def row(number: int, annotation_id: int, text: str, split: str = "train") -> dict:
    """As lichengunc/refer has them; the file's name carries the object's number."""
    sentence = {"tokens": text.split(), "raw": text, "sent_id": number, "sent": text.lower()}
    return {
        "sent_ids": [number],
        "file_name": f"COCO_train2014_000000000001_{annotation_id}.jpg",
        "ann_id": annotation_id,
        "ref_id": number,
        "image_id": 1,
        "split": split,
        "sentences": [sentence],
        "category_id": 1,
    }


ONE_TARGET = replace(
    RECIPE, batch=1, one_target=True, losses=LossWeights(regions=0, dense=0, region_masks=0)
)
ROWS = [
    row(1, 10, "Left one"),
    row(2, 20, "kid in blue"),
    row(3, 10, "left", "testA"),
]


def published(tmp_path: Path, name: str = "refs(unc).p", protocol: int = 2) -> Path:
    """A folder with instances.json, a photo and references."""
    folder_of(tmp_path, [])
    (tmp_path / "grefs(unc).json").unlink()
    (tmp_path / name).write_bytes(pickle.dumps(ROWS, protocol=protocol))
    (tmp_path / "images").mkdir(exist_ok=True)
    photo = np.zeros((30, 40, 3), np.uint8)
    Image.fromarray(photo).save(tmp_path / "images" / "COCO_train2014_000000000001.jpg")
    return tmp_path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_published_references_are_read_like_grefcocos(tmp_path: Path, protocol: int) -> None:
    folder = published(tmp_path, protocol=protocol)
    data = grefcoco.read(folder, "train")
    assert [(s.text, s.annotation_ids) for s in data.samples] == [
        ("Left one", (10,)), ("kid in blue", (20,)),
    ]  # fmt: skip
    assert data.counts.splits == {"train": 2, "testA": 1}
    assert data.counts.found["single-target"] == 3 and not seen(data)
    assert data.mask(data.samples[0]).sum() == pytest.approx(64, abs=10)
    assert data.photo(1).name == "COCO_train2014_000000000001.jpg"


@pytest.mark.parametrize("name", refer.FILES)
def test_every_partition_is_found_and_measured(tmp_path: Path, name: str) -> None:
    pairs = folder_pairs(published(tmp_path, name), "testA")
    assert [(p.expression, p.targets) for p in pairs.pairs] == [("left", (10,))]


def test_of_several_partitions_one_has_to_be_named(tmp_path: Path) -> None:
    folder = published(published(tmp_path), "refs(google).p")
    with pytest.raises(DatasetError, match=r"refs\(unc\)\.p, refs\(google\)\.p: name one"):
        grefcoco.read(folder, "train")
    named = folder / "refs(google).p"
    assert len(grefcoco.read(named, "train")) == 2
    assert parse(f"{named}:testA") == (str(named), "testA")
    data = folder_pairs(named, "testA")
    assert data.photos.image(0).shape == (30, 40, 3)


def test_splits_are_asked_for_where_there_are_several(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="testA, train: name one"):
        folder_pairs(published(tmp_path))


class Evil:
    """What a hostile file would hold."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.marker),)


def test_code_in_a_pickle_never_runs(tmp_path: Path) -> None:
    folder = published(tmp_path)
    marker = tmp_path / "ran"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        rows = [*ROWS, {**row(4, 10, "x"), "raw": Evil(marker)}]
        (folder / "refs(unc).p").write_bytes(pickle.dumps(rows, protocol=protocol))
        with pytest.raises(DatasetError, match=r"more than plain values \(it asks for posix.mkdir"):
            grefcoco.read(folder, "train")
    persistent = b"\x80\x04\x8c\x01xQ."
    by_number = b"\x80\x02\x82\x01."  # a class of the extension registry
    for content in (persistent, by_number):
        (folder / "refs(unc).p").write_bytes(content)
        with pytest.raises(DatasetError, match="download it again"):
            grefcoco.read(folder, "train")
    assert not marker.exists()


def test_a_pickle_that_claims_room_for_four_thousand_million_values_takes_none(
    tmp_path: Path,
) -> None:
    folder = published(tmp_path)
    claim = b"\x80\x02]r" + struct.pack("<I", 2**32 - 1) + b"."  # memoise [] under that number
    (folder / "refs(unc).p").write_bytes(claim)
    with pytest.raises(DatasetError, match="is not a list of references"):
        grefcoco.read(folder, "train")


def test_lists_that_share_their_entries_are_not_written_out(tmp_path: Path) -> None:
    folder = published(tmp_path)
    laughs: list = ["ha"]
    for _ in range(60):
        laughs = [laughs, laughs]
    rows = [{**row(1, 10, "left"), "extra": laughs, "tokens": laughs}]
    rows[0]["sentences"][0]["tokens"] = laughs
    (folder / "refs(unc).p").write_bytes(pickle.dumps(rows, protocol=2))
    assert [s.text for s in grefcoco.read(folder, "train").samples] == ["left"]
    many = [row(1, 10, "left")["sentences"] * 3_000] * 3_000
    rows = [{**row(k, 10, "left"), "sentences": said} for k, said in enumerate(many)]
    (folder / "refs(unc).p").write_bytes(pickle.dumps(rows, protocol=2))
    with pytest.raises(DatasetError, match="more than 2000000 sentences"):
        grefcoco.read(folder, "train")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        pickle.dumps(ROWS)[:-20],
        pickle.dumps({"refs": ROWS}),
        pickle.dumps([1, 2]),
        pickle.dumps([{**row(1, 10, "left"), "ann_id": "ten"}]),
        pickle.dumps([{k: v for k, v in row(1, 10, "left").items() if k != "split"}]),
        pickle.dumps([{**row(1, 10, "left"), "sentences": [{"sent_id": 1}]}]),
        pickle.dumps([row(1, 10, "a" * 5000)]),
    ],
)
def test_damaged_references_are_one_sentence(tmp_path: Path, content: bytes) -> None:
    folder = published(tmp_path)
    (folder / "refs(unc).p").write_bytes(content)
    with pytest.raises(DatasetError, match=r"refs\(unc\)\.p"):
        grefcoco.read(folder, "train")


def test_an_endless_file_is_refused_by_its_size(tmp_path: Path) -> None:
    folder = published(tmp_path)
    with (folder / "refs(unc).p").open("wb") as file:
        file.truncate(refer.MAX_BYTES + 1)
    with pytest.raises(DatasetError, match="is larger than"):
        grefcoco.read(folder, "train")


def test_classic_training_asks_only_what_refers_to_one_thing(tmp_path: Path) -> None:
    both = {**row(4, 10, "both"), "ann_id": [10, 20], "category_id": [1]}
    none = {**row(5, 10, "green dog"), "ann_id": [-1], "category_id": [-1], "no_target": True}
    listed = [{**r, "ann_id": [r["ann_id"]], "category_id": [1]} for r in ROWS]
    folder = folder_of(published(tmp_path), [*listed, both, none], [annotation(10), annotation(20)])
    data = grefcoco.read(folder, "train")
    recipe = RECIPES["base-classic"]
    assert recipe.one_target and recipe.losses.no_target == 0

    def embed(texts: list[str]) -> np.ndarray:
        return np.ones((len(texts), 4), np.float32)

    sampler = GrefSampler(data, ONE_TARGET, TINY, embed)
    batch = sampler.batch(0)
    assert {t.replace("right", "left").lower() for t in batch.texts} == {"left one", "kid in blue"}
    assert not batch.no_target.any()
