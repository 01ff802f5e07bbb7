"""Scenes without a picture: what a photo might show, to draw expressions from."""

from __future__ import annotations

from random import Random

from training.scene import (
    ANIMALS,
    COLOURS,
    HAIR_COLOURS,
    HELD_OUT,
    PEOPLE,
    POSES,
    THINGS,
    Instance,
    Scene,
)

_HELD = ("umbrella", "balloon", "ball", "kite", "book", "suitcase", "cup")
_RIDDEN = ("bicycle", "horse")
_SEATS = ("bench", "chair")
_ANIMAL_COLOURS = ("brown", "black", "white", "grey")


def _colour(r: Random, category: str, held_out: bool) -> str:
    if category in ANIMALS:
        return r.choice(_ANIMAL_COLOURS)
    pairs = [c for k, c in HELD_OUT if k == category]
    if held_out and pairs and r.random() < 0.5:
        return r.choice(pairs)
    return r.choice([c for c in COLOURS if c not in pairs])


def _instance(r: Random, number: int, category: str, held_out: bool) -> Instance:
    depth = r.random()
    height = (0.25 + 0.35 * depth) * (1.0 if category in PEOPLE else r.uniform(0.3, 0.6))
    width = height * (0.42 if category in PEOPLE else r.uniform(0.7, 1.4))
    x = r.uniform(0.05 + width / 2, 0.95 - width / 2)
    y = min(0.98 - height / 2, 0.25 + 0.5 * depth + r.uniform(-0.05, 0.05))
    if category in ("kite", "balloon", "bird"):
        y = r.uniform(height / 2, 0.45)
    colour = _colour(r, category, held_out)
    parts: dict[str, str] = {}
    if category in PEOPLE:
        parts["hair"] = r.choice(HAIR_COLOURS)
        if category in ("woman", "girl") and r.random() < 0.3:
            parts |= {"bottom": colour, "dress": "yes"}
        else:
            parts["bottom"] = r.choice(COLOURS)
        for part, often in (("hat", 0.35), ("bag", 0.25)):
            if r.random() < often:
                parts[part] = r.choice(COLOURS)
        if r.random() < 0.2:
            parts["glasses"] = "yes"
        if category == "man" and r.random() < 0.3:
            parts["beard"] = "yes"
    return Instance(
        id=number,
        category=category,
        colour=colour,
        parts=parts,
        pose=r.choice(("standing", *POSES)) if category in PEOPLE else "",
        box=(x - width / 2, y - height / 2, x + width / 2, y + height / 2),
        centre=(x, y),
        area=0.6 * height * width,
        depth=depth,
        scale=r.choice((1.0, 1.0, 1.0, 0.7, 1.4)),
    )


def imagine(r: Random, *, held_out: bool = False, least: int = 3, most: int = 9) -> Scene:
    """A plausible scene without a picture.

    Args:
        r: the source of chance.
        held_out: whether colour-category pairs that are kept out of training may occur.
        least: fewest instances.
        most: most instances.
    """
    count = r.randint(least, most)
    categories: list[str] = []
    while len(categories) < count:
        pool = r.choices((PEOPLE, ANIMALS, THINGS), (5, 2, 3))[0]
        category = r.choice(pool)
        categories += [category] * min(r.choice((1, 1, 1, 2, 2, 3)), count - len(categories))
    things = [_instance(r, i + 1, c, held_out) for i, c in enumerate(categories)]
    _link(r, things)
    return Scene(0, "test-b" if held_out else "train", "park", tuple(things))


def _link(r: Random, things: list[Instance]) -> None:
    """Give some things into hands, put some people on seats and bicycles."""
    people = [t for t in things if t.category in PEOPLE]
    for index, thing in enumerate(things):
        if not people or r.random() > 0.5:
            continue
        person = r.choice(people)
        x = min(0.95, person.centre[0] + 0.08)
        changes: dict[str, object] = {}
        mine: dict[str, object] = {}
        if thing.category in _HELD:
            mine, changes = {"holds": (*person.holds, thing.id)}, {"owner": person.id}
        elif thing.category in ("dog", "cat", "sheep", "cow"):
            changes = {"owner": person.id}
        elif thing.category in _RIDDEN and not person.rides and not person.sits_on:
            mine, changes = {"rides": thing.id}, {"owner": person.id}
        elif thing.category in _SEATS and not person.rides and not person.sits_on:
            mine = {"sits_on": thing.id, "pose": "sitting"}
        elif thing.category in ("cup", "book", "lamp", "flower pot", "laptop"):
            tables = [t for t in things if t.category == "table"]
            if tables:
                things[index] = _with(thing, stands_on=tables[0].id, depth=tables[0].depth)
            continue
        else:
            continue
        half = 0.5 * (thing.box[2] - thing.box[0])
        moved = _with(
            thing,
            centre=(x, thing.centre[1]),
            box=(x - half, thing.box[1], x + half, thing.box[3]),
            depth=person.depth,
            **changes,
        )
        things[index] = moved
        where = things.index(person)
        things[where] = _with(person, **mine)
        people[people.index(person)] = things[where]


def _with(thing: Instance, **changes: object) -> Instance:
    fields = {name: getattr(thing, name) for name in Instance.__slots__}
    return Instance(**(fields | changes))
