"""What superlatives and ordinals sort by, and how far apart two things must be to tell."""

from __future__ import annotations

from collections.abc import Iterable

from training.language import relations
from training.scene import Instance

# How far apart the last chosen and the first rejected must be, by key.
_GAPS = {"left": 0.045, "right": 0.045, "high": 0.06, "low": 0.06}


def key_of(t: Instance, key: str) -> float:
    """What a superlative sorts by, smallest first."""
    if key in ("left", "far left"):
        return t.centre[0]
    if key in ("right", "far right"):
        return -t.centre[0]
    if key == "high":
        return t.centre[1]
    if key == "low":
        return -t.centre[1]
    if key == "near":
        return -t.depth
    if key == "far":
        return t.depth
    if key == "tall":
        return -(t.box[3] - t.box[1])
    if key == "short":
        return t.box[3] - t.box[1]
    return -t.area if key == "big" else t.area


def apart(key: str, first: float, second: float) -> bool:
    """Whether two sorting values are far enough apart that everybody sees which is first."""
    if key in ("big", "small"):
        return abs(first - second) > 0.25 * max(abs(first), abs(second))
    if key in ("tall", "short"):
        return abs(first - second) > 0.12 * max(abs(first), abs(second))
    if key in ("near", "far"):
        return abs(first - second) > relations.DEPTH_MARGIN
    return abs(first - second) > _GAPS[key.removeprefix("far ")]


def ranked(things: Iterable[Instance], key: str) -> list[tuple[float, Instance]]:
    """(sorting value, thing), the first by the key first."""
    return sorted(((key_of(t, key), t) for t in things), key=lambda pair: (pair[0], pair[1].id))


_AIRBORNE = ("kite", "balloon", "bird")
_KIDS = ("boy", "girl")
_ADULTS = ("man", "woman")


def as_in_life(key: str, among: Iterable[Instance], last: Instance) -> bool:
    """Whether what the picture shows is what is so.

    Nothing that flies has a depth that one sees, and a near child may look taller than a far adult.

    Args:
        key: that was sorted by.
        among: all that were sorted.
        last: the last one that was chosen.
    """
    categories = {t.category for t in among}
    if key in ("near", "far"):
        return not categories & set(_AIRBORNE)
    if key == "tall":
        return not (last.category in _KIDS and categories & set(_ADULTS))
    return not (key == "short" and last.category in _ADULTS and categories & set(_KIDS))
