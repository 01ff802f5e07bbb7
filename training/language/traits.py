"""What is true of one thing by itself: its colours, what it wears, its pose, where it is.

Each trait is judged in three values, see `relations`: what is hidden, too small to see or
easily taken for something else is MAYBE.
"""

from __future__ import annotations

from collections.abc import Callable

from training.language import relations
from training.language.relations import MAYBE, NO, YES
from training.scene import PERSONS, Instance


def _colour(t: Instance, c: str) -> int:
    if t.colour == c:
        return YES
    if c in t.perhaps:
        return MAYBE
    # "in blue" of somebody with blue trousers or a blue hat only: arguable.
    if t.category in PERSONS and c in (t.parts.get("bottom"), t.parts.get("hat")):
        return MAYBE
    return NO


def _top(t: Instance, c: str) -> int:
    if t.category not in PERSONS or (t.colour != c and c not in t.perhaps):
        return NO
    if t.colour != c:
        return MAYBE
    return MAYBE if "dress" in t.parts else YES


def _bottom(t: Instance, c: str) -> int:
    if t.category in PERSONS and t.visible < 0.75:
        return MAYBE
    if t.parts.get("bottom") != c:
        return MAYBE if c in t.perhaps else NO
    return MAYBE if "dress" in t.parts else YES


def _dress(t: Instance, c: str) -> int:
    return YES if "dress" in t.parts and c in ("", t.colour) else NO


UNNAMED = "?"  # the colour of a worn part that has no clear name

# People lower than this in the photo show no glasses or beards.
_FINE_HEIGHT = 0.2


def _worn(part: str) -> Callable[..., int]:
    fine = part in ("glasses", "beard")

    def judge(t: Instance, c: str = "") -> int:
        # What is mostly hidden, and what is too small to see, cannot be said.
        if t.category in PERSONS and (
            t.visible < 0.55 or (fine and t.box[3] - t.box[1] < _FINE_HEIGHT)
        ):
            return MAYBE
        worn = t.parts.get(part, "")
        if worn == UNNAMED and c:
            return MAYBE
        return YES if worn and c in ("", worn) else NO

    return judge


# Poses that a glance confuses with the named one.
_POSES_LIKE = {
    "standing": ("waving", "walking"),
    "walking": ("running", "standing"),
    "running": ("walking", "jumping"),
    "jumping": ("running",),
    "waving": (),
    "sitting": (),
}


def _pose(t: Instance, p: str) -> int:
    if t.pose == p:
        return MAYBE if t.rides else YES
    return MAYBE if t.pose in _POSES_LIKE[p] else NO


# By the head of a modifier; called with the thing and the rest of the modifier.
TRAITS: dict[str, Callable[..., int]] = {
    "colour": _colour,
    "top": _top,
    "bottom": _bottom,
    "dress": _dress,
    "hat": _worn("hat"),
    "bag": _worn("bag"),
    "hair": _worn("hair"),
    "glasses": _worn("glasses"),
    "beard": _worn("beard"),
    "pose": _pose,
    "at": relations.at,
    "plane": relations.plane,
}
