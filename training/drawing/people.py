"""Drawing people: a posed skeleton is dressed.

Bodies come in three kinds: "full" ones, "simple" ones of thin straight limbs, as in pictograms,
and "block" ones of square bars, as in toys. Local
frame of a figure: origin at the pelvis, unit = the person's standing height.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from training.drawing.head import draw_head, draw_head_back
from training.drawing.looks import Look
from training.drawing.poses import Point, Skeleton, Stance
from training.drawing.shapes import BODY, EDGE, Drawing, Sketch, tone


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawn person.

    Attributes:
        behind: the far leg of a rider, drawn before what is ridden; None for others.
        main: all the rest.
        hands: scene positions of the two hands.
        hand_drawing: a hand to draw over a held thing; None where nothing is held.
        zones: scene positions that show the "top" and each part, if nothing hides them.
    """

    behind: Drawing | None
    main: Drawing
    hands: tuple[Point, Point]
    hand_drawing: Drawing | None
    zones: dict[str, list[Point]]


def _draw_leg(
    sketch: Sketch,
    look: Look,
    leg: tuple[Point, Point, Point],
    profile: bool,
    side: int,
    far: bool,
) -> None:
    adult = look.category in ("man", "woman")
    wide = (0.082 if adult else 0.094) * look.build**0.8
    root, knee, foot = leg
    shade = 0.86 if far else 1.0
    skin, cloth = tone(look.skin, shade), tone(look.bottom, shade)
    shoe = tone(look.shoe, shade)
    bare = look.dress or look.skirt
    if look.body == "simple":
        colour = skin if bare else cloth
        sketch.limb(root, knee, wide * 0.6, wide * 0.6, colour)
        sketch.limb(knee, foot, wide * 0.6, wide * 0.6, colour)
        return
    if look.body == "block":
        wide *= 1.15
    toe = 0.055 if profile else 0.03 * side
    sketch.oval(foot[0] + toe * 0.7, foot[1] - 0.004, 0.05 if profile else 0.038, 0.024, shoe)
    if bare or look.trousers == "shorts":
        sketch.limb(root, knee, wide * 0.92, wide * 0.74, skin)
        sketch.limb(knee, foot, wide * 0.74, wide * 0.5, skin)
        if not bare:
            part = 0.86
            end = (root[0] + (knee[0] - root[0]) * part, root[1] + (knee[1] - root[1]) * part)
            sketch.limb(root, end, wide * 1.2, wide * 1.16, cloth)
    else:
        sketch.limb(knee, foot, wide * 0.92, wide * 0.74, cloth)
        sketch.limb(root, knee, wide * 1.12, wide * 0.92, cloth)


def _draw_arm(sketch: Sketch, look: Look, arm: tuple[Point, Point, Point], far: bool) -> None:
    adult = look.category in ("man", "woman")
    wide = (0.058 if adult else 0.066) * look.build**0.7
    root, elbow, hand = arm
    shade = 0.86 if far else 1.0
    skin, cloth = (
        tone(look.skin, shade),
        tone(look.top, shade * (0.95 if look.sleeves > 0.3 else 1)),
    )
    if look.body == "simple":
        sketch.limb(elbow, hand, wide * 0.62, wide * 0.62, skin)
        sketch.limb(root, elbow, wide * 0.62, wide * 0.62, cloth if look.sleeves > 0.3 else skin)
        return
    sketch.limb(elbow, hand, wide * 0.8, wide * 0.62, skin)
    sketch.oval(hand[0], hand[1], wide * 0.48, wide * 0.48, skin)
    sketch.limb(root, elbow, wide * 0.95, wide * 0.8, skin)
    if look.sleeves > 0.9:
        near = (elbow[0] + (hand[0] - elbow[0]) * 0.86, elbow[1] + (hand[1] - elbow[1]) * 0.86)
        sketch.limb(elbow, near, wide * 0.98, wide * 0.84, cloth)
        sketch.limb(root, elbow, wide * 1.2, wide * 0.98, cloth)
    elif look.sleeves > 0.3:
        near = (root[0] + (elbow[0] - root[0]) * 0.72, root[1] + (elbow[1] - root[1]) * 0.72)
        sketch.limb(root, near, wide * 1.24, wide * 1.24, cloth)


