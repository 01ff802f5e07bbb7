"""Predictions against the truth: both protocols, by kind, with intervals, and two files compared.

``paper``: IoU at the photo's own size, a mask without pixels is no-target too, the calibrated
p(no target) decides at one half. ``gres480``: the authors' evaluator, IoU at the 480 x 480 to which
their mapper squashes photo and polygons, their rules, E's own border.

Intervals and tests draw photos, not expressions: those of one photo are no independent samples.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data import coco_shapes
from training.data.grefcoco import Dataset, Sample
from training.errors import DatasetError
from training.measuring.metrics import Rule, SegmentationMetrics
from training.measuring.predicting import FORMAT, SQUASHED

Protocol = Literal["paper", "gres480"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
RULES: dict[Protocol, Rule] = {"paper": "paper", "gres480": "reference"}
METRICS = ("giou", "ciou", "n_acc", "t_acc")
DRAWS = 1000

Mask = NDArray[np.bool_]
Sums = NDArray[np.float64]
Key = tuple[int, int]


@dataclass
class Predictions:
    """A file of predictions.

    Attributes:
        name: of the model, or of the file.
        rows: by (ref_id, sent_id), in the file's order where the data use a pair twice.
        squashed: whether every row says what it answers at 480 x 480.
    """

    name: str
    path: Path
    rows: dict[Key, list[dict[str, Any]]] = field(default_factory=dict)
    squashed: bool = True


def read_predictions(path: Path) -> Predictions:
    """Read a file; of another's model a row needs ref_id, sent_id, rle and p_no_target, or
    no_target instead.

    Raises:
        DatasetError: names the line.
    """
    found = Predictions(path.stem, path)
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
        if number == 1 and isinstance(row, dict) and row.get("format") == FORMAT:
            found.name = str(row.get("model", found.name))
            continue
        if not isinstance(row, dict) or not {"ref_id", "sent_id", "rle"} <= set(row):
            raise DatasetError(f"{where}: a prediction has ref_id, sent_id and rle")
        if not {"p_no_target", "no_target"} & set(row):
            raise DatasetError(f"{where}: a prediction says p_no_target, or no_target")
        row["where"] = where
        found.squashed &= "rle_480" in row
        found.rows.setdefault((row["ref_id"], row["sent_id"]), []).append(row)
    return found


def mask_at(row: Mapping[str, Any], name: str, height: int, width: int) -> Mask:
    """A row's mask.

    Raises:
        DatasetError: it is broken, or of another size.
    """
    if row[name] is None:
        return np.zeros((height, width), bool)
    if coco_shapes.flaw(row[name], height, width):
        raise DatasetError(f"{row['where']}: {name} is no mask of {height} x {width} (H x W)")
    return coco_shapes.decode(row[name], height, width)


def squashed_truth(data: Dataset, sample: Sample) -> Mask:
    """The referents at 480 x 480, as the authors' mapper has them: polygons are scaled, then drawn;
    run lengths are decoded, then squashed (nearest)."""
    width, height = data.size(sample.image_id)
    union = np.zeros((SQUASHED, SQUASHED), bool)
    scale = np.array([SQUASHED / width, SQUASHED / height])
    for annotation_id in sample.annotation_ids:
        shape = data.coco.anns[annotation_id]["segmentation"]
        if isinstance(shape, Mapping):
            union |= squashed(coco_shapes.decode(shape, height, width))
            continue
        polygons = coco_shapes.polygons(shape)
        scaled = [(np.reshape(p, (-1, 2)) * scale).ravel().tolist() for p in polygons]
        union |= coco_shapes.decode(scaled, SQUASHED, SQUASHED)
    return union


def squashed(mask: Mask) -> Mask:
    """A mask at 480 x 480, nearest pixels."""
    size = (SQUASHED, SQUASHED)
    small = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return np.asarray(small, bool)


@dataclass(frozen=True)
class Score:
    """What predictions are worth.

    Attributes:
        figures: of `SegmentationMetrics.result`, and `by_kind`, `by_targets`.
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


def score(predictions: Predictions, data: Dataset, protocol: Protocol) -> Score:
    """Score every expression of a split.

    Raises:
        DatasetError: a prediction is missing, or a mask is broken or of another size.
    """
    metrics = SegmentationMetrics(RULES[protocol])
    place = {image_id: at for at, image_id in enumerate(data.by_photo())}
    sums = np.zeros((len(place), 8))
    taken: dict[Key, int] = {}
    missing = [s for s in data.samples if (s.ref_id, s.sent_id) not in predictions.rows]
    if missing:
        first = missing[0]
        raise DatasetError(
            f"{predictions.path} lacks {len(missing)} of {len(data)} expressions, first that of "
            f"reference {first.ref_id}, sentence {first.sent_id}: predict the same split"
        )
    for sample in data.samples:
        key = (sample.ref_id, sample.sent_id)
        rows = predictions.rows[key]
        row = rows[min(taken.get(key, 0), len(rows) - 1)]
        taken[key] = taken.get(key, 0) + 1
        width, height = data.size(sample.image_id)
        if protocol == "paper":
            predicted, truth = mask_at(row, "rle", height, width), data.mask(sample)
        else:
            truth = squashed_truth(data, sample)
            predicted = (
                mask_at(row, "rle_480", SQUASHED, SQUASHED)
                if "rle_480" in row
                else squashed(mask_at(row, "rle", height, width))
            )
        count = len(sample.annotation_ids)
        groups = [f"targets:{count if count < 3 else '3+'}"]
        groups += [f"kind:{sample.kind}"] if sample.kind else []
        before = metrics.sums()
        metrics.add(
            predicted,
            truth,
            predicted_no_target=_no_target(row, protocol),
            no_target=sample.no_target,
            groups=groups,
        )
        sums[place[sample.image_id]] += metrics.sums() - before
    figures: dict[str, Any] = dict(metrics.result())
    by_group = metrics.by_group()
    for name in ("kind", "targets"):
        figures[f"by_{name}"] = {
            key.partition(":")[2]: value
            for key, value in by_group.items()
            if key.startswith(f"{name}:")
        }
    return Score(protocol, figures, sums)


def _no_target(row: Mapping[str, Any], protocol: Protocol) -> bool:
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
