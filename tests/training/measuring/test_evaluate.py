"""Evaluation of a model: figures from known answers, on a small network that sees pure colours."""

import json
from dataclasses import replace

import numpy as np
import pytest

from model.asking import LateFusion
from model.calibration import Calibration
from tests.support.colour_network import COLOURS, ColourPredictor
from training.measuring import charts, evaluate, report
from training.measuring.judging import (
    AlbumSet,
    Pair,
    PairSet,
    encode_album,
    judge_album,
)
from training.measuring.scoring import judge_pairs


class Squares:
    """Photos of up to three squares, one of each colour; instance ids are 1, 2, 3."""

    def __init__(self, shown: list[tuple[int, ...]]) -> None:
        self.shown = shown

    def __len__(self) -> int:
        return len(self.shown)

    def image(self, index):
        photo = np.zeros((64, 96, 3), np.uint8)
        for colour in self.shown[index]:
            photo[16:48, colour * 32 : colour * 32 + 32, colour] = 255
        return photo

    def mask(self, index, targets):
        mask = np.zeros((64, 96), bool)
        for target in targets:
            mask[16:48, (target - 1) * 32 : target * 32] = True
        return mask


SHOWN = [(), (0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2)] * 5


@pytest.fixture
def squares() -> Squares:
    return Squares(SHOWN)


@pytest.fixture
def pairs(squares) -> PairSet:
    made = [
        Pair(
            photo,
            f"the {name} square",
            name,
            (colour + 1,) if colour in shown else (),
            "target" if colour in shown else "false",
        )
        for photo, shown in enumerate(SHOWN)
        for colour, name in enumerate(COLOURS)
    ]
    return PairSet("squares", squares, tuple(made))


@pytest.fixture
def album(squares) -> AlbumSet:
    truth = np.array([[colour in shown for shown in SHOWN] for colour in range(3)]).astype(np.int8)
    texts = tuple(f"the {name} square" for name in COLOURS)
    return AlbumSet("squares", squares, texts, COLOURS, truth, (False, False, True))


@pytest.fixture
def absent(squares) -> AlbumSet:
    texts = ("the pink square", "a giraffe")
    zeros = np.zeros((2, len(SHOWN)), np.int8)
    return AlbumSet("absent", squares, texts, ("known", "unknown"), zeros)


def judged(network, data, **options):
    encoded = encode_album(network, data.photos, quiet=True)
    return judge_album(network, data, encoded, quiet=True, **options)


def test_model_that_answers_all_pairs_right_scores_one_everywhere(pairs) -> None:
    scores = judge_pairs(LateFusion(ColourPredictor()), pairs, quiet=True)
    figures = evaluate.pair_figures(pairs, scores, Calibration(points={"t_acc_95": 0.5}))
    for key in ("giou", "ciou", "pr@0.9", "n_acc", "t_acc", "target_iou", "n_acc_at_point"):
        assert figures[f"pairs.{key}"] == pytest.approx(1.0, abs=0.02), key
    assert figures["pairs.samples"] == len(pairs.pairs)
    assert figures["pairs.by_kind"]["red"]["targeted"] == sum(0 in shown for shown in SHOWN)
    assert set(figures["pairs.by_targets"]) == {"0", "1"}
    assert figures["pairs.by_origin"]["false"]["n_acc"] == 1.0
    assert figures["pairs.ece"] < 0.02
    assert figures["pairs.pixel_rule.n_acc"] == 1.0


def test_wrong_decisions_show_up_in_the_accuracies_and_not_in_the_masks(pairs) -> None:
    scores = judge_pairs(LateFusion(ColourPredictor()), pairs, quiet=True)
    never = evaluate.pair_figures(pairs, scores, Calibration(bias=1000.0))
    assert never["pairs.t_acc"] == 0.0 and never["pairs.n_acc"] == 1.0
    assert never["pairs.target_iou"] > 0.98 and never["pairs.target_iou_decided"] == 0.0
    assert never["pairs.pixel_rule.t_acc"] == 1.0  # it does not ask the classifier
    assert never["pairs.n_acc_at_point"] is None  # no operating point was ever chosen


def test_accuracy_curve_falls_in_t_acc_as_it_rises_in_n_acc() -> None:
    random = np.random.default_rng(0)
    target = random.random(500) < 0.5
    confidence = np.clip(random.normal(0.4, 0.2, 500) + 0.2 * target, 0, 1)
    curve = evaluate.accuracy_curve(confidence, target)
    t_acc, n_acc = ([point[key] for point in curve] for key in ("t_acc", "n_acc"))
    assert t_acc == sorted(t_acc, reverse=True) and n_acc == sorted(n_acc)
    assert t_acc[0] == 1.0 and n_acc[-1] == 1.0
    assert evaluate.accuracy_curve(confidence, np.ones(500, bool)) == []


def test_album_figures_by_kind_by_pixel_rule_and_for_held_out_compositions(album) -> None:
    scores = judged(ColourPredictor(), album, areas=True)
    figures = evaluate.album_figures(album, scores, Calibration())
    for key in ("f1", "precision", "recall", "map", "held_out_f1", "pixel_rule.f1"):
        assert figures[f"album.{key}"] == 1.0, key
    assert figures["album.f1_by_kind"] == dict.fromkeys(COLOURS, 1.0)
    assert figures["album.false_photo_rate"] == 0.0
    assert figures["album.held_out_expressions"] == 1
    assert figures["album.median_prevalence"] == 0.5
    other = evaluate.album_figures(album, scores, Calibration(), prefix="album_b")
    assert set(other) == {key.replace("album.", "album_b.") for key in figures}


