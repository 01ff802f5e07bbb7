"""A report that a person can read: tables, curves, and pictures of right and wrong answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from model.calibration import Calibration
from training.measuring import charts
from training.measuring.charts import Series
from training.measuring.evaluate import Figures
from training.measuring.judging import PairScores, PairSet

if TYPE_CHECKING:
    from model.asking import Network

# The bars that the shipped models have to meet, by the data they are measured on: key, limit,
# whether more is better.
BARS: dict[str, tuple[tuple[str, float, bool], ...]] = {
    "synthetic:test": (
        ("pairs.target_iou", 0.75, True),
        ("pairs.n_acc_at_point", 0.94, True),
        ("pairs.ece", 0.03, False),
        ("album.f1", 0.80, True),
        ("album.precision", 0.80, True),
        ("album.recall", 0.80, True),
        ("album.f1_by_kind.relation", 0.70, True),
        ("album.f1_by_kind.counting", 0.70, True),
        ("album.f1_by_kind.exclusion", 0.70, True),
        ("album.f1_by_kind.compound", 0.70, True),
        ("album_b.f1", 0.75, True),
        ("absent.false_photo_rate", 0.005, False),
    ),
    "photos:val": (
        ("nouns.map", 0.58, True),
        ("album.f1_by_kind.category", 0.55, True),
        ("album.precision_by_kind.category", 0.60, True),
        ("album.f1_by_kind.colour", 0.40, True),
        ("album.f1_by_kind.location", 0.40, True),
        ("album.f1_by_kind.counting", 0.40, True),
        ("album.f1_by_kind.exclusion", 0.40, True),
        ("album.f1_by_kind.compound", 0.40, True),
        ("iou.people", 0.60, True),
        ("iou.things", 0.40, True),
        ("pointing", 0.50, True),
        ("absent.false_photo_rate", 0.005, False),
        ("absent.nothing_returned", 0.80, True),
        ("pairs.ece", 0.05, False),
        ("complements.overlap", 0.05, False),
        ("prefilter.recall@10%", 0.97, True),
        ("prefilter.recall@25%", 0.99, True),
        ("unnamed.map", 0.35, True),
    ),
}


@dataclass(frozen=True)
class Examples:
    """The pairs to draw answers from, with what the network said about them."""

    data: PairSet
    scores: PairScores
    calibration: Calibration


def look_up(figures: Figures, key: str) -> float | None:
    """Give a figure by its dotted name; the last part may name an entry of a table."""
    if key in figures:
        return figures[key]
    table, _, entry = key.rpartition(".")
    return figures.get(table, {}).get(entry)


def summary(figures: Figures) -> str:
    """Give the main figures as lines for a terminal, bars marked where the model has some."""
    asked = BARS.get(str(figures.get("data")), ())
    bars = {key: (limit, more) for key, limit, more in asked}
    keys = list(bars) + [
        key
        for key, value in figures.items()
        if isinstance(value, (int, float, str)) and key not in bars
    ]
    lines = []
    for key in keys:
        value = look_up(figures, key)
        if value is None:
            if key in bars:
                lines.append(f"{key:40} nothing to measure it by   MISSED")
            continue
        mark = ""
        if key in bars:
            limit, more = bars[key]
            met = value >= limit if more else value <= limit
            mark = f"   {'≥' if more else '≤'} {limit} {'met' if met else 'MISSED'}"
        lines.append(f"{key:40} {shown(value)}{mark}")
    for reason, count in figures.get("left_out", {}).items():
        lines.append(f"left out at reading: {count:>8,}  {reason}")
    return "\n".join(lines)


def write_report(
    folder: Path, title: str, figures: Figures, examples: Examples | None, network: Network
) -> Path:
    """Write `report.md`, `figures.json` and the pictures into a folder; return `report.md`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    parts = [f"# {title}\n", _about(figures), _bars(figures), _pairs(figures), _album(figures)]
    parts += [_absent(figures), _prefilter(figures)]
    for name, picture, caption in _charts(figures):
        picture.save(folder / name)
        parts.append(f"![{caption}]({name})\n")
    if examples is not None:
        parts.append("## Answers\n")
        parts.append("Predicted pixels in red, the true outline in green.\n")
        for name, caption, sheet in _answers(examples, network):
            sheet.save(folder / name)
            parts.append(f"### {caption}\n\n![{caption}]({name})\n")
    path = folder / "report.md"
    path.write_text("\n".join(part for part in parts if part), encoding="utf-8")
    return path


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Give a markdown table; fractions with three digits, None as a dash."""
    lines = ["| " + " | ".join(header) + " |", "| " + " | ".join("---" for _ in header) + " |"]
    lines += ["| " + " | ".join(shown(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def shown(value: Any) -> str:
    """Show a figure: None as a dash, small rates with more digits, the rest with three."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.5f}" if 0 < abs(value) < 0.005 else f"{value:.3f}"
    return str(value)


