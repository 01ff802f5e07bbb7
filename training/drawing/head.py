"""Drawing heads: face, hair, beard, glasses and hats, seen from the front or from the side."""

from __future__ import annotations

import math

from training.drawing.looks import Look
from training.drawing.shapes import BODY, EDGE, Sketch, tone

Point = tuple[float, float]


def draw_head_back(sketch: Sketch, look: Look, head: Point, profile: bool) -> None:
    """What hangs behind the shoulders: long hair, ponytails, the brim of a sun hat."""
    x, y = head
    h = look.head / 2
    hair = tone(look.hair, 0.88)
    back = -0.35 * h if profile else 0.0
    kind = look.hair_style
    if kind in ("long", "wavy"):
        wide = 1.02 if kind == "long" else 1.2
        low = -2.35 if kind == "long" else -2.0
        sketch.blob(
            [
                (x + back - wide * h, y + 0.2 * h),
                (x + back, y + 1.1 * h),
                (x + back + wide * h * (0.5 if profile else 1), y + 0.2 * h),
                (x + back + (0.35 if profile else 1.05) * h, y + low * h * 0.6),
                (x + back + (0.2 if profile else 0.85) * h, y + low * h),
                (x + back - 0.85 * h, y + low * h),
                (x + back - 1.1 * wide * h, y + low * h * 0.5),
            ],
            hair,
        )
    elif kind == "bob":
        sketch.box(
            x + back - 1.0 * h,
            y - 0.95 * h,
            x + back + (0.5 if profile else 1.0) * h,
            y + 0.8 * h,
            hair,
            round_=0.5 * h,
        )
    elif kind == "curls":
        for dx, dy in (
            (-0.95, 0.3),
            (-1.1, -0.35),
            (-0.95, -1.0),
            (-0.6, -1.4),
            (0.6, -1.4),
            (0.95, -1.0),
            (1.1, -0.35),
            (0.95, 0.3),
        ):
            if profile and dx > 0:
                continue
            sketch.oval(x + back + dx * h, y + dy * h, 0.5 * h, 0.5 * h, hair)
    elif kind == "ponytail":
        side = -1.0 if profile else -0.95
        sketch.blob(
            [
                (x + side * 0.7 * h, y + 0.75 * h),
                (x + side * 1.5 * h, y + 0.5 * h),
                (x + side * 1.75 * h, y - 0.9 * h),
                (x + side * 1.4 * h, y - 1.6 * h),
                (x + side * 1.1 * h, y - 0.7 * h),
            ],
            hair,
        )
    elif kind == "pigtails":
        for side in (-1,) if profile else (-1, 1):
            sketch.oval(
                x + side * 1.32 * h, y - 0.55 * h, 0.36 * h, 0.82 * h, hair, turn=side * 0.3
            )
    elif kind == "braid":
        for k in range(4):
            sketch.oval(x + back - 0.75 * h, y - (0.6 + 0.48 * k) * h, 0.27 * h, 0.3 * h, hair)
    elif kind == "bun":
        sketch.oval(x + back, y + 1.15 * h, 0.46 * h, 0.42 * h, hair)


def draw_head(sketch: Sketch, look: Look, head: Point, profile: bool) -> None:
    """The head over the neck: skull, ears, face, hair, beard, glasses, hat."""
    x, y = head
    h = look.head / 2
    rx, ry = 0.82 * h * look.jaw, h * 0.98
    dark = tone(look.skin, 0.88)
    if not profile and look.body == "full":
        for side in (-1, 1):
            sketch.oval(x + side * rx, y - 0.08 * h, 0.17 * h, 0.22 * h, dark)
    if look.body == "block":
        sketch.box(x - rx, y - ry, x + rx, y + ry, look.skin, round_=0.3 * h)
    else:
        sketch.oval(x, y, rx, ry, look.skin)
    if look.beard:
        _draw_beard(sketch, look, x, y, h, rx, profile)
    _draw_face(sketch, look, x, y, h, profile)
    if look.hair_style != "bald":
        _draw_hair(sketch, look, x, y, h, rx, profile)
    if profile:
        sketch.oval(x - 0.12 * h, y - 0.1 * h, 0.15 * h, 0.2 * h, dark)
    if look.glasses:
        _draw_glasses(sketch, look, x, y, h, profile)
    if look.hat:
        _draw_hat(sketch, look, x, y, h, profile)


