"""Plain drawings of animals and things: icons of a few basic shapes.

Some scenes use them instead of the detailed drawings, so that the network does not depend on
detail. Frames, units and colours are those of `draw_animals` and `draw_things`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from training.drawing.shapes import BODY, Colour, Sketch, tone

INK = (32, 30, 32)
GREY = (130, 132, 136)


def _legs(s: Sketch, xs: tuple[float, ...], top: float, width: float, colour: Colour) -> None:
    for x in xs:
        s.limb((x, top), (x, width / 2), width, width, colour)


def _dog(s: Sketch, c: Colour, rng: Random) -> None:
    _legs(s, (-0.18, -0.09, 0.08, 0.16), 0.22, 0.045, tone(c, 0.85))
    s.limb((-0.22, 0.28), (-0.33, 0.42), 0.04, 0.03, c)
    s.oval(-0.01, 0.26, 0.24, 0.1, c)
    s.oval(0.24, 0.4, 0.1, 0.09, c)
    s.oval(0.32, 0.37, 0.07, 0.045, c)
    s.oval(0.17, 0.4, 0.035, 0.085, tone(c, 0.68))
    s.oval(0.385, 0.385, 0.018, 0.018, INK, BODY)
    s.oval(0.26, 0.43, 0.014, 0.014, INK, BODY)


def _cat(s: Sketch, c: Colour, rng: Random) -> None:
    _legs(s, (-0.15, -0.08, 0.07, 0.13), 0.18, 0.036, tone(c, 0.85))
    s.line([(-0.18, 0.24), (-0.27, 0.32), (-0.24, 0.44)], 0.03, c, 3)
    s.oval(-0.01, 0.21, 0.19, 0.085, c)
    for side in (-1, 1):
        s.poly([(0.19 + side * 0.1, 0.34), (0.19 + side * 0.075, 0.47), (0.19, 0.39)], c)
    s.oval(0.19, 0.32, 0.1, 0.09, c)
    for side in (-1, 1):
        s.oval(0.19 + side * 0.04, 0.335, 0.014, 0.018, INK, BODY)


def _horse(s: Sketch, c: Colour, rng: Random) -> None:
    dark = tone(c, 0.55) if sum(c) > 160 else tone(c, 1.3)
    _legs(s, (-0.34, -0.24, 0.2, 0.3), 0.5, 0.075, tone(c, 0.88))
    s.limb((-0.44, 0.66), (-0.56, 0.34), 0.06, 0.08, dark)
    s.oval(-0.04, 0.6, 0.42, 0.17, c)
    s.limb((0.3, 0.66), (0.48, 0.98), 0.2, 0.15, c)
    s.limb((0.3, 0.82), (0.42, 1.05), 0.07, 0.07, dark)
    s.limb((0.48, 1.0), (0.66, 0.88), 0.15, 0.1, c)
    s.poly([(0.44, 1.05), (0.45, 1.16), (0.51, 1.05)], c)
    s.oval(0.54, 0.99, 0.018, 0.018, INK, BODY)


def _cow(s: Sketch, c: Colour, rng: Random) -> None:
    spot = (244, 242, 238) if sum(c) < 480 else (44, 40, 40)
    _legs(s, (-0.38, -0.28, 0.22, 0.32), 0.36, 0.085, tone(c, 0.88))
    s.line([(-0.48, 0.62), (-0.56, 0.4)], 0.022, c, 3)
    s.box(-0.5, 0.32, 0.4, 0.7, c, round_=0.08)
    s.oval(-0.22, 0.54, 0.12, 0.09, spot, BODY)
    s.oval(0.12, 0.46, 0.1, 0.07, spot, BODY)
    s.oval(0.5, 0.66, 0.13, 0.14, c)
    s.oval(0.58, 0.58, 0.085, 0.06, (234, 186, 178))
    for x in (0.42, 0.54):
        s.poly([(x, 0.77), (x - 0.02, 0.88), (x + 0.05, 0.78)], (238, 230, 206))
    s.oval(0.52, 0.7, 0.016, 0.018, INK, BODY)


def _sheep(s: Sketch, c: Colour, rng: Random) -> None:
    face = (64, 56, 54) if sum(c) > 250 else (206, 192, 178)
    _legs(s, (-0.18, -0.1, 0.1, 0.18), 0.2, 0.042, face)
    for k in range(9):
        a = 2 * math.pi * k / 9
        s.oval(0.21 * math.cos(a), 0.34 + 0.12 * math.sin(a), 0.1, 0.09, c)
    s.oval(0.0, 0.34, 0.24, 0.15, c, BODY)
    s.oval(0.3, 0.43, 0.085, 0.1, face)
    s.oval(0.32, 0.46, 0.014, 0.014, (250, 250, 250), BODY)


def _bird(s: Sketch, c: Colour, rng: Random) -> None:
    for x in (-0.02, 0.04):
        s.line([(x, 0.1), (x, 0.0)], 0.014, (226, 146, 50))
    s.poly([(-0.1, 0.17), (-0.25, 0.23), (-0.22, 0.12)], tone(c, 0.8))
    s.oval(0.0, 0.16, 0.14, 0.09, c)
    s.oval(0.12, 0.24, 0.075, 0.07, c)
    s.poly([(0.18, 0.27), (0.27, 0.235), (0.18, 0.21)], (246, 170, 44))
    s.oval(-0.02, 0.17, 0.08, 0.045, tone(c, 0.74) if sum(c) > 130 else tone(c, 1.3), BODY)
    s.oval(0.14, 0.255, 0.014, 0.014, INK, BODY)


def _car(s: Sketch, c: Colour, rng: Random) -> None:
    s.poly([(-0.55, 0.4), (-0.38, 0.68), (0.3, 0.68), (0.5, 0.4)], c)
    s.box(-0.9, 0.14, 0.9, 0.42, c, round_=0.08)
    s.poly([(-0.42, 0.43), (-0.3, 0.62), (-0.03, 0.62), (-0.03, 0.43)], (190, 220, 232), BODY)
    s.poly([(0.03, 0.43), (0.03, 0.62), (0.25, 0.62), (0.38, 0.43)], (190, 220, 232), BODY)
    for x in (-0.5, 0.5):
        s.oval(x, 0.15, 0.15, 0.15, INK)
        s.oval(x, 0.15, 0.07, 0.07, (200, 200, 204), BODY)


def _bicycle(s: Sketch, c: Colour, rng: Random) -> None:
    for x in (-0.3, 0.3):
        s.ring(x, 0.21, 0.21, 0.03, INK)
    for a, b in (
        ((-0.3, 0.21), (-0.12, 0.46)), ((-0.12, 0.46), (0.2, 0.46)), ((0.2, 0.46), (0.3, 0.21)),
        ((-0.3, 0.21), (0.0, 0.2)), ((0.0, 0.2), (0.2, 0.46)), ((0.0, 0.2), (-0.14, 0.5)),
        ((0.2, 0.46), (0.18, 0.57)),
    ):  # fmt: skip
        s.limb(a, b, 0.04, 0.04, c)
    s.limb((-0.22, 0.52), (-0.06, 0.52), 0.04, 0.04, INK)
    s.limb((0.16, 0.57), (0.29, 0.57), 0.032, 0.032, INK)


def _bench(s: Sketch, c: Colour, rng: Random) -> None:
    for x in (-0.44, 0.44):
        s.box(x - 0.03, 0.0, x + 0.03, 0.5, tone(c, 0.7))
    s.box(-0.55, 0.36, 0.55, 0.5, c)
    s.box(-0.57, 0.2, 0.57, 0.28, c)


def _chair(s: Sketch, c: Colour, rng: Random) -> None:
    s.box(-0.2, 0.0, -0.15, 0.64, c)
    s.box(0.15, 0.0, 0.2, 0.28, c)
    s.box(-0.2, 0.23, 0.21, 0.3, c)
    s.box(-0.2, 0.45, -0.13, 0.64, c)


def _table(s: Sketch, c: Colour, rng: Random) -> None:
    for x in (-0.45, 0.45):
        s.box(x - 0.035, 0.0, x + 0.035, 0.42, tone(c, 0.88))
    s.box(-0.55, 0.38, 0.55, 0.46, c)


def _ball(s: Sketch, c: Colour, rng: Random) -> None:
    s.oval(0, 0.13, 0.13, 0.13, c)
    if rng.random() < 0.4:
        s.oval(-0.04, 0.175, 0.035, 0.03, tone(c, 1.5), BODY)


def _umbrella(s: Sketch, c: Colour, rng: Random) -> None:
    s.line([(0, -0.07), (0, 0.5)], 0.02, INK)
    s.arc(0, 0.42, 0.4, 0.3, 0, 180, c)


def _kite(s: Sketch, c: Colour, rng: Random) -> None:
    s.line([(0, 0.28), (0.04, 0.18), (-0.03, 0.1), (0.02, 0.02)], 0.014, tone(c, 0.7))
    s.poly([(0, 0.76), (0.19, 0.54), (0, 0.26), (-0.19, 0.54)], c)
    s.line([(0, 0.74), (0, 0.28)], 0.01, tone(c, 0.7))
    s.line([(-0.18, 0.54), (0.18, 0.54)], 0.01, tone(c, 0.7))


def _balloon(s: Sketch, c: Colour, rng: Random) -> None:
    s.line([(0, 0), (0, 0.34)], 0.01, GREY)
    s.oval(0, 0.52, 0.145, 0.175, c)


def _boat(s: Sketch, c: Colour, rng: Random) -> None:
    s.line([(0, 0.25), (0, 0.95)], 0.026, (120, 90, 60))
    s.poly([(0.04, 0.93), (0.04, 0.34), (0.46, 0.34)], (242, 238, 228))
    s.poly([(-0.66, 0.28), (0.66, 0.28), (0.44, 0.0), (-0.44, 0.0)], c)


def _suitcase(s: Sketch, c: Colour, rng: Random) -> None:
    s.line([(-0.07, 0.36), (-0.07, 0.5), (0.07, 0.5), (0.07, 0.36)], 0.026, INK)
    s.box(-0.18, 0.0, 0.18, 0.38, c)
    s.line([(-0.18, 0.25), (0.18, 0.25)], 0.014, tone(c, 0.7) if sum(c) > 130 else tone(c, 1.25))


def _cup(s: Sketch, c: Colour, rng: Random) -> None:
    s.ring(0.1, 0.11, 0.06, 0.024, c)
    s.box(-0.09, 0.0, 0.09, 0.21, c)


def _book(s: Sketch, c: Colour, rng: Random) -> None:
    s.box(-0.1, 0.0, 0.12, 0.26, (244, 238, 222))
    s.box(-0.12, 0.0, 0.09, 0.26, c)
    s.box(-0.05, 0.17, 0.05, 0.2, tone(c, 1.5) if sum(c) < 600 else (150, 140, 120), BODY)


def _laptop(s: Sketch, c: Colour, rng: Random) -> None:
    s.box(-0.17, 0.04, 0.17, 0.3, c)
    s.box(-0.13, 0.08, 0.13, 0.26, (200, 226, 240), BODY)
    s.box(-0.21, 0.0, 0.21, 0.045, c)


def _flower_pot(s: Sketch, c: Colour, rng: Random) -> None:
    for x in (-0.07, 0.07, 0.0):
        s.line([(0, 0.18), (x * 1.4, 0.4)], 0.018, (78, 140, 70), 3)
        s.oval(x * 1.4, 0.42, 0.055, 0.055, (250, 232, 150))
    s.poly([(-0.15, 0.22), (0.15, 0.22), (0.1, 0.0), (-0.1, 0.0)], c)


def _lamp(s: Sketch, c: Colour, rng: Random) -> None:
    s.box(-0.1, 0.0, 0.1, 0.03, GREY)
    s.box(-0.014, 0.0, 0.014, 0.6, GREY)
    s.poly([(-0.1, 0.86), (0.1, 0.86), (0.19, 0.57), (-0.19, 0.57)], c)


_DRAW: dict[str, Callable[[Sketch, Colour, Random], None]] = {
    "dog": _dog, "cat": _cat, "horse": _horse, "cow": _cow, "sheep": _sheep, "bird": _bird,
    "car": _car, "bicycle": _bicycle, "bench": _bench, "chair": _chair, "side chair": _chair,
    "table": _table, "ball": _ball, "umbrella": _umbrella, "kite": _kite, "balloon": _balloon,
    "boat": _boat, "suitcase": _suitcase, "cup": _cup, "book": _book, "laptop": _laptop,
    "flower pot": _flower_pot, "lamp": _lamp,
}  # fmt: skip


def draw_plain(sketch: Sketch, category: str, colour: Colour, rng: Random) -> None:
    """Draw an animal or a thing as an icon."""
    _DRAW[category](sketch, colour, rng)
