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

from training.draw_backgrounds import INDOOR, OUTDOOR, STUDIO, draw_backdrop
from training.draw_groups import (
    HELD,
    ON_TABLES,
    Canvas,
    Group,
    Member,
    draw_group,
    make_member,
    size_of,
)
from training.draw_shapes import Drawing
from training.draw_style import Style, sample_style
from training.render import MEASURE, Ids, Image, Layer, Measured, Plan, measure, render
from training.scene import (
    ANIMALS,
    CATEGORIES,
    COLOURS,
    HELD_OUT,
    PEOPLE,
    SPLITS,
    THINGS,
    Instance,
    Scene,
)

MIN_AREA = 0.0025
MIN_VISIBLE = 0.35
SHOWN_SHARE = 0.34  # of a part's points that must be visible for the scene to name the part
MAX_INSTANCES = 9
ASPECTS = (1.0, 4 / 3, 4 / 3, 3 / 2, 3 / 2, 16 / 9, 3 / 4, 2 / 3)

_COATS = {
    "dog": ("brown", "black", "white", "grey", "orange", "brown"),
    "cat": ("black", "white", "grey", "orange", "brown"),
    "horse": ("brown", "black", "white", "grey", "brown"),
    "cow": ("brown", "black", "white", "brown"),
    "sheep": ("white", "white", "black", "grey"),
}
_NOT_INDOORS = frozenset(("car", "bicycle", "horse", "cow", "sheep", "boat", "kite"))
_NOT_OUTDOORS = frozenset(("lamp", "laptop", "cup"))
_AIRBORNE = ("kite", "balloon", "bird")


@dataclass(frozen=True, slots=True)
class Photo:
    """A scene and the plan that draws it."""

    scene: Scene
    plan: Plan


def _chance(seed: int, split: str, purpose: str) -> Random:
    return Random(f"referent synthetic 1|{split}|{seed}|{purpose}")


class _Casting:
    """Chooses categories and colours for one scene, repeating some on purpose."""

    def __init__(self, split: str, setting: str, rng: Random) -> None:
        self.rng = rng
        self.setting = setting
        theme = rng.choices(
            ((0.8, 0.08, 0.12), (0.45, 0.25, 0.3), (0.12, 0.7, 0.18), (0.12, 0.08, 0.8)),
            (0.45, 0.33, 0.1, 0.12),
        )[0]
        self.theme = theme
        self.favourite = rng.choice(COLOURS) if rng.random() < 0.4 else ""
        self.repeated = ""
        self.repeats = rng.random() < 0.55

    def allows(self, category: str) -> bool:
        """Whether the setting can hold a category."""
        if self.setting in INDOOR:
            return category not in _NOT_INDOORS
        if self.setting in OUTDOOR:
            if category == "boat":
                return self.setting in ("beach", "lake")
            return category not in _NOT_OUTDOORS or self.rng.random() < 0.15
        return True

    def category(self) -> str:
        """The next instance's category."""
        rng = self.rng
        if self.repeats and self.repeated and rng.random() < 0.55 and self.allows(self.repeated):
            return self.repeated
        while True:
            kind = rng.choices((PEOPLE, ANIMALS, THINGS), self.theme)[0]
            category = rng.choice(kind)
            if self.allows(category):
                if not self.repeated:
                    self.repeated = category
                return category

    def any_colour(self) -> str:
        """A colour for a garment or the like."""
        if self.favourite and self.rng.random() < 0.45:
            return self.favourite
        return self.rng.choice(COLOURS)

    def colour(self, category: str) -> str:
        """A colour for an instance, never a held-out pair."""
        while True:
            if category in _COATS and self.rng.random() < 0.88:
                colour = self.rng.choice(_COATS[category])
            else:
                colour = self.any_colour()
            if (category, colour) not in HELD_OUT:
                return colour


def _relations(casting: _Casting, rng: Random) -> list[str]:
    """Kinds of relation that suit a setting, by weight."""
    kinds = {"hold": 0.38, "leash": 0.11, "bicycle": 0.1, "horse": 0.08, "bench": 0.1,
             "chair": 0.1, "table": 0.15}  # fmt: skip
    if casting.setting in INDOOR:
        for kind in ("bicycle", "horse", "leash"):
            kinds.pop(kind)
        kinds["table"] = 0.3
    if rng.random() >= 0.56:
        return []
    n = rng.choices((1, 2, 3), (0.62, 0.28, 0.1))[0]
    return rng.choices(tuple(kinds), tuple(kinds.values()), k=n)


