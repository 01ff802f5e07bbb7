"""Predictions out and in: written, gone on with, scored by both protocols, compared."""

from __future__ import annotations

import hashlib
import json
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from pycocotools import mask as rle_codec
from typer.testing import CliRunner

from model.network.preprocess import to_pixels
from model.official.build import save_official
from referent.main import app
from referent.networks import load_network
from tests.support.official_trace import HERE, built
from tests.support.tiny_model import write_tiny_model
from training.errors import DatasetError, Interrupted
from training.measuring import suite
from training.measuring.judging import Pair
from training.measuring.metrics import SegmentationMetrics
from training.measuring.predicting import Predictions, predict
from training.measuring.scoring import (
    METRICS,
    compared,
    judge_pairs,
    read_predictions,
    score,
    scored,
    squashed_truth,
)

SIZES = ((64, 48), (90, 200), (120, 33))  # width, height: none of them square


def _encoded(mask: np.ndarray) -> dict[str, Any]:
    code = rle_codec.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": code["size"], "counts": code["counts"].decode()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos of different shapes, each with a one-, a two- and a no-target expression."""
    made = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(1)
    images, annotations, refs = [], [], []
    for number, (width, height) in enumerate(SIZES, 1):
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(made / f"{number}.png")
        images.append(
            {"id": number, "file_name": f"{number}.png", "width": width, "height": height}
        )
        drawn = np.zeros((height, width), bool)
        drawn[height // 2 :, : width // 3] = True
        x, y = width // 2, height // 4
        shapes = [_encoded(drawn), [[x, y, x + 20.5, y, x + 20.5, y + 9.25, x, y + 9.25]]]
        for at, shape in enumerate(shapes):
            annotations.append(
                {"id": 10 * number + at, "image_id": number, "category_id": 1, "iscrowd": 0,
                 "segmentation": shape, "area": 1, "bbox": [0, 0, 1, 1]}
            )  # fmt: skip
        for k, (text, ids) in enumerate([("a dog", [0]), ("two dogs", [0, 1]), ("a cat", [])], 1):
            refs.append(
                {"ref_id": 10 * number + k, "image_id": number, "split": "val",
                 "no_target": not ids,
                 "ann_id": [10 * number + i for i in ids] or [-1], "file_name": f"{number}.png",
                 "sentences": [{"sent_id": 100 * number + k, "raw": text, "kind": text[:3]}]}
            )  # fmt: skip
    content = {"images": images, "annotations": annotations,
               "categories": [{"id": 1, "name": "dog"}]}  # fmt: skip
    (made / "instances.json").write_text(json.dumps(content))
    (made / "grefs(unc).json").write_text(json.dumps(refs))
    return made


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_tiny_model(tmp_path_factory.mktemp("w") / "atom.safetensors", seed=3)


@pytest.fixture(scope="module")
def written(folder: Path, weights: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("p") / "p.jsonl"
    pairs = suite.folder_pairs(folder)
    assert predict(partial(load_network, weights), pairs, out, quiet=True) == 9
    return out


def test_evaluating_is_predicting_and_scoring(folder: Path, weights: str, written: Path) -> None:
    data = suite.folder_pairs(folder)
    whole = suite.evaluate_pairs(load_network(weights), data, quiet=True).figures
    told = json.loads(json.dumps(scored([read_predictions(written)], data)))
    assert json.loads(json.dumps(whole["protocols"])) == told
    for name in METRICS:
        assert told["paper"][0]["figures"][name] == whole[f"pairs.{name}"], name
    assert set(whole["pairs.by_targets"]) == {"0", "1", "2"}
    assert set(whole["pairs.by_kind"]) == {"a d", "two", "a c"}


def test_pairs_are_counted_as_by_the_predictor_itself(folder: Path, weights: str) -> None:
    # As an evaluation counted before it went through predictions: masks never leave the predictor.
    data = suite.folder_pairs(folder)
    network = load_network(weights)
    predictor = network.predictor
    scores = judge_pairs(network, data, quiet=True)
    for index, pair in enumerate(data.pairs):
        image = Image.fromarray(data.photos.image(pair.photo))
        records = predictor.encode(to_pixels(image, 64)[None], ("tokens", "masks"))
        judgement = predictor.judge_pairs(records["tokens"], predictor.read([pair.expression]))
        mask = predictor.render(records["masks"], judgement, *image.size).array
        truth = data.photos.mask(pair.photo, pair.targets)
        assert scores.no_target_logit[index] == pytest.approx(
            float(judgement.no_target_logit[0]), abs=1e-4
        )
        found = (scores.intersection[index], scores.predicted_area[index])
        assert found == pytest.approx(((mask & truth).sum(), mask.sum()), abs=2)
        assert scores.truth_area[index] == truth.sum()
        small = predictor.render(records["masks"], judgement, 64, 64)
        assert scores.input_area[index] == pytest.approx(small.area, abs=2)


def mapped(data: Any, sample: Any) -> np.ndarray:
    """Truth at 480 x 480 as the authors' mapper makes it: each polygon scaled, drawn, joined."""
    width, height = data.size(sample.image_id)
    union = np.zeros((480, 480), bool)
    for number in sample.annotation_ids:
        shape = data.coco.anns[number]["segmentation"]
        if isinstance(shape, dict):
            rows = (np.arange(480) * height / 480).astype(int)
            columns = (np.arange(480) * width / 480).astype(int)
            union |= rle_codec.decode(shape).astype(bool)[rows][:, columns]
            continue
        for polygon in shape:
            points = np.reshape(polygon, (-1, 2)) * (480 / width, 480 / height)
            (rle,) = rle_codec.frPyObjects([points.ravel().tolist()], 480, 480)
            union |= rle_codec.decode(rle).astype(bool)
    return union


def test_gres480_is_the_authors_evaluator_step_by_step(
    folder: Path, weights: str, written: Path
) -> None:
    # Written out as theirs runs: the squashed photo's logits, upsampled to 480, above 0; truth
    # drawn there; the flag alone decides at E's own border.
    pairs = suite.folder_pairs(folder)
    data = pairs.photos.data
    network = load_network(weights)
    metrics, at_photo_size = SegmentationMetrics("reference"), SegmentationMetrics("reference")
    for sample in data.samples:
        with Image.open(data.photo(sample.image_id)) as image:
            (said,) = network.encode([image.convert("RGB")]).judge([(0, sample.text)])

        logits = torch.from_numpy(said.mask_logit)[None, None]
        up = F.interpolate(logits, (480, 480), mode="bilinear", align_corners=False)[0, 0]
        flag = said.no_target_logit > 0
        truth = mapped(data, sample)
        metrics.add((up > 0).numpy(), truth, predicted_no_target=flag, no_target=sample.no_target)
        width, height = data.size(sample.image_id)
        small = F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)[0, 0]
        at_photo_size.add((small > 0).numpy(), data.mask(sample), predicted_no_target=flag,
                          no_target=sample.no_target)  # fmt: skip
    found = score(read_predictions(written), pairs, "gres480").figures
    for name, value in metrics.result().items():
        # Judged alone here and together there, photos are rounded otherwise: a pixel may differ.
        assert found[name] == (value if value is None else pytest.approx(value, abs=1e-6)), name
    # On mixed sizes the photo's own size gives another cIoU: the two protocols are two.
    assert found["ciou"] != pytest.approx(at_photo_size.result()["ciou"], abs=1e-4)


def test_truth_at_480_is_drawn_as_the_authors_mapper_draws_it() -> None:
    shapes = {
        1: [[10.5, 8.0, 40.25, 9.5, 38.0, 30.75, 12.0, 28.0]],
        2: [[30.0, 20.0, 70.0, 22.5, 66.0, 55.0],
            [5.0, 40.0, 20.0, 40.0, 20.0, 58.0, 5.0, 57.0]],
    }  # fmt: skip
    photos: Any = SimpleNamespace(shapes=lambda targets: [shapes[n] for n in targets])

    def drawn(*ids: int) -> np.ndarray:
        return squashed_truth(photos, Pair(0, "", "", ids), np.zeros((61, 83), bool))

    assert [int(drawn(n).sum()) for n in (1, 2)] == [26197, 41765]
    packed = np.packbits(drawn(1, 2), axis=-1).tobytes()
    assert drawn(1, 2).sum() == 66402
    assert hashlib.blake2b(packed, digest_size=8).hexdigest() == RECORDED


RECORDED = "b8475fbf8949da7d"  # of tests/data/parity's recording, packed bits of the merged mask


def test_an_interrupted_file_is_gone_on_with_to_the_same_bytes(
    folder: Path, weights: str, written: Path, tmp_path: Path
) -> None:
    pairs, out = suite.folder_pairs(folder), tmp_path / "p.jsonl"
    load = partial(load_network, weights)
    with pytest.raises(Interrupted, match="goes on"):
        predict(load, pairs, out, should_stop=lambda: True, quiet=True)
    half = out.read_bytes()
    assert len(half.splitlines()) == 1 + 3
    whole = written.read_bytes()
    for cut in (half, half + b'{"ref_id": 21', whole[:-5], whole):
        out.write_bytes(cut)
        predict(load, pairs, out, quiet=True)
        assert out.read_bytes() == whole
    (other := tmp_path / "o.safetensors").write_bytes(Path(weights).read_bytes())
    loaded = partial(load_network, write_tiny_model(other, seed=4))
    with pytest.raises(DatasetError, match=r"p\.jsonl holds the answers of another network"):
        predict(loaded, pairs, out, quiet=True)


def test_several_processes_write_the_file_that_one_writes(
    folder: Path, weights: str, written: Path, tmp_path: Path
) -> None:
    pairs, out = suite.folder_pairs(folder), tmp_path / "p.jsonl"
    predict(partial(load_network, weights), pairs, out, workers=2, quiet=True)
    ours = [json.loads(line) for line in out.read_text().splitlines()]
    theirs = [json.loads(line) for line in written.read_text().splitlines()]
    assert [row.get("sent_id") for row in ours] == [row.get("sent_id") for row in theirs]
    for one, two in zip(ours[1:], theirs[1:], strict=True):
        assert one["p_no_target"] == pytest.approx(two["p_no_target"], abs=1e-4)


def _foreign(folder: Path, path: Path, *, right: bool) -> Predictions:
    """As somebody else's model would say it: truth, or nothing anywhere."""
    data = suite.folder_pairs(folder).photos.data
    rows = [
        {"ref_id": s.ref_id, "sent_id": s.sent_id, "no_target": s.no_target if right else True,
         "rle": _encoded(data.mask(s)) if right else None}
        for s in data.samples
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_predictions(path)


def test_other_peoples_predictions_are_scored_and_compared(folder: Path, tmp_path: Path) -> None:
    data = suite.folder_pairs(folder)
    right = _foreign(folder, tmp_path / "right.jsonl", right=True)
    wrong = _foreign(folder, tmp_path / "wrong.jsonl", right=False)
    best, worst = (score(each, data, "paper") for each in (right, wrong))
    assert all(best.figures[name] == 1.0 for name in METRICS)
    assert worst.figures["giou"] == pytest.approx(1 / 3) and worst.figures["t_acc"] == 0.0
    assert score(right, data, "gres480").figures["ciou"] > 0.9  # squashed by nearest pixels
    found = compared(worst, best)
    assert found["giou"]["difference"] == pytest.approx(2 / 3)
    assert found["n_acc"]["difference"] == 0.0 and found["n_acc"]["p"] == 1.0
    assert found["ciou"]["low"] > 0
    # With three photos a swap of all or none is a quarter of all swaps: no smaller p exists.
    assert 0.2 < found["giou"]["p"] < 0.3
    assert compared(best, best)["giou"] == {"difference": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}


def test_intervals_are_those_of_drawing_photos(folder: Path, tmp_path: Path) -> None:
    data = suite.folder_pairs(folder)
    found = score(_foreign(folder, tmp_path / "r.jsonl", right=True), data, "paper")
    assert found.intervals()["giou"] == (1.0, 1.0)
    rng = np.random.default_rng(2)
    hits = (rng.random(400) < 0.7).astype(float)
    sums = np.zeros((400, 8))
    sums[:, 0], sums[:, 1] = 1, hits
    many = type(found)("paper", {**found.figures, "ciou": None, "n_acc": None, "t_acc": None}, sums)
    low, high = many.intervals()["giou"]
    half_width = 1.96 * np.sqrt(0.7 * 0.3 / 400)
    assert (high - low) / 2 == pytest.approx(half_width, rel=0.15)
    assert low < hits.mean() < high


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[:-1], "lacks 1 of 9 expressions, first that of reference 33, sentence"),
        (lambda rows: [{**rows[0], "rle": {"size": [1, 1], "counts": "01"}}, *rows[1:]],
         "line 1: rle is no mask of 48 x 64"),
        (lambda rows: [*rows, {"ref_id": 1}], "line 10: a prediction has ref_id, sent_id and rle"),
        (lambda rows: [{k: v for k, v in r.items() if k != "no_target"} for r in rows],
         "line 1: a prediction says p_no_target, or no_target"),
    ],
)  # fmt: skip
def test_predictions_that_cannot_be_scored_are_named_by_their_line(
    folder: Path, tmp_path: Path, change: Any, said: str
) -> None:
    path = tmp_path / "p.jsonl"
    _foreign(folder, path, right=True)
    rows = change([json.loads(line) for line in path.read_text().splitlines()])
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = suite.folder_pairs(folder)
    with pytest.raises(DatasetError, match=said):
        score(read_predictions(path), data, "paper")


