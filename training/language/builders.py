"""Programs that are true of a scene, one builder for each kind of expression.

A builder looks at what the scene holds and proposes a program; the caller executes it and keeps it
where it has a clear, non-empty set of referents.
"""

from __future__ import annotations

from training.language.describing import Describer, Unsuitable, compatible
from training.language.programs import UNKNOWN, Program, View, evaluate
from training.scene import ANIMALS, PERSONS, Instance

KINDS = (
    "category", "attribute", "colour", "location", "superlative", "relation", "counting",
    "exclusion", "compound", "possession", "ordinal", "foreground", "shared",
)  # fmt: skip

_PERSONS = frozenset(PERSONS)
_BEASTS = frozenset(ANIMALS)
_PLACES = ("left", "right", "middle", "top", "bottom")
_RELATED = ("next", "left", "right", "front", "behind", "holds", "rides", "sits", "stands", "owns",
            "held", "ridden", "seats", "bears")  # fmt: skip


class Builder(Describer):
    """Proposes programs about one scene."""

    def build(self, kind: str) -> Program:
        """A program of a kind, likely to be true of the scene.

        Raises:
            Unsuitable: the scene has nothing for it.
        """
        made: Program = getattr(self, _METHODS.get(kind, kind))()
        return made

    def category(self) -> Program:
        """Such as "dogs"."""
        return self.phrase(self.describe(self.target(), general=0.45))

    def colour(self) -> Program:
        """Such as "kid in blue", "red ball"."""
        t = self.target()
        return self.phrase(self.describe(t, self.dress(t)))

    def by_attribute(self) -> Program:
        """Such as "woman with glasses"."""
        r = self.r
        t = self.target()
        mods: tuple[Program, ...] = (self.attribute(t),)
        if mods[0][0] == "colour":
            raise Unsuitable
        roll = r.random()
        if roll < 0.35:
            extra = self.dress(t)
            if compatible(extra, mods):
                mods = (extra, *mods)
        elif roll < 0.5:
            extra = self.attribute(t)
            if compatible(extra, mods):
                mods = (*mods, extra)
        return self.phrase(self.describe(t, *mods))

    def location(self) -> Program:
        """Such as "dog on the left"."""
        r = self.r
        t = self.target()
        mods: list[Program] = [self.place(t)]
        roll = r.random()
        if roll < 0.3:
            mods.insert(0, self.dress(t))
        elif roll < 0.4 and t.category in _PERSONS:
            mods.insert(0, self.attribute(t))
        return self.phrase(self.describe(t, *mods, general=0.45))

    def superlative(self) -> Program:
        """Such as "the tallest man"."""
        r = self.r
        d = self.group(2, mods=1 if r.random() < 0.2 else 0)
        if any(m[0] in ("at", "size") for m in d[2]):
            raise Unsuitable
        return ("super", self.key(d), 1, d)

    def key(self, d: Program) -> str:
        """What to compare things of a description by."""
        keys = ["left", "right", "far left", "far right"] * 2 + ["big", "small", "near", "far"]
        if _PERSONS.issuperset(d[1]):
            keys += ["tall", "short"]
            keys = [k for k in keys if k not in ("big", "small")] + ["big"]
        elif set(d[1]) <= {"kite", "balloon", "bird"}:
            keys += ["high", "low"] * 2
        return self.r.choice(keys)

    def relation(self) -> Program:
        """Such as "the boy next to a dog"."""
        r = self.r
        if r.random() < 0.08:
            return self.between()
        if r.random() < 0.22:
            return self.counted_relation()
        name, a, b = self.related_pair(_RELATED)
        mod: Program = ("rel", name, self.other(b))
        mods: tuple[Program, ...] = (mod,)
        if r.random() < 0.3:
            extra = self.dress(a)
            mods = (extra, mod)
        elif r.random() < 0.1:
            extra = self.place(a)
            if extra[1] in ("left", "right") and name not in ("left", "right"):
                mods = (extra, mod)
        if name in ("holds", "rides", "sits", "owns") and r.random() < 0.1:
            return self.phrase(("d", self.wide(a, 0.6), (("not", mod),)))
        return self.phrase(self.describe(a, *mods))

    def related_pair(self, names: tuple[str, ...]) -> tuple[str, Instance, Instance]:
        """A relation and two things that surely stand in it; rarer relations are not drowned."""
        view, r = self.view, self.r
        order = list(names)
        r.shuffle(order)
        for name in order:
            rows = view.related(name)
            pairs = [(i, yes) for i, (yes, _) in enumerate(rows) if yes]
            if pairs:
                i, yes = r.choice(pairs)
                b = r.choice(view.members(yes))
                if name in ("left", "right") and r.random() < 0.4:
                    continue
                return name, view.things[i], b
        raise Unsuitable

    def other(self, b: Instance) -> Program:
        """A short phrase for a relation's object."""
        r = self.r
        mods: tuple[Program, ...] = ()
        roll = r.random()
        if roll < 0.35:
            mods = (self.dress(b),)
        elif roll < 0.45 and b.category in _PERSONS:
            mods = (self.attribute(b),)
        d: Program = ("d", self.wide(b, 0.2), mods)
        yes, maybe = self.view.description(d)
        if yes.bit_count() == 1 and not maybe and r.random() < 0.5:
            return ("the", d)
        return ("a", d)

    def between(self) -> Program:
        """Such as "the dog between the two men"."""
        view, r = self.view, self.r
        order = sorted(view.things, key=lambda t: t.centre[0])
        if len(order) < 3:
            raise Unsuitable
        i = r.randrange(1, len(order) - 1)
        a, b, c = order[i], r.choice(order[:i]), r.choice(order[i + 1 :])
        if r.random() < 0.4 and b.category == c.category:
            mod: Program = ("between", ("count", 2, ("d", (b.category,), ())), None)
        else:
            first, second = self.other(b), self.other(c)
            mod = ("between", ("the", first[1]), ("the", second[1]))
        return self.phrase(self.describe(a, mod))

    def counted_relation(self) -> Program:
        """Such as "bike with two people next to it"."""
        view, r = self.view, self.r
        name, a, b = self.related_pair(("next", "seats", "owns", "bears", "next"))
        i = view.things.index(a)
        d: Program = ("d", self.wide(b, 0.6), ())
        yes, _ = view.description(d)
        n = (view.related(name)[i][0] & yes).bit_count()
        if n > 3 or (n == 1 and r.random() < 0.5):
            raise Unsuitable
        return self.phrase(self.describe(a, ("nrel", name, n, d)), plural=r.random() < 0.5)

    def counting(self) -> Program:
        """Such as "two kids on the right"."""
        view, r = self.view, self.r
        roll = r.random()
        if roll < 0.22:
            d = self.group(3, mods=0)
            yes, _ = view.description(d)
            n = r.randrange(2, min(4, yes.bit_count())) if yes.bit_count() > 2 else 2
            return ("super", r.choice(("left", "right", "far left", "far right", "near")), n, d)
        if roll < 0.3:
            return self.counted_relation()
        least = 1 if r.random() < 0.15 else 2
        d = self.group(least, mods=0 if r.random() < 0.45 else 1)
        if r.random() < 0.3 and not any(m[0] == "at" for m in d[2]):
            yes, _ = view.description(d)
            place = self.place(r.choice(view.members(yes)))
            d = ("d", d[1], (*d[2], place))
        yes, maybe = view.description(d)
        if maybe or not yes:
            raise Unsuitable
        return ("count", yes.bit_count(), d)

    def exclusion(self) -> Program:
        """Such as "everyone except the man in white"."""
        view, r = self.view, self.r
        d = self.group(2, mods=1 if r.random() < 0.15 else 0)
        yes, _ = view.description(d)
        t = r.choice(view.members(yes))
        roll = r.random()
        if roll < 0.1 and yes.bit_count() > 2:
            keys = ("left", "right", "near", "far", "far left", "far right")
            return ("except", d, ("super", r.choice(keys), 1, d))
        if roll < 0.55:
            mods = (*d[2], *self.some_mods(t, 1))
            inner: Program = ("d", d[1] if r.random() < 0.6 else self.wide(t), mods)
        else:
            inner = ("d", self.wide(t), self.some_mods(t, r.choice((0, 1))))
        if inner == d:
            raise Unsuitable
        out = self.phrase(inner)
        if out[0] == "bare":
            out = ("the" if (view.description(inner)[0]).bit_count() == 1 else "all", inner)
        return ("except", d, out)

    def compound(self) -> Program:
        """Such as "girl in red and the dog"."""
        view, r = self.view, self.r
        roll = r.random()
        if roll < 0.16:
            return self.alternatives()
        if roll < 0.24:
            a, b = r.sample(view.things, 2)
            first = ("all", ("d", self.wide(a), ()))
            return ("either", first, ("all", ("d", self.wide(b), ())))
        count = 3 if len(view.things) > 3 and r.random() < 0.2 else 2
        parts = []
        for t in r.sample(view.things, count):
            if r.random() < 0.75:
                parts.append(self.unique(t, depth=1 if count == 3 else 2, related=count == 3))
            else:
                parts.append(self.phrase(("d", self.wide(t), self.some_mods(t, r.choice((0, 1))))))
        # What has modifiers comes first: "girl and woman in white" could mean both in white.
        parts.sort(key=lambda p: -len(p[-1][2]))
        return ("and", *parts)

    def alternatives(self) -> Program:
        """ "A with B or C"."""
        r = self.r
        t = self.target()
        if t.category not in _PERSONS:
            other = self.other_colour(t.colour)
            ways: list[tuple[Program, Program]] = [(("colour", t.colour), ("colour", other))]
        else:
            held = [b for b in self.view.things if b.owner == t.id or b.id in t.holds]
            some: list[Program] = [("hat", ""), ("bag", ""), ("glasses",)]
            first: list[Program] = [(p, c) for p, c in t.parts.items() if p in ("hat", "bag")]
            if "glasses" in t.parts:
                first.append(("glasses",))
            ways = [(a, b) for a in first for b in some if a[0] != b[0]]
            if t.colour:
                ways.append((("colour", t.colour), ("colour", self.other_colour(t.colour))))
            for b in held:
                c = r.choice(self.view.things)
                mine: Program = ("rel", "owns", ("a", ("d", (b.category,), ())))
                if c.category != b.category and c.category not in _PERSONS:
                    ways.append((mine, ("rel", "owns", ("a", ("d", (c.category,), ())))))
                ways.append((mine, r.choice(some)))
        one, two = r.choice(ways)
        if r.random() < 0.5:
            one, two = two, one
        if one == two:
            raise Unsuitable
        return self.phrase(("d", self.wide(t, 0.5), (("or", one, two),)))

    def possession(self) -> Program:
        """Such as "left girl and her dog", "the girl's dog"."""
        view, r = self.view, self.r
        name, a, b = self.related_pair(("owns",))
        del name
        roll = r.random()
        thing: Program = ("d", self.wide(b, 0.1), () if r.random() < 0.75 else (self.dress(b),))
        if roll < 0.5:
            return ("own", self.unique(a, depth=2), thing)
        if roll < 0.8:
            owner: Program = (
                "the",
                ("d", self.wide(a), () if r.random() < 0.6 else (self.dress(a),)),
            )
            d: Program = ("d", thing[1], (*thing[2], ("rel", "owned", owner)))
            return (self.single(d) if not view.description(owner[1])[1] else "the", d)
        return self.phrase(self.describe(a, ("rel", "owns", ("a", thing))))

    def ordinal(self) -> Program:
        """Such as "the second person from left"."""
        view, r = self.view, self.r
        d = self.group(2, mods=1 if r.random() < 0.12 else 0)
        if any(m[0] in ("at", "size") for m in d[2]):
            raise Unsuitable
        yes, _ = view.description(d)
        k = r.randrange(2, min(yes.bit_count(), 4) + 1)
        if r.random() < 0.15 and k < 4:
            tall = _PERSONS.issuperset(d[1])
            return ("ordinal", "tall" if tall else r.choice(("big", "small")), k, d)
        return ("ordinal", r.choice(("left", "right")), k, d)

    def foreground(self) -> Program:
        """Such as "foreground", "the person in the foreground"."""
        r = self.r
        if r.random() < 0.25:
            return ("plane", "front" if r.random() < 0.7 else "back")
        t = self.target()
        if 0.38 <= t.depth <= 0.62:
            raise Unsuitable
        mods: list[Program] = [("plane", "front" if t.depth > 0.5 else "back")]
        if r.random() < 0.25:
            mods.insert(0, self.dress(t))
        return self.phrase(self.describe(t, *mods, general=0.6))

    def shared(self) -> Program:
        """Such as "the right lady in blue and kid in white"."""
        view, r = self.view, self.r
        if r.random() < 0.5:
            side = r.choice(("left", "right"))
            yes, _ = view.modifier(("at", side))
            here = view.members(yes)
            if len(here) < 2:
                raise Unsuitable
            a, b = r.sample(here, 2)
            return (
                "shared",
                side,
                self.describe(a, self.dress(a)) if r.random() < 0.75 else self.describe(a),
                self.describe(b, self.dress(b)),
            )
        t = self.target()
        ways = [self.dress(t), self.attribute(t)]
        if r.random() < 0.6:
            ways.append(self.place(t))
        mods: list[Program] = []
        for mod in r.sample(ways, 2):
            if compatible(mod, mods):
                mods.append(mod)
        d: Program = ("d", self.wide(t, 0.7), tuple(mods))
        yes, maybe = view.description(d)
        if maybe or yes.bit_count() < 2 or len(mods) < 2:
            raise Unsuitable
        return ("count", yes.bit_count(), d) if r.random() < 0.3 else ("all", d)


_METHODS = {"attribute": "by_attribute"}  # kinds whose method has another name


def referents(view: View, program: Program) -> int:
    """The mask of a program's referents, 0 where there are none or it cannot be said."""
    mask = evaluate(view, program)
    return 0 if mask == UNKNOWN else mask