def _torso(look: Look, bones: Skeleton) -> tuple[list[Point], list[tuple[float, float, float]]]:
    """The outline of the torso, and (share of height, left, right) rows for patterns."""
    widths = {
        "man": (0.112, 0.098, 0.08, 0.078),
        "woman": (0.088, 0.078, 0.06, 0.084),
        "boy": (0.108, 0.096, 0.086, 0.084),
        "girl": (0.098, 0.086, 0.078, 0.088),
    }[look.category]
    squeeze = 0.68 if bones.profile else 1.0
    belly = max(1.0, look.build) ** 1.5
    thin = look.build**0.7
    dx, dy = bones.neck
    rows = []
    for share, width, bulge in (
        (0.985, widths[0] * 0.45, 1.0),
        (0.93, widths[0] * 0.98, 1.0),
        (0.7, widths[1], 1.0),
        (0.34, widths[2], belly),
        (0.0, widths[3], belly**0.6),
        (-0.06, widths[3] * 0.98, belly**0.6),
    ):
        half = width * squeeze * thin * bulge
        rows.append((share, dx * share - half, dx * share + half))
    if look.body == "simple":
        # Straight sides: a trapezoid, wider at the shoulders of men and at the hips of women.
        top, low = rows[1], rows[4]
        rows = [
            (s, dx * s + (top[1] - dx * top[0]) * k, dx * s + (top[2] - dx * top[0]) * k)
            for s in (0.985, 0.93, 0.7, 0.34, 0.0, -0.06)
            for k in (1.0 - (0.985 - s) * (1 - (low[2] - low[1]) / (top[2] - top[1])),)
        ]
    elif look.body == "block":
        wide = max(row[2] - row[1] for row in rows) / 2
        rows = [(row[0], dx * row[0] - wide, dx * row[0] + wide) for row in rows]
    left = [(row[1], dy * row[0]) for row in rows]
    right = [(row[2], dy * row[0]) for row in rows]
    return left + right[::-1], rows


def _row_at(rows: list[tuple[float, float, float]], share: float) -> tuple[float, float]:
    for (s0, l0, r0), (s1, l1, r1) in itertools.pairwise(rows):
        if s1 <= share <= s0:
            k = (s0 - share) / (s0 - s1)
            return l0 + (l1 - l0) * k, r0 + (r1 - r0) * k
    return rows[-1][1], rows[-1][2]


def _draw_pattern(
    sketch: Sketch, look: Look, rows: list[tuple[float, float, float]], height: float
) -> None:
    if look.pattern == "stripes":
        for k in range(4):
            s = 0.12 + k * 0.2
            (l0, r0), (l1, r1) = _row_at(rows, s), _row_at(rows, s + 0.065)
            sketch.poly(
                [
                    (l0, s * height),
                    (r0, s * height),
                    (r1, (s + 0.065) * height),
                    (l1, (s + 0.065) * height),
                ],
                look.accent,
                BODY,
            )
    elif look.pattern == "dots":
        for k in range(5):
            s = 0.1 + k * 0.17
            left, right = _row_at(rows, s)
            for j in range(3):
                u = (j + 0.6 + 0.4 * (k % 2)) / 3.6
                sketch.oval(left + (right - left) * u, s * height, 0.011, 0.011, look.accent, BODY)
    elif look.pattern == "buttons":
        middle = sum(_row_at(rows, 0.5)) / 2
        sketch.line([(middle, 0.02 * height), (middle, 0.9 * height)], 0.006, tone(look.top, 0.7))
        for k in range(4):
            sketch.oval(middle + 0.012, (0.15 + 0.2 * k) * height, 0.008, 0.008, look.accent, BODY)
    elif look.pattern == "band":
        (l0, r0), (l1, r1) = _row_at(rows, 0.45), _row_at(rows, 0.62)
        sketch.poly(
            [(l0, 0.45 * height), (r0, 0.45 * height), (r1, 0.62 * height), (l1, 0.62 * height)],
            look.accent,
            BODY,
        )
    elif look.pattern == "jacket":
        middle = sum(_row_at(rows, 0.5)) / 2
        sketch.poly(
            [
                (middle - 0.03, 0.97 * height),
                (middle + 0.03, 0.97 * height),
                (middle + 0.012, 0.02),
                (middle - 0.012, 0.02),
            ],
            look.accent,
            BODY,
        )
    elif look.pattern == "belt":
        (l0, r0), (l1, r1) = _row_at(rows, 0.24), _row_at(rows, 0.34)
        sketch.poly(
            [(l0, 0.24 * height), (r0, 0.24 * height), (r1, 0.34 * height), (l1, 0.34 * height)],
            look.accent,
            BODY,
        )