def _cast(
    casting: _Casting, style: Style, n: int, forced: tuple[str, str] | None, rng: Random
) -> list[Group]:
    """Groups of n members at most in all; `forced` is a (category, colour) that must be there."""
    groups: list[Group] = []
    used = 0

    def member(category: str) -> Member:
        nonlocal forced, used
        used += 1
        if forced is not None and forced[0] == category:
            colour, forced = forced[1], None
        else:
            colour = casting.colour(category)
        return make_member(category, colour, style, rng, casting.any_colour)

    def person() -> Member:
        if forced is not None and forced[0] in PEOPLE:
            return member(forced[0])
        if casting.repeats and casting.repeated in PEOPLE and rng.random() < 0.5:
            return member(casting.repeated)
        category = rng.choice(PEOPLE)
        casting.repeated = casting.repeated or category
        return member(category)

    for kind in _relations(casting, rng):
        if used + 2 > n:
            break
        if kind == "hold":
            pool = [c for c in HELD if c != "kite" or casting.setting not in INDOOR]
            wanted = forced[0] if forced is not None and forced[0] in pool else rng.choice(pool)
            who, thing = person(), member(wanted)
            tall = size_of(who)[1] + {"umbrella": 0.2, "balloon": 0.4, "kite": 0.6}.get(wanted, 0.0)
            wide = {"umbrella": 0.85, "kite": 0.9, "suitcase": 0.6}.get(wanted, 0.45)
            groups.append(Group("hold", [who, thing], wide, tall, held=wanted))
        elif kind == "leash":
            groups.append(Group("leash", [person(), member("dog")], 1.3, 1.0))
        elif kind in ("bicycle", "horse"):
            mount = member(kind)
            who = person()
            height = size_of(who)[1]
            if kind == "bicycle":
                groups.append(Group(kind, [mount, who], 1.0 * height, 1.25 * height))
            else:
                groups.append(Group(kind, [mount, who], 1.2, 1.4))
        elif kind in ("bench", "chair"):
            seat = member(kind)
            room = min(n - used, 1 if kind == "chair" else 3)
            people = [person() for _ in range(rng.randint(1, room))]
            groups.append(Group(kind, [seat, *people], 1.2 if kind == "bench" else 0.5, 0.9))
        else:
            table = member("table")
            room = min(n - used, 3)
            same = rng.choice(ON_TABLES) if rng.random() < 0.4 else ""
            if forced is not None and forced[0] in ON_TABLES:
                same = forced[0]
            things = [member(same or rng.choice(ON_TABLES)) for _ in range(rng.randint(1, room))]
            groups.append(Group("table", [table, *things], 1.15, 0.85))
    while used < n:
        category = forced[0] if forced is not None else casting.category()
        one = member(category)
        width, height = size_of(one)
        height *= 1.06 if one.look is not None else 1.0  # hair and hats
        airborne = category == "kite" or (category in _AIRBORNE and rng.random() < 0.5)
        groups.append(Group("one", [one], width, height, airborne))
    return groups


def _fits(
    boxes: list[tuple[float, float, float, float]], box: tuple[float, float, float, float]
) -> float:
    """The largest share of either box that a new box and a placed one have in common."""
    worst = 0.0
    x0, y0, x1, y1 = box
    area = (x1 - x0) * (y1 - y0)
    for a0, b0, a1, b1 in boxes:
        common = max(0.0, min(x1, a1) - max(x0, a0)) * max(0.0, min(y1, b1) - max(y0, b0))
        if common:
            worst = max(worst, common / min(area, (a1 - a0) * (b1 - b0)))
    return worst


