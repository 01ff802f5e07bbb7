"""Drawing animals from the side, facing right; origin on the ground under the middle.

The unit is an adult person's height. Every animal has one body colour and small other details.
"""

from __future__ import annotations

from random import Random

from training.drawing.shapes import BODY, Colour, Sketch, mix, tone

# Width and height of each animal in units, and where a rider sits or a collar is (x, y).
ANIMAL_SIZES: dict[str, tuple[float, float]] = {
    "dog": (0.62, 0.46),
    "cat": (0.5, 0.42),
    "horse": (1.3, 1.12),
    "cow": (1.25, 0.86),
    "sheep": (0.8, 0.6),
    "bird": (0.36, 0.3),
}
SADDLE = (-0.06, 0.78)
COLLAR = (0.17, 0.33)

INK = (30, 24, 24)


def _legs(
    sketch: Sketch,
    xs: tuple[float, float, float, float],
    top: float,
    width: float,
    colour: Colour,
    hoof: Colour,
    stride: float,
) -> None:
    """Four legs, the far two darker; `stride` moves the feet apart."""
    shift = (stride, -stride, -stride, stride)
    for k, x in enumerate(xs):
        far = k in (1, 3)
        shade = tone(colour, 0.78 if far else 1.0)
        foot = (x + shift[k], width * 0.35)
        sketch.limb((x, top), foot, width * 1.25, width * 0.75, shade)
        sketch.box(
            foot[0] - width * 0.42,
            0,
            foot[0] + width * 0.5,
            width * 0.6,
            tone(hoof, 0.8 if far else 1.0),
            round_=width * 0.2,
        )


def draw_dog(s: Sketch, c: Colour, rng: Random) -> None:
    """A dog: pointed or hanging ears, a wagging tail, a collar."""
    stride = rng.uniform(-0.03, 0.04)
    ear = tone(c, 0.72)
    s.line([(-0.22, 0.3), (-0.29, 0.4), (-0.28, 0.47)], 0.035, c, 3)
    _legs(s, (-0.17, -0.12, 0.1, 0.14), 0.22, 0.06, c, tone(c, 0.85), stride)
    s.blob(
        [
            (-0.24, 0.3),
            (-0.1, 0.345),
            (0.08, 0.34),
            (0.19, 0.37),
            (0.2, 0.22),
            (0.05, 0.17),
            (-0.12, 0.18),
            (-0.23, 0.2),
        ],
        c,
    )
    s.limb((0.14, 0.3), (0.2, 0.41), 0.13, 0.1, c)
    s.oval(0.22, 0.42, 0.085, 0.078, c)
    s.limb((0.24, 0.405), (0.335, 0.385), 0.085, 0.055, c)
    s.oval(0.365, 0.395, 0.02, 0.018, INK, BODY)
    if rng.random() < 0.5:
        s.blob([(0.16, 0.49), (0.2, 0.47), (0.19, 0.36), (0.14, 0.33), (0.12, 0.4)], ear)
    else:
        s.poly([(0.15, 0.46), (0.17, 0.57), (0.22, 0.485)], ear)
    s.oval(0.255, 0.445, 0.013, 0.016, INK, BODY)
    s.line([(0.11, 0.36), (0.21, 0.31)], 0.022, (200, 40, 50) if c[0] < 150 else (40, 70, 160))
    if rng.random() < 0.4:
        s.oval(-0.05, 0.27, 0.07, 0.05, tone(c, 0.84 if sum(c) > 200 else 1.14), BODY)


