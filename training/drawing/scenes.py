"""Sampling a scene: who is in the photo, where, in which colours, doing what with what.

Everything follows from (seed, split); the split is hashed into the seed, so splits never share a
scene. Boxes, areas and visible fractions are measured at one fixed resolution: the same scene comes
out at any size and aspect.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random

import numpy as np

from training.drawing.backgrounds import INDOOR, OUTDOOR, STUDIO, draw_backdrop
from training.drawing.cast import NOT_INDOORS, Casting, cast
from training.drawing.groups import (
    Canvas,
    Member,
    draw_group,
)
from training.drawing.layout import place
from training.drawing.render import MEASURE, Ids, Image, Layer, Measured, Plan, measure, render
from training.drawing.shapes import Drawing
from training.drawing.style import sample_style
from training.scene import (
    HELD_OUT,
    SMALL_PARTS,
    SPLITS,
    Instance,
    Scene,
)

# Raise it with every change of what `make_photo` gives for a seed: photos are kept under this name.
# tests/training/drawing/test_drawn_digests.py says when.
DRAWING = 1

MIN_AREA = 0.0025
MIN_VISIBLE = 0.35
SHOWN_SHARE = 0.34  # of a part's points that must be visible for the scene to name the part
ASPECTS = (1.0, 4 / 3, 4 / 3, 3 / 2, 3 / 2, 16 / 9, 3 / 4, 2 / 3)


@dataclass(frozen=True, slots=True)
class Photo:
    """A scene and the plan that draws it."""

    scene: Scene
    plan: Plan


def _chance(seed: int, split: str, purpose: str) -> Random:
    return Random(f"referent synthetic 1|{split}|{seed}|{purpose}")


def _shake(drawing: Drawing, amount: float, rng: Random) -> Drawing:
    """A drawing by an unsteady hand."""
    noise = np.random.default_rng(rng.getrandbits(63)).normal(0, amount, drawing.points.shape)
    return Drawing(drawing.points + noise, drawing.ends, drawing.colours, drawing.flags)


def _broken(member: Member, gone: set[int]) -> bool:
    """Whether a member cannot stay without one that was dropped."""
    return bool({member.rides, member.sits_on, member.stands_on} & gone)


def _attempt(seed: int, split: str, attempt: int) -> Photo | None:
    rng = _chance(seed, split, f"scene {attempt}")
    style = sample_style(rng)
    aspect = rng.choice(ASPECTS)
    kind = rng.choices((OUTDOOR, INDOOR, STUDIO), (0.52, 0.18, 0.3))[0]
    forced: tuple[str, str] | None = None
    setting = rng.choice(kind)
    if split == "test-b":
        forced = rng.choice(sorted(HELD_OUT))
        if setting in INDOOR and forced[0] in NOT_INDOORS:
            setting = rng.choice(OUTDOOR)
    horizon = rng.uniform(0.3, 0.6) if setting in OUTDOOR else rng.uniform(0.48, 0.72)
    casting = Casting(split, setting, rng)
    n = rng.choices(range(2, 10), (12, 16, 18, 16, 13, 11, 8, 6))[0]
    groups = cast(casting, style, n, forced, rng)
    members = [m for g in groups for m in g.members]
    keys = list(range(1, len(members) + 1))
    rng.shuffle(keys)
    for member, key in zip(members, keys, strict=True):
        member.id = key
    placed = place(groups, aspect, horizon, setting, rng)
    canvas = Canvas(aspect, style)
    starts = []
    for depth, x, y, unit, group in placed:
        starts.append(len(canvas.pieces))
        draw_group(canvas, group, x, y, unit, depth, rng)
    sharp = len(canvas.pieces)
    if style.depth_blur > 0 and len(placed) >= 2:
        sharp = starts[rng.randint(0, len(placed) // 2)]
    blurred = {
        p.id for p in canvas.pieces[:sharp] if style.depth_blur > 0 and sharp < len(canvas.pieces)
    }
    if sharp == len(canvas.pieces):
        sharp = 0
    shades = [m.shade if m.look is None else m.look.top for m in members]
    backdrop = draw_backdrop(setting, aspect, horizon, style, rng, shades)
    gone: set[int] = set()
    while True:
        pieces = [
            (k, p)
            for k, p in enumerate(canvas.pieces)
            if p.id not in gone and not gone.intersection(p.needs)
        ]
        plan = Plan(
            aspect=aspect,
            backdrop=backdrop,
            layers=tuple(Layer(p.id, p.drawing) for _, p in pieces),
            blurred=sum(k < sharp for k, _ in pieces),
            shadows=tuple(s for key, s in canvas.shadows if key not in gone),
            style=style,
            seed=rng.randrange(1 << 30) if not gone else seed % 65521,
        )
        seen, ids_seen = measure(plan)
        bad = {
            m.id
            for m in members
            if m.id not in gone
            and not (_good(seen.get(m.id)) and _shown(m, "top", ids_seen, aspect))
        }
        bad |= {m.id for m in members if m.id not in gone and _broken(m, gone | bad)}
        if not bad:
            break
        # The least visible one first: what hid behind it may be fine without it.
        worst = min(bad, key=lambda key: seen[key].area * seen[key].visible if key in seen else 0.0)
        gone.add(worst)
        if len(members) - len(gone) < 2:
            return None
    kept = [
        _instance(m, seen[m.id], gone, m.id in blurred, ids_seen, aspect)
        for m in members
        if m.id not in gone
    ]
    if split == "test-b" and not any((i.category, i.colour) in HELD_OUT for i in kept):
        return None
    if style.wobble:
        layers = tuple(Layer(x.id, _shake(x.drawing, style.wobble, rng)) for x in plan.layers)
        plan = Plan(aspect, backdrop, layers, plan.blurred, plan.shadows, style, plan.seed)
        seen, ids_seen = measure(plan)
        if not all(_good(seen.get(i.id)) for i in kept):
            return None
        kept = [
            _instance(m, seen[m.id], gone, m.id in blurred, ids_seen, aspect)
            for m in members
            if m.id not in gone
        ]
    return Photo(Scene(seed, split, setting, tuple(kept)), plan)


def _good(seen: Measured | None) -> bool:
    return seen is not None and seen.area >= MIN_AREA and seen.visible >= MIN_VISIBLE


def _shown(member: Member, part: str, ids: Ids, aspect: float) -> bool:
    """Whether a person's part is mostly in the photo and not hidden; true of what has no zone."""
    points = member.zones.get(part)
    if not points:
        return True
    hits = 0
    for x, y in points:
        column, row = int(x / aspect * MEASURE), int(y * MEASURE)
        if 0 <= column < MEASURE and 0 <= row < MEASURE:
            hits += int(ids[row, column]) == member.id
    return hits >= SHOWN_SHARE * len(points)


