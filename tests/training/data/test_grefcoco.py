import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_codec
from typer.testing import CliRunner

from model import grefcoco_form
from model.grefcoco_form import Reference
from referent.main import app
from tests.support.photo_pack import write_pack
from training.data import coco_shapes, grefcoco
from training.data.grefcoco_counts import NO_PHOTO, PAPER, QUIRKS
from training.data.grefcoco_photos import with_photos
from training.drawing.scenes import make_photo
from training.errors import DatasetError
from training.language import grammar
from training.language.misspellings import misspelled
from training.scene import CATEGORIES

WIDTH, HEIGHT = 40, 30


def square(x: int, y: int, side: int = 8) -> list[list[float]]:
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


def annotation(number: int, image: int = 1, shape: object = None, crowd: int = 0) -> dict:
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "segmentation": square(number, 2) if shape is None else shape,
        "bbox": [number, 2, 8, 8],
        "area": 64,
        "iscrowd": crowd,
    }


def reference(number: int, annotations: object, text: str = "kid in blue", **more: object) -> dict:
    sentence = {"raw": text, "sent": text.lower(), "tokens": text.split(), "sent_id": number}
    return {
        "ref_id": number,
        "image_id": 1,
        "split": "train",
        "file_name": "COCO_train2014_000000000001_7.jpg",
        "category_id": [1],
        "ann_id": annotations,
        "sentences": [sentence],
        "sent_ids": [number],
        **more,
    }


def folder_of(tmp_path: Path, refs: list[dict], annotations: list[dict] | None = None) -> Path:
    images = [
        {"id": i, "file_name": f"COCO_train2014_{i:012d}.jpg", "width": WIDTH, "height": HEIGHT}
        for i in (1, 2)
    ]
    rows = [annotation(10), annotation(20)] if annotations is None else annotations
    content = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "person"}]}
    (tmp_path / "instances.json").write_text(json.dumps(content))
    (tmp_path / "grefs(unc).json").write_text(json.dumps(refs))
    return tmp_path


def seen(data: grefcoco.Dataset) -> dict[str, int]:
    return {name: count for name, count in data.counts.quirks.items() if count}


def test_targets_are_read_as_the_union_of_their_masks(tmp_path):
    folder = folder_of(tmp_path, [reference(1, [10, 20]), reference(2, [10])])
    both, one = (grefcoco.read(folder, "train")).samples
    data = grefcoco.read(folder, "train")
    assert data.mask(both).shape == (HEIGHT, WIDTH)
    assert data.mask(both).sum() == pytest.approx(128, abs=20)
    assert (data.mask(one) & ~data.mask(both)).sum() == 0
    assert data.mask(one).sum() < data.mask(both).sum()
    assert not seen(data)


def test_no_target_has_an_empty_mask(tmp_path):
    folder = folder_of(tmp_path, [reference(1, [-1], no_target=True)])
    data = grefcoco.read(folder, "train")
    assert data.samples[0].no_target
    assert not data.mask(data.samples[0]).any()
    assert not seen(data)