def _about(figures: Figures) -> str:
    keys = ("model", "data", "calibration", "calibrated_on", "seconds")
    return table(("", ""), [(k.replace("_", " "), figures[k]) for k in keys if k in figures])


def _bars(figures: Figures) -> str:
    rows = []
    for key, limit, more in BARS.get(str(figures.get("data")), ()):
        if (value := look_up(figures, key)) is not None:
            met = value >= limit if more else value <= limit
            rows.append(
                (f"`{key}`", value, f"{'≥' if more else '≤'} {limit}", "yes" if met else "no")
            )
    return "## Bars\n\n" + table(("figure", "value", "bar", "met"), rows) if rows else ""


def _pairs(figures: Figures) -> str:
    if "pairs.giou" not in figures:
        return ""
    keys = ("giou", "ciou", "pr@0.7", "pr@0.8", "pr@0.9", "n_acc", "t_acc")
    rows = [
        ("classifier, protocol paper", *(figures[f"pairs.{k}"] for k in keys)),
        (
            "classifier, the authors' rule, at photo size",
            *(figures[f"pairs.reference.{k}"] for k in keys),
        ),
        ("50-pixel rule instead", *(figures[f"pairs.pixel_rule.{k}"] for k in keys)),
    ]
    for told in figures.get("protocols", {}).get("gres480", []):
        rows.insert(1, ("classifier, protocol gres480", *(told["figures"][k] for k in keys)))
    text = "## Pairs of photo and expression\n\n" + table(("decided by", *keys), rows) + "\n"
    text += table(
        ("figure", "value"),
        [
            (name, figures[f"pairs.{name}"])
            for name in (
                "samples", "targeted", "target_iou", "target_ciou", "target_iou_decided",
                "n_acc_at_point", "t_acc_at_point", "ece", "ece_uncalibrated",
            )
        ],
    )  # fmt: skip
    columns = ("samples", "giou", "target_iou", "n_acc", "t_acc")
    for name in ("kind", "targets", "origin"):
        groups: dict[str, dict[str, Any]] = figures[f"pairs.by_{name}"]
        if groups:
            lines = [(group, *(values[c] for c in columns)) for group, values in groups.items()]
            text += "\n" + table((name, *columns), lines)
    return text


def _album(figures: Figures) -> str:
    text = ""
    for prefix, title in (("album", "Album"), ("album_b", "Album of unseen compositions")):
        if f"{prefix}.f1" not in figures:
            continue
        about = (
            f"{figures[f'{prefix}.expressions']} expressions "
            f"on {figures[f'{prefix}.photos']} photos; "
            f"median prevalence {figures[f'{prefix}.median_prevalence']:.1%}, "
            f"mean {figures[f'{prefix}.mean_prevalence']:.1%}; "
            f"{figures[f'{prefix}.ambiguous']} ambiguous pairs left out."
        )
        keys = ("f1", "precision", "recall", "map", "false_photo_rate")
        rows = [("classifier", *(figures[f"{prefix}.{k}"] for k in keys))]
        if f"{prefix}.pixel_rule.f1" in figures:
            rows.append(("50-pixel rule", *(figures[f"{prefix}.pixel_rule.{k}"] for k in keys)))
        if f"{prefix}.held_out_f1" in figures:
            part = [figures.get(f"{prefix}.held_out_{k}") for k in keys]
            number = figures[f"{prefix}.held_out_expressions"]
            rows.append((f"the {number} that name a held-out composition", *part))
        text += f"\n## {title}\n\n{about}\n\n" + table(("decided by", *keys), rows) + "\n"
        kinds = figures[f"{prefix}.f1_by_kind"]
        by = [figures[f"{prefix}.{k}_by_kind"] for k in keys[:4]]
        text += table(("kind", *keys[:4]), [(k, *(column[k] for column in by)) for k in kinds])
    return text


def _absent(figures: Figures) -> str:
    if "absent.false_photo_rate" not in figures:
        return ""
    keys = ("false_photo_rate", "nothing_returned")
    rows = [("all", *(figures[f"absent.{k}"] for k in keys))]
    rows += [(kind, *(row[k] for k in keys)) for kind, row in figures["absent.by_kind"].items()]
    text = "\n## Absent things\n\n" + table(("expressions", *keys), rows)
    if figures["absent.worst"]:
        text += "\n" + table(("returned most", "photos"), figures["absent.worst"].items())
    return text


