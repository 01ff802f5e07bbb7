"""Groups of instances that belong together: a holder and what is held, a rider and a mount.

A group is drawn at a place on the ground; its layers are in painter's order. Relations are drawn
for real: the hand is where the handle is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from training.drawing.animals import ANIMAL_SIZES, COLLAR, SADDLE, draw_animal
from training.drawing.looks import Look, sample_look
from training.drawing.people import Figure, draw_person
from training.drawing.plain import draw_plain
from training.drawing.poses import Stance, pose_figure
from training.drawing.shapes import Colour, Drawing, Sketch
from training.drawing.style import Style, shade_of
from training.drawing.things import (
    BENCH_SEAT,
    BICYCLE_BAR,
    BICYCLE_SADDLE,
    CHAIR_SEAT,
    TABLE_TOP,
    THING_SIZES,
    draw_thing,
)
from training.scene import ANIMALS, PEOPLE, POSES

HELD = ("umbrella", "ball", "balloon", "kite", "book", "cup", "laptop", "suitcase")
ON_TABLES = ("cup", "book", "laptop", "lamp", "flower pot", "ball")
# The smallest share of the photo that a small thing is drawn at, where its place allows.
_SMALL_AREA = 0.006


@dataclass(slots=True)
class Member:
    """One instance before it is measured; fields as in `training.scene.Instance`."""

    category: str
    colour: str
    id: int = 0
    parts: dict[str, str] = field(default_factory=dict)
    pose: str = ""
    scale: float = 1.0
    depth: float = 0.0
    holds: list[int] = field(default_factory=list)
    rides: int = 0
    sits_on: int = 0
    stands_on: int = 0
    owner: int = 0
    look: Look | None = None
    shade: Colour = (0, 0, 0)
    zones: dict[str, list[tuple[float, float]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Piece:
    """A layer and the ids that must be in the scene for it to be drawn (a leash needs its dog)."""

    id: int
    drawing: Drawing
    needs: tuple[int, ...] = ()


@dataclass(slots=True)
class Group:
    """Members that are placed together.

    Attributes:
        kind: "one", "hold", "leash", "bicycle", "horse", "bench", "chair" or "table".
        members: the first is the one that stands (a person, a mount, a seat, a table).
        width, height: rough size in units.
        airborne: may be anywhere above the ground.
    """

    kind: str
    members: list[Member]
    width: float
    height: float
    airborne: bool = False
    held: str = ""


@dataclass(slots=True)
class Canvas:
    """What groups are drawn into."""

    aspect: float
    style: Style
    pieces: list[Piece] = field(default_factory=list)
    shadows: list[tuple[int, tuple[float, float, float, float]]] = field(default_factory=list)


def make_member(
    category: str, colour: str, style: Style, rng: Random, pick_colour: Callable[[], str]
) -> Member:
    """An instance with its looks, not yet placed."""
    member = Member(category, colour)
    if category in PEOPLE:
        look = sample_look(category, colour, style, rng, pick_colour)
        member.look = look
        member.parts = look.parts
        usual = {"man": 1.01, "woman": 0.925, "boy": 0.64, "girl": 0.64}[category]
        member.scale = round(look.height / usual, 3)
    else:
        member.shade = shade_of(colour, style, rng)
        member.scale = round(
            rng.choices((1.0, 0.72, 1.4), (0.78, 0.1, 0.12))[0] * rng.uniform(0.92, 1.08), 3
        )
    return member


def size_of(member: Member) -> tuple[float, float]:
    """Rough width and height in units of an adult's height."""
    if member.look is not None:
        return 0.34 * member.look.height, member.look.height
    w, h = (ANIMAL_SIZES | THING_SIZES)[member.category]
    return w * member.scale, h * member.scale


def _boost(category: str, unit: float, aspect: float, limit: float) -> float:
    """How much larger than life a small thing is drawn to stay recognisable."""
    w, h = (ANIMAL_SIZES | THING_SIZES)[category]
    wanted = math.sqrt(_SMALL_AREA * aspect / (w * h * 0.75))
    return min(limit, max(1.0, wanted / unit))


def _shadow(canvas: Canvas, key: int, x: float, y: float, rx: float) -> None:
    canvas.shadows.append((key, (x, y, max(rx, 0.01), max(rx * 0.22, 0.004))))


def _add(canvas: Canvas, key: int, drawing: Drawing, *needs: int) -> None:
    canvas.pieces.append(Piece(key, drawing, needs))