@pytest.mark.parametrize(
    ("refs", "quirk", "targets"),
    [
        ([reference(1, 10)], "annotation given as a number, not a list", [(10,)]),
        ([reference(1, [])], "reference without annotation, read as no-target", [()]),
        ([reference(1, None)], "reference without annotation, read as no-target", [()]),
        ([reference(1, [10], no_target=True)], "no_target flag contradicts the annotations",
         [(10,)]),
        ([reference(1, [-1], no_target=False)], "no_target flag contradicts the annotations",
         [()]),
        ([reference(1, [10, -1])], "-1 among real annotations, ignored", [(10,)]),
        ([reference(1, [10, 10])], "annotation listed twice in a reference", [(10,)]),
        ([reference(1, [10, 99])], "annotation not in instances.json, ignored", [(10,)]),
        ([reference(1, [10, 30])], "annotation of another image, ignored", [(10,)]),
        ([reference(1, [10, 40])], "crowd annotation, ignored", [(10,)]),
        ([reference(1, [10, 50])], "annotation without a usable mask, ignored", [(10,)]),
        ([reference(1, [10]), reference(1, [20], sent_ids=[2])], "reference id used twice",
         [(10,), (20,)]),
        ([reference(1, [10]), reference(1, [10])], "reference repeated word for word, dropped",
         [(10,)]),
        ([reference(1, [10]), reference(2, [10], text=" ")], "empty sentence, dropped", [(10,)]),
    ],
)  # fmt: skip
def test_a_quirk_is_handled_and_counted(tmp_path, refs, quirk, targets):
    rows = [
        annotation(10),
        annotation(20),
        annotation(30, image=2),
        annotation(40, crowd=1),
        annotation(50, shape=[[1.0, 2.0, 3.0, 4.0]]),
    ]
    data = grefcoco.read(folder_of(tmp_path, refs, rows), "train")
    assert [s.annotation_ids for s in data.samples] == targets
    assert seen(data)[quirk] == 1
    assert quirk in QUIRKS


@pytest.mark.parametrize(
    ("ref", "quirk"),
    [
        (reference(1, [40]), "reference dropped: none of its annotations can be used"),
        (reference(1, [99]), "reference dropped: none of its annotations can be used"),
        (
            reference(1, [10], image_id=77),
            "reference dropped: its image is not in instances.json",
        ),
    ],
)
def test_a_reference_whose_truth_is_unknown_is_dropped_not_read_as_no_target(tmp_path, ref, quirk):
    rows = [annotation(10), annotation(40, crowd=1)]
    data = grefcoco.read(folder_of(tmp_path, [ref, reference(9, [10])], rows), "train")
    assert [s.ref_id for s in data.samples] == [9]
    assert seen(data)[quirk] == 1


def test_an_annotation_id_used_twice_is_counted(tmp_path):
    folder = folder_of(tmp_path, [reference(1, [10])], [annotation(10), annotation(10)])
    data = grefcoco.read(folder, "train")
    assert seen(data) == {"annotation id used twice in instances.json": 1}


@pytest.mark.parametrize("compressed", [True, False])
def test_masks_as_run_lengths_are_read(tmp_path, compressed):
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    drawn[3:9, 5:20] = 1
    if compressed:
        rle = rle_codec.encode(np.asfortranarray(drawn))
        shape = {"size": rle["size"], "counts": rle["counts"].decode()}
    else:
        flat = drawn.flatten(order="F")
        edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [0]])))
        runs = np.diff(np.concatenate([[0], edges, [flat.size]]))
        shape = {"size": [HEIGHT, WIDTH], "counts": runs.tolist()}
    folder = folder_of(tmp_path, [reference(1, [10])], [annotation(10, shape=shape)])
    data = grefcoco.read(folder, "train")
    assert (data.mask(data.samples[0]) == drawn.astype(bool)).all()


def test_photos_are_found_under_the_name_without_object_number(tmp_path):
    folder = folder_of(tmp_path, [reference(1, [10])])
    data = grefcoco.read(folder, "train")
    with pytest.raises(DatasetError, match="train2014"):
        data.photo(1)
    (tmp_path / "images").mkdir()
    picture = tmp_path / "images" / "COCO_train2014_000000000001.jpg"
    Image.new("RGB", (WIDTH, HEIGHT)).save(picture)
    assert data.photo(1) == picture
    assert grefcoco.photo_name("COCO_train2014_000000000001_7.jpg") == picture.name
    assert grefcoco.photo_name("IMG_0001_2.jpg") == "IMG_0001_2.jpg"


