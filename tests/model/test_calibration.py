"""Calibration of the no-target score: fit, priors, operating points, reliability, its file."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from model import calibration
from model.calibration import Calibration, CalibrationError, sigmoid


def drawn(
    temperature: float, bias: float, count: int = 20_000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw logits whose true p(no target) is sigmoid(z / temperature + bias)."""
    random = np.random.default_rng(seed)
    z = random.normal(0, 2 * temperature, count)
    return z, random.random(count) >= sigmoid(z / temperature + bias)


@pytest.mark.parametrize(("temperature", "bias"), [(1.0, 0.0), (3.0, 0.7), (0.4, -1.2)])
def test_fit_finds_the_temperature_and_bias_that_made_the_data(
    temperature: float, bias: float
) -> None:
    z, has_target = drawn(temperature, bias)
    fitted = calibration.fit(z, has_target)
    assert fitted.temperature == pytest.approx(temperature, rel=0.05)
    assert fitted.bias == pytest.approx(bias, abs=0.06)
    confidence = fitted.confidence(z)
    assert calibration.expected_calibration_error(confidence, has_target) < 0.015
    assert confidence.mean() == pytest.approx(has_target.mean(), abs=1e-3)


def test_fit_of_separable_scores_is_finite_and_orders_them() -> None:
    fitted = calibration.fit([-3.0, -2.0, 2.0, 3.0], [True, True, False, False])
    assert 0.02 <= fitted.temperature <= 50
    assert list(fitted.accepts([-3.0, -2.0, 2.0, 3.0])) == [True, True, False, False]


def test_fit_of_scores_that_point_the_wrong_way_keeps_a_positive_temperature() -> None:
    z, has_target = drawn(1.0, 0.0)
    fitted = calibration.fit(-z, has_target)
    assert fitted.temperature == pytest.approx(50)


def test_fit_needs_both_kinds_of_pairs_and_finite_scores() -> None:
    with pytest.raises(CalibrationError, match="with a target and pairs without"):
        calibration.fit([1.0, 2.0], [True, True])
    with pytest.raises(CalibrationError, match="finite"):
        calibration.fit([np.nan, 2.0], [True, False])
    with pytest.raises(CalibrationError, match="2 scores, 1 truths"):
        calibration.fit([1.0, 2.0], [True])


def test_few_pairs_move_a_strong_starting_calibration_little_and_many_replace_it() -> None:
    around = Calibration(2.0, -0.5, prior_shift=1.0, threshold=0.3)
    few = calibration.fit([-1.0], [True], around=around, strength=100)
    assert few.temperature == pytest.approx(2.0, abs=0.1)
    assert few.bias == pytest.approx(-0.5, abs=0.1)
    assert (few.prior_shift, few.threshold) == (1.0, 0.3)
    z, has_target = drawn(1.0, 1.0)
    many = calibration.fit(z, has_target, around=around, strength=10)
    assert many.temperature == pytest.approx(1.0, rel=0.05)
    assert many.bias + many.prior_shift == pytest.approx(1.0, abs=0.06)


def test_prior_shift_follows_bayes_and_is_found_again_from_an_albums_pairs() -> None:
    z, has_target = drawn(1.5, 0.2, 200_000)
    keep = ~has_target | (np.random.default_rng(1).random(len(z)) < 0.05)
    album_z, album_target = z[keep], has_target[keep]
    fitted = calibration.fit(z, has_target)
    before, after = 1 - has_target.mean(), 1 - album_target.mean()
    by_bayes = np.log(after / (1 - after)) - np.log(before / (1 - before))
    by_album = calibration.fit_prior_shift(fitted, album_z, album_target)
    assert by_album == pytest.approx(by_bayes, abs=0.1)
    shifted = dataclasses.replace(fitted, prior_shift=by_album)
    assert shifted.revision != fitted.revision
    assert shifted.confidence(album_z).mean() == pytest.approx(album_target.mean(), abs=1e-6)
    np.testing.assert_array_equal(
        shifted.confidence(album_z, shifted=False), fitted.confidence(album_z)
    )


def test_best_f1_threshold_beats_every_other_threshold() -> None:
    random = np.random.default_rng(5)
    confidence = random.random(400).round(2)  # with ties
    has_target = random.random(400) < confidence**3

    def f1(threshold: float) -> float:
        returned = confidence >= threshold
        return 2 * (returned & has_target).sum() / (returned.sum() + has_target.sum())

    chosen = calibration.threshold_for_f1(confidence, has_target)
    assert f1(chosen) == pytest.approx(max(f1(value) for value in np.unique(confidence)))


def test_operating_points_keep_the_precision_and_the_target_accuracy_they_were_chosen_for() -> None:
    random = np.random.default_rng(6)
    confidence = random.random(2000)
    has_target = random.random(2000) < confidence
    at_precision = calibration.threshold_for_precision(confidence, has_target, 0.9)
    assert at_precision is not None
    assert has_target[confidence >= at_precision].mean() >= 0.9
    assert calibration.threshold_for_precision(1 - confidence, has_target, 0.9999) is None
    at_accuracy = calibration.threshold_for_target_accuracy(confidence, has_target, 0.95)
    kept = (confidence >= at_accuracy)[has_target].mean()
    assert 0.95 <= kept < 0.95 + 2 / has_target.sum()
    with pytest.raises(CalibrationError, match="have a target"):
        calibration.threshold_for_f1([0.2, 0.3], [False, False])


