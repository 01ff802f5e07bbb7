from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from pycocotools.coco import COCO
from typer.testing import CliRunner

from referent.main import app
from training.data.album import AlbumError, AlbumPlan, photo_size, scene_seed, write_album
from training.data.grefcoco import read
from training.drawing.scenes import aspect_of, make_photo
from training.language.grammar import KINDS
from training.scene import HELD_OUT


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("albums") / "album"
    assert list(write_album(PLAN, folder)) == list(range(1, 25))
    return folder


PLAN = AlbumPlan(photos=24, seed=3, megapixels=0.06)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def upright(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image))


def test_photos_are_turned_as_their_tag_says_and_upright_ones_show_the_scene(album: Path) -> None:
    tags = set()
    for k in range(24):
        path = album / "images" / f"IMG_{k + 1:05d}.jpg"
        with Image.open(path) as image:
            tags.add(image.getexif()[0x0112])
        seed = scene_seed(PLAN, k)
        width, height = photo_size(PLAN, k, aspect_of(seed, "test"))
        drawn, _, _ = make_photo(seed, "test", width, height)
        seen = upright(path)
        assert seen.shape == drawn.shape
        assert np.abs(seen.astype(int) - drawn).mean() < 8
    assert tags == set(range(1, 9))


def test_pycocotools_loads_exact_masks_of_the_upright_photos(
    album: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coco = COCO(album / "instances.json")
    capsys.readouterr()
    assert len(coco.imgs) == 24
    for k in (0, 7, 23):
        info = coco.loadImgs(k + 1)[0]
        _, ids, scene = make_photo(scene_seed(PLAN, k), "test", info["width"], info["height"])
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=k + 1))
        named = sorted(scene.instances, key=lambda i: i.id)
        assert len(annotations) == len(named)
        for annotation, instance in zip(annotations, named, strict=True):
            mask = coco.annToMask(annotation).astype(bool)
            assert (mask == (ids == instance.id)).all()
            assert annotation["area"] == mask.sum()
            ys, xs = np.nonzero(mask)
            box = [xs.min(), ys.min(), xs.max() + 1 - xs.min(), ys.max() + 1 - ys.min()]
            assert annotation["bbox"] == box
            assert coco.cats[annotation["category_id"]]["name"] == instance.category


def test_references_have_the_form_of_grefcoco(album: Path) -> None:
    references = json.loads((album / "grefs(unc).json").read_text())
    instances = json.loads((album / "instances.json").read_text())
    of_photo = {a["id"]: a["image_id"] for a in instances["annotations"]}
    assert len({r["ref_id"] for r in references}) == len(references)
    for r in references:
        assert r["split"] == "test" and len(r["sentences"]) == len(r["sent_ids"]) == 1
        assert r["sentences"][0]["sent_id"] == r["sent_ids"][0] and r["sentences"][0]["tokens"]
        assert r["no_target"] == (r["ann_id"] == [-1])
        if not r["no_target"]:
            assert {of_photo[k] for k in r["ann_id"]} == {r["image_id"]}
            assert len(r["category_id"]) == len(r["ann_id"])
    none = sum(r["no_target"] for r in references)
    assert 0.2 < none / len(references) < 0.45
    assert any(len(r["ann_id"]) > 1 for r in references)
    assert all(r["sentences"][0]["kind"] in KINDS for r in references)
    plain = [json.loads(row) for row in (album / "references.jsonl").read_text().splitlines()]
    assert [p["expression"] for p in plain] == [r["sentences"][0]["raw"] for r in references]


def test_the_reader_of_grefcoco_finds_no_quirk_in_an_album(album: Path) -> None:
    data = read(album, "test")
    assert len(data) > 150 and not any(data.counts.quirks.values())
    for sample in data.samples[::20]:
        mask = data.mask(sample)
        assert mask.any() != sample.no_target
        assert upright(data.photo(sample.image_id)).shape[:2] == mask.shape