def _prefilter(figures: Figures) -> str:
    kinds: dict[str, dict[str, Any]] = figures.get("prefilter.by_kind", {})
    if not kinds:
        return ""
    depths = list(next(iter(kinds.values())))
    rows = [("all", *(figures[f"prefilter.recall@{depth}"] for depth in depths))]
    rows += [(kind, *(row[depth] for depth in depths)) for kind, row in kinds.items()]
    return "\n## Recall of the prefilter's candidates\n\n" + table(("kind", *depths), rows)


def _charts(figures: Figures) -> Iterable[tuple[str, Image.Image, str]]:
    for prefix, title in (("pairs", "Calibration on pairs"), ("album", "Calibration on the album")):
        if bins := figures.get(f"{prefix}.reliability"):
            measured = [(point["confidence"], point["frequency"]) for point in bins]
            series = (
                Series("perfect", [(0.0, 0.0), (1.0, 1.0)]),
                Series(f"measured, ECE {figures[f'{prefix}.ece']:.4f}", measured, dotted=True),
            )
            name = f"reliability-{prefix}.png"
            yield (
                name,
                charts.line_chart(title, "mean p(target)", "share with a target", series),
                title,
            )
    if curve := figures.get("pairs.curve"):
        points = [(point["t_acc"], point["n_acc"]) for point in curve]
        rule = (figures["pairs.pixel_rule.t_acc"] or 0.0, figures["pairs.pixel_rule.n_acc"] or 0.0)
        series = (
            Series("no-target classifier", points),
            Series("50-pixel rule", [rule], dotted=True),
        )
        title = "N-acc over T-acc"
        picture = charts.line_chart(
            title, "T-acc", "N-acc", series, x_range=(0.5, 1.0), y_range=(0.0, 1.0)
        )
        yield "n-acc-over-t-acc.png", picture, title


def _answers(
    examples: Examples, network: Network, *, each: int = 8
) -> Iterable[tuple[str, str, Image.Image]]:
    data, scores = examples.data, examples.scores
    confidence = examples.calibration.confidence(scores.no_target_logit, shifted=False)
    target = np.array([bool(pair.targets) for pair in data.pairs])
    union = scores.predicted_area + scores.truth_area - scores.intersection
    iou = np.where(union > 0, scores.intersection / np.maximum(union, 1), 0.0)
    groups: tuple[tuple[str, str, Any, Callable[[int], float]], ...] = (
        ("right", "Right", target & (confidence >= 0.5) & (iou > 0.8), lambda _: 0.0),
        ("right-none", "Rightly nothing", ~target & (confidence < 0.5), lambda _: 0.0),
        ("wrong-mask", "Found, but other pixels", target & (confidence >= 0.5) & (iou < 0.5),
         lambda i: float(iou[i])),
        ("wrong-missed", "Missed", target & (confidence < 0.5), lambda i: float(confidence[i])),
        ("wrong-invented", "Invented", ~target & (confidence >= 0.5),
         lambda i: -float(confidence[i])),
    )  # fmt: skip
    for name, caption, chosen, order in groups:
        rows = np.flatnonzero(chosen)
        # Seeded, so that the same figures come with the same pictures; the worst come first.
        rows = np.random.default_rng(0).permutation(rows)
        picked = sorted(_one_a_kind(data, rows), key=order)[:each]
        if picked:
            pictures = [answer(examples, network, int(i), float(confidence[i])) for i in picked]
            yield (
                f"{name}.png",
                f"{caption} ({len(rows)} of {len(data.pairs)})",
                charts.sheet_of(pictures),
            )


def _one_a_kind(data: PairSet, rows: Any) -> list[int]:
    """Order rows so that kinds take turns, and keep the first 40."""
    seen: dict[str, int] = {}
    turns: list[tuple[int, int, int]] = []
    for row in rows:
        kind = data.pairs[row].kind
        seen[kind] = seen.get(kind, 0) + 1
        turns.append((seen[kind], len(turns), int(row)))
    return [row for _, _, row in sorted(turns)][:40]


def answer(examples: Examples, network: Network, row: int, confidence: float) -> Image.Image:
    """Draw what a model answers to a pair; from p(target) 0.5 on it shows a mask."""
    pair = examples.data.pairs[row]
    photo = examples.data.photos.image(pair.photo)
    (answered,) = network.encode([Image.fromarray(photo)]).judge([(0, pair.expression)])
    height, width = photo.shape[:2]
    predicted = answered.render(width, height, accepted=confidence >= 0.5).array
    truth = examples.data.photos.mask(pair.photo, pair.targets)
    union = np.count_nonzero(predicted | truth)
    iou = np.count_nonzero(predicted & truth) / union if union else 1.0
    said = f"p(target) {confidence:.2f}" + (f", IoU {iou:.2f}" if pair.targets else ", no target")
    said = f"{pair.kind}: {said}" if pair.kind else said
    return charts.answer_picture(photo, truth, predicted, (pair.expression, said))
