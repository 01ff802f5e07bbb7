"""Casting a scene: who and what is in it, in which colours, related how."""

from __future__ import annotations

from random import Random

from training.drawing.backgrounds import INDOOR, OUTDOOR
from training.drawing.groups import HELD, ON_TABLES, Group, Member, make_member, size_of
from training.drawing.style import Style
from training.scene import ANIMALS, COLOURS, HELD_OUT, PEOPLE, THINGS

_COATS = {
    "dog": ("brown", "black", "white", "grey", "orange", "brown"),
    "cat": ("black", "white", "grey", "orange", "brown"),
    "horse": ("brown", "black", "white", "grey", "brown"),
    "cow": ("brown", "black", "white", "brown"),
    "sheep": ("white", "white", "black", "grey"),
}
NOT_INDOORS = frozenset(("car", "bicycle", "horse", "cow", "sheep", "boat", "kite"))
_NOT_OUTDOORS = frozenset(("lamp", "laptop", "cup"))
_AIRBORNE = ("kite", "balloon", "bird")


class Casting:
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
            return category not in NOT_INDOORS
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


def _relations(casting: Casting, rng: Random) -> list[str]:
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


def cast(
    casting: Casting, style: Style, n: int, forced: tuple[str, str] | None, rng: Random
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
