"""All figures of a model on an evaluation set, from scores that `judging` collected once.

Keys are flat and dotted, as the model card and the bars name them: ``pairs.*`` for pairs of photo
and expression, ``album.*`` and ``album_b.*`` for retrieval, ``absent.*`` for things that no photo
shows, ``prefilter.*`` for the candidates' recall. Fractions; what is undefined is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model import calibration, pixel_rule
from model.calibration import Calibration
from training.measuring import retrieval
from training.measuring.judging import AlbumScores, AlbumSet, Pair, PairScores, PairSet
from training.measuring.metrics import Rule, SegmentationMetrics

Figures = dict[str, Any]

PAIR_POINT = "t_acc_95"  # the pairs' operating point, chosen on validation
BINS = 15


def pair_figures(data: PairSet, scores: PairScores, calibrated: Calibration) -> Figures:
    """Give the ``pairs.*`` figures.

    A pair is decided no-target where calibrated p(no target) > 0.5, at the pairs' own prior.
    `n_acc_at_point` uses the operating point that the calibration carries instead, chosen where it
    was fitted to keep 95 % of the targets; `t_acc_at_point` says what it keeps here, which on other
    data may be far from that.
    """
    confidence = calibrated.confidence(scores.no_target_logit, shifted=False)
    target = np.array([bool(pair.targets) for pair in data.pairs])
    metrics, _ = counted(data.pairs, scores, confidence < 0.5, "paper")
    figures: Figures = {f"pairs.{key}": value for key, value in metrics.result().items()}
    figures |= {f"pairs.by_{name}": groups for name, groups in grouped(metrics).items()}
    reference = counted(data.pairs, scores, confidence < 0.5, "reference")[0].result()
    no_target = pixel_rule.no_target(scores.input_area)
    pixels = counted(data.pairs, scores, no_target, "paper")[0].result()
    for key in ("giou", "ciou", "pr@0.7", "pr@0.8", "pr@0.9", "n_acc", "t_acc"):
        figures[f"pairs.reference.{key}"] = reference[key]
        figures[f"pairs.pixel_rule.{key}"] = pixels[key]
    point = calibrated.points.get(PAIR_POINT)
    figures["pairs.n_acc_at_point"] = figures["pairs.t_acc_at_point"] = None
    if point is not None:
        figures["pairs.n_acc_at_point"] = _share(confidence[~target] < point)
        figures["pairs.t_acc_at_point"] = _share(confidence[target] >= point)
    curve = calibration.reliability(confidence, target, bins=BINS)
    figures["pairs.ece"] = curve.error
    figures["pairs.ece_uncalibrated"] = calibration.expected_calibration_error(
        Calibration().confidence(scores.no_target_logit), target, bins=BINS
    )
    figures["pairs.reliability"] = _points(curve)
    figures["pairs.curve"] = accuracy_curve(confidence, target)
    return figures


def accuracy_curve(
    confidence: NDArray[np.float64], target: NDArray[np.bool_], *, points: int = 60
) -> list[dict[str, float]]:
    """Trace N-acc over T-acc as the threshold on p(target) rises; empty if either is undefined.

    Returns:
        points of threshold, t_acc (falling) and n_acc (rising).
    """
    if target.all() or not target.any():
        return []
    # Thresholds at quantiles of both kinds of pairs, where the curve bends.
    at = np.linspace(0, 1, points // 2)
    cuts = np.unique(
        np.concatenate([np.quantile(confidence[target], at), np.quantile(confidence[~target], at)])
    )
    return [
        {
            "threshold": float(cut),
            "t_acc": float((confidence[target] >= cut).mean()),
            "n_acc": float((confidence[~target] < cut).mean()),
        }
        for cut in cuts
    ]


def album_figures(
    data: AlbumSet, scores: AlbumScores, calibrated: Calibration, *, prefix: str = "album"
) -> Figures:
    """Give ``album.*`` (or another prefix): what is returned at the album's operating point.

    With it come the same figures under the 50-pixel rule, where mask areas were counted, and for
    the expressions that name compositions held out of training, where the set marks them.
    """
    # Rank by the logit: p(target) of sure photos rounds to the same number.
    rank = -scores.no_target_logit
    confidence = calibrated.confidence(scores.no_target_logit)
    accepted = calibrated.returned(scores.no_target_logit)
    own = retrieval.retrieval_figures(rank, accepted, data.truth, data.kinds)
    figures: Figures = {f"{prefix}.{key}": value for key, value in own.items()}
    scored = data.truth >= 0
    curve = calibration.reliability(confidence[scored], data.truth[scored] == 1, bins=BINS)
    figures[f"{prefix}.ece"] = curve.error
    figures[f"{prefix}.reliability"] = _points(curve)
    if scores.predicted_area is not None:
        area = scores.predicted_area
        pixels = retrieval.retrieval_figures(
            area.astype(np.float64), ~pixel_rule.no_target(area), data.truth, data.kinds
        )
        for key in ("f1", "precision", "recall", "map", "false_photo_rate", "f1_by_kind"):
            figures[f"{prefix}.pixel_rule.{key}"] = pixels[key]
    if any(data.held_out):
        rows = np.array(data.held_out)
        part = retrieval.count_returned(accepted[rows], data.truth[rows]).figures()
        figures[f"{prefix}.held_out_expressions"] = int(rows.sum())
        for key in ("f1", "precision", "recall"):
            figures[f"{prefix}.held_out_{key}"] = part[key]
    return figures


def prefilter_figures(data: AlbumSet, scores: AlbumScores, calibrated: Calibration) -> Figures:
    """Give ``prefilter.recall`` by kind and depth: the share of accepted photos it keeps."""
    accepted = calibrated.accepts(scores.no_target_logit)
    table = retrieval.prefilter_recall(scores.prefilter, accepted, data.kinds)
    return {
        **{f"prefilter.recall@{name}": value for name, value in table["all"].items()},
        "prefilter.by_kind": {kind: row for kind, row in table.items() if kind != "all"},
    }


def absent_figures(data: AlbumSet, scores: AlbumScores, calibrated: Calibration) -> Figures:
    """Give ``absent.*``: how often an album answers to something that none of its photos shows."""
    accepted = calibrated.returned(scores.no_target_logit)
    figures: Figures = {f"absent.{key}": value for key, value in _silence(accepted).items()}
    kinds = np.array(data.kinds)
    figures["absent.by_kind"] = {
        kind: _silence(accepted[kinds == kind]) for kind in dict.fromkeys(data.kinds)
    }
    figures["absent.expressions"], figures["absent.photos"] = (int(n) for n in accepted.shape)
    false = accepted.sum(axis=1)
    worst = np.argsort(-false, kind="stable")[:10]
    figures["absent.worst"] = {data.expressions[i]: int(false[i]) for i in worst if false[i]}
    return figures


def choose_calibration(
    pairs: tuple[PairSet, PairScores],
    album: tuple[AlbumSet, AlbumScores],
    absent: AlbumScores | None,
    *,
    fitted_to: str,
    absent_rate: float = 0.003,
    silent: float = 0.8,
    precision: float | None = None,
) -> Calibration:
    """Choose everything that a calibration holds, on validation sets.

    Temperature and bias come from the pairs, the prior shift from the album. The threshold has
    the album's best F1 (or the wanted precision), but lets no more than `absent_rate` of the
    absent pairs through, where there are some; and a search asks for as many expected photos as
    keep `silent` of the absent searches from answering.

    Raises:
        CalibrationError: no threshold reaches the wanted precision.
    """
    fitted = _fitted_to_pairs(pairs[0], pairs[1].no_target_logit)
    scored = album[0].truth >= 0
    logits, truth = album[1].no_target_logit[scored], album[0].truth[scored] == 1
    fitted = replace(fitted, prior_shift=calibration.fit_prior_shift(fitted, logits, truth))
    threshold = _threshold(fitted.confidence(logits), truth, precision, album[0].name)
    if absent is not None:
        quiet = float(np.quantile(fitted.confidence(absent.no_target_logit), 1 - absent_rate))
        threshold = min(1.0, max(threshold, float(np.nextafter(quiet, 1))))
    curve = calibration.curve_by_tenths(fitted.confidence(logits), truth)
    fitted = replace(fitted, threshold=threshold, fitted_to=fitted_to, curve=curve)
    if absent is None:
        return fitted
    confidence = fitted.confidence(absent.no_target_logit)
    expected = np.where(confidence >= threshold, confidence, 0).sum(1)
    least = float(np.quantile(expected, silent, method="higher"))
    return replace(
        fitted,
        least_expected=float(np.nextafter(least, np.inf)) if least else 0.0,
        measured_on=confidence.shape[1] if least else 0,
    )


def choose_verifier_calibration(
    data: PairSet,
    no_target_logits: NDArray[np.float64],
    *,
    fitted_to: str,
    precision: float | None = None,
) -> Calibration:
    """Choose a verifier's calibration on pairs alone: candidates of a prefilter are no album.

    Raises:
        CalibrationError: no threshold reaches the wanted precision.
    """
    fitted = _fitted_to_pairs(data, no_target_logits)
    target = np.array([bool(pair.targets) for pair in data.pairs])
    threshold = _threshold(fitted.confidence(no_target_logits), target, precision, data.name)
    return replace(fitted, threshold=threshold, fitted_to=fitted_to)


def _fitted_to_pairs(data: PairSet, no_target_logits: NDArray[np.float64]) -> Calibration:
    """Temperature, bias and the pairs' operating point."""
    target = np.array([bool(pair.targets) for pair in data.pairs])
    fitted = calibration.fit(no_target_logits, target)
    alone = fitted.confidence(no_target_logits)
    point = calibration.threshold_for_target_accuracy(alone, target, 0.95)
    return replace(fitted, points={PAIR_POINT: point})