def draw_cat(s: Sketch, c: Colour, rng: Random) -> None:
    """A cat: standing with a high tail or sitting; round head, triangle ears, whiskers."""
    stripe = tone(c, 0.78) if sum(c) > 180 else tone(c, 1.2)
    sitting = rng.random() < 0.45
    if sitting:
        s.line([(-0.1, 0.04), (-0.22, 0.05), (-0.25, 0.14)], 0.04, c, 3)
        s.blob(
            [(-0.14, 0.0), (-0.15, 0.12), (-0.05, 0.28), (0.08, 0.28), (0.11, 0.1), (0.11, 0.0)], c
        )
        s.limb((0.05, 0.2), (0.07, 0.02), 0.05, 0.045, tone(c, 0.93))
        hx, hy = 0.05, 0.345
    else:
        s.line([(-0.18, 0.25), (-0.25, 0.34), (-0.22, 0.46)], 0.035, c, 3)
        _legs(s, (-0.15, -0.1, 0.09, 0.13), 0.18, 0.045, c, tone(c, 0.9), 0.015)
        s.blob(
            [
                (-0.2, 0.24),
                (-0.05, 0.28),
                (0.12, 0.28),
                (0.17, 0.22),
                (0.1, 0.14),
                (-0.1, 0.13),
                (-0.19, 0.16),
            ],
            c,
        )
        for k in range(3):
            s.line([(-0.12 + 0.08 * k, 0.275), (-0.11 + 0.08 * k, 0.21)], 0.016, stripe)
        hx, hy = 0.19, 0.33
    s.poly([(hx - 0.095, hy + 0.03), (hx - 0.085, hy + 0.145), (hx - 0.01, hy + 0.07)], c)
    s.poly([(hx + 0.095, hy + 0.03), (hx + 0.085, hy + 0.145), (hx + 0.01, hy + 0.07)], c)
    s.oval(hx, hy, 0.108, 0.092, c)
    for side in (-1, 1):
        s.oval(hx + side * 0.042, hy + 0.012, 0.017, 0.022, (110, 190, 90), BODY)
        s.oval(hx + side * 0.042, hy + 0.012, 0.007, 0.02, INK, BODY)
        s.line([(hx + side * 0.03, hy - 0.03), (hx + side * 0.125, hy - 0.02)], 0.005, stripe)
        s.line([(hx + side * 0.03, hy - 0.04), (hx + side * 0.12, hy - 0.055)], 0.005, stripe)
    s.poly(
        [(hx - 0.014, hy - 0.018), (hx + 0.014, hy - 0.018), (hx, hy - 0.035)],
        (220, 120, 130),
        BODY,
    )


def draw_horse(s: Sketch, c: Colour, rng: Random) -> None:
    """A horse: long neck, mane and tail."""
    mane = tone(c, 0.45) if sum(c) > 160 else tone(c, 1.35)
    stride = rng.uniform(-0.07, 0.07)
    s.blob(
        [(-0.46, 0.72), (-0.55, 0.68), (-0.6, 0.45), (-0.55, 0.28), (-0.5, 0.5), (-0.43, 0.62)],
        mane,
    )
    _legs(s, (-0.36, -0.28, 0.22, 0.3), 0.5, 0.095, c, INK, stride)
    s.blob(
        [
            (-0.47, 0.68),
            (-0.32, 0.78),
            (-0.06, 0.74),
            (0.2, 0.78),
            (0.36, 0.74),
            (0.38, 0.55),
            (0.2, 0.45),
            (-0.12, 0.43),
            (-0.36, 0.46),
            (-0.48, 0.56),
        ],
        c,
    )
    s.poly([(0.18, 0.76), (0.4, 1.06), (0.52, 1.0), (0.4, 0.58)], c)
    s.blob(
        [
            (0.36, 1.04),
            (0.46, 1.12),
            (0.58, 1.0),
            (0.72, 0.86),
            (0.68, 0.79),
            (0.58, 0.82),
            (0.45, 0.9),
        ],
        c,
    )
    s.blob(
        [
            (0.44, 1.13),
            (0.34, 1.08),
            (0.22, 0.9),
            (0.12, 0.76),
            (0.2, 0.74),
            (0.3, 0.88),
            (0.4, 1.0),
        ],
        mane,
    )
    s.poly([(0.42, 1.09), (0.43, 1.2), (0.49, 1.08)], c)
    s.oval(0.545, 0.98, 0.018, 0.022, INK, BODY)
    s.oval(0.69, 0.845, 0.012, 0.014, INK, BODY)
    s.line([(0.52, 0.84), (0.6, 1.0)], 0.014, tone(c, 0.6))


def draw_cow(s: Sketch, c: Colour, rng: Random) -> None:
    """A cow: heavy body, horns, patches, an udder, a tufted tail."""
    patch = (245, 242, 236) if sum(c) < 500 else (40, 36, 36)
    if sum(c) < 140:
        patch = (235, 232, 228)
    stride = rng.uniform(-0.04, 0.04)
    s.line([(-0.5, 0.66), (-0.57, 0.5), (-0.56, 0.32)], 0.024, c, 3)
    s.oval(-0.56, 0.3, 0.03, 0.05, tone(c, 0.6))
    _legs(s, (-0.4, -0.3, 0.22, 0.32), 0.36, 0.1, c, INK, stride)
    s.oval(-0.2, 0.3, 0.09, 0.06, (240, 180, 175))
    s.box(-0.52, 0.3, 0.4, 0.72, c, round_=0.15)
    for x, y, rx, ry in (
        (-0.28, 0.56, 0.1, 0.08),
        (0.06, 0.44, 0.09, 0.06),
        (0.2, 0.62, 0.07, 0.06),
    ):
        s.blob(
            [(x - rx, y), (x - rx * 0.2, y + ry), (x + rx, y + ry * 0.4), (x + rx * 0.6, y - ry)],
            patch,
            BODY,
        )
    s.limb((0.34, 0.58), (0.46, 0.66), 0.26, 0.18, c)
    s.blob([(0.38, 0.78), (0.52, 0.8), (0.62, 0.64), (0.66, 0.52), (0.56, 0.48), (0.44, 0.58)], c)
    s.oval(0.6, 0.53, 0.075, 0.055, (236, 190, 180))
    s.oval(0.62, 0.54, 0.012, 0.014, INK, BODY)
    s.poly([(0.42, 0.79), (0.4, 0.91), (0.47, 0.81)], (235, 225, 200))
    s.poly([(0.5, 0.8), (0.54, 0.91), (0.55, 0.78)], (235, 225, 200))
    s.oval(0.375, 0.74, 0.06, 0.03, tone(c, 0.8), turn=0.4)
    s.oval(0.53, 0.68, 0.018, 0.022, INK, BODY)


