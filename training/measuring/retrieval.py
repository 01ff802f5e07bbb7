"""Album retrieval: which photos of an album an expression should return, and which it did.

Legend: E expressions, N photos. Truth is an (E, N) int8 array: 1 the photo holds a referent,
0 it holds none, -1 nobody can say (an ambiguous pair, left out of every figure).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Figures = dict[str, float | None]

PREFILTER_SHARES = (0.01, 0.02, 0.05, 0.10, 0.25)
PREFILTER_COUNTS = (200,)


@dataclass(frozen=True)
class Returned:
    """Counts over scored pairs.

    Attributes:
        hits: returned photos with a referent.
        false: returned photos without one.
        missed: photos with a referent that were not returned.
        pairs: all scored pairs.
    """

    hits: int
    false: int
    missed: int
    pairs: int

    def figures(self) -> Figures:
        """Give precision, recall, f1 and false photos a pair that holds no referent."""
        without = self.pairs - self.hits - self.missed
        return {
            "precision": _ratio(self.hits, self.hits + self.false),
            "recall": _ratio(self.hits, self.hits + self.missed),
            "f1": _ratio(2 * self.hits, 2 * self.hits + self.false + self.missed),
            "false_photo_rate": _ratio(self.false, without),
        }


def count_returned(accepted: NDArray[np.bool_], truth: NDArray[np.int8]) -> Returned:
    """Compare returned photos with the truth, over all pairs together (micro).

    Args:
        accepted: (E, N) or (N,).
        truth: the same shape.
    """
    target, scored = truth == 1, truth >= 0
    return Returned(
        int((accepted & target).sum()),
        int((accepted & (truth == 0)).sum()),
        int((~accepted & target).sum()),
        int(scored.sum()),
    )


def average_precision(score: NDArray[np.floating], truth: NDArray[np.int8]) -> float | None:
    """Give the mean, over an expression's photos with a referent, of the precision at their rank.

    Photos of equal score share the rank of the last of them, so that ties never flatter.

    Args:
        score: (N,) higher is surer.
        truth: (N,) 1, 0 or -1 (left out).
    Returns:
        0 to 1; None where no photo holds a referent.
    """
    scored = truth >= 0
    score, target = score[scored], truth[scored] == 1
    if not target.any():
        return None
    order = np.argsort(-score, kind="stable")
    score, target = score[order], target[order]
    # For each photo, how many rank at least as high: the end of its run of ties.
    last = np.searchsorted(-score, -score, side="right")
    found = np.cumsum(target)[last - 1]
    return float((found / last)[target].mean())


def mean_average_precision(
    scores: NDArray[np.floating], truth: NDArray[np.int8]
) -> tuple[float | None, int]:
    """Average `average_precision` over the (E, N) expressions that have a referent somewhere.

    Returns:
        mAP (None if no expression has one) and how many expressions it is the mean of.
    """
    each = [average_precision(s, t) for s, t in zip(scores, truth, strict=True)]
    known = [value for value in each if value is not None]
    return (float(np.mean(known)) if known else None), len(known)


def retrieval_figures(
    scores: NDArray[np.floating],
    accepted: NDArray[np.bool_],
    truth: NDArray[np.int8],
    kinds: Sequence[str],
) -> dict[str, object]:
    """Give all figures of an album.

    Args:
        scores: (E, N) higher is surer.
        accepted: (E, N) returned photos.
        truth: (E, N).
        kinds: (E,) kind of each expression.
    Returns:
        precision, recall, f1, false_photo_rate, map; f1_by_kind, precision_by_kind,
        recall_by_kind, map_by_kind; median_prevalence, mean_prevalence, expressions, photos,
        ambiguous (number of pairs left out).
    """
    figures: dict[str, object] = dict(count_returned(accepted, truth).figures())
    figures["map"], figures["map_expressions"] = mean_average_precision(scores, truth)
    kind_of = np.asarray(kinds)
    for name in ("f1", "precision", "recall", "map"):
        figures[f"{name}_by_kind"] = {}
    for kind in dict.fromkeys(kinds):
        rows = kind_of == kind
        part: Figures = count_returned(accepted[rows], truth[rows]).figures()
        part["map"] = mean_average_precision(scores[rows], truth[rows])[0]
        for name in ("f1", "precision", "recall", "map"):
            by_kind = figures[f"{name}_by_kind"]
            assert isinstance(by_kind, dict)
            by_kind[kind] = part[name]
    shares = prevalence(truth)
    figures |= {
        "median_prevalence": float(np.median(shares)),
        "mean_prevalence": float(np.mean(shares)),
        "expressions": int(truth.shape[0]),
        "photos": int(truth.shape[1]),
        "ambiguous": int((truth < 0).sum()),
    }
    return figures


def prevalence(truth: NDArray[np.int8]) -> NDArray[np.float64]:
    """Give, for each of E expressions, the share of its scored photos that hold a referent."""
    scored = np.maximum((truth >= 0).sum(axis=1), 1)
    return np.asarray((truth == 1).sum(axis=1) / scored)


def recall_at_k(scores: NDArray[np.floating], accepted: NDArray[np.bool_], k: int) -> float | None:
    """Give |top k of the prefilter ∩ photos the head accepts| / min(k, |accepted|).

    Args:
        scores: (N,) the prefilter's, higher is nearer; equal scores rank in photo order.
        accepted: (N,) what judging every photo accepts.
        k: how many candidates are judged.
    Returns:
        0 to 1; None where the head accepts no photo.
    """
    total = int(accepted.sum())
    if total == 0 or k <= 0:
        return None
    top = np.argsort(-scores, kind="stable")[:k]
    return float(accepted[top].sum() / min(k, total))


def prefilter_recall(
    scores: NDArray[np.floating], accepted: NDArray[np.bool_], kinds: Sequence[str]
) -> dict[str, dict[str, float | None]]:
    """Average `recall_at_k` over (E, N) expressions, overall ("all") and by kind.

    Returns:
        by kind, by k: "1%", "2%", "5%", "10%", "25%" of the photos (rounded up) and "200";
        None where no expression of the kind was accepted anywhere.
    """
    photos = scores.shape[1]
    depth = {f"{share:.0%}": math.ceil(share * photos) for share in PREFILTER_SHARES}
    depth |= {str(count): count for count in PREFILTER_COUNTS}
    table: dict[str, dict[str, float | None]] = {}
    for kind in ("all", *dict.fromkeys(kinds)):
        rows = [i for i, own in enumerate(kinds) if kind in ("all", own)]
        table[kind] = {}
        for name, k in depth.items():
            each = [recall_at_k(scores[i], accepted[i], k) for i in rows]
            known = [value for value in each if value is not None]
            table[kind][name] = float(np.mean(known)) if known else None
    return table


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
