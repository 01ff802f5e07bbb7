"""The paper's tables as data: what each row trains, how it decides, and what the paper printed.

Source: Liu et al., GRES, CVPR 2023, Tables 2 to 7 and Figure 6; figures in percent, of gRefCOCO.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from training.baselines.networks import BASELINES


@dataclass(frozen=True)
class Variant:
    """What one training run changes of the full network and its recipe.

    Attributes:
        network: fields of the configuration.
        recipe: fields of the recipe.
        baseline: one of `training.baselines.networks.BASELINES` in place of the network.
    """

    network: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    baseline: str = ""


FULL = "full"

# Several tables share rows, and each variant is trained once.
VARIANTS: dict[str, Variant] = {
    FULL: Variant(),
    "hard-input": Variant({"ria": "hard-input"}),
    "hard-decoder": Variant({"ria": "hard-decoder"}),
    "no-minimap": Variant({"minimap_supervised": False}),
    "rla-none": Variant({"rla": "none"}),
    "rla-language": Variant({"rla": "language"}),
    "rla-region": Variant({"rla": "region"}),
    "regions-4": Variant({"regions_per_side": 4}),
    "regions-8": Variant({"regions_per_side": 8}),
    "regions-10": Variant({"regions_per_side": 10}),
    "regions-12": Variant({"regions_per_side": 12}),
    "one-target": Variant(recipe={"one_target": True}),
    **{name: Variant(baseline=name) for name in BASELINES},
    "lavt-one-target": Variant(recipe={"one_target": True}, baseline="lavt"),
    "vlt-one-target": Variant(recipe={"one_target": True}, baseline="vlt"),
}

Decided = Literal["classifier", "pixels"]


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        label: as printed.
        variant: one of VARIANTS; "" for a row of which only the paper's figures are known.
        decided: by the no-target classifier, or by the 50-pixel rule.
        paper: its printed figures in percent, by the key of the column.
    """

    label: str
    variant: str = FULL
    decided: Decided = "classifier"
    paper: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """One table, or figure, of the paper.

    Attributes:
        name: what it is asked for by.
        title: of the written page.
        columns: (key of a figure, heading); keys as `training.measuring.metrics` names them, those
            of a group of expressions behind "by_targets.2." and the like.
        rows: the full network last.
        trend: the column whose order of rows is compared with the paper's.
        answers: whether the page shows what each row answers to the same expressions.
    """

    name: str
    title: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    trend: str = "giou"
    answers: bool = False


_MASKS = (
    ("pr@0.7", "Pr@0.7"),
    ("pr@0.8", "Pr@0.8"),
    ("pr@0.9", "Pr@0.9"),
    ("ciou", "cIoU"),
    ("giou", "gIoU"),
)
_NO_TARGET = (("n_acc", "N-acc"), ("t_acc", "T-acc"))


def _masks(*figures: float) -> dict[str, float]:
    return dict(zip((key for key, _ in _MASKS), figures, strict=True))


def _ious(*figures: float) -> dict[str, float]:
    return dict(zip(("ciou", "giou"), figures, strict=True))


_CLASSIC = "by_targets.1.target_ciou"  # whatever a classifier says
_RELA = _masks(74.20, 68.33, 24.68, 62.42, 63.60)