def draw_sheep(s: Sketch, c: Colour, rng: Random) -> None:
    """A sheep: a cloud of wool on thin legs, a bare face."""
    face = (60, 52, 50) if sum(c) > 250 else (205, 190, 175)
    if rng.random() < 0.3 and sum(c) > 250:
        face = (222, 200, 178)
    _legs(s, (-0.2, -0.13, 0.12, 0.19), 0.22, 0.055, face, tone(face, 0.6), 0.01)
    wool = [
        (-0.27, 0.33, 0.1),
        (-0.2, 0.43, 0.11),
        (-0.06, 0.47, 0.12),
        (0.1, 0.46, 0.12),
        (0.22, 0.4, 0.1),
        (0.24, 0.3, 0.1),
        (0.12, 0.23, 0.11),
        (-0.04, 0.21, 0.11),
        (-0.19, 0.24, 0.11),
    ]
    for x, y, r in wool:
        s.oval(x, y, r, r, c)
    s.oval(-0.01, 0.34, 0.25, 0.15, c, BODY)
    for x, y in ((-0.12, 0.36), (0.04, 0.3), (0.08, 0.4), (-0.05, 0.42)):
        s.line([(x - 0.03, y), (x, y - 0.018), (x + 0.03, y)], 0.01, tone(c, 0.86))
    s.oval(0.25, 0.5, 0.05, 0.025, tone(face, 0.85), turn=2.6)
    s.oval(0.33, 0.44, 0.075, 0.105, face, turn=0.5)
    s.oval(0.28, 0.545, 0.085, 0.055, c)
    s.oval(0.355, 0.475, 0.013, 0.016, (250, 250, 250) if sum(face) < 300 else INK, BODY)


def draw_bird(s: Sketch, c: Colour, rng: Random, *, flying: bool) -> None:
    """A bird: perched on two thin legs, or flying with raised wings."""
    wing = tone(c, 0.72) if sum(c) > 150 else tone(c, 1.25)
    belly = mix(c, (255, 250, 235), 0.25) if sum(c) > 150 else tone(c, 1.1)
    if not flying:
        for x in (-0.01, 0.04):
            s.line([(x, 0.1), (x + 0.01, 0.005), (x + 0.04, 0.005)], 0.012, (225, 140, 40))
    s.poly([(-0.1, 0.16), (-0.24, 0.2), (-0.23, 0.12), (-0.08, 0.11)], wing)
    s.blob(
        [(-0.13, 0.16), (-0.02, 0.24), (0.1, 0.25), (0.14, 0.17), (0.06, 0.08), (-0.06, 0.08)], c
    )
    s.oval(0.05, 0.14, 0.065, 0.05, belly, BODY)
    s.oval(0.11, 0.265, 0.075, 0.07, c)
    s.poly([(0.175, 0.285), (0.265, 0.255), (0.175, 0.235)], (245, 165, 40))
    s.oval(0.135, 0.285, 0.014, 0.016, INK, BODY)
    if flying:
        up = rng.uniform(0.2, 0.32)
        s.blob([(-0.06, 0.2), (-0.14, 0.2 + up), (-0.02, 0.24 + up), (0.07, 0.22)], wing)
    else:
        s.blob([(-0.15, 0.13), (-0.04, 0.21), (0.06, 0.19), (0.02, 0.11), (-0.08, 0.1)], wing)


def draw_animal(
    sketch: Sketch, category: str, colour: Colour, rng: Random, *, flying: bool = False
) -> None:
    """Draw an animal of a category of ANIMALS into a sketch."""
    if category == "bird":
        draw_bird(sketch, colour, rng, flying=flying)
        return
    {"dog": draw_dog, "cat": draw_cat, "horse": draw_horse, "cow": draw_cow, "sheep": draw_sheep}[
        category
    ](sketch, colour, rng)
