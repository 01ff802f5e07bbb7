"""Predictions against the truth: both protocols, by kind, with intervals, and two files compared.

``paper``: IoU at the photo's own size, a mask without pixels is no-target too, the calibrated
p(no target) decides at one half. ``gres480``: the authors' evaluator, IoU at the 480 x 480 to which
their mapper squashes photo and polygons, their rules, E's own border.

Intervals and tests draw photos, not expressions: those of one photo are no independent samples.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from training.data import coco_shapes
from training.errors import DatasetError
from training.measuring.evaluate import counted as by_rule
from training.measuring.evaluate import grouped
from training.measuring.judging import Pair, PairScores, PairSet, Photos
from training.measuring.metrics import Rule
from training.measuring.predicting import FORMAT, SQUASHED, Key, Predictions, Row, answer

if TYPE_CHECKING:
    from model.asking import Network, Seen

Protocol = Literal["paper", "gres480"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
RULES: dict[Protocol, Rule] = {"paper": "paper", "gres480": "reference"}
METRICS = ("giou", "ciou", "n_acc", "t_acc")
DRAWS = 1000

Mask = NDArray[np.bool_]
Sums = NDArray[np.float64]


def read_predictions(path: Path) -> Predictions:
    """Read a file; of another's model a row needs ref_id, sent_id, rle and p_no_target, or
    no_target instead.

    Raises:
        DatasetError: names the line.
    """
    found = Predictions(path.stem, str(path))
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read ({error})") from error
    for number, line in enumerate(lines, 1):
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DatasetError(f"{where}: not JSON ({error})") from error
        if number == 1 and isinstance(row, dict) and "format" in row:
            if row["format"] != FORMAT:
                raise DatasetError(f"{path} is of another version; predict anew")
            found.name = str(row.get("model", found.name))
            continue
        if not isinstance(row, dict) or not {"ref_id", "sent_id", "rle"} <= set(row):
            raise DatasetError(f"{where}: a prediction has ref_id, sent_id and rle")
        if not {"p_no_target", "no_target"} & set(row):
            raise DatasetError(f"{where}: a prediction says p_no_target, or no_target")
        found.add({**row, "where": where})
    return found


def mask_at(row: Row, name: str, height: int, width: int) -> Mask:
    """A row's mask.

    Raises:
        DatasetError: it is broken, or of another size.
    """
    if row[name] is None:
        return np.zeros((height, width), bool)
    if coco_shapes.flaw(row[name], height, width):
        raise DatasetError(f"{row['where']}: {name} is no mask of {height} x {width} (H x W)")
    return coco_shapes.decode(row[name], height, width)


def counted(
    predictions: Predictions, data: PairSet, protocol: Protocol = "paper"
) -> tuple[PairScores, NDArray[np.bool_]]:
    """Predictions of a set's pairs as scores and pixel counts.

    Returns:
        scores, in which a foreign model's input areas are those of the masks counted; (n,) which
        pairs are decided no-target by the protocol.
    Raises:
        DatasetError: a prediction is missing, or a mask is broken or of another size.
    """
    missing = [key for key in data.ids if key not in predictions.rows]
    if missing:
        ref_id, sent_id = missing[0]
        raise DatasetError(
            f"{predictions.where} lacks {len(missing)} of {len(data.ids)} expressions, first that "
            f"of reference {ref_id}, sentence {sent_id}: predict the same split"
        )
    count = len(data.pairs)
    logit, no_target = np.zeros(count), np.zeros(count, np.bool_)
    pixels = np.zeros((count, 4), np.int64)
    taken: dict[Key, int] = {}
    for index, (key, pair) in enumerate(zip(data.ids, data.pairs, strict=True)):
        rows = predictions.rows[key]
        row = rows[min(taken.get(key, 0), len(rows) - 1)]
        taken[key] = taken.get(key, 0) + 1
        truth = data.photos.mask(pair.photo, pair.targets)
        if protocol == "paper":
            predicted = mask_at(row, "rle", *truth.shape)
        elif "rle_480" in row:
            predicted = mask_at(row, "rle_480", SQUASHED, SQUASHED)
        else:
            predicted = coco_shapes.squashed(mask_at(row, "rle", *truth.shape), SQUASHED)
        if protocol == "gres480":
            truth = squashed_truth(data.photos, pair, truth)
        area = int(np.count_nonzero(predicted))
        pixels[index] = (np.count_nonzero(predicted & truth), area, np.count_nonzero(truth),
                         row.get("input_area", area))  # fmt: skip
        logit[index], no_target[index] = _logit(row), _no_target(row, protocol)
    return PairScores(logit, *pixels.T), no_target


def judge_pairs(
    network: Network, data: PairSet, *, seen: Seen | None = None, quiet: bool = False
) -> PairScores:
    """Answer every pair and compare its mask with the truth at the photo's size.

    Args:
        seen: all photos of the set, where they were encoded before.
    """
    return counted(answer(network, data, seen=seen, quiet=quiet), data)[0]


def squashed_truth(photos: Photos, pair: Pair, truth: Mask) -> Mask:
    """The referents at 480 x 480, as the authors' mapper has them; truth that is told in no shapes
    of COCO's is squashed to the nearest pixels."""
    shapes = getattr(photos, "shapes", None)
    if shapes is None:
        return coco_shapes.squashed(truth, SQUASHED)
    height, width = truth.shape
    return coco_shapes.decode_squashed(shapes(pair.targets), height, width, SQUASHED)


