"""Drawing things: vehicles, furniture, toys and tableware.

Local frame: origin on the ground under the middle, x right, y up; the unit is an adult person's
height. Held things have their origin where the hand is. Each has one dominant named colour; wheels,
wood, screens and the like are grey, black or wooden on purpose and small.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from training.drawing.shapes import BODY, EDGE, Colour, Sketch, mix, tone

# Width and height in units.
THING_SIZES: dict[str, tuple[float, float]] = {
    "car": (1.9, 0.72),
    "bicycle": (1.02, 0.62),
    "bench": (1.15, 0.5),
    "chair": (0.46, 0.62),
    "table": (1.1, 0.46),
    "ball": (0.26, 0.26),
    "umbrella": (0.82, 0.8),
    "kite": (0.4, 0.75),
    "balloon": (0.3, 0.7),
    "boat": (1.35, 0.95),
    "suitcase": (0.36, 0.52),
    "cup": (0.24, 0.22),
    "book": (0.3, 0.24),
    "laptop": (0.42, 0.3),
    "flower pot": (0.34, 0.52),
    "lamp": (0.36, 0.86),
}
BENCH_SEAT = 0.27
CHAIR_SEAT = 0.29
TABLE_TOP = 0.46
BICYCLE_SADDLE = (-0.14, 0.53)
BICYCLE_BAR = (0.27, 0.57)

GLASS = (176, 212, 228)
DARK = (38, 38, 42)
METAL = (150, 152, 158)
WOOD = (158, 112, 70)


def _detail(c: Colour) -> Colour:
    """A darker shade, or a lighter one of what is nearly black."""
    return tone(c, 0.74) if sum(c) > 130 else tone(c, 1.22)


def draw_car(s: Sketch, c: Colour, rng: Random) -> None:
    """A car from the side: saloon, hatchback or van."""
    kind = rng.choice(("saloon", "hatch", "van"))
    roof = {
        "saloon": [(-0.42, 0.44), (-0.24, 0.68), (0.22, 0.68), (0.5, 0.44)],
        "hatch": [(-0.72, 0.42), (-0.6, 0.68), (0.16, 0.68), (0.46, 0.44)],
        "van": [(-0.9, 0.42), (-0.88, 0.8), (0.42, 0.8), (0.68, 0.46)],
    }[kind]
    s.poly(roof, c)
    s.blob(
        [
            (-0.93, 0.2),
            (-0.94, 0.4),
            (-0.8, 0.46),
            (0.0, 0.46),
            (0.55, 0.455),
            (0.88, 0.38),
            (0.94, 0.24),
            (0.9, 0.14),
            (0.0, 0.13),
            (-0.9, 0.13),
        ],
        c,
    )
    (x0, _), (x1, y1), (x2, _), (x3, _) = roof
    top, low = y1 - 0.05, 0.47
    mid = (x1 + x2) / 2 + 0.03
    s.poly([(x0 + 0.1, low), (x1 + 0.04, top), (mid - 0.03, top), (mid - 0.03, low)], GLASS, BODY)
    s.poly([(mid + 0.02, low), (mid + 0.02, top), (x2 - 0.02, top), (x3 - 0.1, low)], GLASS, BODY)
    s.line([(mid, 0.46), (mid, 0.18)], 0.012, _detail(c))
    s.line([(mid - 0.16, 0.38), (mid - 0.06, 0.38)], 0.02, _detail(c))
    s.line([(-0.9, 0.2), (0.9, 0.2)], 0.02, _detail(c))
    s.oval(0.87, 0.34, 0.04, 0.045, (255, 244, 200), BODY)
    s.box(-0.94, 0.3, -0.89, 0.38, (190, 30, 30), BODY)
    for x in (-0.55, 0.55):
        s.oval(x, 0.15, 0.165, 0.165, DARK)
        s.oval(x, 0.15, 0.085, 0.085, (196, 198, 204), BODY)
        s.oval(x, 0.15, 0.03, 0.03, METAL, BODY)


def draw_bicycle(s: Sketch, c: Colour, rng: Random) -> None:
    """A bicycle from the side; its frame carries the colour."""
    w = rng.uniform(0.042, 0.055)
    for x in (-0.3, 0.3):
        s.ring(x, 0.21, 0.21, 0.034, DARK)
        for k in range(4):
            a = math.pi * k / 4 + 0.2
            s.line(
                [
                    (x - 0.18 * math.cos(a), 0.21 - 0.18 * math.sin(a)),
                    (x + 0.18 * math.cos(a), 0.21 + 0.18 * math.sin(a)),
                ],
                0.007,
                METAL,
            )
        s.oval(x, 0.21, 0.03, 0.03, METAL, BODY)
    crank = (-0.02, 0.2)
    saddle, head = (-0.13, 0.45), (0.22, 0.46)
    for start, stop in (
        ((-0.3, 0.21), crank),
        ((-0.3, 0.21), saddle),
        (crank, saddle),
        (crank, head),
        (saddle, head),
        (head, (0.3, 0.21)),
    ):
        s.limb(start, stop, w, w, c)
    s.limb(saddle, (-0.145, 0.51), 0.022, 0.022, METAL, BODY)
    s.limb((-0.22, 0.525), (-0.06, 0.52), 0.055, 0.03, DARK)
    s.limb(head, (0.2, 0.56), 0.026, 0.026, METAL, BODY)
    s.line([(0.18, 0.56), (0.29, 0.575)], 0.034, DARK)
    s.oval(crank[0], crank[1], 0.05, 0.05, METAL)
    s.line([(crank[0] - 0.05, crank[1] + 0.09), (crank[0] + 0.05, crank[1] - 0.09)], 0.016, DARK)
    if rng.random() < 0.3:
        s.box(0.26, 0.42, 0.42, 0.53, WOOD, round_=0.02)


def draw_bench(s: Sketch, c: Colour, rng: Random) -> None:
    """A bench from the front: slats of the colour on dark legs."""
    leg = rng.choice((DARK, METAL, tone(c, 0.6)))
    for x in (-0.46, 0.46):
        s.limb((x, 0.5), (x, 0.26), 0.04, 0.04, leg)
        s.limb((x, 0.27), (x - 0.02, 0.02), 0.045, 0.045, leg)
    for k in range(3 if rng.random() < 0.6 else 2):
        y = 0.35 + 0.06 * k if k < 3 else 0.5
        s.box(-0.56, y, 0.56, y + 0.05, c, round_=0.012)
    s.box(-0.58, 0.25, 0.58, 0.295, tone(c, 1.06), round_=0.012)
    s.box(-0.58, 0.2, 0.58, 0.25, tone(c, 0.85), round_=0.012)


def draw_chair(s: Sketch, c: Colour, rng: Random) -> None:
    """A chair from the front: back rest, seat, four legs."""
    wood = rng.random() < 0.5
    leg = c if not wood else rng.choice((WOOD, DARK, METAL))
    for x in (-0.15, 0.15):
        s.limb((x, 0.28), (x * 1.0, 0.04), 0.036, 0.032, tone(leg, 0.75))
    kind = rng.choice(("solid", "bars", "round"))
    if kind == "solid":
        s.box(-0.18, 0.33, 0.18, 0.64, c, round_=0.04)
    elif kind == "bars":
        for x in (-0.17, 0.17):
            s.limb((x, 0.28), (x, 0.64), 0.04, 0.04, c)
        for y in (0.4, 0.5, 0.6):
            s.box(-0.17, y - 0.025, 0.17, y + 0.03, c)
    else:
        s.box(-0.18, 0.3, 0.18, 0.62, c, round_=0.17)
    s.poly([(-0.18, 0.33), (0.18, 0.33), (0.22, 0.27), (-0.22, 0.27)], tone(c, 1.1))
    s.box(-0.22, 0.23, 0.22, 0.275, tone(c, 0.86))
    for x in (-0.2, 0.2):
        s.limb((x, 0.24), (x * 1.03, 0.015), 0.04, 0.034, leg)


def draw_side_chair(s: Sketch, c: Colour, rng: Random) -> None:
    """A chair from the side, seat open to the right."""
    leg = rng.choice((c, c, WOOD, DARK))
    s.limb((-0.16, 0.26), (-0.2, 0.02), 0.04, 0.034, leg)
    s.limb((0.16, 0.26), (0.19, 0.02), 0.04, 0.034, leg)
    s.limb((-0.17, 0.26), (-0.22, 0.64), 0.05, 0.045, c)
    s.limb((-0.2, 0.45), (-0.22, 0.63), 0.07, 0.07, c)
    s.box(-0.2, 0.24, 0.21, 0.295, c, round_=0.02)


def draw_table(s: Sketch, c: Colour, rng: Random) -> None:
    """A table: a top with a visible surface, legs or a central foot."""
    if rng.random() < 0.7:
        for x in (-0.42, 0.42):
            s.limb((x * 0.9, 0.42), (x * 0.9, 0.1), 0.045, 0.04, tone(c, 0.62))
        for x in (-0.48, 0.48):
            s.limb((x, 0.38), (x, 0.02), 0.06, 0.05, tone(c, 0.86))
        s.poly([(-0.46, 0.5), (0.46, 0.5), (0.55, 0.41), (-0.55, 0.41)], c)
        s.box(-0.55, 0.36, 0.55, 0.412, tone(c, 0.82))
    else:
        s.limb((0, 0.4), (0, 0.05), 0.08, 0.09, tone(c, 0.75))
        s.oval(0, 0.035, 0.24, 0.04, tone(c, 0.75))
        s.oval(0, 0.425, 0.54, 0.075, tone(c, 0.8))
        s.oval(0, 0.45, 0.54, 0.07, c)


def draw_ball(s: Sketch, c: Colour, rng: Random) -> None:
    """A ball with a seam, a star, a band or spots."""
    r = 0.13
    s.oval(0, r, r, r, c)
    light = (250, 248, 240) if sum(c) < 690 else (120, 130, 150)
    kind = rng.choice(("seams", "band", "spots", "plain", "beach"))
    if kind == "seams":
        s.line([(-r, r), (r, r)], 0.012, _detail(c))
        s.line([(0, 0), (0.02, r), (0, 2 * r)], 0.012, _detail(c))
    elif kind == "band":
        s.blob(
            [
                (-r * 0.97, r * 0.85),
                (0, r * 0.7),
                (r * 0.97, r * 0.85),
                (r * 0.98, r * 1.15),
                (0, r * 1.0),
                (-r * 0.98, r * 1.15),
            ],
            light,
            BODY,
        )
    elif kind == "spots":
        for x, y in ((-0.05, 0.17), (0.055, 0.19), (0.0, 0.09), (0.08, 0.1), (-0.08, 0.09)):
            s.oval(x, y, 0.021, 0.021, light, BODY)
    elif kind == "beach":
        s.blob(
            [(0, 2 * r), (-r * 0.55, r * 1.4), (-r * 0.55, r * 0.6), (0, 0), (-r * 0.15, r)],
            light,
            BODY,
        )
    s.oval(-0.045, 0.185, 0.028, 0.02, tone(c, 1.45), BODY, turn=0.6)


def draw_umbrella(s: Sketch, c: Colour, rng: Random) -> None:
    """An open umbrella; origin at the hand (or the ground where it stands)."""
    lean = 0.0
    s.line([(0, -0.06), (lean, 0.62)], 0.02, DARK)
    s.line([(0, -0.06), (0.02, -0.09), (0.045, -0.06)], 0.02, DARK)
    y = 0.42
    points = [
        (0.41 * math.cos(math.radians(a)), y + 0.3 * math.sin(math.radians(a)))
        for a in range(0, 181, 12)
    ]
    n = rng.choice((4, 5, 6))
    for k in range(n):
        x0, x1 = -0.41 + 0.82 * k / n, -0.41 + 0.82 * (k + 1) / n
        points += [
            (x0 + (x1 - x0) * t, y + 0.05 * math.sin(math.pi * t)) for t in (0.25, 0.5, 0.75)
        ]
        points.append((x1, y))
    s.poly(points, c)
    shade = _detail(c)
    for k in range(1, n):
        x = -0.41 + 0.82 * k / n
        s.line([(x, y + 0.01), (x * 0.62, y + 0.2), (0, y + 0.3)], 0.008, shade)
    if rng.random() < 0.3:
        for k in range(0, n, 2):
            x0, x1 = -0.41 + 0.82 * k / n, -0.41 + 0.82 * (k + 1) / n
            s.poly(
                [
                    (x0 + 0.01, y + 0.02),
                    (x1 - 0.01, y + 0.02),
                    (x1 * 0.62, y + 0.19),
                    (0, y + 0.29),
                    (x0 * 0.62, y + 0.19),
                ],
                tone(c, 1.16),
                BODY,
            )
    s.line([(0, y + 0.29), (0, y + 0.35)], 0.016, DARK)


def draw_kite(s: Sketch, c: Colour, rng: Random) -> None:
    """A kite with a tail; origin at the tail's lower end."""
    x, y = 0.0, 0.5
    s.line([(0.0, 0.28), (0.05, 0.2), (-0.03, 0.12), (0.03, 0.04)], 0.012, _detail(c))
    for tx, ty in ((0.03, 0.2), (-0.01, 0.12), (0.02, 0.05)):
        s.poly([(tx - 0.045, ty + 0.025), (tx, ty), (tx - 0.045, ty - 0.025)], c, BODY)
        s.poly([(tx + 0.045, ty + 0.025), (tx, ty), (tx + 0.045, ty - 0.025)], c, BODY)
    s.poly([(x, y + 0.26), (x + 0.2, y + 0.06), (x, y - 0.23), (x - 0.2, y + 0.06)], c)
    s.poly([(x, y + 0.26), (x + 0.2, y + 0.06), (x, y + 0.06)], tone(c, 1.2), BODY)
    s.poly([(x, y - 0.23), (x - 0.2, y + 0.06), (x, y + 0.06)], tone(c, 0.82), BODY)


