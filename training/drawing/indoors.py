"""Drawing what lies behind indoor scenes, and the papers of studios."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

from training.drawing.shapes import EDGE, Colour, Sketch, hsv, tone, vary


def draw_indoors(
    setting: str, s: Sketch, aspect: float, horizon: float, rng: Random
) -> list[tuple[float, Colour]]:
    """Draw an indoor setting; returns the stops (y, colour) of the gradient under it."""
    wall = hsv(rng.uniform(0, 360), rng.uniform(0.03, 0.22), rng.uniform(0.78, 0.95))
    floor = vary(
        rng.choice(
            ((186, 152, 116), (200, 184, 164), (170, 170, 174), (150, 122, 98), (214, 206, 196))
        ),
        rng,
    )
    if rng.random() < 0.3:
        for k in range(int(aspect / 0.08) + 1):
            s.box(k * 0.08, -horizon, k * 0.08 + 0.03, 0, tone(wall, 0.965), 0)
    if rng.random() < 0.7:
        x, w = rng.uniform(0.02, aspect - 0.3), rng.uniform(0.18, 0.3)
        y0, y1 = horizon * 0.12, horizon * 0.66
        s.box(x, -y1, x + w, -y0, (240, 240, 236), EDGE)
        s.box(x + 0.012, -y1 + 0.012, x + w - 0.012, -y0 - 0.012, vary((176, 212, 238), rng), 0)
        s.box(x + w / 2 - 0.005, -y1, x + w / 2 + 0.005, -y0, (240, 240, 236), 0)
        if rng.random() < 0.6:
            cloth = hsv(rng.uniform(0, 360), rng.uniform(0.1, 0.4), rng.uniform(0.6, 0.9))
            s.poly(
                [
                    (x - 0.05, -y0 + 0.02),
                    (x + 0.05, -y0 + 0.02),
                    (x + 0.02, -y1 - 0.03),
                    (x - 0.06, -y1 - 0.03),
                ],
                cloth,
                EDGE,
            )
            s.poly(
                [
                    (x + w - 0.05, -y0 + 0.02),
                    (x + w + 0.05, -y0 + 0.02),
                    (x + w + 0.06, -y1 - 0.03),
                    (x + w - 0.02, -y1 - 0.03),
                ],
                cloth,
                EDGE,
            )
    frames = rng.randint(0, 3) if setting != "gallery" else rng.randint(2, 5)
    for _ in range(frames):
        x, y = rng.uniform(0, aspect), rng.uniform(0.06, max(0.08, horizon * 0.55))
        w, h = rng.uniform(0.05, 0.1), rng.uniform(0.05, 0.1)
        s.box(x - w, -y - h, x + w, -y + h, vary((120, 96, 70), rng, 0.3), EDGE)
        art = hsv(rng.uniform(0, 360), rng.uniform(0.1, 0.4), rng.uniform(0.6, 0.9))
        s.box(x - w * 0.85, -y - h * 0.85, x + w * 0.85, -y + h * 0.85, art, 0)
        s.poly(
            [
                (x - w * 0.85, -y - h * 0.85),
                (x - w * 0.2, -y + h * 0.2),
                (x + w * 0.3, -y - h * 0.3),
                (x + w * 0.6, -y),
                (x + w * 0.85, -y - h * 0.85),
            ],
            tone(art, 0.75),
            0,
        )
    if setting == "kitchen":
        cupboard = hsv(rng.uniform(0, 360), rng.uniform(0.05, 0.25), rng.uniform(0.7, 0.92))
        y0, y1 = horizon - rng.uniform(0.2, 0.28), horizon + 0.02
        n = int(aspect / 0.2) + 1
        for k in range(n):
            s.box(k * 0.2, -y1, k * 0.2 + 0.195, -y0, cupboard, EDGE)
            s.oval(k * 0.2 + 0.165, -(y0 + 0.06), 0.008, 0.008, tone(cupboard, 0.6), 0)
        s.box(0, -y0 - 0.006, aspect, -y0 + 0.03, tone(cupboard, 0.62), EDGE)
        if rng.random() < 0.6:
            for k in range(n):
                s.box(k * 0.2, -0.16, k * 0.2 + 0.195, 0.01, tone(cupboard, 0.95), EDGE)
    if setting == "office" and rng.random() < 0.7:
        x = rng.uniform(0.1, aspect - 0.4)
        s.box(x, -horizon * 0.62, x + 0.4, -horizon * 0.18, (214, 208, 196), EDGE)
        s.box(
            x + 0.012,
            -horizon * 0.62 + 0.012,
            x + 0.388,
            -horizon * 0.18 - 0.012,
            rng.choice(((62, 92, 80), (242, 244, 244))),
            0,
        )
    s.box(0, -horizon - 0.004, aspect, -horizon + 0.02, tone(wall, 0.84), 0)
    boards = rng.random()
    if boards < 0.4:
        vx = aspect * rng.uniform(0.3, 0.7)
        for k in range(-9, 10):
            s.line(
                [(vx + k * 0.09, -horizon - 0.004), (vx + k * 0.3, -1)], 0.003, tone(floor, 0.88), 0
            )
    elif boards < 0.6:
        for k in range(1, 7):
            y = horizon + (1 - horizon) * (k / 6) ** 1.5
            s.line([(0, -y), (aspect, -y)], 0.003, tone(floor, 0.9), 0)
    if rng.random() < 0.45:
        rug = hsv(rng.uniform(0, 360), rng.uniform(0.15, 0.4), rng.uniform(0.55, 0.85))
        x, y = aspect * rng.uniform(0.3, 0.7), horizon + (1 - horizon) * rng.uniform(0.5, 0.8)
        s.oval(x, -y, 0.4, 0.11, rug, EDGE)
        s.oval(x, -y, 0.32, 0.08, tone(rug, 1.2), 0)
    return [(0, tone(wall, 1.04)), (horizon, wall), (horizon + 1e-3, tone(floor, 0.94)), (1, floor)]


def _paper(rng: Random) -> Colour:
    """A studio's colour: mostly light and dull, at times white or dark."""
    kind = rng.random()
    if kind < 0.14:
        white = rng.randint(246, 255)
        return (white, white, white)
    if kind < 0.26:
        return hsv(rng.uniform(180, 280), rng.uniform(0.1, 0.4), rng.uniform(0.22, 0.38))
    return hsv(rng.uniform(0, 360), rng.uniform(0.0, 0.34), rng.uniform(0.66, 0.97))


