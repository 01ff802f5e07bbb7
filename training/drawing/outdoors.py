"""Drawing what lies behind outdoor scenes: sky, land, water, trees and buildings."""

from __future__ import annotations

import math
from random import Random

from training.drawing.shapes import EDGE, Colour, Sketch, mix, tone, vary


def _sky(rng: Random) -> tuple[Colour, Colour]:
    kind = rng.random()
    if kind < 0.6:
        return vary((120, 178, 232), rng), vary((205, 230, 246), rng, 0.06)
    if kind < 0.75:
        return vary((186, 198, 210), rng), vary((226, 230, 234), rng, 0.05)
    if kind < 0.9:
        return vary((122, 128, 186), rng), vary((248, 204, 164), rng, 0.06)
    return vary((58, 74, 122), rng), vary((130, 142, 186), rng)


def _clouds(s: Sketch, aspect: float, horizon: float, rng: Random) -> None:
    for _ in range(rng.choice((0, 1, 2, 3, 4))):
        x, y = rng.uniform(0, aspect), rng.uniform(0.04, max(0.06, horizon * 0.6))
        w = rng.uniform(0.05, 0.13)
        white = vary((248, 250, 252), rng, 0.04)
        for dx, dy, r in ((-1, 0, 0.5), (-0.3, -0.3, 0.7), (0.5, -0.15, 0.6), (1.1, 0.05, 0.4)):
            s.oval(x + dx * w, -y - dy * w, r * w, r * w * 0.7, white, 0)
        s.oval(x, -y - 0.1 * w, 1.5 * w, 0.35 * w, white, 0)


def _hills(s: Sketch, aspect: float, y: float, height: float, colour: Colour, rng: Random) -> None:
    points = []
    phase, waves = rng.uniform(0, 6), rng.uniform(1.0, 3.0)
    for k in range(25):
        x = aspect * k / 24
        bump = (
            0.5
            + 0.35 * math.sin(phase + waves * x * 3)
            + 0.15 * math.sin(3 * phase + waves * x * 8)
        )
        points.append((x, -(y - height * bump)))
    s.poly([*points, (aspect, -y - 0.01), (0, -y - 0.01)], colour, 0)


def _tree(s: Sketch, x: float, y: float, size: float, rng: Random) -> None:
    trunk = vary((112, 82, 58), rng)
    green = vary(rng.choice(((86, 136, 78), (66, 116, 74), (116, 150, 82), (176, 146, 74))), rng)
    s.limb((x, -y), (x, -y + size * 0.5), size * 0.09, size * 0.06, trunk, EDGE)
    kind = rng.random()
    if kind < 0.4:
        for k in range(3):
            base = -y + size * (0.3 + 0.22 * k)
            w = size * (0.32 - 0.07 * k)
            s.poly(
                [(x - w, base), (x + w, base), (x, base + size * 0.38)],
                tone(green, 0.9 + 0.06 * k),
                EDGE,
            )
    elif kind < 0.75:
        for dx, dy, r in ((-0.18, 0.55, 0.22), (0.18, 0.56, 0.22), (0, 0.74, 0.27)):
            s.oval(x + dx * size, -y + dy * size, r * size, r * size, green, EDGE)
        s.oval(x - 0.06 * size, -y + 0.8 * size, 0.13 * size, 0.12 * size, tone(green, 1.14), 0)
    else:
        s.oval(x, -y + 0.66 * size, 0.25 * size, 0.36 * size, green, EDGE)


def _bush(s: Sketch, x: float, y: float, size: float, rng: Random) -> None:
    green = vary((92, 140, 84), rng, 0.2)
    for dx in (-0.5, 0.1, 0.6):
        s.arc(x + dx * size, -y, size * 0.55, size * rng.uniform(0.4, 0.65), 0, 180, green, EDGE)


def _tufts(s: Sketch, aspect: float, horizon: float, colour: Colour, rng: Random, n: int) -> None:
    for _ in range(n):
        y = rng.uniform(horizon + 0.03, 1)
        x = rng.uniform(0, aspect)
        k = 0.006 + 0.016 * (y - horizon)
        s.poly(
            [
                (x - k, -y),
                (x - k * 0.6, -y + 2 * k),
                (x, -y),
                (x + k * 0.4, -y + 2.4 * k),
                (x + k, -y),
            ],
            colour,
            0,
        )


