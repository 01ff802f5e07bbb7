import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_codec

from model import grefcoco_form
from model.grefcoco_form import Reference
from training.data import grefcoco
from training.data.grefcoco_counts import PAPER, QUIRKS
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


def test_counts_stand_beside_those_of_the_paper(tmp_path, capsys):
    refs = [
        reference(1, [10, 20]),
        reference(2, [10], text="Kid in blue"),
        reference(3, [-1], split="val"),
    ]
    folder = folder_of(tmp_path, refs)
    found = grefcoco.survey(folder)
    assert found.found == {
        "expressions": 3,
        "multi-target": 1,
        "single-target": 1,
        "no-target": 1,
        "instances": 2,
        "images": 1,
    }
    assert found.splits == {"train": 2, "val": 1}
    grefcoco.main([str(folder)])
    printed = capsys.readouterr().out
    assert all(f"{count:,}" in printed for count in PAPER.values())


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
        (lambda f: (f / "grefs(unc).json").write_text('[{"ref_id": 1}]'), "lacks"),
        (lambda f: (f / "instances.json").write_text('{"images": []}'), "COCO's form"),
    ],
)
def test_a_damaged_folder_is_refused_with_the_file_and_a_remedy(tmp_path, damage, message):
    folder = folder_of(tmp_path, [reference(1, [10])])
    damage(folder)
    with pytest.raises(DatasetError, match=message):
        grefcoco.read(folder, "train")


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
