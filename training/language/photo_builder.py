"""Programs that are true of a real photograph, where much is not known of each thing."""

from __future__ import annotations

from training.language.builders import Builder
from training.language.describing import Unsuitable
from training.language.everyday import WIDER
from training.language.programs import Program
from training.language.traits import UNNAMED
from training.scene import PERSONS, Instance

# What geometry and marks tell of a photo; depth is not among it.
_RELATED = ("next", "left", "right", "holds", "rides", "held", "ridden", "stands", "bears")
_MOST_COUNTED = 6  # people do not count further at a glance
_WIDE = tuple(kinds for kinds in WIDER if kinds != PERSONS)


class PhotoBuilder(Builder):
    """Proposes programs about one photograph."""

    def target(self) -> Instance:
        """Anything that is clearly seen; a rarer kind as often as a common one."""
        seen: dict[str, list[Instance]] = {}
        for thing in self.view.things:
            if not thing.faint:
                seen.setdefault(thing.category, []).append(thing)
        if not seen:
            raise Unsuitable
        return self.r.choice(seen[self.r.choice(sorted(seen))])

    def wide(self, thing: Instance, general: float = 0.35) -> tuple[str, ...]:
        """A set of kinds that has a noun: all persons, its own kind, now and then a wider one."""
        kind = thing.category
        if kind in PERSONS:
            return PERSONS if kind == "person" or self.r.random() < general else (kind,)
        if self.r.random() < 0.3 * general:
            wider = [kinds for kinds in _WIDE if kind in kinds]
            if wider:
                return self.r.choice(wider)
        return (kind,)

    def dress(self, t: Instance) -> Program:
        """What colour it surely is, or what somebody surely wears."""
        ways: list[Program] = []
        if t.colour:
            ways.append(("colour", t.colour))
        if t.category in PERSONS:
            if "dress" in t.parts:
                ways.append(("dress", t.colour))
            else:
                if t.colour:
                    ways.append(("top", t.colour))
                if t.parts.get("bottom"):
                    ways.append(("bottom", t.parts["bottom"]))
        if not ways:
            raise Unsuitable
        return self.r.choice(ways)

    def attribute(self, t: Instance) -> Program:
        """Something other than place or neighbours that is surely true of it."""
        r = self.r
        ways: list[Program] = []
        if t.category in PERSONS:
            for part in ("hat", "bag"):
                worn = t.parts.get(part)
                if worn:
                    ways += [(part, ""), (part, "" if worn == UNNAMED else worn)]
                elif part not in t.unsure:
                    ways.append(("not", (part, "")))
            if "glasses" in t.parts:
                ways += [("glasses",), ("glasses",)]
            elif "glasses" not in t.unsure:
                ways.append(("not", ("glasses",)))
            if "dress" in t.parts:
                ways.append(("dress", ""))
            if t.parts.get("bottom") and "dress" not in t.parts:
                ways.append(("bottom", t.parts["bottom"]))
        if t.colour:
            ways.append(("colour", t.colour))
            if r.random() < 0.2:
                ways.append(("not", ("colour", self.other_colour(t.colour))))
        if t.category not in PERSONS and not t.boxed:
            for size in ("big", "small"):
                if self.view.modifier(("size", size))[0] >> self.view.things.index(t) & 1:
                    ways.append(("size", size))
        if not ways:
            raise Unsuitable
        return r.choice(ways)

    def other_colour(self, colour: str) -> str:
        """Another colour that the photo shows, if there is one."""
        others = [t.colour for t in self.view.things if t.colour not in ("", colour)]
        return self.r.choice(others) if others else ("red" if colour != "red" else "blue")

    def key(self, d: Program) -> str:
        """What to compare things of a description by: never how far away they are."""
        keys = ["left", "right", "far left", "far right"] * 2
        yes, _ = self.view.description(d)
        if not any(t.boxed for t in self.view.members(yes)):
            keys += ["big", "small"]
        return self.r.choice(keys)

    def relation(self) -> Program:
        """Such as "the person riding a horse"."""
        r = self.r
        if r.random() < 0.08:
            return self.between()
        name, a, b = self.related_pair(_RELATED)
        mod: Program = ("rel", name, self.other(b))
        mods: tuple[Program, ...] = (mod,)
        if r.random() < 0.25:
            mods = (self.dress(a), mod)
        return self.phrase(self.describe(a, *mods))

    def counting(self) -> Program:
        """Such as "two cups on the right"."""
        r = self.r
        if r.random() < 0.2:
            d = self.group(3, mods=0)
            yes, _ = self.view.description(d)
            n = r.randrange(2, min(4, yes.bit_count()))
            return ("super", r.choice(("left", "right", "far left", "far right")), n, d)
        d = self.group(1 if r.random() < 0.2 else 2, mods=0 if r.random() < 0.55 else 1)
        yes, maybe = self.view.description(d)
        if maybe or not 1 <= yes.bit_count() <= _MOST_COUNTED:
            raise Unsuitable
        return ("count", yes.bit_count(), d)

    def exclusion(self) -> Program:
        """Such as "everyone except the one in white"."""
        view, r = self.view, self.r
        d = self.group(2, mods=1 if r.random() < 0.1 else 0)
        yes, _ = view.description(d)
        t = r.choice(view.members(yes))
        keys = ("left", "right", "far left", "far right")
        if yes.bit_count() > 2 and r.random() < 0.3:
            return ("except", d, ("super", r.choice(keys), 1, d))
        if r.random() < 0.65:
            inner: Program = ("d", d[1], (*d[2], *self.some_mods(t, 1)))
        else:
            inner = ("d", (t.category,), ()) if t.category != "person" else d
        if inner == d:
            raise Unsuitable
        out = self.phrase(inner)
        if out[0] == "bare":
            out = ("the" if view.description(inner)[0].bit_count() == 1 else "all", inner)
        return ("except", d, out)

    def alternatives(self) -> Program:
        """ "A red or blue B"."""
        t = self.target()
        if not t.colour:
            raise Unsuitable
        one, two = ("colour", t.colour), ("colour", self.other_colour(t.colour))
        if self.r.random() < 0.5:
            one, two = two, one
        return self.phrase(("d", self.wide(t, 0.5), (("or", one, two),)))

    def compound(self) -> Program:
        """Such as "the red car and the bus"."""
        if sum(not t.faint for t in self.view.things) < 2:
            raise Unsuitable
        return super().compound()

    def foreground(self) -> Program:
        """Nobody marked what is near."""
        raise Unsuitable

    def possession(self) -> Program:
        """Such as "the person with the umbrella"."""
        name, a, b = self.related_pair(("holds", "rides"))
        del name
        return self.phrase(self.describe(a, ("rel", "owns", ("a", ("d", (b.category,), ())))))