def test_data_are_checked_and_their_counts_stand_beside_those_of_the_paper(tmp_path):
    refs = [
        reference(1, [10, 20]),
        reference(2, [10], text="Kid in blue"),
        reference(3, [-1], split="val"),
    ]
    folder = folder_of(tmp_path, refs)
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "COCO_train2014_000000000001.jpg")
    checked = CliRunner().invoke(app, ["data", "check", str(folder), "--json", "--strict"])
    assert checked.exit_code == 0, checked.output
    found = json.loads(checked.stdout)
    assert found["found"] == {
        "expressions": 3,
        "multi-target": 1,
        "single-target": 1,
        "no-target": 1,
        "instances": 2,
        "images": 1,
    }
    assert found["splits"] == {"train": 2, "val": 1} and not found["left_out"]
    printed = CliRunner().invoke(app, ["data", "check", str(folder)]).stdout
    assert all(f"{count:,}" in printed for count in PAPER.values())
    (folder / "grefs(unc).json").write_text(json.dumps([*refs, reference(4, [99])]))
    flawed = CliRunner().invoke(app, ["data", "check", str(folder), "--strict"])
    assert flawed.exit_code == 1 and "reference 4, annotation 99" in flawed.stdout


def test_a_pack_of_photographs_is_checked_too(tmp_path):
    pack = write_pack(tmp_path / "pack")
    told = json.loads(CliRunner().invoke(app, ["data", "check", str(pack), "--json"]).stdout)
    assert told["photos"] > 0 and told["missing"] == []
    next(pack.rglob("*.jpg")).unlink()
    flawed = CliRunner().invoke(app, ["data", "check", str(pack), "--strict"])
    assert flawed.exit_code == 1 and "1 files missing" in flawed.stdout


def test_misspelled_words_are_counted_and_left_as_typed(tmp_path):
    refs = [reference(i, [10], text="the woman in white") for i in range(1, 121)]
    refs.append(reference(500, [10], text="the womann in whtie"))
    data = grefcoco.read(folder_of(tmp_path, refs), "train")
    assert seen(data) == {"word that looks misspelled, left as typed": 2}
    assert data.samples[-1].text == "the womann in whtie"


def test_plurals_and_common_words_do_not_look_misspelled():
    texts = ["the horse and the house"] * 150 + ["two horses"] + ["a mouse"] * 3
    assert misspelled(texts) == {}
    assert misspelled([*texts, "the hrose"]) == {"hrose": "horse"}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "grefs(unc).json").unlink(), "does not exist"),
        (lambda f: (f / "instances.json").unlink(), "does not exist"),
        (lambda f: (f / "grefs(unc).json").write_text("[{"), "not JSON"),
        (lambda f: (f / "grefs(unc).json").write_text("{}"), "not a list"),
        (
            lambda f: (f / "grefs(unc).json").write_text('[{"ref_id": 1}]'),
            "no reference that can be used(.|\n)*reference 1",
        ),
        (lambda f: (f / "instances.json").write_text('{"images": []}'), "COCO's form"),
    ],
)
def test_a_damaged_folder_is_refused_with_the_file_and_a_remedy(tmp_path, damage, message):
    folder = folder_of(tmp_path, [reference(1, [10])])
    damage(folder)
    with pytest.raises(DatasetError, match=message):
        grefcoco.read(folder, "train")


BAD_SHAPES = {
    "far away": [[0, 0, 1e9, 0, 1e9, 1e9]],
    "no number": [[0, 0, float("nan"), 0, 8, 8]],
    "infinite": [[0, 0, float("inf"), 0, 8, 8]],
    "text": [["0", "0", "8", "0", "8", "8"]],
    "other size": {"size": [HEIGHT, WIDTH + 1], "counts": [0, HEIGHT * (WIDTH + 1)]},
    "too long": {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH + 1]},
    "too short": {"size": [HEIGHT, WIDTH], "counts": [5]},
    "negative": {"size": [HEIGHT, WIDTH], "counts": [-5, HEIGHT * WIDTH + 5]},
    "broken": {"size": [HEIGHT, WIDTH], "counts": "PQ~~~~"},
    "cut": {"size": [HEIGHT, WIDTH], "counts": "PPPPPP"},
}