def draw_balloon(s: Sketch, c: Colour, rng: Random) -> None:
    """A balloon on a string; origin at the string's lower end."""
    s.line([(0, 0), (0.02, 0.12), (-0.015, 0.22), (0, 0.32)], 0.01, (90, 90, 96))
    s.poly([(-0.025, 0.31), (0.025, 0.31), (0, 0.36)], tone(c, 0.8))
    s.blob(
        [
            (0, 0.335),
            (-0.12, 0.45),
            (-0.145, 0.56),
            (-0.08, 0.67),
            (0.08, 0.67),
            (0.145, 0.56),
            (0.12, 0.45),
        ],
        c,
    )
    s.oval(-0.06, 0.6, 0.025, 0.04, tone(c, 1.55), BODY, turn=-0.5)


def draw_boat(s: Sketch, c: Colour, rng: Random) -> None:
    """A boat: sailing, or a motor boat with a cabin."""
    sail = (244, 240, 230) if sum(c) < 660 else (206, 196, 178)
    if rng.random() < 0.6:
        s.limb((0.02, 0.2), (0.02, 0.98), 0.03, 0.022, WOOD)
        s.poly([(0.05, 0.95), (0.05, 0.3), (0.5, 0.3)], sail)
        s.poly([(-0.02, 0.86), (-0.02, 0.32), (-0.36, 0.32)], tone(sail, 0.92))
        s.poly([(0.02, 0.98), (0.02, 0.9), (0.15, 0.94)], c)
    else:
        s.box(-0.34, 0.24, 0.2, 0.5, (236, 236, 232), round_=0.03)
        for x in (-0.24, -0.07, 0.1):
            s.oval(x, 0.38, 0.05, 0.05, (90, 140, 170), BODY)
        s.box(-0.2, 0.5, -0.06, 0.66, tone(c, 0.85))
    s.poly([(-0.66, 0.28), (0.7, 0.28), (0.5, 0.02), (-0.5, 0.02)], c)
    s.poly([(-0.66, 0.28), (0.7, 0.28), (0.67, 0.235), (-0.625, 0.235)], tone(c, 1.25), BODY)