def _spot(member: Member, part: str, aspect: float) -> tuple[float, float] | None:
    """The middle of a person's part, fractions of the photo; None for what has no zone."""
    points = member.zones.get(part)
    if not points:
        return None
    xs, ys = zip(*points, strict=True)
    return sum(xs) / len(xs) / aspect, sum(ys) / len(ys)


def _instance(
    member: Member, seen: Measured, gone: set[int], blurred: bool, ids: Ids, aspect: float
) -> Instance:
    parts = {
        name: value
        for name, value in member.parts.items()
        if _shown(member, "bottom" if name == "dress" else name, ids, aspect)
    }
    return Instance(
        id=member.id,
        category=member.category,
        colour=member.colour,
        parts=parts,
        spots={
            part: spot
            for part in SMALL_PARTS
            if part in parts and (spot := _spot(member, part, aspect)) is not None
        },
        pose=member.pose,
        box=seen.box,
        centre=seen.centre,
        area=seen.area,
        visible=seen.visible,
        depth=member.depth,
        scale=member.scale,
        blurred=blurred,
        holds=tuple(h for h in member.holds if h not in gone),
        rides=member.rides,
        sits_on=member.sits_on,
        stands_on=member.stands_on,
        owner=0 if member.owner in gone else member.owner,
    )


@lru_cache(maxsize=8)
def sample_photo(seed: int, split: str) -> Photo:
    """The scene of a seed and the plan to draw it.

    Raises:
        ValueError: `split` is not one of SPLITS.
    """
    if split not in SPLITS:
        raise ValueError(f"no split is called {split!r}; use one of {', '.join(SPLITS)}")
    for attempt in range(200):
        photo = _attempt(seed, split, attempt)
        if photo is not None:
            return photo
    raise AssertionError(f"no scene in 200 attempts for seed {seed} of {split}")


def aspect_of(seed: int, split: str) -> float:
    """Width over height that a scene is laid out for; other aspects stretch it."""
    return sample_photo(seed, split).plan.aspect


def make_photo(seed: int, split: str, width: int, height: int) -> tuple[Image, Ids, Scene]:
    """Draw the synthetic photo of a seed.

    Args:
        seed: any non-negative integer; splits do not share photos.
        split: one of SPLITS.
        width, height: pixels; the scene does not depend on them. Any aspect: the photo is stretched
            from the scene's own (`aspect_of`), as the network's preprocessing squashes photos.

    Returns:
        RGB photo uint8 (H, W, 3), id of the instance seen at each pixel uint8 (H, W) with 0 for
        none, and the scene.

    Raises:
        ValueError: `split` is not one of SPLITS.
    """
    photo = sample_photo(seed, split)
    image, ids = render(photo.plan, width, height)
    return image, ids, photo.scene