@pytest.mark.parametrize("name", BAD_SHAPES)
def test_a_mask_that_the_library_must_not_see_is_left_out_and_named(tmp_path, name):
    refs = [reference(1, [30]), reference(2, [10])]
    rows = [annotation(10), annotation(30, shape=BAD_SHAPES[name])]
    folder = folder_of(tmp_path, refs, rows)
    data = grefcoco.read(folder, "train")
    assert [s.ref_id for s in data.samples] == [2]
    assert data.mask(data.samples[0]).any()
    left_out = data.counts.left_out
    assert left_out["reference dropped: none of its annotations can be used"] == 1
    assert len(left_out) == 2 and sum(left_out.values()) == 2
    with pytest.raises(DatasetError, match=r"grefs\(unc\)\.json(.|\n)*reference 1, annotation 30"):
        grefcoco.read(folder, "train", strict=True)


@pytest.mark.parametrize("side", [(30, 40), (7, 61), (200, 3)])
def test_run_lengths_of_any_mask_are_whole(side):
    rng = np.random.default_rng(5)
    height, width = side
    for share in (0.0, 0.02, 0.5, 0.98, 1.0):
        drawn = (rng.random(side) < share).astype(np.uint8)
        rle = rle_codec.encode(np.asfortranarray(drawn))
        shape = {"size": rle["size"], "counts": rle["counts"].decode()}
        assert coco_shapes.flaw(shape, height, width) == ""
        assert (coco_shapes.decode(shape, height, width) == drawn).all()
        cut = {**shape, "counts": shape["counts"][:-1]}
        assert coco_shapes.flaw(cut, height, width) in (coco_shapes.BROKEN, coco_shapes.NO_MASK)


def test_rows_of_another_form_are_counted_and_the_rest_is_read(tmp_path):
    refs = [
        reference(1, ["10"], image_id="1"),
        reference(2, [10], text="\U0001f600\U0001f415"),
        reference(3, [10], text="dog " * 300),
        reference(4, [10], text="ein Mädchen"),
        {"ref_id": 5},
        "no row",
        reference(6, [10], sentences=None),
        reference(7, [77]),
    ]
    rows = [annotation(10), {"id": 11}, {**annotation(12), "image_id": "x"}, None]
    folder = folder_of(tmp_path, refs, rows)
    content = json.loads((folder / "instances.json").read_text())
    content["images"] += [{"id": 3, "file_name": "c.jpg", "width": 0, "height": 4}, {"id": 4}]
    (folder / "instances.json").write_text(json.dumps(content))
    data = grefcoco.read(folder, "train")
    assert [(s.ref_id, s.image_id, s.annotation_ids) for s in data.samples] == [
        (1, 1, (10,)), (4, 1, (10,)),
    ]  # fmt: skip
    assert data.counts.left_out == {
        "annotation not in instances.json, ignored": 1,
        "annotation row without id, image or category, ignored": 3,
        "image row without id, name or size, ignored": 2,
        "reference dropped: a row of another form": 3,
        "reference dropped: none of its annotations can be used": 1,
        "sentence without a word that can be read, dropped": 2,
    }
    assert seen(data)["id given as text, read as its number"] == 2
    lines = "\n".join(data.counts.lines())
    assert "reference 2, sentence 2" in lines and "reference 7, annotation 77" in lines
    with pytest.raises(DatasetError, match="reference 2, sentence 2"):
        grefcoco.read(folder, "train", strict=True)