def _draw_skirt(sketch: Sketch, look: Look, bones: Skeleton, seat: str, hips: float) -> None:
    cloth = look.bottom
    if seat == "ground":
        sketch.blob(
            [(-0.2, -0.05), (-0.19, 0.04), (-hips, 0.07), (hips, 0.07), (0.19, 0.04), (0.2, -0.05)],
            cloth,
        )
        return
    knees = [leg[1] for leg in bones.legs]
    if seat == "side" or (bones.profile and knees[0][1] > -0.12):
        for root, knee, _ in bones.legs:
            sketch.limb((root[0], root[1] + 0.01), knee, 0.15, 0.11, cloth)
        return
    feet = [leg[2] for leg in bones.legs]
    left, right = min(k[0] for k in knees), max(k[0] for k in knees)
    knee_y = min(k[1] for k in knees)
    foot_y = min(f[1] for f in feet)
    long = look.hem if seat != "front" else max(look.hem, 0.55)
    y = knee_y * min(long / 0.5, 1.0) + max(0.0, (long - 0.5) / 0.5) * (foot_y - knee_y) * 0.8
    flare = 0.035 + 0.05 * long
    sketch.poly(
        [
            (-hips * 0.8, 0.05),
            (hips * 0.8, 0.05),
            (hips * 1.02, -0.03),
            (max(right, hips) + flare, y),
            (0.0, y - 0.016),
            (min(left, -hips) - flare, y),
            (-hips * 1.02, -0.03),
        ],
        cloth,
    )
    sketch.line([(0.02, -0.02), (0.03 + flare * 0.4, y + 0.02)], 0.006, tone(cloth, 0.86))


def _draw_bag_behind(sketch: Sketch, look: Look, bones: Skeleton) -> None:
    if look.bag != "backpack":
        return
    x, y = bones.neck[0] * 0.62, bones.neck[1] * 0.62
    if bones.profile:
        sketch.box(x - 0.17, y - 0.13, x - 0.03, y + 0.12, look.bag_colour, round_=0.05)
        sketch.box(x - 0.19, y - 0.11, x - 0.13, y, tone(look.bag_colour, 0.82), round_=0.02)
    else:
        half = 0.125 * look.build**0.6
        sketch.box(x - half, y - 0.14, x + half, y + 0.14, look.bag_colour, round_=0.05)


def _draw_bag_front(sketch: Sketch, look: Look, bones: Skeleton, shoulder: float) -> None:
    x, y = bones.neck
    strap = tone(look.bag_colour, 0.8)
    if look.bag == "backpack":
        if not bones.profile:
            for side in (-1, 1):
                sketch.line(
                    [(side * shoulder * 0.62, y * 0.97), (side * shoulder * 0.66, y * 0.45)],
                    0.024,
                    look.bag_colour,
                )
        else:
            sketch.line([(x * 0.9, y * 0.95), (x * 0.5 - 0.02, y * 0.5)], 0.024, look.bag_colour)
    elif look.bag == "satchel":
        sketch.line([(x - shoulder * 0.6, y * 0.95), (0.085, 0.03)], 0.017, strap)
        sketch.box(0.045, -0.085, 0.175, 0.04, look.bag_colour, round_=0.02)
        sketch.box(0.045, -0.02, 0.175, 0.04, tone(look.bag_colour, 0.88), round_=0.015)
    elif look.bag == "handbag":
        hx, hy = -0.115, -0.01
        sketch.line(
            [(x - shoulder * 0.85, y * 0.93), (hx - 0.03, hy), (hx + 0.03, hy)], 0.013, strap
        )
        sketch.box(hx - 0.075, hy - 0.1, hx + 0.06, hy + 0.01, look.bag_colour, round_=0.03)
        sketch.oval(hx - 0.005, hy - 0.02, 0.012, 0.012, (230, 200, 90), BODY)


def _zones(
    look: Look, bones: Skeleton, rows: list[tuple[float, float, float]]
) -> dict[str, list[Point]]:
    """Points of the figure where the top and each of its parts are."""
    height = bones.neck[1]
    zones: dict[str, list[Point]] = {"top": []}
    for share in (0.2, 0.5, 0.8):
        left, right = _row_at(rows, share)
        zones["top"] += [(left + (right - left) * u, share * height) for u in (0.15, 0.5, 0.85)]
    zones["bottom"] = [
        (root[0] + (knee[0] - root[0]) * u, root[1] + (knee[1] - root[1]) * u)
        for root, knee, _ in bones.legs
        for u in (0.15, 0.5, 0.85)
    ]
    x, y = bones.head
    h = look.head / 2
    face = [(x, y), (x, y + 0.2 * h), (x + 0.4 * h, y), (x, y - 0.5 * h)]
    crown = [(x - 0.5 * h, y + 0.7 * h), (x, y + 0.8 * h), (x + 0.4 * h, y + 0.7 * h)]
    zones |= {"hair": crown, "hat": crown, "glasses": face, "beard": face}
    if look.bag == "backpack":
        side = -0.1 if bones.profile else 0.0
        zones["bag"] = [(bones.neck[0] * u + side, height * u) for u in (0.5, 0.62, 0.75)]
    elif look.bag:
        side = 0.11 if look.bag == "satchel" else -0.12
        zones["bag"] = [(side + dx, dy) for dx in (-0.03, 0.03) for dy in (-0.06, 0.0)]
    return zones