def _draw_body(
    canvas: Canvas,
    sketch: Sketch,
    kind: str,
    shade: Colour,
    rng: Random,
    *,
    flying: bool = False,
) -> None:
    """Draw an animal or a thing as the scene's style has it."""
    if canvas.style.icons and not flying:
        draw_plain(sketch, kind, shade, rng)
    elif kind in ANIMALS:
        draw_animal(sketch, kind, shade, rng, flying=flying)
    else:
        draw_thing(sketch, kind, shade, rng)


def _draw_single(
    canvas: Canvas,
    member: Member,
    x: float,
    y: float,
    unit: float,
    rng: Random,
    *,
    flying: bool = False,
    flip: bool | None = None,
    kind: str = "",
    turn: float = 0.0,
) -> None:
    """Draw an animal or a thing standing at (x, y)."""
    flip = rng.random() < 0.5 if flip is None else flip
    sketch = Sketch(x, y, unit * member.scale, flip=flip, turn=turn)
    _draw_body(canvas, sketch, kind or member.category, member.shade, rng, flying=flying)
    _add(canvas, member.id, sketch.finish())


def _person(
    canvas: Canvas,
    member: Member,
    stance: Stance,
    x: float,
    y: float,
    unit: float,
    rng: Random,
    *,
    seat_at: tuple[float, float] | None = None,
    over: tuple[int, ...] = (),
) -> Figure:
    look = member.look
    assert look is not None
    bones = pose_figure(look, stance, rng)
    figure = draw_person(
        look, stance, bones, x, y, unit * look.height, pelvis_at=seat_at, over=over
    )
    member.zones = figure.zones
    member.pose = stance.pose if stance.pose in POSES else "sitting"
    return figure


def _draw_holder(
    canvas: Canvas, group: Group, x: float, y: float, unit: float, rng: Random
) -> None:
    person, thing = group.members
    look = person.look
    assert look is not None
    height = unit * look.height
    kind = thing.category
    side = rng.choice((0, 1))
    out = -1 if side == 0 else 1
    both = kind in ("ball", "book", "laptop")
    overhead = kind == "ball" and rng.random() < 0.25
    reach: dict[str, tuple[float, float]] = {
        "umbrella": (0.15, -0.12),
        "balloon": (0.19, -0.04),
        "kite": (0.2, 0.1),
        "ball": (0.075, 0.26) if overhead else (0.07, -0.26),
        "book": (0.08, -0.24),
        "cup": (0.13, -0.16),
        "laptop": (0.1, -0.28),
        "suitcase": (0.15, -0.5),
    }
    hx, hy = reach[kind]
    if look.category in ("boy", "girl"):
        hx, hy = hx * 1.1, hy * 0.85
    hands = {0: (-hx, hy), 1: (hx, hy)} if both else {side: (out * hx, hy)}
    pose = "standing"
    if not both and rng.random() < 0.2 and kind in ("balloon", "kite"):
        pose = rng.choice(("jumping", "standing"))
    stance = Stance(pose, hands=hands)
    _shadow(canvas, person.id, x, y, 0.16 * height)
    figure = _person(canvas, person, stance, x, y, unit, rng, over=(0, 1) if both else (side,))
    _add(canvas, person.id, figure.main)
    size = max(height, 0.72 * unit) * min(max(thing.scale, 0.85), 1.15)
    if kind == "cup":
        size *= 0.6
    size *= _boost(kind, size, canvas.aspect, 1.7 if kind == "cup" else 1.4)
    (lx, ly), (rx, ry) = figure.hands
    gx, gy = ((lx + rx) / 2, (ly + ry) / 2) if both else figure.hands[side]
    turn = 0.0
    if kind == "ball":
        gy += 0.13 * size
        if overhead:
            gy -= 0.05 * size
    elif kind == "book":
        gy += 0.08 * size
    elif kind == "laptop":
        gy += 0.06 * size
    elif kind == "cup":
        gy += 0.1 * size
    elif kind == "suitcase":
        size = max((y - gy) / 0.5, 0.4 * unit)
        gy = y
        _shadow(canvas, thing.id, gx, y, 0.18 * size)
    elif kind == "umbrella":
        turn = rng.uniform(-0.12, 0.12) + 0.1 * out
    elif kind == "balloon":
        turn = rng.uniform(-0.2, 0.2)
    if kind == "kite":
        away = rng.choice((-1, 1))
        kx = min(max(gx + away * rng.uniform(0.3, 0.6) * unit, 0.14), canvas.aspect - 0.14)
        ky = min(gy, max(gy - rng.uniform(0.25, 0.6) * unit, 0.62 * size))
        string = Sketch(0, 0, 1)
        string.line(
            [(gx, -gy), ((gx + kx) / 2, -(gy + ky) / 2 - 0.02), (kx, -ky)], 0.004, (70, 70, 74), 0
        )
        _add(canvas, 0, string.finish(), person.id, thing.id)
        gx, gy = kx, ky
        turn = rng.uniform(-0.35, 0.35)
    sketch = Sketch(gx, gy, size, turn=turn, flip=kind == "cup" and side == 0)
    _draw_body(canvas, sketch, kind, thing.shade, rng)
    thing.scale = round(min(max(thing.scale, 0.85), 1.15), 3)
    _add(canvas, thing.id, sketch.finish())
    if figure.hand_drawing is not None:
        _add(canvas, person.id, figure.hand_drawing, thing.id)
    person.holds.append(thing.id)
    thing.owner = person.id