def test_expressions_without_their_photo_are_left_out_before_the_run(tmp_path):
    refs = [reference(1, [10]), reference(2, [30], image_id=2), reference(3, [40], image_id=3)]
    rows = [annotation(10), annotation(30, image=2), annotation(40, image=3)]
    folder = folder_of(tmp_path, refs, rows)
    content = json.loads((folder / "instances.json").read_text())
    content["images"].append({"id": 3, "file_name": "turned.jpg", "width": 30, "height": 40})
    (folder / "instances.json").write_text(json.dumps(content))
    data = grefcoco.read(folder, "train")
    with pytest.raises(DatasetError, match="put COCO's train2014"):
        with_photos(data)
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (40, 30)).save(folder / "turned.jpg", exif=exif)  # upright it is 30 x 40
    Image.new("RGB", (10, 10)).save(folder / "COCO_train2014_000000000002.jpg")
    found = with_photos(data)
    assert [s.ref_id for s in found.samples] == [3]
    assert found.counts.left_out == {NO_PHOTO: 2}
    with pytest.raises(DatasetError, match=r"000000000001\.jpg is in none of"):
        with_photos(data, strict=True)
    (folder / "COCO_train2014_000000000001.jpg").write_bytes(b"no photo")
    assert [s.ref_id for s in with_photos(data).samples] == [3]
    for number in (1, 2):
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / f"COCO_train2014_{number:012d}.jpg")
    assert with_photos(data, strict=True) is data


def test_an_unknown_split_is_refused_with_those_that_there_are(tmp_path):
    folder = folder_of(tmp_path, [reference(1, [10])])
    with pytest.raises(DatasetError, match="no split 'testA', only train"):
        grefcoco.read(folder, "testA")


def test_synthetic_references_written_are_read_back_with_the_same_masks(tmp_path):
    images, annotations, references, truths = [], [], [], []
    for image_id in range(1, 4):
        _, ids, scene = make_photo(image_id, "val", 96, 64)
        images.append({"id": image_id, "file_name": f"{image_id}.jpg", "width": 96, "height": 64})
        numbers = {}
        for instance in scene.instances:
            rle = rle_codec.encode(np.asfortranarray((ids == instance.id).astype(np.uint8)))
            numbers[instance.id] = len(annotations) + 1
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": CATEGORIES.index(instance.category) + 1,
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                    "bbox": rle_codec.toBbox(rle).tolist(),
                    "area": int(rle_codec.area(rle)),
                    "iscrowd": 0,
                }
            )
        rng = np.random.default_rng(image_id)
        said = grammar.expressions(scene, rng, 6) + grammar.no_target(scene, rng, 3)
        for expression in said:
            referents = sorted(grammar.execute(expression.program, scene))
            chosen = tuple(numbers[i] for i in referents)
            references.append(
                Reference(
                    ref_id=len(references) + 1,
                    image_id=image_id,
                    file_name=f"{image_id}.jpg",
                    split="val",
                    annotation_ids=chosen,
                    category_ids=tuple(annotations[n - 1]["category_id"] for n in chosen),
                    sentences=((expression.text, expression.kind),),
                )
            )
            truths.append((expression, np.isin(ids, referents)))
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(CATEGORIES)]
    grefcoco_form.write(tmp_path / "album", references, images, annotations, categories)

    data = grefcoco.read(tmp_path / "album", "val")

    assert len(data) == len(truths) == 27
    quirks = set(seen(data)) - {"word that looks misspelled, left as typed"}
    assert not quirks
    for sample, (expression, truth) in zip(data.samples, truths, strict=True):
        assert sample.text == expression.text
        assert sample.kind == expression.kind
        assert (data.mask(sample) == truth).all()
    assert data.counts.found["no-target"] == 9
    assert {len(samples) for samples in data.by_photo().values()} == {9}


def test_written_references_have_the_fields_of_the_released_file(tmp_path):
    row = Reference(4, 1, "1.jpg", "val", (), (), (("Kid in blue.", "colour"),))
    grefcoco_form.write_refs(tmp_path / "refs.json", [row])
    (written,) = json.loads((tmp_path / "refs.json").read_text())
    assert written == {
        "image_id": 1,
        "split": "val",
        "sentences": [
            {
                "tokens": ["kid", "in", "blue"],
                "raw": "Kid in blue.",
                "sent_id": 0,
                "sent": "kid in blue",
                "kind": "colour",
            }
        ],
        "file_name": "1.jpg",
        "category_id": [-1],
        "ann_id": [-1],
        "sent_ids": [0],
        "ref_id": 4,
        "no_target": True,
    }