def draw_person(
    look: Look,
    stance: Stance,
    bones: Skeleton,
    x: float,
    y: float,
    height: float,
    *,
    pelvis_at: Point | None = None,
    over: tuple[int, ...] = (),
) -> Figure:
    """Draw a posed and dressed person.

    Args:
        look, stance, bones: who, how, and the joints from `pose_figure`.
        x, y: where the feet stand, scene units (the seat's ground where it sits on the ground).
        height: the person's standing height, scene units.
        pelvis_at: where the pelvis is instead, for people on seats and mounts.
        over: hands (0, 1) that are drawn over a held thing as well.
    """
    if pelvis_at is None:
        low = min(leg[2][1] for leg in bones.legs) - 0.026
        if stance.seat == "ground":
            low = -0.06
        pelvis_at = (x, y - height * (bones.lift - low))
    sketch = Sketch(*pelvis_at, height, flip=stance.flip, square=look.body == "block")
    behind: Drawing | None = None
    near = [(bones.legs[0], -1), (bones.legs[1], 1)]
    if stance.pose == "riding horse":
        back = Sketch(*pelvis_at, height, flip=stance.flip, square=look.body == "block")
        _draw_leg(back, look, bones.legs[0], True, -1, True)
        behind = back.finish()
        near = [(bones.legs[1], 1)]
    elif stance.pose == "riding bicycle":
        back = Sketch(*pelvis_at, height, flip=stance.flip, square=look.body == "block")
        _draw_leg(back, look, bones.legs[1], True, 1, True)
        behind = back.finish()
        near = [(bones.legs[0], -1)]
    outline, rows = _torso(look, bones)
    shoulder = rows[1][2] - (rows[1][1] + rows[1][2]) / 2
    hips = rows[4][2]
    _draw_bag_behind(sketch, look, bones)
    draw_head_back(sketch, look, bones.head, bones.profile)
    if bones.profile:
        _draw_arm(sketch, look, bones.arms[0], True)
    for k, (leg, side) in enumerate(near):
        _draw_leg(
            sketch, look, leg, bones.profile, side, bones.profile and k == 0 and len(near) > 1
        )
    if not (look.dress or look.skirt) and stance.seat != "ground":
        sketch.limb((-hips * 0.45, 0.0), (hips * 0.45, 0.0), 0.085, 0.085, look.bottom, BODY)
    if stance.seat == "ground" and not (look.dress or look.skirt):
        sketch.oval(0, 0.0, hips * 1.1, 0.05, look.bottom, BODY)
    neck = bones.neck
    sketch.limb((neck[0], neck[1] - 0.03), bones.head, 0.052, 0.05, tone(look.skin, 0.9))
    if look.skirt or look.dress:
        _draw_skirt(sketch, look, bones, stance.seat, hips)
    sketch.poly(outline, look.top)
    _draw_pattern(sketch, look, rows, neck[1])
    if look.dress:
        sketch.limb((-hips * 0.55, 0.01), (hips * 0.55, 0.01), 0.07, 0.07, look.top, BODY)
        if look.pattern == "belt":
            _draw_pattern(sketch, look, rows, neck[1])
    sketch.arc(neck[0], neck[1] * 0.985, 0.034, 0.03, 180, 360, tone(look.skin, 0.97), BODY)
    _draw_bag_front(sketch, look, bones, shoulder)
    draw_head(sketch, look, bones.head, bones.profile)
    for k in (1,) if bones.profile else (0, 1):
        _draw_arm(sketch, look, bones.arms[k], False)
    hands = (sketch.to_scene(*bones.arms[0][2]), sketch.to_scene(*bones.arms[1][2]))
    hand_drawing = None
    if over:
        top = Sketch(*pelvis_at, height, flip=stance.flip, square=look.body == "block")
        for k in over:
            end = bones.arms[k][2]
            top.oval(end[0], end[1], 0.03, 0.03, look.skin, EDGE | BODY)
        hand_drawing = top.finish()
    zones = {
        name: [sketch.to_scene(*point) for point in points]
        for name, points in _zones(look, bones, rows).items()
    }
    return Figure(behind, sketch.finish(), hands, hand_drawing, zones)