def draw_suitcase(s: Sketch, c: Colour, rng: Random) -> None:
    """A suitcase on wheels with its handle out."""
    for x in (-0.06, 0.06):
        s.line([(x, 0.36), (x, 0.5)], 0.014, METAL)
    s.line([(-0.075, 0.505), (0.075, 0.505)], 0.028, DARK)
    s.box(-0.17, 0.03, 0.17, 0.4, c, round_=0.045)
    for x in (-0.11, 0.11):
        s.oval(x, 0.02, 0.028, 0.026, DARK)
    if rng.random() < 0.5:
        for x in (-0.085, 0.0, 0.085):
            s.line([(x, 0.07), (x, 0.36)], 0.014, _detail(c))
    else:
        s.box(-0.17, 0.2, 0.17, 0.235, _detail(c), BODY)
        s.box(-0.03, 0.19, 0.03, 0.245, (215, 190, 110), BODY)


def draw_cup(s: Sketch, c: Colour, rng: Random) -> None:
    """A cup with a handle and something hot or brown in it."""
    s.ring(0.1, 0.11, 0.065, 0.026, tone(c, 0.9))
    s.poly([(-0.095, 0.2), (0.095, 0.2), (0.08, 0.02), (0.06, 0.0), (-0.06, 0.0), (-0.08, 0.02)], c)
    s.oval(0, 0.2, 0.096, 0.026, tone(c, 1.2))
    s.oval(0, 0.198, 0.078, 0.018, (96, 60, 36), BODY)
    if rng.random() < 0.35:
        s.box(-0.086, 0.09, 0.086, 0.13, _detail(c), BODY)


