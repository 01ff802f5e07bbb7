"""Descriptions that are true of a scene's things: the bricks that expressions are built from."""

from __future__ import annotations

from random import Random

from training.language import lexicon
from training.language.programs import Program, View, evaluate
from training.scene import ANIMALS, PEOPLE, PERSONS, Instance

_PERSONS = frozenset(PERSONS)
_BEASTS = frozenset(ANIMALS)


class Unsuitable(Exception):
    """The scene holds nothing that this kind of expression could be about."""


class Describer:
    """Finds words that are true of a scene's things."""

    def __init__(self, view: View, r: Random) -> None:
        self.view = view
        self.r = r

    def target(self) -> Instance:
        """Any instance."""
        return self.r.choice(self.view.things)

    def wide(self, thing: Instance, general: float = 0.35) -> tuple[str, ...]:
        """A category set of a thing that has a noun, now and then a general one."""
        c = thing.category
        if c in _PERSONS:
            if self.r.random() < general:
                kin = lexicon.KIDS if c in lexicon.KIDS else lexicon.ADULTS
                return PEOPLE if self.r.random() < 0.6 else kin
        elif c in _BEASTS and self.r.random() < 0.4 * general:
            return ANIMALS
        return (c,)

    def describe(self, thing: Instance, *mods: Program, general: float = 0.35) -> Program:
        """A description of a thing by its category and given modifiers."""
        return ("d", self.wide(thing, general), tuple(mods))

    def dress(self, t: Instance) -> Program:
        """What colour it is, or what somebody wears."""
        r = self.r
        if t.category not in _PERSONS or r.random() < 0.45:
            return ("colour", t.colour)
        if "dress" in t.parts:
            return ("dress", r.choice((t.colour, t.colour, "")))
        if r.random() < 0.75 or not t.parts.get("bottom"):
            return ("top", t.colour)
        return ("bottom", t.parts["bottom"])

    def attribute(self, t: Instance) -> Program:
        """Something other than place or neighbours that is true of it."""
        r = self.r
        ways: list[Program] = []
        if t.category in _PERSONS:
            for part in ("hat", "bag"):
                worn = t.parts.get(part)
                if worn:
                    ways += [(part, worn), (part, worn), (part, "")]
                elif r.random() < 0.35:
                    ways.append(("not", (part, "")))
            if "hair" in t.parts:
                ways.append(("hair", t.parts["hair"]))
            if "glasses" in t.parts:
                ways += [("glasses",), ("glasses",)]
            elif r.random() < 0.15:
                ways.append(("not", ("glasses",)))
            if "beard" in t.parts:
                ways += [("beard",), ("beard",)]
            if t.pose:
                ways.append(("pose", t.pose))
            if t.parts.get("bottom") and "dress" not in t.parts:
                ways.append(("bottom", t.parts["bottom"]))
            if "dress" in t.parts:
                ways.append(("dress", r.choice((t.colour, ""))))
            if r.random() < 0.1:
                ways.append(("not", ("colour", self.other_colour(t.colour))))
        else:
            if r.random() < 0.1:
                ways.append(("not", ("colour", self.other_colour(t.colour))))
            ways.append(("colour", t.colour))
        for size in () if t.category in _PERSONS else ("big", "small"):
            if self.view.modifier(("size", size))[0] >> self.view.things.index(t) & 1:
                ways += [("size", size)] * 2
        return r.choice(ways)

    def other_colour(self, colour: str) -> str:
        """Another colour that the scene shows, if there is one."""
        others = [t.colour for t in self.view.things if t.colour != colour]
        return self.r.choice(others) if others else ("red" if colour != "red" else "blue")

    def place(self, t: Instance) -> Program:
        """A place that a thing is in, or nearly."""
        x, y = t.centre
        ways = []
        if x < 0.4:
            ways += ["left"] * 4
        if x > 0.6:
            ways += ["right"] * 4
        if 0.39 < x < 0.61:
            ways += ["middle"] * 3
        if y < 0.36:
            ways += ["top", *[f"top {w}" for w in ways if w in ("left", "right")][:1]]
        if y > 0.64:
            ways += ["bottom", *[f"bottom {w}" for w in ways if w in ("left", "right")][:1]]
        if not ways:
            raise Unsuitable
        return ("at", self.r.choice(ways))

    def phrase(self, d: Program, plural: bool = True) -> Program:
        """A description with a determiner that suits how many it fits."""
        r = self.r
        yes, maybe = self.view.description(d)
        many = yes.bit_count()
        if maybe or not many:
            raise Unsuitable
        if many == 1:
            if r.random() < 0.06 and plural:
                return ("all", d)
            return (self.single(d), d)
        if not plural:
            raise Unsuitable
        if r.random() < 0.15 and d[1] != ("sheep",):
            return ("bare", d)
        return ("all", d)

    def single(self, d: Program) -> str:
        """A determiner for one thing."""
        if d[1] == ("sheep",):
            return "the"
        return "the" if self.r.random() < 0.5 else "bare"

    def unique(self, t: Instance, depth: int = 1, related: bool = False) -> Program:
        """A phrase that refers to this thing alone.

        Args:
            t: the thing.
            depth: how many modifiers it may take at most.
            related: it stands inside another phrase, so it stays short.
        Raises:
            Unsuitable: none was found.
        """
        r = self.r
        general = 0.15 if related else 0.3
        bit = 1 << self.view.things.index(t)
        first = 0 if r.random() < (0.6 if related else 0.35) else 1
        for count in range(first, depth + 1):
            for _ in range(2):
                mods = self.some_mods(t, count)
                d: Program = ("d", self.wide(t, general), mods)
                p = (self.single(d), d)
                if evaluate(self.view, p) == bit:
                    return p
        raise Unsuitable

    def some_mods(self, t: Instance, count: int) -> tuple[Program, ...]:
        """Different modifiers that are true of a thing."""
        mods: list[Program] = []
        for _ in range(count):
            roll = self.r.random()
            if roll < 0.5:
                mod = self.dress(t)
            elif roll < 0.8 and t.category in _PERSONS:
                mod = self.attribute(t)
            else:
                mod = self.place(t)
            if compatible(mod, mods):
                mods.append(mod)
        return tuple(mods)

    def group(self, least: int = 2, mods: int = 0) -> Program:
        """A description that fits several things."""
        view, r = self.view, self.r
        for _ in range(6):
            t = self.target()
            d: Program = ("d", self.wide(t, 0.55), self.some_mods(t, mods))
            yes, maybe = view.description(d)
            if not maybe and yes.bit_count() >= least:
                return d
            if r.random() < 0.3 and mods:
                mods -= 1
        raise Unsuitable


_GROUPS = {"colour": "clothes", "top": "clothes", "bottom": "bottom", "dress": "clothes"}


def compatible(mod: Program, others: tuple[Program, ...] | list[Program]) -> bool:
    """Whether a modifier says something that the others do not say already."""

    def group(m: Program) -> str:
        head: str = m[1][0] if m[0] in ("not", "or") else m[0]
        return _GROUPS.get(head, head)

    return all(group(mod) != group(m) for m in others)
