"""Posing people: a two-dimensional skeleton in one of several stances.

Local frame of a figure: origin at the pelvis, y up, unit = the person's standing height.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random

from training.drawing.looks import Look

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Skeleton:
    """Joints of a figure in its local frame; limbs are (root, middle, end), left then right."""

    pelvis: Point
    neck: Point
    legs: tuple[tuple[Point, Point, Point], tuple[Point, Point, Point]]
    arms: tuple[tuple[Point, Point, Point], tuple[Point, Point, Point]]
    head: Point
    profile: bool
    lift: float


@dataclass(frozen=True, slots=True)
class Stance:
    """How a figure stands in the scene.

    Attributes:
        pose: one of POSES, or "riding bicycle", "riding horse".
        seat: "" or the way of sitting: "front", "side" or "ground".
        flip: mirrored (faces left).
        hands: hand targets in units of height from the neck, by side (0 left, 1 right).
    """

    pose: str
    seat: str = ""
    flip: bool = False
    hands: dict[int, Point] = field(default_factory=dict)


def _aim(start: Point, angle: float, length: float) -> Point:
    a = math.radians(angle)
    return (start[0] + length * math.sin(a), start[1] - length * math.cos(a))


def _reach(
    start: Point, target: Point, first: float, second: float, side: int
) -> tuple[Point, Point]:
    """Middle joint and end of a two-bone limb that reaches for a target."""
    dx, dy = target[0] - start[0], target[1] - start[1]
    far = math.hypot(dx, dy) or 1e-6
    reach = min(far, (first + second) * 0.999)
    k = reach / far
    end = (start[0] + dx * k, start[1] + dy * k)
    cosine = (first**2 + reach**2 - second**2) / (2 * first * reach)
    bend = math.acos(max(-1.0, min(1.0, cosine))) * side
    base = math.atan2(end[1] - start[1], end[0] - start[0])
    middle = (start[0] + first * math.cos(base + bend), start[1] + first * math.sin(base + bend))
    return middle, end


def pose_figure(look: Look, stance: Stance, rng: Random) -> Skeleton:
    """Joints of a person in a stance."""
    adult = look.category in ("man", "woman")
    rest = 1 - look.head * 1.02
    leg = rest * (0.55 if adult else 0.5)
    torso = rest - leg
    thigh, shin = leg * 0.52, leg * 0.48
    shoulder = {"man": 0.108, "woman": 0.086, "boy": 0.105, "girl": 0.096}[look.category]
    shoulder *= look.build**0.6
    hip = {"man": 0.043, "woman": 0.048, "boy": 0.05, "girl": 0.05}[look.category] * look.build**0.7
    upper, fore = torso * 0.46, torso * 0.44
    pose = stance.pose
    profile = pose in ("walking", "running") or stance.seat == "side" or pose.startswith("riding")
    lean = {"running": 14.0, "walking": 4.0, "riding bicycle": 34.0, "riding horse": 3.0}.get(
        pose, 0.0
    )
    lean += rng.uniform(-2, 2)
    if profile:
        shoulder, hip = shoulder * 0.35, hip * 0.35
    pelvis = (0.0, 0.0)
    neck = _aim(pelvis, 180 - lean, torso)
    head = _aim(neck, 180 - lean * 0.4, look.head * 0.56)
    hips = ((-hip, 0.0), (hip, 0.0))
    legs: list[tuple[Point, Point, Point]] = []
    lift = 0.0
    angles: tuple[tuple[float, float], tuple[float, float]]
    swing = rng.uniform(0.75, 1.2)
    if pose == "walking":
        angles = ((-20 * swing, -42 * swing), (24 * swing, 10))
    elif pose == "running":
        angles = ((-24 * swing, -88), (58 * swing, -12))
        lift = rng.uniform(0.0, 0.05)
    elif pose == "jumping":
        spread = rng.uniform(22, 42)
        angles = ((-spread, spread * 0.3), (spread, -spread * 0.6))
        lift = rng.uniform(0.08, 0.2)
    elif stance.seat == "side":
        angles = ((84, 6), (86, -8 * swing))
    elif stance.seat == "front":
        angles = ((-8, -3), (8, 3))
    elif pose == "riding horse":
        angles = ((22, -8), (26, -10))
    else:
        a = rng.uniform(1, 7)
        angles = ((-a, -a * 0.6), (a, a * 0.6))
    short = 0.42 if stance.seat == "front" else 1.0
    for root, (first, second) in zip(hips, angles, strict=True):
        knee = _aim(root, first, thigh * short)
        legs.append((root, knee, _aim(knee, second, shin * (0.93 if short < 1 else 1))))
    if stance.seat == "ground":
        legs = [
            ((-hip, 0.0), (-0.2, 0.015), (0.02, -0.02)),
            ((hip, 0.0), (0.2, 0.015), (-0.02, -0.035)),
        ]
    if pose == "riding bicycle":
        for k, pedal in enumerate(((0.17, -0.45), (0.07, -0.27))):
            knee, foot = _reach(hips[k], pedal, thigh, shin, 1)
            legs[k] = (hips[k], knee, foot)
    drop = _aim(neck, -lean, torso * 0.1)
    roots = ((drop[0] - shoulder, drop[1]), (drop[0] + shoulder, drop[1]))
    arms: list[tuple[Point, Point, Point]] = []
    up = 1 if rng.random() < 0.5 else 0
    for k, root in enumerate(roots):
        out = -1 if k == 0 else 1
        if k in stance.hands:
            tx, ty = stance.hands[k]
            bend = 1 if profile else (-out if ty > -0.05 and abs(tx) > 0.2 else out)
            elbow, hand = _reach(root, (neck[0] + tx, neck[1] + ty), upper, fore, -bend)
            if not profile and elbow[1] > root[1] + 0.02 and ty < 0:
                elbow, hand = _reach(root, (neck[0] + tx, neck[1] + ty), upper, fore, bend)
            arms.append((root, elbow, hand))
            continue
        if pose == "waving" and k == up:
            first, second = out * rng.uniform(105, 140), out * rng.uniform(160, 188)
        elif pose == "walking":
            first = 26 * swing if k == 0 else -28 * swing
            second = first + 24
        elif pose == "running":
            first = 48 * swing if k == 0 else -58 * swing
            second = first + 84
        elif pose == "jumping":
            first = out * rng.uniform(105, 145)
            second = out * rng.uniform(130, 175)
        elif stance.seat == "ground":
            first, second = out * 24, -out * 12
        elif stance.seat:
            first, second = (10, 70) if profile else (out * 14, -out * 16)
        else:
            first = out * rng.uniform(6, 24)
            second = first * rng.uniform(-0.2, 0.9)
        elbow = _aim(root, first, upper)
        arms.append((root, elbow, _aim(elbow, second, fore)))
    return Skeleton(pelvis, neck, (legs[0], legs[1]), (arms[0], arms[1]), head, profile, lift)