def test_dates_rise_and_some_photos_name_camera_and_place(album: Path) -> None:
    dates, cameras, places = [], set(), 0
    for path in sorted((album / "images").iterdir()):
        with Image.open(path) as image:
            exif = image.getexif()
        dates.append(exif.get_ifd(0x8769)[0x9003])
        cameras.add(exif.get(0x0110))
        gps = exif.get_ifd(0x8825)
        if gps:
            places += 1
            degrees, minutes, seconds = (float(v) for v in gps[2])
            assert degrees <= 90 and minutes < 60 and seconds < 60
    assert dates == sorted(dates) and len(set(dates)) == 24
    assert len(cameras) > 1 and places > 0


def test_the_same_plan_gives_the_same_bytes_with_any_number_of_workers(tmp_path: Path) -> None:
    plan = AlbumPlan(photos=5, seed=9, megapixels=0.02)
    for workers, name in ((1, "one"), (2, "two")):
        for _ in write_album(plan, tmp_path / name, workers):
            pass
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    for _ in write_album(AlbumPlan(photos=3, seed=10, megapixels=0.02), tmp_path / "two"):
        pass
    assert len(list((tmp_path / "two" / "images").iterdir())) == 3


def test_an_interrupted_album_leaves_whole_photos_only(tmp_path: Path) -> None:
    run = write_album(AlbumPlan(photos=6, megapixels=0.02), tmp_path / "a")
    next(run)
    next(run)
    (tmp_path / "a" / "images" / ".IMG_00003.jpg.7-7.referent.part").write_bytes(b"half")
    run.close()
    names = sorted(p.name for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert names == ["IMG_00001.jpg", "IMG_00002.jpg", "synth.json"]
    assert upright(tmp_path / "a" / "images" / "IMG_00002.jpg").ndim == 3


def test_an_album_is_never_written_over_other_files(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("mine")
    with pytest.raises(AlbumError, match="no synthetic album"):
        list(write_album(AlbumPlan(photos=2), tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["diary.txt"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"photos": 0}, "holds 1 to"),
        ({"photos": 2, "split": "dev"}, "no split"),
        ({"photos": 2, "seed": -1}, "seed of 0"),
        ({"photos": 2, "width": 9000, "height": 9000}, "12 megapixels"),
        ({"photos": 2, "width": 20}, "at least 64"),
        ({"photos": 2, "megapixels": 40.0}, "12 megapixels"),
        ({"photos": 2, "quality": 100}, "1 to 95"),
    ],
)
def test_a_plan_that_cannot_be_made_says_why(settings: dict[str, int], reason: str) -> None:
    with pytest.raises(AlbumError, match=reason):
        AlbumPlan(**settings)  # type: ignore[arg-type]


def test_sizes_follow_what_was_asked_for(tmp_path: Path) -> None:
    assert photo_size(AlbumPlan(1, width=300), 0, 1.5) == (300, 200)
    assert photo_size(AlbumPlan(1, height=200), 0, 1.5) == (300, 200)
    sizes = {photo_size(AlbumPlan(9), k, 4 / 3) for k in range(9)}
    assert len(sizes) == 9 and all(0.45e6 < w * h < 1.2e6 for w, h in sizes)
    plan = AlbumPlan(photos=4, split="test-b", width=150, height=100)
    list(write_album(plan, tmp_path / "b"))
    for k in range(4):
        assert upright(tmp_path / "b" / "images" / f"IMG_{k + 1:05d}.jpg").shape == (100, 150, 3)
        assert 1.3 < aspect_of(scene_seed(plan, k), "test-b") < 1.8
    for line in (tmp_path / "b" / "scenes.jsonl").read_text().splitlines():
        found = json.loads(line)["instances"]
        assert {(i["category"], i["colour"]) for i in found} & HELD_OUT


def test_the_command_writes_an_album_and_prints_a_summary(tmp_path: Path) -> None:
    out = tmp_path / "album"
    command = ["synth", "--photos", "2", "--megapixels", "0.02", "--workers", "1", "--json"]
    result = CliRunner().invoke(app, [*command, "--out", str(out)])
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["photos"] == 2 and summary["references"] > summary["no_target"] > 0
    assert (out / "instances.json").is_file()