def draw_book(s: Sketch, c: Colour, rng: Random) -> None:
    """A book: closed and upright, lying, or open towards the reader."""
    kind = rng.choice(("closed", "open", "closed"))
    paper = (246, 240, 222)
    if kind == "closed":
        s.box(-0.1, 0.0, 0.11, 0.27, tone(paper, 0.94))
        s.poly([(-0.12, 0.0), (0.09, 0.0), (0.09, 0.27), (-0.12, 0.27)], c)
        s.box(-0.12, 0.0, -0.085, 0.27, _detail(c), BODY)
        s.box(-0.055, 0.17, 0.06, 0.22, tone(c, 1.5) if sum(c) < 600 else (150, 140, 120), BODY)
    else:
        s.poly([(0, 0.02), (-0.18, 0.05), (-0.19, 0.25), (0, 0.22)], c)
        s.poly([(0, 0.02), (0.18, 0.05), (0.19, 0.25), (0, 0.22)], tone(c, 0.88))
        s.poly([(0, 0.205), (-0.175, 0.235), (-0.18, 0.27), (0, 0.24)], paper, BODY)
        s.poly([(0, 0.205), (0.175, 0.235), (0.18, 0.27), (0, 0.24)], tone(paper, 0.93), BODY)
        s.line([(0, 0.02), (0, 0.22)], 0.014, _detail(c))