def draw_studio(
    setting: str, s: Sketch, aspect: float, rng: Random, shades: Sequence[Colour]
) -> list[tuple[float, Colour]]:
    """Draw a studio apart from some shades; returns the stops (y, colour) under it."""
    base = _paper(rng)
    for _ in range(8):
        # What has the colour of the paper could not be seen on it.
        if all(sum(abs(a - b) for a, b in zip(base, c, strict=True)) > 100 for c in shades):
            break
        base = _paper(rng)
    if setting == "plain":
        return [(0, base), (1, base)]
    if setting == "gradient":
        other = hsv(rng.uniform(0, 360), rng.uniform(0.05, 0.35), rng.uniform(0.6, 0.97))
        return [(0, base), (1, other)]
    other = tone(base, rng.choice((0.9, 0.93, 1.25)))
    kind = rng.choice(("dots", "stripes", "checks", "waves", "shapes"))
    step = rng.uniform(0.08, 0.16)
    if kind == "dots":
        for i in range(int(aspect / step) + 1):
            for j in range(int(1 / step) + 1):
                s.oval((i + 0.5 * (j % 2)) * step, -j * step, step * 0.2, step * 0.2, other, 0)
    elif kind == "stripes":
        slant = rng.choice((0, 0.4, -0.4))
        for i in range(-8, int(aspect / step) + 8, 2):
            x = i * step
            s.poly([(x, 0), (x + step, 0), (x + step + slant, -1), (x + slant, -1)], other, 0)
    elif kind == "checks":
        for i in range(int(aspect / step) + 1):
            for j in range(int(1 / step) + 1):
                if (i + j) % 2:
                    s.box(i * step, -j * step - step, i * step + step, -j * step, other, 0)
    elif kind == "waves":
        for j in range(int(1 / step) + 1):
            s.line(
                [(aspect * k / 24, -j * step - 0.02 * math.sin(k * 1.3)) for k in range(25)],
                0.014,
                other,
                0,
            )
    else:
        for _ in range(14):
            x, y, r = rng.uniform(0, aspect), rng.random(), rng.uniform(0.03, 0.16)
            s.oval(x, -y, r, r * rng.uniform(0.5, 1), other, 0)
    return [(0, base), (1, base)]