def _building(s: Sketch, x: float, w: float, base: float, top: float, rng: Random) -> None:
    wall = vary(
        rng.choice(
            (
                (196, 176, 152),
                (176, 182, 190),
                (206, 196, 176),
                (168, 142, 128),
                (190, 198, 184),
                (216, 206, 196),
            )
        ),
        rng,
    )
    s.box(x, -base, x + w, -top, wall, EDGE)
    if rng.random() < 0.4:
        s.poly(
            [(x - 0.01, -top), (x + w + 0.01, -top), (x + w / 2, -top + w * 0.3)],
            tone(wall, 0.72),
            EDGE,
        )
    pane = vary((150, 180, 200), rng) if rng.random() < 0.75 else (240, 214, 140)
    columns, rows = max(2, int(w / 0.07)), max(1, int((base - top) / 0.1))
    for i in range(columns):
        for j in range(rows):
            cx = x + w * (i + 0.5) / columns
            cy = top + (base - top) * (j + 0.5) / rows
            s.box(cx - 0.015, -cy - 0.025, cx + 0.015, -cy + 0.022, pane, 0)


def _flowers(s: Sketch, aspect: float, horizon: float, rng: Random) -> None:
    petal = vary(rng.choice(((244, 232, 150), (236, 196, 214), (242, 242, 246))), rng)
    for _ in range(rng.randint(8, 26)):
        y = rng.uniform(horizon + 0.04, 1)
        s.oval(
            rng.uniform(0, aspect),
            -y,
            0.004 + 0.006 * (y - horizon),
            0.004 + 0.006 * (y - horizon),
            petal,
            0,
        )