def test_prefilter_that_ranks_matches_first_recalls_all_the_head_accepts(album) -> None:
    scores = judged(ColourPredictor(), album)
    figures = evaluate.prefilter_figures(album, scores, Calibration())
    assert figures["prefilter.recall@1%"] == figures["prefilter.recall@200"] == 1.0
    assert figures["prefilter.by_kind"]["blue"]["25%"] == 1.0


def test_absent_things_are_counted_as_pairs_and_as_expressions(absent) -> None:
    scores = judged(ColourPredictor(), absent)
    figures = evaluate.absent_figures(absent, scores, Calibration())
    assert figures["absent.false_photo_rate"] == 0.0 and figures["absent.nothing_returned"] == 1.0
    logits = scores.no_target_logit.copy()
    logits[1, 7] = -9
    figures = evaluate.absent_figures(
        absent, replace(scores, no_target_logit=logits), Calibration()
    )
    assert figures["absent.false_photo_rate"] == pytest.approx(1 / (2 * len(SHOWN)))
    assert figures["absent.nothing_returned"] == 0.5
    assert figures["absent.by_kind"]["known"]["nothing_returned"] == 1.0
    assert figures["absent.worst"] == {"a giraffe": 1}


def test_calibration_is_chosen_on_pairs_album_and_absent_things_together(
    pairs, album, absent
) -> None:
    network = ColourPredictor()
    of_pairs = judge_pairs(LateFusion(network), pairs, quiet=True)
    of_album = judged(network, album)
    of_absent = judged(network, absent)
    noise = np.random.default_rng(1)

    def noisy(scores):
        logits = scores.no_target_logit
        return replace(scores, no_target_logit=logits + noise.normal(0, 4, logits.shape))

    of_pairs, of_album, of_absent = noisy(of_pairs), noisy(of_album), noisy(of_absent)
    chosen = evaluate.choose_calibration(
        (pairs, of_pairs), (album, of_album), of_absent, fitted_to="c0"
    )
    assert chosen.fitted_to == "c0" and set(chosen.points) == {"t_acc_95"}
    figures = evaluate.pair_figures(pairs, of_pairs, chosen)
    assert figures["pairs.t_acc_at_point"] >= 0.95
    assert figures["pairs.ece"] < 0.08  # 120 pairs
    silent = evaluate.absent_figures(absent, of_absent, chosen)
    assert silent["absent.false_photo_rate"] <= 0.02  # one of 80 pairs at most
    loud = replace(chosen, threshold=0.0, least_expected=0.0)
    assert evaluate.absent_figures(absent, of_absent, loud)["absent.nothing_returned"] == 0
    assert silent["absent.nothing_returned"] >= 0.8
    shifted = chosen.confidence(of_album.no_target_logit)
    assert shifted.mean() == pytest.approx((album.truth == 1).mean(), abs=1e-6)
    told = sum(share * pairs for _, share, pairs in chosen.curve)
    assert told == pytest.approx((album.truth == 1).sum(), abs=0.1)
    precise = evaluate.choose_calibration(
        (pairs, of_pairs), (album, of_album), of_absent, fitted_to="", precision=0.9
    )
    accepted = precise.accepts(of_album.no_target_logit)
    assert (album.truth[accepted] == 1).mean() >= 0.9


def test_caption_of_an_answer_without_a_kind_begins_with_what_is_said(
    pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[str, str]] = []
    draw = charts.answer_picture

    def drawn(*arguments):
        said.append(arguments[3])
        return draw(*arguments)

    monkeypatch.setattr(charts, "answer_picture", drawn)
    network = ColourPredictor()
    plain = replace(pairs, pairs=tuple(replace(pair, kind="") for pair in pairs.pairs))
    for data in (plain, pairs):
        scores = judge_pairs(LateFusion(network), data, quiet=True)
        list(report._answers(report.Examples(data, scores, Calibration()), LateFusion(network)))
    captions = [caption for _, caption in said]
    assert any(c.startswith("p(target) ") for c in captions)
    assert any(c.startswith("red: p(target) ") for c in captions)
    assert not any(c.startswith(":") for c in captions)


def test_report_holds_tables_curves_and_pictures_of_answers(tmp_path, pairs, album, absent) -> None:
    network = ColourPredictor()
    scores = judge_pairs(LateFusion(network), pairs, quiet=True)
    calibrated = Calibration(points={"t_acc_95": 0.5})
    of_album = judged(network, album, areas=True)
    of_absent = judged(network, absent)
    figures = {
        "model": "colours",
        "data": "synthetic:test",
        **evaluate.pair_figures(pairs, scores, calibrated),
        **evaluate.album_figures(album, of_album, calibrated),
        **evaluate.prefilter_figures(album, of_album, calibrated),
        **evaluate.absent_figures(absent, of_absent, calibrated),
    }
    examples = report.Examples(pairs, scores, calibrated)
    path = report.write_report(tmp_path / "r", "Colours", figures, examples, LateFusion(network))
    text = path.read_text()
    assert "| `pairs.target_iou` |" in text and "| `album.f1` | 1.000 | ≥ 0.8 | yes |" in text
    for name in ("reliability-pairs.png", "n-acc-over-t-acc.png", "right.png", "right-none.png"):
        assert f"({name})" in text and (path.parent / name).stat().st_size > 1000
    assert "wrong-missed.png" not in text
    assert json.loads((path.parent / "figures.json").read_text())["album.f1"] == 1.0