def _draw_leash(canvas: Canvas, group: Group, x: float, y: float, unit: float, rng: Random) -> None:
    person, dog = group.members
    assert person.look is not None
    side = rng.choice((-1, 1))
    size = unit * dog.scale * _boost(dog.category, unit * dog.scale, canvas.aspect, 1.4)
    height = unit * person.look.height
    px = x - side * 0.46 * unit
    dx = px + side * (0.2 * unit + 0.42 * size)
    walking = rng.random() < 0.5
    hands = {1: (0.14, -0.34)} if walking else {0 if side < 0 else 1: (side * 0.17, -0.34)}
    stance = Stance("walking" if walking else "standing", flip=walking and side < 0, hands=hands)
    _shadow(canvas, person.id, px, y, 0.16 * height)
    figure = _person(canvas, person, stance, px, y, unit, rng)
    _add(canvas, person.id, figure.main)
    gy = y + rng.uniform(0.0, 0.02)
    _shadow(canvas, dog.id, dx, gy, 0.26 * size)
    animal = Sketch(dx, gy, size, flip=side < 0)
    _draw_body(canvas, animal, dog.category, dog.shade, rng)
    hand = figure.hands[1 if walking else (0 if side < 0 else 1)]
    neck = animal.to_scene(*COLLAR)
    leash = Sketch(0, 0, 1)
    middle = ((hand[0] + neck[0]) / 2, -(hand[1] + neck[1]) / 2 - 0.02)
    leash.line(
        [(hand[0], -hand[1]), middle, (neck[0], -neck[1])],
        max(0.004, 0.012 * unit),
        (150, 40, 40),
        0,
    )
    _add(canvas, dog.id, animal.finish())
    _add(canvas, 0, leash.finish(), person.id, dog.id)
    dog.owner = person.id


def _draw_rider(canvas: Canvas, group: Group, x: float, y: float, unit: float, rng: Random) -> None:
    mount, person = group.members
    look = person.look
    assert look is not None
    flip = rng.random() < 0.5
    out = -1 if flip else 1
    height = unit * look.height
    if mount.category == "bicycle":
        size = height * (1.0 if look.height > 0.8 else 0.9)
        stance = Stance(
            "riding bicycle",
            flip=flip,
            hands=dict.fromkeys((0, 1), ((BICYCLE_BAR[0] - 0.07) * size / height, -0.305)),
        )
        at = (x + out * BICYCLE_SADDLE[0] * size, y - (BICYCLE_SADDLE[1] + 0.03) * size)
        _shadow(canvas, mount.id, x, y, 0.5 * size)
    else:
        size = max(unit * 0.86, height * 0.9)
        stance = Stance("riding horse", flip=flip, hands=dict.fromkeys((0, 1), (0.17, -0.26)))
        at = (x + out * SADDLE[0] * size, y - (SADDLE[1] + 0.01) * size)
        _shadow(canvas, mount.id, x, y, 0.5 * size)
    mount.scale = 1.0
    figure = _person(canvas, person, stance, x, y, unit, rng, seat_at=at)
    assert figure.behind is not None
    _add(canvas, person.id, figure.behind)
    sketch = Sketch(x, y, size, flip=flip)
    _draw_body(canvas, sketch, mount.category, mount.shade, rng)
    _add(canvas, mount.id, sketch.finish())
    _add(canvas, person.id, figure.main)
    person.rides = mount.id
    mount.owner = person.id