def draw_outdoors(
    setting: str, s: Sketch, aspect: float, horizon: float, rng: Random
) -> list[tuple[float, Colour]]:
    """Draw an outdoor setting; returns the stops (y, colour) of the gradient under it."""
    sky_top, sky_low = _sky(rng)
    ground = {
        "park": (140, 182, 108),
        "field": (176, 188, 110),
        "garden": (128, 176, 104),
        "beach": (232, 212, 168),
        "snow": (234, 240, 246),
        "street": (150, 150, 154),
        "square": (200, 188, 172),
        "lake": (142, 178, 116),
        "desert": (222, 190, 142),
    }[setting]
    ground = vary(ground, rng, 0.08)
    near = tone(ground, rng.uniform(0.84, 1.05))
    if rng.random() < 0.35:
        s.oval(
            rng.uniform(0, aspect),
            -rng.uniform(0.05, max(0.07, horizon * 0.7)),
            0.045,
            0.045,
            (255, 240, 190),
            0,
        )
    _clouds(s, aspect, horizon, rng)
    if setting in ("park", "field", "lake", "snow", "desert", "garden"):
        far = mix(ground, sky_low, 0.45)
        for k in range(rng.choice((0, 1, 2))):
            _hills(
                s,
                aspect,
                horizon,
                rng.uniform(0.06, 0.22) * (1 - 0.4 * k),
                tone(far, 0.92 - 0.1 * k),
                rng,
            )
    if setting == "beach":
        sea = vary((78, 160, 190), rng)
        shore = horizon + rng.uniform(0.06, 0.14)
        s.box(0, -shore, aspect, -horizon, sea, 0)
        for _ in range(6):
            y, x = rng.uniform(horizon + 0.01, shore - 0.01), rng.uniform(0, aspect)
            s.line([(x, -y), (x + 0.08, -y)], 0.004, tone(sea, 1.3), 0)
        s.line(
            [(aspect * k / 8, -shore - 0.006 * math.sin(k * 1.7)) for k in range(9)],
            0.012,
            (244, 246, 240),
            0,
        )
    elif setting == "lake":
        water = vary((112, 166, 196), rng)
        low = horizon + rng.uniform(0.1, 0.2)
        s.box(0, -low, aspect, -horizon, water, 0)
        for _ in range(7):
            y, x = rng.uniform(horizon + 0.01, low - 0.01), rng.uniform(0, aspect)
            s.line([(x, -y), (x + 0.1, -y)], 0.004, tone(water, 1.22), 0)
    elif setting in ("street", "square"):
        x = -rng.uniform(0, 0.2)
        while x < aspect:
            w = rng.uniform(0.16, 0.42)
            _building(s, x, w, horizon, rng.uniform(0.0, horizon * 0.6), rng)
            x += w + rng.choice((0, 0, 0.02, 0.08))
        if setting == "street":
            s.box(0, -horizon - 0.07, aspect, -horizon, vary((192, 188, 182), rng), 0)
            s.line([(0, -horizon - 0.07), (aspect, -horizon - 0.07)], 0.012, (170, 166, 160), 0)
            lane = horizon + rng.uniform(0.25, 0.45)
            for k in range(7):
                x = aspect * k / 6
                s.poly(
                    [
                        (x, -lane),
                        (x + 0.11, -lane),
                        (x + 0.1, -lane - 0.014),
                        (x - 0.012, -lane - 0.014),
                    ],
                    (226, 224, 214),
                    0,
                )
        else:
            tile = tone(ground, 0.92)
            vx = aspect * rng.uniform(0.3, 0.7)
            for k in range(-8, 9):
                s.line([(vx + k * 0.06, -horizon), (vx + k * 0.42, -1)], 0.004, tile, 0)
            for k in range(1, 7):
                y = horizon + (1 - horizon) * (k / 6) ** 1.7
                s.line([(0, -y), (aspect, -y)], 0.004, tile, 0)
    if setting in ("park", "garden", "snow", "lake", "field") and rng.random() < 0.8:
        for _ in range(rng.randint(1, 5)):
            d = rng.random() ** 2
            _tree(
                s,
                rng.uniform(0, aspect),
                horizon + 0.01 + 0.1 * d,
                rng.uniform(0.2, 0.34) * (1 + d),
                rng,
            )
    if setting in ("park", "garden") and rng.random() < 0.5:
        for _ in range(rng.randint(1, 4)):
            _bush(
                s,
                rng.uniform(0, aspect),
                horizon + rng.uniform(0.01, 0.06),
                rng.uniform(0.05, 0.1),
                rng,
            )
    if setting in ("garden", "field", "park") and rng.random() < 0.35:
        fence = vary((206, 190, 166), rng)
        y = horizon + 0.03
        for row in (0.025, 0.06):
            s.box(0, -y + row, aspect, -y + row + 0.01, fence, 0)
        for k in range(int(aspect / 0.055) + 1):
            s.box(k * 0.055, -y, k * 0.055 + 0.014, -y + 0.085, tone(fence, 0.96), 0)
    if setting == "park" and rng.random() < 0.5:
        path = vary((214, 198, 166), rng)
        x, d = aspect * rng.uniform(0.2, 0.8), rng.uniform(-0.5, 0.5)
        s.blob(
            [
                (x - 0.015, -horizon),
                (x + 0.015, -horizon),
                (x + d * 0.4 + 0.1, -horizon - 0.25),
                (x + d + 0.3, -1.05),
                (x + d - 0.2, -1.05),
                (x + d * 0.4 - 0.05, -horizon - 0.25),
            ],
            path,
            0,
        )
    if setting in ("park", "field", "garden", "lake"):
        _tufts(
            s,
            aspect,
            horizon + (0.2 if setting == "lake" else 0),
            tone(ground, 0.86),
            rng,
            rng.randint(0, 24),
        )
        if rng.random() < 0.35:
            _flowers(s, aspect, horizon + (0.2 if setting == "lake" else 0), rng)
    if setting == "snow" and rng.random() < 0.5:
        for _ in range(40):
            r = rng.uniform(0.003, 0.008)
            s.oval(rng.uniform(0, aspect), -rng.random(), r, r, (252, 252, 255), 0)
    return [
        (0, sky_top),
        (horizon, sky_low),
        (horizon + 1e-3, mix(ground, sky_low, 0.2)),
        (1, near),
    ]