def draw_laptop(s: Sketch, c: Colour, rng: Random) -> None:
    """A laptop: lid and base of the colour, a lit screen."""
    s.box(-0.18, 0.05, 0.18, 0.31, c, round_=0.02)
    screen = rng.choice(((196, 226, 240), (226, 240, 228), (62, 92, 128)))
    s.box(-0.145, 0.085, 0.145, 0.275, screen, BODY)
    s.line([(-0.11, 0.22), (0.04, 0.22)], 0.014, mix(screen, (20, 30, 50), 0.4))
    s.line([(-0.11, 0.17), (0.09, 0.17)], 0.014, mix(screen, (20, 30, 50), 0.4))
    s.poly([(-0.18, 0.06), (0.18, 0.06), (0.225, 0.0), (-0.225, 0.0)], tone(c, 0.88))
    s.poly([(-0.15, 0.048), (0.15, 0.048), (0.165, 0.024), (-0.165, 0.024)], tone(c, 0.6), BODY)


def draw_flower_pot(s: Sketch, c: Colour, rng: Random) -> None:
    """A pot of the colour with flowers or a green plant."""
    leaf = rng.choice(((70, 130, 60), (52, 112, 62), (96, 148, 70)))
    if rng.random() < 0.55:
        petal = rng.choice(((250, 240, 235), (250, 215, 120), (235, 150, 180)))
        for x, y in ((-0.1, 0.4), (0.0, 0.48), (0.1, 0.39)):
            s.line([(x * 0.3, 0.2), (x, y)], 0.016, leaf)
            s.oval(x * 0.7 + 0.02, (y + 0.2) / 2, 0.045, 0.018, leaf, turn=0.6)
        for x, y in ((-0.1, 0.4), (0.0, 0.48), (0.1, 0.39)):
            for k in range(5):
                a = 2 * math.pi * k / 5
                s.oval(x + 0.032 * math.cos(a), y + 0.032 * math.sin(a), 0.026, 0.026, petal)
            s.oval(x, y, 0.022, 0.022, (225, 160, 50), BODY)
    else:
        for k in range(5):
            a = math.radians(35 + 27.5 * k)
            end = (0.22 * math.cos(a), 0.22 + 0.26 * math.sin(a))
            s.blob(
                [
                    (-0.03, 0.2),
                    (end[0] * 0.5 - 0.035, (end[1] + 0.22) / 2),
                    end,
                    (end[0] * 0.5 + 0.035, (end[1] + 0.2) / 2),
                    (0.03, 0.2),
                ],
                tone(leaf, 0.85 + 0.08 * k),
            )
    s.poly([(-0.14, 0.21), (0.14, 0.21), (0.1, 0.0), (-0.1, 0.0)], c)
    s.box(-0.155, 0.18, 0.155, 0.235, tone(c, 0.9) if sum(c) > 130 else tone(c, 1.15), round_=0.01)