def test_commands_predict_and_score(folder: Path, weights: str, tmp_path: Path) -> None:
    out, data = tmp_path / "p.jsonl", f"{folder}:val"
    run = CliRunner().invoke(app, ["predict", weights, "--data", data, "--out", str(out)])
    assert run.exit_code == 0, run.output
    _foreign(folder, tmp_path / "right.jsonl", right=True)
    command = ["score", str(out), str(tmp_path / "right.jsonl"), "--data", data]
    told = CliRunner().invoke(app, command)
    assert told.exit_code == 0, told.output
    assert "rela-atom, protocol paper" in told.stdout and "right, protocol gres480" in told.stdout
    assert "second minus first, paper giou" in told.stdout and "nearest pixels" in told.stdout
    whole = CliRunner().invoke(app, ["evaluate", weights, "--data", data, "--protocol", "gres480"])
    assert "protocol gres480" in whole.stdout and "protocol paper" not in whole.stdout
    values = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert values["paper"][1]["figures"]["giou"] == 1.0
    assert values["paper.compared"]["giou"]["difference"] > 0


def test_released_networks_are_evaluated_shown_and_segment(folder: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    content = json.loads((folder / "instances.json").read_text())
    (small / "instances.json").write_text(json.dumps(content))
    refs = json.loads((folder / "grefs(unc).json").read_text())[:1]
    (small / "grefs(unc).json").write_text(json.dumps(refs))
    shutil.copy(folder / "1.png", small)
    name = str(tmp_path / "small.safetensors")  # as if it had been imported
    network = built(HERE, "tiny_a")
    save_official(network, Path(name), {})
    out = tmp_path / "report"
    command = ["evaluate", name, "--data", str(small), "--json", "--report", str(out)]
    run = CliRunner().invoke(app, command)
    assert run.exit_code == 0, run.output
    told = json.loads(run.stdout)["protocols"]
    assert told["gres480"][0]["figures"]["samples"] == told["paper"][0]["figures"]["samples"] == 1
    written = (out / "report.md").read_text()
    assert "protocol paper" in written and "protocol gres480" in written
    shown = json.loads(CliRunner().invoke(app, ["models", "show", name]).stdout)
    assert shown["parameters"] > 1e5 and shown["config"]["embed_dim"] == network.config.embed_dim
    command = ["segment", str(small / "1.png"), "a dog", "--model", name, "--json"]
    answer = json.loads(CliRunner().invoke(app, [*command, "--out", str(tmp_path / "o")]).stdout)
    assert answer["model"] == network.config.name and (tmp_path / "o" / "regions.png").is_file()
