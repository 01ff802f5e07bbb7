"""A table as Markdown, JSON and a picture: ours beside the paper's, with the spread over seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from training.ablating.plan import Plan
from training.ablating.rows import ANSWERS, figures_of, folder_of
from training.ablating.tables import Row, Table
from training.measuring import charts
from training.measuring.charts import Dots
from training.measuring.report import table


@dataclass(frozen=True)
class Measured:
    """A row with what was found.

    Attributes:
        row: of the table.
        runs: what `rows` kept of each seed that is done.
    """

    row: Row
    runs: tuple[dict[str, Any], ...]

    def values(self, key: str) -> list[float]:
        """A figure of every seed, in percent; [] where none is done or it is undefined."""
        found = (_figure(run[self.row.decided], key) for run in self.runs)
        return [100 * value for value in found if value is not None]

    def middle(self, key: str) -> float | None:
        """Its mean over the seeds."""
        values = self.values(key)
        return mean(values) if values else None


def _figure(found: dict[str, Any], key: str) -> float | None:
    """A figure by its key; "by_targets.2.giou" names one of a group, which may be missing."""
    if key in found:
        return found[key]
    grouping, group, name = key.split(".", 2)
    return found[grouping].get(group, {}).get(name)


def collect(asked: Table, seeds: Sequence[int], out: Path) -> list[Measured]:
    """Every row of a table with the runs that are done."""
    return [
        Measured(
            row,
            tuple(f for s in seeds if row.variant and (f := figures_of(out, row.variant, s))),
        )
        for row in asked.rows
    ]


def write(asked: Table, plan: Plan, seeds: Sequence[int], out: Path) -> Path:
    """Write `table-NAME.md`, `.json` and `.png` into a folder; return the page."""
    rows = collect(asked, seeds, out)
    base = out / f"table-{asked.name}"
    content = {
        "table": asked.name,
        "plan": plan.to_dict(),
        "rows": [
            {
                "label": m.row.label,
                "variant": m.row.variant,
                "decided": m.row.decided,
                "paper_percent": dict(m.row.paper),
                "runs": m.runs,
            }
            for m in rows
        ],
    }
    base.with_suffix(".json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    _picture(asked, rows).save(base.with_suffix(".png"))
    page = base.with_suffix(".md")
    page.write_text(_page(asked, rows, plan, base.with_suffix(".png").name), encoding="utf-8")
    return page


def _page(asked: Table, rows: Sequence[Measured], plan: Plan, picture: str) -> str:
    parts = [f"# {asked.title}\n", conditions(plan, rows)]
    header = ["#", "method"]
    header += [f"{heading} {whose}" for _, heading in asked.columns for whose in ("paper", "ours")]
    lines = []
    for number, measured in enumerate(rows, 1):
        cells = [f"{number}", measured.row.label]
        for key, _ in asked.columns:
            paper = measured.row.paper.get(key)
            cells += [_dash if paper is None else f"{paper:.2f}", _spread(measured.values(key))]
        lines.append(cells)
    parts += [
        table(header, lines),
        f"{PROTOCOL}\n",
        trend(asked, rows),
        f"![{asked.title}]({picture})\n",
    ]
    kinds = _kinds(rows)
    if kinds:
        parts += ["## gIoU by kind of expression\n", kinds]
    if asked.answers:
        parts.append(_answers(rows))
    return "\n".join(part for part in parts if part)


_dash = "–"
PROTOCOL = (
    "Ours by protocol paper: section 5.1 at each photo's own size, E at one half. The paper's own "
    "figures are of the authors' evaluator, protocol gres480."
)


def _spread(values: Sequence[float]) -> str:
    if not values:
        return _dash
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def conditions(plan: Plan, rows: Sequence[Measured]) -> str:
    """Say under what the rows were made, for the head of the page."""
    recipe, runs = plan.recipe, [run for measured in rows for run in measured.runs]
    seeds = sorted({run["seed"] for run in runs})
    dates = sorted({run["date"] for run in runs})
    missing = [m.row.label for m in rows if m.row.variant and not m.runs]
    drawn = f", {recipe.photos} photos drawn for training" if plan.folder is None else ""
    size = recipe.config.input_size
    said = [
        f"Data: {plan.data}{drawn}; measured on {plan.split}. Network: {recipe.config.name} at "
        f"{size} pixels, P = {recipe.config.regions_per_side}. Every row: {recipe.steps} steps of "
        f"{recipe.batch} photos, the same draws, the same start (image encoder: "
        f"{recipe.start or 'random'}), decided at p(no target) = 0.5 without calibration.",
        "Figures in percent; the paper's are of Swin-B at 480 pixels, fully trained, on gRefCOCO "
        "val where the title says nothing else.",
    ]
    if seeds:
        said.append(
            f"Seeds done: {', '.join(map(str, seeds))}"
            + (" (± is their standard deviation)" if len(seeds) > 1 else " (one: no spread)")
            + f"; {' to '.join(dict.fromkeys((dates[0], dates[-1])))}."
        )
    if missing:
        said.append(f"Not run yet: {', '.join(missing)}.")
    return "\n".join(said) + "\n"


def trend(asked: Table, rows: Sequence[Measured]) -> str:
    """Say which rows lie on the other side of the last one than the paper's do."""
    key, last = asked.trend, rows[-1]
    heading = dict(asked.columns)[key]
    ours, papers = last.middle(key), last.row.paper.get(key)
    if ours is None or papers is None:
        return ""
    against: list[str] = []
    alike: list[str] = []
    for measured in rows[:-1]:
        own, paper = measured.middle(key), measured.row.paper.get(key)
        if own is None or paper is None:
            continue
        said = f"{measured.row.label} ({own - ours:+.2f}, the paper's {paper - papers:+.2f})"
        (alike if (own < ours) == (paper < papers) else against).append(said)
    text = ""
    if alike:
        text += f"{heading} against {last.row.label}, as in the paper: {'; '.join(alike)}.\n"
    if against:
        text += f"{heading} the other way round than in the paper: {'; '.join(against)}.\n"
    return text


def _kinds(rows: Sequence[Measured]) -> str:
    """gIoU of each row by kind of expression, where the data says the kinds."""
    names = sorted({kind for m in rows for run in m.runs for kind in run[m.row.decided]["by_kind"]})
    done = [m for m in rows if m.runs]
    lines = [[name, *(_spread(m.values(f"by_kind.{name}.giou")) for m in done)] for name in names]
    return table(("kind", *(m.row.label for m in done)), lines) if names else ""


def _answers(rows: Sequence[Measured]) -> str:
    """What each trained variant answers; red is predicted, the true outline green."""
    shown = {m.row.variant: m for m in rows if m.runs and m.row.decided == "classifier"}
    return "\n".join(
        f"## Answers of: {m.row.label}\n\n![{m.row.label}]"
        f"({folder_of(Path(), name, m.runs[0]['seed']) / ANSWERS})\n"
        for name, m in shown.items()
    )


def _picture(asked: Table, rows: Sequence[Measured]) -> Any:
    panels = [
        (
            heading,
            Dots("paper", [[m.row.paper[key]] if key in m.row.paper else [] for m in rows], True),
            Dots("ours", [m.values(key) for m in rows]),
        )
        for key, heading in asked.columns
    ]
    return charts.dot_chart(asked.title, [m.row.label for m in rows], panels)
