"""Where things stand to each other in a scene, in three values: yes, maybe, no.

Every predicate has a dead band between its yes and its no, so that an expression whose truth
hangs on a borderline case can be left out rather than judged. Truth values are 1 (yes),
0 (maybe) and -1 (no).
"""

from __future__ import annotations

from collections.abc import Callable

from training.scene import Instance

YES, MAYBE, NO = 1, 0, -1

# Depths nearer together than this are level for the eye; a scene that shows no depth has 0.5.
DEPTH_MARGIN = 0.10

# What is nearer than this, in fractions of the photo, may be held or ridden where nobody said so.
_TOUCHING = 0.03

FOREGROUND_DEPTH = 0.62
BACKGROUND_DEPTH = 0.38


def band(value: float, yes_below: float, no_above: float) -> int:
    """YES under the first bound, NO over the second, MAYBE between them."""
    if value < yes_below:
        return YES
    return NO if value > no_above else MAYBE


def at(thing: Instance, place: str) -> int:
    """Whether a thing is in a place of the photo.

    Args:
        thing: judged by the centroid of its visible pixels.
        place: "left", "right", "top", "bottom", "middle" or two of the first four, as "top left".
    """
    x, y = thing.centre
    if place == "left":
        return band(x, 0.40, 0.50)
    if place == "right":
        return band(1.0 - x, 0.40, 0.50)
    if place == "top":
        return band(y, 0.36, 0.48)
    if place == "bottom":
        return band(1.0 - y, 0.36, 0.48)
    if place == "middle":
        return band(abs(x - 0.5), 0.11, 0.20)
    vertical, _, horizontal = place.partition(" ")
    return min(at(thing, vertical), at(thing, horizontal))


def plane(thing: Instance, where: str) -> int:
    """Whether a thing is in the "front" (foreground) or "back" (background) of its photo."""
    if where == "front":
        return band(-thing.depth, -FOREGROUND_DEPTH, -0.45)
    return band(thing.depth, BACKGROUND_DEPTH, 0.55)


def linked(a: Instance, b: Instance) -> bool:
    """Whether one holds or is on the other, so that places between them mean little."""
    return (
        b.id in a.holds
        or a.id in b.holds
        or b.id in (a.rides, a.sits_on, a.stands_on)
        or a.id in (b.rides, b.sits_on, b.stands_on)
    )


def relation(name: str, a: Instance, b: Instance) -> int:
    """Whether a stands in a relation to b.

    Args:
        name: a place ("next", "left", "right", "front", "behind"), or what the scene graph alone
            tells: "holds" reads a holds b, "held" a is held by b, "rides", "ridden", "sits",
            "seats" (b sits on a), "stands", "bears" (b stands on a), "owns" (a has b in a hand, on
            a leash, under it as a rider), "owned".
    """
    if name in _LINKS:
        if _LINKS[name](a, b):
            return YES
        apart = max(_gaps(a, b)) > _TOUCHING or "links" not in a.unsure + b.unsure
        return NO if apart else MAYBE
    if name == "next":
        return _next_to(a, b)
    if name == "left":
        return _left_of(a, b)
    if name == "right":
        return _left_of(b, a)
    if name == "front":
        return _in_front(a, b)
    return _in_front(b, a)


def _owns(a: Instance, b: Instance) -> bool:
    return b.owner == a.id or b.id in a.holds or (a.rides == b.id and a.rides != 0)


_LINKS: dict[str, Callable[[Instance, Instance], bool]] = {
    "holds": lambda a, b: b.id in a.holds,
    "rides": lambda a, b: a.rides == b.id,
    "sits": lambda a, b: a.sits_on == b.id,
    "stands": lambda a, b: a.stands_on == b.id,
    "owns": _owns,
    "held": lambda a, b: a.id in b.holds,
    "ridden": lambda a, b: b.rides == a.id,
    "seats": lambda a, b: b.sits_on == a.id,
    "bears": lambda a, b: b.stands_on == a.id,
    "owned": lambda a, b: _owns(b, a),
}


def _extent(a: Instance) -> float:
    return max(a.box[2] - a.box[0], a.box[3] - a.box[1])


def _gaps(a: Instance, b: Instance) -> tuple[float, float]:
    """Horizontal and vertical distance of the boxes; negative where they overlap."""
    return (
        max(a.box[0] - b.box[2], b.box[0] - a.box[2]),
        max(a.box[1] - b.box[3], b.box[1] - a.box[3]),
    )


def _next_to(a: Instance, b: Instance) -> int:
    if linked(a, b):
        return MAYBE
    gap_x, gap_y = _gaps(a, b)
    size = 0.5 * (_extent(a) + _extent(b))
    gap = max(gap_x, 0.0) + max(gap_y, 0.0)
    if gap > 0.75 * size or gap > 0.30:
        return NO
    overlap = -gap_x / max(1e-6, min(a.box[2] - a.box[0], b.box[2] - b.box[0]))
    beside = gap < 0.30 * size and gap < 0.15 and overlap < 0.5 and gap_y < 0
    return YES if beside and abs(a.depth - b.depth) < 2 * DEPTH_MARGIN else MAYBE


def _left_of(a: Instance, b: Instance) -> int:
    if linked(a, b):
        return MAYBE
    step = b.centre[0] - a.centre[0]
    if step < 0.01:
        return NO
    half_widths = 0.5 * (a.box[2] - a.box[0] + b.box[2] - b.box[0])
    return YES if step > max(0.07, 0.6 * half_widths) else MAYBE


def _in_front(a: Instance, b: Instance) -> int:
    """YES where a is nearer and covers b's column; far to the side is neither front nor behind."""
    if linked(a, b):
        return MAYBE
    nearer = a.depth - b.depth
    gap_x, gap_y = _gaps(a, b)
    if nearer < 0.0 or gap_x > 0.15:
        return NO
    overlap = -gap_x / max(1e-6, min(a.box[2] - a.box[0], b.box[2] - b.box[0]))
    return YES if nearer > DEPTH_MARGIN and overlap > 0.4 and gap_y < 0.05 else MAYBE


def between(a: Instance, b: Instance, c: Instance) -> int:
    """Whether a stands between b and c from left to right, at about their height."""
    left, right = sorted((b.centre[0], c.centre[0]))
    x, y = a.centre
    if x < left - 0.01 or x > right + 0.01:
        return NO
    low, high = sorted((b.centre[1], c.centre[1]))
    level = low - 0.15 < y < high + 0.15
    return YES if left + 0.05 < x < right - 0.05 and level else MAYBE