def _draw_beard(
    sketch: Sketch, look: Look, x: float, y: float, h: float, rx: float, profile: bool
) -> None:
    hair = tone(look.hair, 0.92)
    shift = 0.22 * h if profile else 0.0
    if look.beard == "full":
        sketch.blob(
            [
                (x + shift - rx * 0.98, y - 0.15 * h),
                (x + shift - rx * 0.5, y - 0.3 * h),
                (x + shift, y - 0.32 * h),
                (x + shift + rx * 0.5, y - 0.3 * h),
                (x + rx * 0.99, y - 0.15 * h),
                (x + shift + rx * 0.7, y - 0.85 * h),
                (x + shift, y - 1.25 * h),
                (x + shift - rx * 0.7, y - 0.85 * h),
            ],
            hair,
        )
    else:
        sketch.oval(x + shift * 2, y - 0.85 * h, 0.34 * h, 0.3 * h, hair)
        sketch.box(
            x + shift * 2 - 0.36 * h,
            y - 0.4 * h,
            x + shift * 2 + 0.36 * h,
            y - 0.27 * h,
            hair,
            BODY,
        )


def _draw_face(sketch: Sketch, look: Look, x: float, y: float, h: float, profile: bool) -> None:
    ink = (45, 30, 30)
    eyes = (
        [(x + 0.42 * h, y + 0.08 * h)]
        if profile
        else [(x - 0.32 * h, y + 0.08 * h), (x + 0.32 * h, y + 0.08 * h)]
    )
    female = look.category in ("woman", "girl")
    shift = 0.42 * h if profile else 0.0
    if profile:
        sketch.oval(x + 0.8 * h, y - 0.1 * h, 0.16 * h, 0.13 * h, look.skin, BODY)
    if look.face == "none":
        return
    for ex, ey in eyes:
        if look.face == "round":
            sketch.oval(ex, ey, 0.17 * h, 0.2 * h, (250, 250, 250), BODY)
            sketch.oval(ex + 0.02 * h, ey, 0.09 * h, 0.12 * h, ink, BODY)
        elif look.face == "dots":
            sketch.oval(ex, ey, 0.1 * h, 0.13 * h, ink, BODY)
        else:
            sketch.line([(ex - 0.12 * h, ey), (ex + 0.12 * h, ey)], 0.07 * h, ink)
        brow = tone(look.hair, 0.7) if look.hair_style != "bald" else ink
        if female:
            sketch.line(
                [(ex - 0.17 * h, ey + 0.16 * h), (ex + 0.19 * h, ey + 0.2 * h)], 0.06 * h, ink
            )
        else:
            sketch.line(
                [(ex - 0.16 * h, ey + 0.27 * h), (ex + 0.16 * h, ey + 0.29 * h)], 0.08 * h, brow
            )
    lip = (190, 50, 60) if look.category == "woman" else tone(look.skin, 0.55)
    if not profile:
        sketch.line(
            [(x, y - 0.02 * h), (x + 0.05 * h, y - 0.2 * h)], 0.06 * h, tone(look.skin, 0.78)
        )
    my = y - 0.5 * h
    width = 0.26 * h
    if look.smile > 0.75:
        sketch.arc(x + shift, my + 0.08 * h, width, 0.24 * h, 180, 360, lip, BODY)
    else:
        sketch.line(
            [
                (x + shift - width, my + 0.07 * h * look.smile),
                (x + shift, my - 0.05 * h),
                (x + shift + width, my + 0.07 * h * look.smile),
            ],
            0.07 * h,
            lip,
        )
    if female and look.smile > 0.3:
        for ex, ey in eyes:
            sketch.oval(
                ex,
                ey - 0.38 * h,
                0.14 * h,
                0.1 * h,
                (min(255, look.skin[0] + 14), int(look.skin[1] * 0.82), int(look.skin[2] * 0.82)),
                BODY,
            )