def draw_lamp(s: Sketch, c: Colour, rng: Random) -> None:
    """A lamp with a shade of the colour on a thin stand."""
    stand = rng.choice((DARK, METAL, WOOD))
    s.oval(0, 0.025, 0.13, 0.028, stand)
    s.limb((0, 0.03), (0, 0.6), 0.024, 0.024, stand)
    s.oval(0, 0.56, 0.035, 0.04, (255, 240, 180), EDGE | BODY)
    wide = rng.uniform(0.08, 0.12)
    s.poly([(-wide, 0.86), (wide, 0.86), (0.19, 0.57), (-0.19, 0.57)], c)
    s.poly([(-0.187, 0.59), (0.187, 0.59), (0.19, 0.57), (-0.19, 0.57)], _detail(c), BODY)


_DRAW: dict[str, Callable[[Sketch, Colour, Random], None]] = {
    "car": draw_car,
    "bicycle": draw_bicycle,
    "bench": draw_bench,
    "chair": draw_chair,
    "table": draw_table,
    "ball": draw_ball,
    "umbrella": draw_umbrella,
    "kite": draw_kite,
    "balloon": draw_balloon,
    "boat": draw_boat,
    "suitcase": draw_suitcase,
    "cup": draw_cup,
    "book": draw_book,
    "laptop": draw_laptop,
    "flower pot": draw_flower_pot,
    "lamp": draw_lamp,
    "side chair": draw_side_chair,
}


def draw_thing(sketch: Sketch, category: str, colour: Colour, rng: Random) -> None:
    """Draw a thing of a category of THINGS (or a "side chair") into a sketch."""
    _DRAW[category](sketch, colour, rng)
