"""The GRES metrics, one sample at a time: gIoU, cIoU, Pr@X, N-acc, T-acc, target IoU.

Two rules, which differ in corners:

- ``paper`` (section 5.1): the no-target decision empties the mask, and a sample is predicted
  no-target when its mask has no pixel. Pr@X counts IoU higher than X.
- ``reference`` (the authors' evaluator): the flag alone decides. A targeted sample that was
  flagged no-target has I = 0 while its predicted pixels still count in U; Pr@X counts IoU of at
  least X; T-acc needs no-target samples in the set as much as N-acc does. Their evaluator counts at
  480 x 480: see `scoring`, whose protocol `gres480` is theirs.

Fractions throughout. What is undefined, such as N-acc of a set without no-target samples, is None.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Rule = Literal["paper", "reference"]
Mask = NDArray[np.bool_]

PRECISION_STARTS = (0.7, 0.8, 0.9)  # the paper's; multi-target samples make lower ones too easy


@dataclass
class _Sums:
    """What a group of samples adds up to; every metric is a ratio of two of these."""

    samples: int = 0
    targeted: int = 0
    iou: float = 0.0  # 1 for a no-target sample that was recognised
    targeted_iou: float = 0.0  # of the mask after the decision
    raw_iou: float = 0.0  # of the mask whatever the decision
    intersection: int = 0
    union: int = 0
    raw_intersection: int = 0  # of targeted samples' masks, whatever the decision
    raw_union: int = 0
    recognised: int = 0  # no-target samples predicted no-target: the paper's TP
    kept: int = 0  # targeted samples not predicted no-target: the paper's TN
    above: dict[float, int] = field(default_factory=lambda: dict.fromkeys(PRECISION_STARTS, 0))


class SegmentationMetrics:
    """Sums samples up; `result()` and `by_group()` may be asked at any time.

    Args:
        rule: "paper" or "reference", see the module.
    """

    def __init__(self, rule: Rule = "paper") -> None:
        if rule not in ("paper", "reference"):
            raise ValueError(f"rule is 'paper' or 'reference', not {rule!r}")
        self.rule: Rule = rule
        self._all = _Sums()
        self._groups: dict[str, _Sums] = {}

    def add(
        self,
        predicted: Mask,
        truth: Mask | None,
        *,
        predicted_no_target: bool,
        no_target: bool | None = None,
        groups: Iterable[str] = (),
    ) -> float:
        """Count one sample and return its IoU.

        Args:
            predicted: (H, W) bool, the mask before the no-target decision empties it.
            truth: (H, W) bool; None stands for an empty one.
            predicted_no_target: the classifier's decision.
            no_target: that the expression refers to nothing; by default, that `truth` is empty.
            groups: names under which the sample counts as well, such as its kind.
        Raises:
            ValueError: the masks differ in shape.
        """
        if truth is not None and predicted.shape != truth.shape:
            raise ValueError(f"predicted mask is {predicted.shape}, truth is {truth.shape}")
        area = 0 if truth is None else int(np.count_nonzero(truth))
        return self.add_counts(
            0 if truth is None else int(np.count_nonzero(predicted & truth)),
            int(np.count_nonzero(predicted)),
            area,
            predicted_no_target=predicted_no_target,
            no_target=area == 0 if no_target is None else no_target,
            groups=groups,
        )

    def add_counts(
        self,
        intersection: int,
        predicted_area: int,
        truth_area: int,
        *,
        predicted_no_target: bool,
        no_target: bool,
        groups: Iterable[str] = (),
    ) -> float:
        """Count one sample whose pixels were counted elsewhere; as `add`, all in pixels."""
        whole = predicted_area + truth_area - intersection
        raw = intersection / whole if whole else 0.0
        empty = predicted_no_target
        if self.rule == "paper":
            empty = empty or predicted_area == 0
        if no_target:
            shown, union, iou = 0, 0 if empty else predicted_area, float(empty)
        elif empty:
            shown, iou = 0, 0.0
            union = truth_area if self.rule == "paper" else whole
        else:
            shown, union, iou = intersection, whole, raw
        for sums in (self._all, *(self._groups.setdefault(name, _Sums()) for name in set(groups))):
            sums.samples += 1
            sums.iou += iou
            sums.intersection += shown
            sums.union += union
            if no_target:
                sums.recognised += empty
                continue
            sums.targeted += 1
            sums.targeted_iou += iou
            sums.raw_iou += raw
            sums.raw_intersection += intersection
            sums.raw_union += whole
            sums.kept += not empty
            for start in PRECISION_STARTS:
                sums.above[start] += iou > start if self.rule == "paper" else iou >= start
        return iou

    def result(self) -> dict[str, float | None]:
        """Give every metric of all samples.

        Returns:
            giou, ciou, pr@0.7, pr@0.8, pr@0.9, n_acc, t_acc; target_iou (mean IoU of the targeted
            samples' masks, whatever the no-target decision), target_ciou (cumulative over the
            same, the cIoU of classic RES in Table 7), target_iou_decided (mean, after it);
            samples, targeted (numbers).
        """
        return self._result(self._all)

    def sums(self) -> NDArray[np.float64]:
        """(8,) what giou, ciou, n_acc and t_acc are ratios of: samples, IoU, intersection, union,
        samples without a target and those recognised, with one and those kept."""
        s = self._all
        without = s.samples - s.targeted
        return np.array([s.samples, s.iou, s.intersection, s.union, without, s.recognised,
                         s.targeted, s.kept], np.float64)  # fmt: skip

    def by_group(self) -> dict[str, dict[str, float | None]]:
        """Give `result()` of each group, by name."""
        return {name: self._result(sums) for name, sums in sorted(self._groups.items())}

    def _result(self, sums: _Sums) -> dict[str, float | None]:
        without = sums.samples - sums.targeted
        defined = self.rule == "paper" or without > 0
        return {
            "giou": _ratio(sums.iou, sums.samples),
            "ciou": _ratio(sums.intersection, sums.union),
            **{f"pr@{s}": _ratio(sums.above[s], sums.targeted) for s in PRECISION_STARTS},
            "n_acc": _ratio(sums.recognised, without),
            "t_acc": _ratio(sums.kept, sums.targeted) if defined else None,
            "target_iou": _ratio(sums.raw_iou, sums.targeted),
            "target_ciou": _ratio(sums.raw_intersection, sums.raw_union),
            "target_iou_decided": _ratio(sums.targeted_iou, sums.targeted),
            "samples": sums.samples,
            "targeted": sums.targeted,
        }


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