def _draw_hair(
    sketch: Sketch, look: Look, x: float, y: float, h: float, rx: float, profile: bool
) -> None:
    hair = look.hair
    kind = look.hair_style
    top = y + 1.13 * h
    out = rx * 1.1
    if profile:
        low = {"crew": 0.1, "short": -0.15, "side": -0.15, "spiky": -0.1, "curly": -0.3}.get(
            kind, -0.6
        )
        sketch.blob(
            [
                (x + 0.78 * rx, y + 0.5 * h),
                (x + 0.6 * rx, y + 0.95 * h),
                (x - 0.1 * rx, top),
                (x - out, y + 0.55 * h),
                (x - out * 1.02, y + low * h),
                (x - 0.42 * rx, y + low * h),
                (x - 0.1 * rx, y + 0.3 * h),
                (x + 0.3 * rx, y + 0.42 * h),
            ],
            hair,
        )
    elif kind in ("long", "wavy", "ponytail", "pigtails", "bun", "braid"):
        low = -0.55 if kind in ("long", "wavy") else 0.0
        sketch.blob(
            [
                (x - out, y + low * h),
                (x - out * 1.03, y + 0.5 * h),
                (x - 0.5 * rx, y + 1.05 * h),
                (x + 0.5 * rx, y + 1.05 * h),
                (x + out * 1.03, y + 0.5 * h),
                (x + out, y + low * h),
                (x + 0.82 * rx, y + 0.15 * h),
                (x + 0.45 * rx, y + 0.52 * h),
                (x - 0.15 * rx, y + 0.7 * h),
                (x - 0.6 * rx, y + 0.42 * h),
                (x - 0.84 * rx, y + 0.1 * h),
            ],
            hair,
        )
    elif kind in ("bob", "bowl"):
        low = -0.75 if kind == "bob" else -0.05
        sketch.blob(
            [
                (x - out * 1.05, y + low * h),
                (x - out * 1.06, y + 0.5 * h),
                (x - 0.4 * rx, y + 1.1 * h),
                (x + 0.4 * rx, y + 1.1 * h),
                (x + out * 1.06, y + 0.5 * h),
                (x + out * 1.05, y + low * h),
                (x + 0.86 * rx, y + 0.1 * h),
                (x + 0.6 * rx, y + 0.36 * h),
                (x, y + 0.4 * h),
                (x - 0.6 * rx, y + 0.36 * h),
                (x - 0.86 * rx, y + 0.1 * h),
            ],
            hair,
        )
    elif kind == "curls":
        for k in range(7):
            a = math.radians(-5 + 190 * k / 6)
            sketch.oval(
                x + math.cos(a) * rx * 0.95,
                y + 0.25 * h + math.sin(a) * 0.72 * h,
                0.36 * h,
                0.36 * h,
                hair,
            )
    elif kind == "curly":
        for k in range(6):
            a = math.radians(15 + 150 * k / 5)
            sketch.oval(
                x + math.cos(a) * rx * 0.86,
                y + 0.42 * h + math.sin(a) * 0.5 * h,
                0.32 * h,
                0.32 * h,
                hair,
            )
    elif kind == "spiky":
        points = [(x - out, y + 0.15 * h)]
        for k in range(5):
            u = -1 + 2 * k / 4
            points.append((x + u * rx * 1.12, y + (1.42 - 0.45 * u * u) * h))
            if k < 4:
                points.append((x + (u + 0.25) * rx, y + 0.92 * h))
        points += [
            (x + out, y + 0.15 * h),
            (x + 0.7 * rx, y + 0.48 * h),
            (x - 0.7 * rx, y + 0.48 * h),
        ]
        sketch.poly(points, hair)
    else:
        tip = {"crew": 0.05, "short": 0.22, "side": 0.3}.get(kind, 0.2)
        part = 0.25 if kind == "side" else 0.0
        sketch.blob(
            [
                (x - out, y + (0.2 - tip) * h),
                (x - out, y + 0.6 * h),
                (x - 0.5 * rx, y + (0.95 + tip * 0.6) * h),
                (x + 0.4 * rx, y + (0.98 + tip * 0.5) * h),
                (x + out, y + 0.6 * h),
                (x + out, y + (0.2 - tip) * h),
                (x + 0.8 * rx, y + 0.42 * h),
                (x + (0.2 + part) * rx, y + (0.6 - part) * h),
                (x - 0.4 * rx, y + (0.55 + part * 0.6) * h),
                (x - 0.8 * rx, y + 0.4 * h),
            ],
            hair,
        )
    if kind == "pigtails" or (kind == "bun" and look.category == "girl"):
        for side in (-1,) if profile else (-1, 1):
            sketch.oval(
                x + side * 1.06 * rx, y + 0.15 * h, 0.16 * h, 0.16 * h, (225, 70, 120), BODY
            )