def _place(
    groups: list[Group], aspect: float, horizon: float, setting: str, rng: Random
) -> list[tuple[float, float, float, float, Group]]:
    """Where each group stands: (depth, x, y, unit, group), painter's order."""
    n = sum(len(g.members) for g in groups)
    base = rng.uniform(*((0.55, 0.88) if n <= 3 else (0.44, 0.74) if n <= 6 else (0.38, 0.6)))
    base *= 1.0 if aspect >= 1 else 0.72
    studio = setting in STUDIO
    layout = rng.choices(
        ("ground", "row", "scatter"), (0.1, 0.3, 0.6) if studio else (0.78, 0.22, 0.0)
    )[0]
    strength = rng.uniform(0.0, 0.55) if layout == "ground" and not studio else rng.uniform(0, 0.15)
    near = rng.uniform(0.9, 0.985)
    far = max(horizon + rng.uniform(0.06, 0.16), 0.5 if studio else 0.0)
    far = min(far, near - 0.12)
    row = rng.uniform(max(far, 0.7), near)
    order = list(range(len(groups)))
    rng.shuffle(order)
    widths = [max(g.width, 0.3) for g in groups]
    total = sum(widths)
    if layout == "row":
        base = min(base, 0.92 * aspect / total)
    boxes: list[tuple[float, float, float, float]] = []
    placed: list[tuple[float, float, float, float, Group]] = []
    run = rng.uniform(0.0, 0.08)
    for rank, k in enumerate(order):
        group = groups[k]
        best: tuple[float, float, float, float, tuple[float, float, float, float]] | None = None
        tolerance = 0.02 if rng.random() < 0.6 else 0.35
        for _ in range(14):
            if layout == "row":
                share = sum(widths[j] for j in order[:rank]) + widths[k] / 2
                x = aspect * (share / total * (1 - run) + run / 2)
                y = row + rng.uniform(-0.02, 0.02)
                t = (y - far) / max(near - far, 1e-6)
            else:
                t = rng.random() ** 0.8
                y = far + (near - far) * t
                x = -1.0
            unit = base * (1 - strength * (1 - min(t, 1.0)))
            if layout == "scatter":
                unit = base * rng.uniform(0.62, 1.1)
            if group.width * unit > 0.6 * aspect:
                unit = 0.6 * aspect / group.width
            if group.height * unit > 0.9:
                unit = 0.9 / group.height
            height = group.height * unit
            half = group.width * unit / 2
            if setting in ("beach", "lake") and group.members[0].category == "boat":
                y = horizon + rng.uniform(0.05, 0.14)
            # Depth is what the ground shows; where it shows nothing, all are level.
            ground = horizon if not studio else 0.4
            depth = 0.5 if layout == "row" or group.airborne else (y - ground) / (1 - ground)
            if layout == "scatter":
                y = rng.uniform(min(height + 0.02, 0.95), 0.985)
                depth = 0.5
            elif group.airborne:
                y = rng.uniform(min(height, 0.5), max(0.55, y - height))
            elif y - height < 0.01:
                y = min(0.99, height + 0.01)
                depth = 0.5 if layout == "row" else (y - ground) / (1 - ground)
            if x < 0:
                low, high = min(half * 0.92, aspect / 2), max(aspect - half * 0.92, aspect / 2)
                x = rng.uniform(low, high)
            box = (x - half, y - height, x + half, y)
            overlap = _fits(boxes, box)
            if best is None or overlap < best[0]:
                best = (overlap, depth, x, y, box)
                chosen = unit
            if overlap <= tolerance:
                break
        assert best is not None
        boxes.append(best[4])
        placed.append((best[1], best[2], best[3], chosen, group))
    placed.sort(key=lambda item: item[0])
    return placed


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
        if setting in INDOOR and forced[0] in _NOT_INDOORS:
            setting = rng.choice(OUTDOOR)
    horizon = rng.uniform(0.3, 0.6) if setting in OUTDOOR else rng.uniform(0.48, 0.72)
    casting = _Casting(split, setting, rng)
    n = rng.choices(range(2, 10), (12, 16, 18, 16, 13, 11, 8, 6))[0]
    groups = _cast(casting, style, n, forced, rng)
    members = [m for g in groups for m in g.members]
    keys = list(range(1, len(members) + 1))
    rng.shuffle(keys)
    for member, key in zip(members, keys, strict=True):
        member.id = key
    placed = _place(groups, aspect, horizon, setting, rng)
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


__all__ = ["CATEGORIES", "Photo", "aspect_of", "make_photo", "sample_photo"]