def test_reliability_bins_hold_equal_numbers_of_pairs_and_average_to_the_error() -> None:
    confidence = np.concatenate([np.full(150, 0.2), np.full(150, 0.8)])
    has_target = np.concatenate([np.arange(150) < 30, np.arange(150) < 90])
    curve = calibration.reliability(confidence, has_target, bins=2)
    assert list(curve.count) == [150, 150]
    np.testing.assert_allclose(curve.frequency, [0.2, 0.6])
    assert curve.error == pytest.approx(0.1)
    fifteen = calibration.reliability(np.random.default_rng(0).random(4001), np.ones(4001, bool))
    assert len(fifteen.count) == 15 and fifteen.count.max() - fifteen.count.min() <= 1


def test_confidence_neither_overflows_nor_leaves_zero_to_one() -> None:
    confidence = Calibration(0.02).confidence([-1e6, 0.0, 1e6])
    np.testing.assert_array_equal(confidence, [1.0, 0.5, 0.0])


def test_file_reads_back_the_same_revision(tmp_path) -> None:
    made = Calibration(1.7, -0.2, 2.5, 0.31, {"t_acc_95": 0.4})
    path = calibration.path_beside(tmp_path / "rela-x.safetensors")
    made.save(path)
    assert path.name == "rela-x.calibration.json"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    read = Calibration.load(path)
    assert read == made and read.revision == made.revision and hash(read) == hash(made)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "calibration .*x.json"),
        ("[]", "calibration .*x.json"),
        (json.dumps({"format": 0}), "run `referent calibrate`"),
        (json.dumps({**Calibration().to_dict(), "bias": 3.0}), "edited by hand"),
        (json.dumps({**Calibration().to_dict(), "bias": "much"}), "not a number"),
        (json.dumps({**Calibration().to_dict(), "temperature": -1.0}), "must be positive"),
        (json.dumps({**Calibration().to_dict(), "surprise": 1}), "run `referent calibrate`"),
    ],
)
def test_damaged_file_is_named_with_its_reason(tmp_path, content: str, reason: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(CalibrationError, match=reason) as caught:
        Calibration.load(path)
    assert str(path) in str(caught.value)


def test_calibration_with_numbers_out_of_range_is_refused() -> None:
    for wrong in ({"threshold": 1.2}, {"bias": float("nan")}, {"points": {"x": float("inf")}}):
        with pytest.raises(CalibrationError):
            Calibration(**wrong)


def test_curve_tells_by_tenths_how_confidences_held_and_changes_no_revision(
    tmp_path: Path,
) -> None:
    confidence = [0.02, 0.04, 0.55, 0.5, 0.95, 1.0]
    curve = calibration.curve_by_tenths(confidence, [False, False, True, False, True, True])
    assert curve == ((0.03, 0.0, 2), (0.525, 0.5, 2), (0.975, 1.0, 2))
    plain = Calibration(1.5, 0.1)
    told = dataclasses.replace(plain, curve=curve)
    assert told.revision == plain.revision
    told.save(tmp_path / "x.calibration.json")
    assert Calibration.load(tmp_path / "x.calibration.json").curve == curve
    z, has_target = drawn(1.0, 0.0, 200)
    assert calibration.fit(z, has_target, around=told, strength=10).curve == ()


@pytest.mark.parametrize("curve", [[[0.5, 0.5]], [["a", 0.5, 2]], 3])
def test_damaged_curve_is_refused(curve: object) -> None:
    with pytest.raises(CalibrationError):
        Calibration.from_dict({**Calibration().to_dict(), "curve": curve})


def test_a_search_answers_where_right_photos_can_be_expected() -> None:
    asks = Calibration(threshold=0.3, least_expected=0.9, measured_on=4)
    weak, strong = -np.log(1 / 0.4 - 1), -np.log(1 / 0.95 - 1)  # logits of p(target)
    nothing = -9.0
    rows = -np.array(
        [
            [weak, nothing, nothing, nothing],  # .4 of a photo can be expected
            [weak, weak, weak, nothing],  # 1.2
            [strong, nothing, nothing, nothing],
            [nothing] * 4,
        ]
    )
    assert asks.returned(rows).sum(1).tolist() == [0, 3, 1, 0]
    assert Calibration(threshold=0.3).returned(rows).sum(1).tolist() == [1, 3, 1, 0]
    assert asks.returned(rows[:, :1]).sum(1).tolist() == [1, 1, 1, 0]  # a quarter is asked for
    assert [asks.expected_of(n) for n in (0, 2, 4, 1000)] == [0, 0.45, 0.9, 0.9]


def test_what_a_search_asks_for_is_kept_and_older_calibrations_stay_what_they_were(
    tmp_path: Path,
) -> None:
    plain = Calibration(2.0, -0.5, threshold=0.3)
    assert "least_expected" not in plain.to_dict()
    asks = dataclasses.replace(plain, least_expected=0.9, measured_on=435)
    asks.save(tmp_path / "c.json")
    assert Calibration.load(tmp_path / "c.json") == asks and asks.revision != plain.revision
    around = calibration.fit([-1.0], [True], around=asks, strength=100)  # an album's own
    assert (around.least_expected, around.measured_on) == (0.9, 435)
    for wrong in ({"least_expected": -1.0}, {"least_expected": np.nan}, {"measured_on": -1}):
        with pytest.raises(CalibrationError):
            dataclasses.replace(plain, **wrong)