def _draw_glasses(sketch: Sketch, look: Look, x: float, y: float, h: float, profile: bool) -> None:
    frame = (20, 20, 24)
    eyes = [x + 0.45 * h] if profile else [x - 0.34 * h, x + 0.34 * h]
    ey = y + 0.06 * h
    for ex in eyes:
        if look.glasses == "dark":
            sketch.oval(ex, ey, 0.25 * h, 0.2 * h, frame, BODY)
        elif look.glasses == "round":
            sketch.ring(ex, ey, 0.3 * h, 0.085 * h, frame)
        else:
            sketch.line(
                [
                    (ex - 0.28 * h, ey - 0.2 * h),
                    (ex + 0.28 * h, ey - 0.2 * h),
                    (ex + 0.28 * h, ey + 0.2 * h),
                    (ex - 0.28 * h, ey + 0.2 * h),
                    (ex - 0.28 * h, ey - 0.2 * h),
                ],
                0.08 * h,
                frame,
            )
    if profile:
        sketch.line([(x + 0.2 * h, ey + 0.05 * h), (x - 0.2 * h, ey + 0.05 * h)], 0.08 * h, frame)
    else:
        sketch.line([(x - 0.08 * h, ey + 0.05 * h), (x + 0.08 * h, ey + 0.05 * h)], 0.08 * h, frame)


def _draw_hat(sketch: Sketch, look: Look, x: float, y: float, h: float, profile: bool) -> None:
    colour = look.hat_colour
    band = tone(colour, 0.72) if sum(colour) > 150 else tone(colour, 1.35)
    if look.hat == "cap":
        sketch.arc(x, y + 0.42 * h, 0.98 * h, 0.86 * h, 0, 180, colour)
        if profile:
            sketch.box(x + 0.3 * h, y + 0.36 * h, x + 1.6 * h, y + 0.54 * h, band, round_=0.09 * h)
        else:
            sketch.arc(x, y + 0.34 * h, 1.05 * h, 0.3 * h, 0, 180, band)
    elif look.hat == "beanie":
        sketch.arc(x, y + 0.4 * h, 1.0 * h, 1.0 * h, 0, 180, colour)
        sketch.box(x - 1.04 * h, y + 0.28 * h, x + 1.04 * h, y + 0.6 * h, band, round_=0.12 * h)
        sketch.oval(x, y + 1.45 * h, 0.24 * h, 0.24 * h, band, EDGE | BODY)
    elif look.hat in ("sun", "brim"):
        wide = 1.95 if look.hat == "sun" else 1.55
        sketch.oval(x, y + 0.48 * h, wide * h, 0.27 * h, colour)
        sketch.blob(
            [
                (x - 0.9 * h, y + 0.5 * h),
                (x - 0.75 * h, y + 1.25 * h),
                (x, y + 1.4 * h),
                (x + 0.75 * h, y + 1.25 * h),
                (x + 0.9 * h, y + 0.5 * h),
            ],
            colour,
        )
        sketch.box(x - 0.88 * h, y + 0.52 * h, x + 0.88 * h, y + 0.74 * h, band, BODY)
    elif look.hat == "beret":
        sketch.oval(x + 0.12 * h, y + 0.78 * h, 1.12 * h, 0.5 * h, colour, turn=-0.18)
        sketch.oval(x + 0.1 * h, y + 1.28 * h, 0.1 * h, 0.12 * h, band, BODY)
    elif look.hat == "topper":
        sketch.box(x - 0.78 * h, y + 0.5 * h, x + 0.78 * h, y + 1.85 * h, colour)
        sketch.box(x - 0.78 * h, y + 0.55 * h, x + 0.78 * h, y + 0.82 * h, band, BODY)
        sketch.box(x - 1.25 * h, y + 0.42 * h, x + 1.25 * h, y + 0.58 * h, colour, round_=0.07 * h)
    else:
        sketch.arc(x, y + 0.45 * h, 0.9 * h, 0.85 * h, 0, 180, colour)
        sketch.oval(x, y + 0.48 * h, 1.3 * h, 0.16 * h, colour)
        sketch.box(x - 0.88 * h, y + 0.5 * h, x + 0.88 * h, y + 0.68 * h, band, BODY)
