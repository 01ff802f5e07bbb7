"""Filled polygons in painter's order: the one thing that every drawing here is made of.

A `Sketch` is a part of a picture in scene units: x from 0 to the photo's aspect ratio, y from 0
(top) to 1 (bottom), so a circle stays a circle at the scene's own aspect. Drawing functions work in
a local frame (origin where the object stands, x to the right, y up, unit chosen by the caller), and
the sketch transforms all its points at once. Colours are RGB, 0 to 255.
"""

from __future__ import annotations

import colorsys
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
Points = Sequence[tuple[float, float]]

EDGE = 1  # gets the scene's outline
BODY = 2  # belongs to the instance's mask


def _circle(n: int) -> list[tuple[float, float]]:
    return [(math.cos(2 * math.pi * k / n), math.sin(2 * math.pi * k / n)) for k in range(n)]


_FINE = _circle(36)
_COARSE = _circle(16)
_CAP = [(math.cos(math.pi * k / 6), math.sin(math.pi * k / 6)) for k in range(7)]
# Catmull-Rom weights of four neighbouring control points at four parameters of a span.
_SPAN = [
    (
        -0.5 * t + t * t - 0.5 * t**3,
        1 - 2.5 * t * t + 1.5 * t**3,
        0.5 * t + 2 * t * t - 1.5 * t**3,
        -0.5 * t * t + 0.5 * t**3,
    )
    for t in (0.0, 0.25, 0.5, 0.75)
]


def tone(colour: Colour, factor: float) -> Colour:
    """A darker (factor below 1) or lighter (above 1, towards white at 2) shade of a colour."""
    r, g, b = colour
    if factor <= 1:
        return (int(r * factor), int(g * factor), int(b * factor))
    k = factor - 1
    return (int(r + (255 - r) * k), int(g + (255 - g) * k), int(b + (255 - b) * k))


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """`share` of the second colour and the rest of the first."""
    keep = 1 - share
    return (
        int(first[0] * keep + second[0] * share),
        int(first[1] * keep + second[1] * share),
        int(first[2] * keep + second[2] * share),
    )


def hsv(h: float, s: float, v: float) -> Colour:
    """A colour by hue in degrees, saturation and value."""
    r, g, b = colorsys.hsv_to_rgb((h / 360) % 1, min(1, max(0, s)), min(1, max(0, v)))
    return (int(r * 255), int(g * 255), int(b * 255))


def vary(colour: Colour, rng: Random, amount: float = 0.12) -> Colour:
    """A shade near a colour, at random."""
    k = 1 + rng.uniform(-amount, amount)
    r, g, b = (min(255, max(0, int(c * k + rng.uniform(-10, 10)))) for c in colour)
    return (r, g, b)


def smooth(points: Points, *, closed: bool = True) -> list[tuple[float, float]]:
    """A curve through control points (Catmull-Rom), four points a span."""
    n = len(points)
    curve = []
    for i in range(n if closed else n - 1):
        if closed:
            a, b, c, d = points[i - 1], points[i], points[(i + 1) % n], points[(i + 2) % n]
        else:
            a, b = points[max(i - 1, 0)], points[i]
            c, d = points[i + 1], points[min(i + 2, n - 1)]
        for wa, wb, wc, wd in _SPAN:
            curve.append(
                (
                    wa * a[0] + wb * b[0] + wc * c[0] + wd * d[0],
                    wa * a[1] + wb * b[1] + wc * c[1] + wd * d[1],
                )
            )
    if not closed:
        curve.append(points[-1])
    return curve


@dataclass(frozen=True, slots=True)
class Drawing:
    """A finished sketch: polygons of one instance (or of nothing, id 0) in painter's order.

    Attributes:
        points: float64 (N, 2), scene units.
        ends: where each polygon's points end in `points`.
        colours: the fill of each polygon.
        flags: EDGE and BODY bits of each polygon.
    """

    points: NDArray[np.float64]
    ends: list[int]
    colours: list[Colour]
    flags: list[int]


