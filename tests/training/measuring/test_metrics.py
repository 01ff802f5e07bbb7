"""The GRES metrics, by the paper and by the reference evaluator."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco

from training.measuring.metrics import SegmentationMetrics

DATA = Path(__file__).parents[2] / "data"
REFERENCE = json.loads((DATA / "reference_metrics.json").read_text())


def decoded(counts: str, size: list[int]) -> np.ndarray:
    return coco.decode({"size": size, "counts": counts.encode()}).astype(bool)


@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_reference_rule_gives_the_reference_evaluators_numbers(name: str) -> None:
    recorded = REFERENCE[name]
    metrics = SegmentationMetrics("reference")
    for sample in recorded["samples"]:
        iou = metrics.add(
            decoded(sample["pred_rle"], recorded["size"]),
            decoded(sample["gt_rle"], recorded["size"]),
            predicted_no_target=sample["pred_nt"],
            no_target=sample["gt_nt"],
            groups=(sample["source"],),
        )
        assert iou == pytest.approx(sample["iou"], abs=1e-12)
    for source, wanted in recorded["results"].items():
        ours = metrics.by_group()[source]
        for key, theirs in wanted.items():
            value = ours[key.lower()]
            # It prints percent except for the two accuracies, and 0 where ours is undefined.
            scale = 1 if key.endswith("_acc") else 100
            assert (value or 0) * scale == pytest.approx(theirs, abs=1e-9), key
        if not any(sample["gt_nt"] for sample in recorded["samples"]):
            assert ours["n_acc"] is None and ours["t_acc"] is None


def test_nothing_counted_leaves_every_metric_undefined() -> None:
    result = SegmentationMetrics().result()
    assert result.pop("samples") == 0 and result.pop("targeted") == 0
    assert set(result.values()) == {None}


def test_paper_rule_takes_an_empty_mask_for_no_target_whatever_the_flag_says() -> None:
    empty, full = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    paper, reference = SegmentationMetrics("paper"), SegmentationMetrics("reference")
    for metrics in (paper, reference):
        metrics.add(empty, None, predicted_no_target=False)
        metrics.add(full, None, predicted_no_target=False)
    assert paper.result()["n_acc"] == 0.5
    assert reference.result()["n_acc"] == 0.0


def test_paper_rule_empties_the_mask_of_a_sample_predicted_no_target() -> None:
    truth = np.zeros((4, 4), bool)
    truth[0] = True
    predicted = np.zeros((4, 4), bool)
    predicted[:2] = True
    paper, reference = SegmentationMetrics("paper"), SegmentationMetrics("reference")
    for metrics in (paper, reference):
        metrics.add(predicted, truth, predicted_no_target=True)
        metrics.add(truth, truth, predicted_no_target=False)
    assert paper.result()["ciou"] == 4 / 8  # union: 4 of the truth, then 4
    assert reference.result()["ciou"] == 4 / 12  # union: 8 with the predicted pixels, then 4
    for metrics in (paper, reference):
        result = metrics.result()
        assert result["giou"] == 0.5 and result["t_acc"] in (0.5, None)
        assert result["target_iou"] == 0.75  # the mask's own IoU, the decision left out
        assert result["target_iou_decided"] == 0.5


def test_precision_counts_more_than_the_start_in_the_paper_and_at_least_in_the_reference() -> None:
    for rule, share in (("paper", 0.0), ("reference", 1.0)):
        metrics = SegmentationMetrics(rule)  # type: ignore[arg-type]
        metrics.add_counts(4, 5, 4, predicted_no_target=False, no_target=False)  # IoU 4 / 5
        assert metrics.result()["pr@0.8"] == share
        assert metrics.result()["pr@0.7"] == 1.0


def test_streaming_equals_formulas_written_out_over_all_samples() -> None:
    random = np.random.default_rng(3)
    metrics = SegmentationMetrics()
    ious, intersections, unions, found, kept = [], 0, 0, [], []
    for index in range(200):
        truth = random.random((12, 9)) < (0.5 if index % 3 else 0.0)
        predicted = random.random((12, 9)) < random.choice([0.0, 0.2, 0.6])
        flag = bool(random.random() < 0.3)
        metrics.add(predicted, truth, predicted_no_target=flag, groups=(f"g{index % 2}",))
        shown = np.zeros_like(predicted) if flag else predicted
        i, u = int((shown & truth).sum()), int((shown | truth).sum())
        intersections, unions = intersections + i, unions + u
        ious.append(1.0 if u == 0 else i / u)
        (kept if truth.any() else found).append(shown.any() == truth.any())
    result = metrics.result()
    assert math.isclose(result["giou"], np.mean(ious), abs_tol=1e-12)
    assert math.isclose(result["ciou"], intersections / unions, abs_tol=1e-12)
    assert math.isclose(result["n_acc"], np.mean(found), abs_tol=1e-12)
    assert math.isclose(result["t_acc"], np.mean(kept), abs_tol=1e-12)
    groups = metrics.by_group()
    assert sum(group["samples"] for group in groups.values()) == 200
    assert math.isclose(
        sum(group["giou"] * group["samples"] for group in groups.values()) / 200, result["giou"]
    )


def test_masks_of_different_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="truth is"):
        SegmentationMetrics().add(
            np.ones((2, 3), bool), np.ones((3, 2), bool), predicted_no_target=False
        )
