"""Whole evaluations: folders in the gRefCOCO form, the commands, and synthetic sets end to end."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from model.asking import LateFusion
from model.build import load_predictor
from model.calibration import Calibration
from referent.main import app
from tests.support.colour_network import ColourPredictor
from tests.support.tiny_model import write_tiny_model
from training.errors import DatasetError
from training.measuring import suite
from training.measuring.folder_album import album_of
from training.measuring.report import summary
from training.measuring.testsets import Sizes

SQUARES = ((8, 8, 16, 16), (40, 8, 16, 16))  # x, y, width, height: a red and a blue one


@pytest.fixture
def folder(tmp_path):
    """One photo of a red and a blue square, with references of every sort."""
    photo = np.zeros((48, 64, 3), np.uint8)
    photo[8:24, 8:24, 0] = photo[8:24, 40:56, 2] = 255
    (tmp_path / "images").mkdir()
    Image.fromarray(photo).save(tmp_path / "images" / "a.png")
    annotations = [
        {
            "id": number + 10, "image_id": 7, "category_id": 1, "iscrowd": 0, "area": w * h,
            "bbox": [x, y, w, h],
            "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
        }
        for number, (x, y, w, h) in enumerate(SQUARES)
    ]  # fmt: skip
    instances = {
        "images": [{"id": 7, "file_name": "a.png", "width": 64, "height": 48}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "square"}],
    }
    texts = [("red square", [10]), ("red and blue", [10, 11]), ("green square", [-1])]
    refs = [
        {
            "ref_id": n, "image_id": 7, "split": "val", "ann_id": ids, "category_id": [1],
            "file_name": "a.png", "no_target": ids == [-1],
            "sentences": [{"sent_id": n, "raw": text, "sent": text, "tokens": text.split()}],
        }
        for n, (text, ids) in enumerate(texts)
    ]  # fmt: skip
    (tmp_path / "instances.json").write_text(json.dumps(instances))
    (tmp_path / "grefs(unc).json").write_text(json.dumps(refs))
    return tmp_path


def test_folder_in_the_grefcoco_form_is_measured_by_its_own_masks(folder) -> None:
    data = suite.folder_pairs(folder)
    assert [pair.targets for pair in data.pairs] == [(10,), (10, 11), ()]
    figures = suite.evaluate_pairs(LateFusion(ColourPredictor()), data, quiet=True).figures
    assert figures["pairs.n_acc"] == figures["pairs.t_acc"] == 1.0
    assert figures["pairs.giou"] > 0.85
    assert set(figures["pairs.by_targets"]) == {"0", "1", "2"}
    assert figures["data"] == f"{folder.name}:val"


def test_what_is_left_out_of_a_folder_is_told_beside_the_figures(folder) -> None:
    path = folder / "grefs(unc).json"
    refs = json.loads(path.read_text())
    refs[1]["sentences"][0].update(raw="\U0001f600", sent="", tokens=[])
    path.write_text(json.dumps(refs))
    data = suite.folder_pairs(folder)
    figures = suite.evaluate_pairs(LateFusion(ColourPredictor()), data, quiet=True).figures
    assert figures["pairs.samples"] == 2
    assert figures["left_out"] == {"sentence without a word that can be read, dropped": 1}
    assert "left out at reading:        1  sentence without a word" in summary(figures)
    result = CliRunner().invoke(
        app, ["evaluate", "rela-mini:random-1", "--data", f"{folder}:val", "--strict"]
    )
    assert "reference 1, sentence 1" in str(result.exception)


def test_folder_with_several_splits_asks_for_one(folder) -> None:
    path = folder / "grefs(unc).json"
    refs = json.loads(path.read_text())
    refs[0]["split"] = "testA"
    path.write_text(json.dumps(refs))
    with pytest.raises(DatasetError, match="testA, val: name one"):
        suite.folder_pairs(folder)
    assert len(suite.folder_pairs(folder, "testA").pairs) == 1


def test_photo_of_another_size_than_its_masks_is_named(folder) -> None:
    Image.new("RGB", (10, 10)).save(folder / "images" / "a.png")
    with pytest.raises(DatasetError, match=r"a.png is 10 x 10 pixels, its masks are 64 x 48"):
        suite.folder_pairs(folder).photos.image(0)


def test_synthetic_evaluation_gives_every_promised_key_at_points_chosen_on_validation(
    tmp_path,
) -> None:
    sizes = Sizes(4, 8, 16, 1, 4)
    evaluation = suite.evaluate_synthetic(
        ColourPredictor(), "test", sizes, folder=tmp_path, quiet=True
    )
    figures = evaluation.figures
    for key in (
        "pairs.target_iou", "pairs.n_acc_at_point", "pairs.ece", "pairs.giou", "pairs.ciou",
        "pairs.pr@0.7", "pairs.pr@0.8", "pairs.pr@0.9", "pairs.n_acc", "pairs.t_acc", "album.f1",
        "album.precision", "album.recall", "album.map", "album.f1_by_kind", "album_b.f1",
        "album.median_prevalence", "album.pixel_rule.f1", "album.false_photo_rate",
        "absent.false_photo_rate", "absent.nothing_returned", "prefilter.recall@5%",
    ):  # fmt: skip
        assert key in figures, key
    assert figures["calibrated_on"] == "synthetic:val, now"
    json.dumps(figures)
    drawn = {path.name.split("-")[1] for path in tmp_path.iterdir()}
    assert drawn == {"val", "test"}  # test and test-b both begin so
    calibrated = evaluation.examples.calibration
    assert calibrated.fitted_to == ColourPredictor.fingerprints["head"]


def test_calibration_looks_at_more_absent_things_than_the_evaluation(tmp_path, monkeypatch) -> None:
    seen = []

    def choose(pairs, album, absent, **named) -> Calibration:
        seen.append((absent.no_target_logit.shape, album[1].no_target_logit.shape))
        return Calibration()

    monkeypatch.setattr(suite, "choose_calibration", choose)
    sizes = Sizes(4, 8, 16, 1, 4)
    suite.calibrate(ColourPredictor(), "val", sizes, folder=tmp_path, quiet=True)
    assert seen == [((20, 16), (8, 16))]


def test_model_with_a_calibration_of_its_own_head_keeps_it() -> None:
    network = ColourPredictor()
    assert not suite.is_calibrated(network)
    network.calibration = Calibration(points={"t_acc_95": 0.5}, fitted_to="another head")
    assert not suite.is_calibrated(network)
    network.calibration = Calibration(points={"t_acc_95": 0.5}, fitted_to="c0")
    assert suite.is_calibrated(network)


def test_evaluate_command_prints_figures_as_json_and_writes_a_report(folder, tmp_path) -> None:
    report = tmp_path / "report"
    arguments = ["evaluate", "rela-mini:random-1", "--data", f"{folder}:val", "--json"]
    result = CliRunner().invoke(app, [*arguments, "--report", str(report)])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert figures["pairs.samples"] == 3 and figures["model"] == "rela-mini:random-1"
    assert (report / "report.md").is_file()


@pytest.mark.parametrize(
    ("data", "reason"),
    [("synthetic:testing", "a split is one of train"), ("nowhere", "nowhere is no data set")],
)
def test_evaluate_command_names_a_data_set_that_does_not_exist(data: str, reason: str) -> None:
    result = CliRunner().invoke(app, ["evaluate", "rela-mini:random-1", "--data", data])
    assert result.exit_code != 0 and reason in str(result.exception)


def test_a_model_is_calibrated_on_any_data_with_known_truth(folder, tmp_path) -> None:
    # A second photo, of a bus, which the expressions of the first are surely false of.
    for name, change in (("instances.json", _with_bus), ("grefs(unc).json", _with_bus_said)):
        path = folder / name
        path.write_text(json.dumps(change(json.loads(path.read_text()))))
    Image.new("RGB", (64, 48), (200, 180, 0)).save(folder / "images" / "b.png")
    weights = write_tiny_model(tmp_path / "atom.safetensors")
    result = CliRunner().invoke(app, ["calibrate", weights, "--data", f"{folder}:val"])
    assert result.exit_code == 0, result.output
    kept = Calibration.load(tmp_path / "atom.calibration.json")
    assert kept.fitted_to == load_predictor(weights).fingerprints["head"]
    assert kept.prior_shift != 0


def _with_bus(instances):
    instances["images"].append({"id": 8, "file_name": "b.png", "width": 64, "height": 48})
    instances["categories"].append({"id": 6, "name": "bus"})
    instances["annotations"].append(
        {
            "id": 20, "image_id": 8, "category_id": 6, "iscrowd": 0, "area": 100,
            "bbox": [4, 4, 20, 20], "segmentation": [[4, 4, 24, 4, 24, 24, 4, 24]],
        }
    )  # fmt: skip
    return instances


def _with_bus_said(refs):
    texts = [("yellow bus", [20]), ("green bus", [-1])]
    return refs + [
        {
            "ref_id": 30 + n, "image_id": 8, "split": "val", "ann_id": ids, "file_name": "b.png",
            "no_target": ids == [-1], "sentences": [{"sent_id": 30 + n, "raw": text}],
        }
        for n, (text, ids) in enumerate(texts)
    ]  # fmt: skip


def test_an_album_of_a_folder_knows_what_is_told_and_what_is_surely_false(folder) -> None:
    for name, change in (("instances.json", _with_bus), ("grefs(unc).json", _with_bus_said)):
        path = folder / name
        path.write_text(json.dumps(change(json.loads(path.read_text()))))
    Image.new("RGB", (64, 48), (200, 180, 0)).save(folder / "images" / "b.png")
    data = suite.folder_pairs(folder)

    def embed(texts):
        vectors = {text: np.eye(8, dtype=np.float32)[n] for n, text in enumerate(sorted(KNOWN))}
        return np.stack([vectors[text] for text in texts])

    album = album_of(data.photos.data, data.photos, data.photos.image_ids, embed, "a")
    truth = {text: row.tolist() for text, row in zip(album.expressions, album.truth, strict=True)}
    # "red and blue" names no kind that is marked: nobody knows whether the bus is.
    assert truth == {"red square": [1, 0], "red and blue": [1, -1], "yellow bus": [0, 1]}
    assert len(album.photos) == 2 and album.photos.image(1)[0, 0].tolist() == [200, 180, 0]


KNOWN = ("red square", "red and blue", "green square", "yellow bus", "green bus")