class Sketch:
    """Collects polygons in a local frame.

    Args:
        x, y: where the local origin is, scene units.
        unit: the length of a local unit, scene units.
        flip: mirror left and right.
        turn: rotation about the origin, counter-clockwise radians.
        square: limbs end square instead of round.
    """

    __slots__ = (
        "_colours",
        "_ends",
        "_flags",
        "_points",
        "flip",
        "square",
        "turn",
        "unit",
        "x",
        "y",
    )

    def __init__(
        self,
        x: float,
        y: float,
        unit: float,
        *,
        flip: bool = False,
        turn: float = 0.0,
        square: bool = False,
    ) -> None:
        self.x, self.y, self.unit = x, y, unit
        self.flip, self.turn, self.square = flip, turn, square
        self._points: list[tuple[float, float]] = []
        self._ends: list[int] = []
        self._colours: list[Colour] = []
        self._flags: list[int] = []

    def poly(self, points: Points, colour: Colour, flags: int = EDGE | BODY) -> None:
        """A filled polygon."""
        self._points.extend(points)
        self._ends.append(len(self._points))
        self._colours.append(colour)
        self._flags.append(flags)

    def blob(self, points: Points, colour: Colour, flags: int = EDGE | BODY) -> None:
        """A filled smooth shape through control points."""
        self.poly(smooth(points), colour, flags)

    def oval(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        colour: Colour,
        flags: int = EDGE | BODY,
        turn: float = 0.0,
    ) -> None:
        """A filled ellipse; small ones take fewer points."""
        circle = _FINE if max(rx, ry) > 0.03 else _COARSE
        if turn:
            c, s = math.cos(turn), math.sin(turn)
            points = [(x + rx * u * c - ry * v * s, y + rx * u * s + ry * v * c) for u, v in circle]
        else:
            points = [(x + rx * u, y + ry * v) for u, v in circle]
        self.poly(points, colour, flags)

    def arc(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        start: float,
        stop: float,
        colour: Colour,
        flags: int = EDGE | BODY,
    ) -> None:
        """A filled segment of an ellipse between two angles in degrees, counter-clockwise."""
        steps = 18
        angles = [math.radians(start + (stop - start) * k / steps) for k in range(steps + 1)]
        self.poly([(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles], colour, flags)

    def box(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        colour: Colour,
        flags: int = EDGE | BODY,
        round_: float = 0.0,
    ) -> None:
        """A filled rectangle, corners cut round by `round_`."""
        if round_ <= 0:
            self.poly([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour, flags)
            return
        r = min(round_, abs(x1 - x0) / 2, abs(y1 - y0) / 2)
        points = []
        for cx, cy, quarter in (
            (x1 - r, y1 - r, 0),
            (x0 + r, y1 - r, 1),
            (x0 + r, y0 + r, 2),
            (x1 - r, y0 + r, 3),
        ):
            for k in range(5):
                a = math.pi / 2 * (quarter + k / 4)
                points.append((cx + r * math.cos(a), cy + r * math.sin(a)))
        self.poly(points, colour, flags)

    def limb(
        self,
        start: tuple[float, float],
        stop: tuple[float, float],
        start_width: float,
        stop_width: float,
        colour: Colour,
        flags: int = EDGE | BODY,
    ) -> None:
        """A tapered bar with round ends (square ones in a square sketch)."""
        dx, dy = stop[0] - start[0], stop[1] - start[1]
        length = math.hypot(dx, dy) or 1e-6
        ux, uy = dx / length, dy / length
        a, b = start_width / 2, stop_width / 2
        if self.square:
            ax, ay, bx, by = a * ux * 0.5, a * uy * 0.5, b * ux * 0.5, b * uy * 0.5
            self.poly(
                [
                    (start[0] - ax - a * uy, start[1] - ay + a * ux),
                    (stop[0] + bx - b * uy, stop[1] + by + b * ux),
                    (stop[0] + bx + b * uy, stop[1] + by - b * ux),
                    (start[0] - ax + a * uy, start[1] - ay - a * ux),
                ],
                colour,
                flags,
            )
            return
        points = [
            (stop[0] + b * (uy * c + ux * s), stop[1] + b * (-ux * c + uy * s)) for c, s in _CAP
        ]
        points += [
            (start[0] + a * (-uy * c - ux * s), start[1] + a * (ux * c - uy * s)) for c, s in _CAP
        ]
        self.poly(points, colour, flags)

    def line(self, points: Points, width: float, colour: Colour, flags: int = BODY) -> None:
        """A stroke of constant width, by bars with round ends."""
        for first, second in itertools.pairwise(points):
            self.limb(first, second, width, width, colour, flags)

    def ring(
        self,
        x: float,
        y: float,
        radius: float,
        width: float,
        colour: Colour,
        flags: int = BODY,
    ) -> None:
        """A circle's outline, open inside."""
        points = [(x + radius * u, y + radius * v) for u, v in _FINE]
        points.append(points[0])
        inner = [(x + (radius - width) * u, y + (radius - width) * v) for u, v in _FINE]
        inner.append(inner[0])
        self.poly(points + inner[::-1], colour, flags)

    def to_scene(self, x: float, y: float) -> tuple[float, float]:
        """Where a local point lies, in scene units."""
        if self.flip:
            x = -x
        if self.turn:
            c, s = math.cos(self.turn), math.sin(self.turn)
            x, y = x * c - y * s, x * s + y * c
        return self.x + x * self.unit, self.y - y * self.unit

    def finish(self) -> Drawing:
        """All polygons in scene units."""
        points = np.array(self._points, dtype=np.float64).reshape(-1, 2)
        if self.flip:
            points[:, 0] *= -1
        if self.turn:
            c, s = math.cos(self.turn), math.sin(self.turn)
            points = points @ np.array([[c, s], [-s, c]])
        points *= (self.unit, -self.unit)
        points += (self.x, self.y)
        return Drawing(points, self._ends, self._colours, self._flags)