def _threshold(
    confidence: NDArray[np.float64],
    target: NDArray[np.bool_],
    precision: float | None,
    name: str,
) -> float:
    """The threshold with the best F1, or the lowest with the wanted precision."""
    if precision is None:
        return calibration.threshold_for_f1(confidence, target)
    found = calibration.threshold_for_precision(confidence, target, precision)
    if found is None:
        raise calibration.CalibrationError(
            f"no threshold reaches a precision of {precision} on {name}; ask for less"
        )
    return found


def counted(
    pairs: Sequence[Pair], scores: PairScores, no_target: NDArray[np.bool_], rule: Rule
) -> tuple[SegmentationMetrics, NDArray[np.float64]]:
    """Metrics of n pairs, by kind, number of targets and origin too.

    Returns:
        them, and (n, 8) what each pair adds to `SegmentationMetrics.sums`.
    """
    metrics = SegmentationMetrics(rule)
    each = np.zeros((len(pairs), 8))
    for index, pair in enumerate(pairs):
        number = len(pair.targets)
        groups = [f"targets:{number if number < 3 else '3+'}"]
        groups += [f"kind:{pair.kind}"] if pair.kind else []
        groups += [f"origin:{pair.origin}"] if pair.origin else []
        before = metrics.sums()
        metrics.add_counts(
            int(scores.intersection[index]),
            int(scores.predicted_area[index]),
            int(scores.truth_area[index]),
            predicted_no_target=bool(no_target[index]),
            no_target=number == 0,
            groups=groups,
        )
        each[index] = metrics.sums() - before
    return metrics, each


def grouped(metrics: SegmentationMetrics) -> dict[str, dict[str, Any]]:
    """Its groups by what they are of: kind, targets, origin."""
    found: dict[str, dict[str, Any]] = {"kind": {}, "targets": {}, "origin": {}}
    for key, value in metrics.by_group().items():
        name, _, group = key.partition(":")
        found[name][group] = value
    return found


def _silence(accepted: NDArray[np.bool_]) -> dict[str, float | None]:
    return {
        "false_photo_rate": _share(accepted),
        "nothing_returned": _share(np.logical_not(np.any(accepted, axis=1))),
    }


def _share(flags: NDArray[np.bool_]) -> float | None:
    return float(flags.mean()) if flags.size else None


def _points(curve: calibration.Reliability) -> list[dict[str, float]]:
    columns = zip(curve.confidence, curve.frequency, curve.count, strict=True)
    return [{"confidence": float(p), "frequency": float(f), "pairs": int(n)} for p, f, n in columns]