@dataclass(frozen=True)
class Score:
    """What predictions are worth.

    Attributes:
        figures: of `SegmentationMetrics.result`, and `by_kind`, `by_targets`, `by_origin`.
        sums: (photos, 8) what every metric is a ratio of, a photo each.
    """

    protocol: Protocol
    figures: dict[str, Any]
    sums: Sums

    def intervals(self, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Of METRICS, by bootstrap over photos; undefined ones are left out."""
        rng = np.random.default_rng(0)
        count = len(self.sums)
        drawn = rng.multinomial(count, np.full(count, 1 / count), DRAWS) @ self.sums
        found = {}
        for name, values in _ratios(drawn).items():
            if self.figures[name] is not None:
                low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
                found[name] = (float(low), float(high))
        return found


def score(predictions: Predictions, data: PairSet, protocol: Protocol) -> Score:
    """Score every pair of a set.

    Raises:
        DatasetError: as `counted`.
    """
    scores, no_target = counted(predictions, data, protocol)
    metrics, each = by_rule(data.pairs, scores, no_target, RULES[protocol])
    groups = data.by_photo()
    sums = np.stack([each[places].sum(0) for places in groups.values()])
    figures: dict[str, Any] = dict(metrics.result())
    figures |= {f"by_{name}": found for name, found in grouped(metrics).items()}
    return Score(protocol, figures, sums)


def scored(
    predictions: Sequence[Predictions], data: PairSet, protocols: Sequence[Protocol] = PROTOCOLS
) -> dict[str, Any]:
    """What one set of predictions, or two to compare, says by protocols, as JSON."""
    told: dict[str, Any] = {"data": data.name, "left_out": dict(data.left_out)}
    for each in protocols:
        scores = [score(one, data, each) for one in predictions]
        told[each] = [
            {"model": one.name, "figures": found.figures, "intervals": found.intervals(),
             "nearest_480": each == "gres480" and not one.squashed}
            for one, found in zip(predictions, scores, strict=True)
        ]  # fmt: skip
        if len(scores) == 2:
            told[f"{each}.compared"] = compared(*scores)
    return told


def _logit(row: Row) -> float:
    """Log-odds of no target; of a model that says yes or no alone, far on either side."""
    if "no_target_logit" in row:
        return float(row["no_target_logit"])
    given = float(row["p_no_target"] if "p_no_target" in row else row["no_target"])
    p = min(max(given, 1e-6), 1 - 1e-6)
    return float(np.log(p / (1 - p)))


def _no_target(row: Row, protocol: Protocol) -> bool:
    if protocol == "gres480" and "no_target_logit" in row:
        return bool(row["no_target_logit"] > 0)
    return bool(row["p_no_target"] > 0.5) if "p_no_target" in row else bool(row["no_target"])


def compared(one: Score, other: Score) -> dict[str, dict[str, float]]:
    """How much the second is better, of METRICS: difference, its interval, and p.

    The interval is a paired bootstrap over photos. p is of the test that swaps the two models'
    answers of a photo at random: how often the difference is as large if they are alike.
    """
    rng = np.random.default_rng(0)
    a, b = one.sums, other.sums
    count = len(a)
    drawn = rng.multinomial(count, np.full(count, 1 / count), DRAWS)
    swaps = rng.random((DRAWS, count)) < 0.5
    moved = swaps @ (b - a)
    observed = {n: _ratios(b.sum(0))[n] - v for n, v in _ratios(a.sum(0)).items()}
    boot_a, boot_b = _ratios(drawn @ a), _ratios(drawn @ b)
    swap_a, swap_b = _ratios(a.sum(0) + moved), _ratios(b.sum(0) - moved)
    found = {}
    for name, difference in observed.items():
        if np.isnan(difference):
            continue
        low, high = np.nanquantile(boot_b[name] - boot_a[name], [0.025, 0.975])
        as_large = np.abs(swap_b[name] - swap_a[name]) >= abs(difference) - 1e-12
        found[name] = {
            "difference": float(difference),
            "low": float(low),
            "high": float(high),
            "p": float((1 + as_large.sum()) / (1 + DRAWS)),
        }
    return found


def _ratios(sums: Sums) -> dict[str, Any]:
    """METRICS of sums (..., 8), NaN where undefined."""
    n, iou, shown, union, without, recognised, targeted, kept = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = (iou / n, shown / union, recognised / without, kept / targeted)
    return dict(zip(METRICS, values, strict=True))