TABLES: dict[str, Table] = {
    "2": Table(
        "2",
        "Table 2: design options of RIA",
        _MASKS + _NO_TARGET,
        (
            Row("hard split, input", "hard-input", paper=_masks(63.02, 59.81, 19.26, 54.43, 55.34)),
            Row("hard split, decoder", "hard-decoder",
                paper=_masks(70.34, 65.23, 21.47, 60.08, 60.93)),
            Row("w/o minimap", "no-minimap", paper=_masks(72.19, 66.02, 21.07, 61.30, 62.06)),
            Row("ReLA", paper=_RELA),
        ),
    ),
    "3": Table(
        "3",
        "Table 3: design options of RLA",
        _MASKS + _NO_TARGET,
        (
            Row("baseline", "rla-none", paper=_masks(69.94, 61.10, 19.38, 57.24, 58.53)),
            Row("+ language att.", "rla-language",
                paper=_masks(72.03, 65.42, 21.04, 59.86, 60.53)),
            Row("+ region att.", "rla-region", paper=_masks(73.52, 67.01, 23.43, 61.00, 62.38)),
            Row("ReLA", paper=_RELA),
        ),
    ),
    "4": Table(
        "4",
        "Table 4: number of regions",
        _MASKS + _NO_TARGET,
        (
            Row("4 x 4", "regions-4", paper=_masks(68.48, 60.25, 20.33, 56.57, 57.01)),
            Row("8 x 8", "regions-8", paper=_masks(72.36, 66.85, 23.56, 59.74, 61.23)),
            Row("12 x 12", "regions-12", paper=_masks(74.14, 67.56, 23.90, 62.02, 63.50)),
            Row("10 x 10", "regions-10", paper=_RELA),
        ),
    ),
    "5": Table(
        "5",
        "Table 5: other methods, and ReLA in the place of their decoders",
        _MASKS[3:] + _NO_TARGET,
        (
            Row("MattNet", "", paper=_ious(47.51, 48.24)),
            Row("LTS", "", paper=_ious(52.30, 52.70)),
            Row("VLT", "vlt", "pixels", _ious(52.51, 52.00)),
            Row("CRIS", "", paper=_ious(55.34, 56.27)),
            Row("LAVT", "lavt", "pixels", _ious(57.64, 58.40)),
            Row("VLT+ReLA", "vlt+rela", paper=_ious(58.65, 59.43)),
            Row("LAVT+ReLA", "lavt+rela", paper=_ious(61.23, 61.32)),
            Row("ReLA", paper=_ious(62.42, 63.60)),
        ),
    ),
    "6": Table(
        "6",
        "Table 6: what recognises no-target expressions",
        _NO_TARGET,
        (
            Row("MattNet", "", paper={"n_acc": 41.15, "t_acc": 96.13}),
            Row("VLT", "vlt", "pixels", {"n_acc": 47.17, "t_acc": 95.72}),
            Row("LAVT", "lavt", "pixels", {"n_acc": 49.32, "t_acc": 96.18}),
            Row("ReLA-50pix", decided="pixels", paper={"n_acc": 49.96, "t_acc": 96.28}),
            Row("ReLA", paper={"n_acc": 56.37, "t_acc": 96.32}),
        ),
        trend="n_acc",
    ),
    "7": Table(
        "7",
        "Table 7: classic RES, one target an expression (the paper's: RefCOCO val)",
        ((_CLASSIC, "cIoU"),),
        (
            Row("MCN", "", paper={_CLASSIC: 62.44}),
            Row("ReSTR", "", paper={_CLASSIC: 67.22}),
            Row("CRIS", "", paper={_CLASSIC: 70.47}),
            Row("LAVT", "lavt-one-target", paper={_CLASSIC: 72.73}),
            Row("VLT", "vlt-one-target", paper={_CLASSIC: 72.96}),
            Row("ReLA", "one-target", paper={_CLASSIC: 73.82}),
        ),
        trend=_CLASSIC,
    ),
    "figure6": Table(
        "figure6",
        "Figure 6: trained on expressions of one target alone",
        (
            ("by_targets.1.giou", "gIoU, one"),
            ("by_targets.2.giou", "gIoU, two"),
            ("by_targets.3+.giou", "gIoU, three or more"),
            *_NO_TARGET,
        ),
        (
            Row("one target alone", "one-target"),
            Row("one target alone, 50 pixels", "one-target", "pixels"),
            Row("ReLA"),
        ),
        trend="by_targets.2.giou",
        answers=True,
    ),
}  # fmt: skip


def variants_of(table: Table) -> list[str]:
    """What has to be trained for a table, each once, in the order of its rows."""
    return list(dict.fromkeys(row.variant for row in table.rows if row.variant))