def _draw_sitters(
    canvas: Canvas, group: Group, x: float, y: float, unit: float, rng: Random
) -> None:
    seat, *people = group.members
    seat.scale = 1.0
    sideways = group.kind == "chair" and rng.random() < 0.5
    flip = rng.random() < 0.5
    _shadow(canvas, seat.id, x, y, (0.55 if group.kind == "bench" else 0.24) * unit)
    _draw_single(canvas, seat, x, y, unit, rng, flip=flip, kind="side chair" if sideways else "")
    places = {1: (0.0,), 2: (-0.27, 0.27), 3: (-0.37, 0.0, 0.37)}[len(people)]
    if len(people) == 1 and group.kind == "bench":
        places = (rng.choice((-0.28, 0.0, 0.28)),)
    for person, place in zip(people, places, strict=True):
        level = (BENCH_SEAT if group.kind == "bench" else CHAIR_SEAT) * unit
        out = -1 if flip else 1
        at = (x + place * unit, y - level - 0.045 * unit)
        if sideways:
            at = (x - out * 0.07 * unit, y - level - 0.05 * unit)
        stance = Stance("sitting", "side" if sideways else "front", flip=sideways and flip)
        figure = _person(canvas, person, stance, x, y, unit, rng, seat_at=at)
        _add(canvas, person.id, figure.main)
        person.sits_on = seat.id


def _draw_table(canvas: Canvas, group: Group, x: float, y: float, unit: float, rng: Random) -> None:
    table, *things = group.members
    table.scale = 1.0
    _shadow(canvas, table.id, x, y, 0.55 * unit)
    _draw_single(canvas, table, x, y, unit, rng)
    n = len(things)
    for k, thing in enumerate(things):
        slot = (k + 0.5) / n - 0.5
        tx = x + (slot * 0.86 + rng.uniform(-0.05, 0.05) / n) * unit
        shrink = 0.62 if thing.category == "lamp" else 1.0
        thing.scale = round(min(max(thing.scale, 0.85), 1.12), 3)
        size = unit * shrink * _boost(thing.category, unit * shrink, canvas.aspect, 1.45)
        _draw_single(
            canvas, thing, tx, y - (TABLE_TOP + rng.uniform(-0.015, 0.02)) * unit, size, rng
        )
        thing.stands_on = table.id


def _draw_one(canvas: Canvas, group: Group, x: float, y: float, unit: float, rng: Random) -> None:
    member = group.members[0]
    if member.look is not None:
        pose = rng.choices(POSES, (0.36, 0.1, 0.2, 0.12, 0.09, 0.13))[0]
        tall = unit * member.look.height
        if pose == "jumping" and y < 1.24 * tall:
            pose = "running"  # a jump would end above the photo
        seat = "ground" if pose == "sitting" else ""
        stance = Stance(pose, seat, flip=rng.random() < 0.5)
        figure = _person(canvas, member, stance, x, y, unit, rng)
        wide = 0.26 if seat else 0.16
        _shadow(canvas, member.id, x, y, wide * unit * member.look.height)
        _add(canvas, member.id, figure.main)
        return
    size = unit
    if member.category not in ("car", "horse", "cow", "boat", "bench", "table", "bicycle"):
        size *= _boost(member.category, unit * member.scale, canvas.aspect, 2.2)
    flying = group.airborne and member.category == "bird"
    turn = rng.uniform(-0.3, 0.3) if group.airborne else 0.0
    if not group.airborne and member.category != "boat":
        _shadow(canvas, member.id, x, y, 0.45 * size_of(member)[0] * size)
    if member.category == "umbrella" and not group.airborne:
        y -= 0.06 * size
    _draw_single(canvas, member, x, y, size, rng, flying=flying, turn=turn)


_DRAW = {
    "one": _draw_one,
    "hold": _draw_holder,
    "leash": _draw_leash,
    "bicycle": _draw_rider,
    "horse": _draw_rider,
    "bench": _draw_sitters,
    "chair": _draw_sitters,
    "table": _draw_table,
}


def draw_group(
    canvas: Canvas, group: Group, x: float, y: float, unit: float, depth: float, rng: Random
) -> None:
    """Draw a group standing at (x, y), scene units, where an adult is `unit` high."""
    _DRAW[group.kind](canvas, group, x, y, unit, rng)
    for k, member in enumerate(group.members):
        member.depth = round(depth + 0.0005 * k, 5)
