"""The executable meaning of a referring expression.

A program is a nested tuple of strings and numbers, so it is hashable, picklable and, as nested
lists, JSON. Executed on a scene it gives the ids of its referents: an empty set where it refers to
nothing (no-target), None where a careful person could not say (a borderline place, "the man in
white" where two are), so that the pair is left out.

Descriptions: ``("d", categories, modifiers)``; modifiers restrict it:

    ("colour", c)  of a thing or animal, or what a person is dressed in
    ("top", c) ("bottom", c) ("dress", c or "") ("hat", c or "") ("bag", c or "")
    ("hair", c) ("glasses",) ("beard",) ("pose", p) ("size", "big" | "small")
    ("at", place) ("plane", "front" | "back")
    ("rel", relation, phrase)  stands in the relation to one of the phrase's referents
    ("nrel", relation, n, description)  ... to exactly n things of the description
    ("between", phrase, phrase or None)  between the two (or between the first one's two)
    ("not", modifier) ("or", modifier, modifier)

Phrases, each a whole program:

    ("the", d)  exactly one, else ambiguous      ("a", d)  one, whichever (inside relations)
    ("bare", d)  singular noun, no article: all that match
    ("all", d)  plural: all that match            ("count", n, d)  exactly n
    ("super", key, n, d)  the n first by key       ("ordinal", key, k, d)  the k-th by key
    ("except", d, phrase)  all but those          ("and", phrase, phrase, ...)  each must exist
    ("either", phrase, phrase)  one may be missing
    ("own", phrase, d)  somebody and the one d that belongs to them
    ("plane", where)  all in the foreground or background
    ("shared", place, d, d)  the one d and the other one d, both in the place

An exclusion whose excluded part is missing refers to nothing: "everyone except the man in white"
presupposes him.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from training.language import ranking, relations
from training.language.relations import MAYBE, NO, YES
from training.language.traits import TRAITS
from training.scene import PEOPLE, Instance, Scene

Program = tuple[Any, ...]

UNKNOWN = -1  # instead of a bit mask: cannot be said


class View:
    """A scene prepared for execution: sets of instances are bit masks over their order."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.things = scene.instances
        self.everything = (1 << len(self.things)) - 1
        # One bit more stands for whatever may be there and nobody marked.
        self.unmarked = 0 if scene.known is None else 1 << len(self.things)
        self.faint = sum(1 << i for i, thing in enumerate(self.things) if thing.faint)
        self.by_category: dict[str, int] = {}
        for index, thing in enumerate(self.things):
            bit = 1 << index
            self.by_category[thing.category] = self.by_category.get(thing.category, 0) | bit
        self._sets: dict[Program, tuple[int, int]] = {}
        self._related: dict[str, list[tuple[int, int]]] = {}

    def category(self, names: tuple[str, ...]) -> tuple[int, int]:
        """The masks of instances that surely and perhaps are of any of some categories."""
        yes = maybe = 0
        for name in names:
            yes |= self.by_category.get(name, 0)
        somebody = self.by_category.get("person", 0)
        if somebody and "person" not in names and not set(PEOPLE).isdisjoint(names):
            if set(PEOPLE) <= set(names):
                yes |= somebody
            else:
                maybe = somebody
        if self.scene.known is not None and not self.scene.known.issuperset(names):
            maybe |= self.unmarked
        return yes & ~self.faint, maybe | yes & self.faint

    def ids(self, mask: int) -> frozenset[int]:
        """The ids of a mask's instances."""
        return frozenset(t.id for i, t in enumerate(self.things) if mask >> i & 1)

    def members(self, mask: int) -> list[Instance]:
        """A mask's instances."""
        return [t for i, t in enumerate(self.things) if mask >> i & 1]

    def mask(self, members: Iterable[Instance]) -> int:
        """The mask of some instances."""
        ids = {t.id for t in members}
        return sum(1 << i for i, t in enumerate(self.things) if t.id in ids)

    def related(self, name: str) -> list[tuple[int, int]]:
        """For each instance, the masks of those to which it surely and perhaps has a relation."""
        if name not in self._related:
            rows = []
            for a in self.things:
                yes = maybe = 0
                for j, b in enumerate(self.things):
                    if a is not b:
                        value = relations.relation(name, a, b)
                        if value == YES:
                            yes |= 1 << j
                        elif value == MAYBE:
                            maybe |= 1 << j
                rows.append((yes, maybe))
            self._related[name] = rows
        return self._related[name]

    def modifier(self, mod: Program) -> tuple[int, int]:
        """The masks of instances of which a modifier is surely and perhaps true."""
        known = self._sets.get(mod)
        if known is None:
            yes, maybe = self._modifier(mod)
            known = self._sets[mod] = yes, maybe | self.unmarked
        return known

    def _modifier(self, mod: Program) -> tuple[int, int]:
        kind = mod[0]
        if kind == "not":
            yes, maybe = self.modifier(mod[1])
            return self.everything & ~(yes | maybe), maybe & self.everything
        if kind == "or":
            yes, maybe = self.modifier(mod[1])
            yes_too, maybe_too = self.modifier(mod[2])
            yes |= yes_too
            return yes, (maybe | maybe_too) & ~yes
        if kind == "rel":
            return self._rel(mod[1], mod[2])
        if kind == "nrel":
            return self._nrel(mod[1], mod[2], mod[3])
        if kind == "between":
            return self._between(mod[1], mod[2])
        if kind == "size":
            return self._size(mod[1])
        yes = maybe = 0
        judge = TRAITS[kind]
        for i, thing in enumerate(self.things):
            value = judge(thing, *mod[1:])
            if value == NO and kind in thing.unsure:
                value = MAYBE
            if value == YES:
                yes |= 1 << i
            elif value == MAYBE:
                maybe |= 1 << i
        return yes, maybe

    def _rel(self, name: str, phrase: Program) -> tuple[int, int]:
        if phrase[0] == "a":
            certain, perhaps = self.description(phrase[1])
        else:
            certain, perhaps = evaluate(self, phrase), 0
            if certain == UNKNOWN:
                certain, perhaps = 0, self.everything
        if perhaps & self.unmarked:  # what nobody marked may stand in the relation to anything
            return 0, self.everything
        yes = maybe = 0
        for i, (sure, unsure) in enumerate(self.related(name)):
            if sure & certain:
                yes |= 1 << i
            elif (sure | unsure) & (certain | perhaps):
                maybe |= 1 << i
        return yes, maybe

    def _nrel(self, name: str, n: int, description: Program) -> tuple[int, int]:
        certain, perhaps = self.description(description)
        if perhaps & self.unmarked:
            return 0, self.everything
        yes = maybe = 0
        for i, (sure, unsure) in enumerate(self.related(name)):
            least = (sure & certain).bit_count()
            most = ((sure | unsure) & (certain | perhaps)).bit_count()
            if least == most == n:
                yes |= 1 << i
            elif least <= n <= most:
                maybe |= 1 << i
        return yes, maybe

    def _between(self, first: Program, second: Program | None) -> tuple[int, int]:
        ends = evaluate(self, first)
        if second is not None:
            other = evaluate(self, second)
            if ends == 0 or other == 0:
                return 0, 0
            if ends == UNKNOWN or other == UNKNOWN:
                return 0, self.everything
            if ends & other or ends.bit_count() != 1 or other.bit_count() != 1:
                return 0, self.everything
            ends |= other
        if ends == 0:
            return 0, 0
        if ends == UNKNOWN or ends.bit_count() != 2:
            return 0, self.everything
        b, c = self.members(ends)
        yes = maybe = 0
        for i, a in enumerate(self.things):
            if not ends >> i & 1:
                value = relations.between(a, b, c)
                if value == YES:
                    yes |= 1 << i
                elif value == MAYBE:
                    maybe |= 1 << i
        return yes, maybe

    def _size(self, size: str) -> tuple[int, int]:
        """Big and small as the eye has them: against the others of the category."""
        yes = maybe = 0
        for i, thing in enumerate(self.things):
            areas = [t.area for t in self.things if t.category == thing.category and t is not thing]
            if not areas:
                maybe |= 1 << i
                continue
            ratio = thing.area * len(areas) / max(sum(areas), 1e-9)
            value = relations.band(1 / ratio if size == "big" else ratio, 1 / 1.6, 1 / 1.1)
            if value == YES:
                yes |= 1 << i
            elif value == MAYBE:
                maybe |= 1 << i
        return yes, maybe

    def description(self, d: Program) -> tuple[int, int]:
        """The masks of instances that a description surely and perhaps fits."""
        yes, maybe = self.category(d[1])
        for mod in d[2]:
            sure, unsure = self.modifier(mod)
            possible = (yes | maybe) & (sure | unsure)
            yes &= sure
            maybe = possible & ~yes
        return yes, maybe


def evaluate(view: View, phrase: Program) -> int:
    """The mask of a phrase's referents, 0 for none, UNKNOWN where it cannot be said."""
    return _PHRASES[phrase[0]](view, *phrase[1:])


def _without_place(d: Program) -> Program | None:
    mods = tuple(m for m in d[2] if m[0] != "at")
    return None if len(mods) == len(d[2]) else ("d", d[1], mods)


def _one(view: View, d: Program) -> int:
    yes, maybe = view.description(d)
    count = yes.bit_count()
    if maybe or count > 1:
        return UNKNOWN
    return yes or _none_there(view, d)


def _none_there(view: View, d: Program) -> int:
    """Nothing, unless a place can be meant among others: the left one of two on the right."""
    wider = _without_place(d)
    if wider is not None:
        yes, maybe = view.description(wider)
        if (yes | maybe).bit_count() > 1:
            return UNKNOWN
    return 0


def _bare(view: View, d: Program) -> int:
    yes, maybe = view.description(d)
    if maybe:
        return UNKNOWN
    return yes or _none_there(view, d)


def _all(view: View, d: Program) -> int:
    yes, maybe = view.description(d)
    return UNKNOWN if maybe else yes


def _count(view: View, n: int, d: Program) -> int:
    yes, maybe = view.description(d)
    least, most = yes.bit_count(), (yes | maybe).bit_count()
    if least == most == n:
        return yes
    if least <= n <= most:
        return UNKNOWN
    wider = _without_place(d)
    if wider is not None:
        # "the two dogs on the left" of three: perhaps the leftmost two are meant.
        places = [m[1] for m in d[2] if m[0] == "at"]
        yes, maybe = view.description(wider)
        axis = [t.centre[0] for t in view.members(yes | maybe)]
        if places[0] == "right":
            axis = [1.0 - x for x in axis]
        if places[0] not in ("left", "right"):
            return UNKNOWN if len(axis) > n else 0
        if len(axis) > n and sorted(axis)[n - 1] < 0.6:
            return UNKNOWN
    return 0


def _super(view: View, key: str, n: int, d: Program) -> int:
    yes, maybe = view.description(d)
    if (yes | maybe).bit_count() < n:
        return 0
    if maybe or yes.bit_count() == n:
        return UNKNOWN
    order = ranking.ranked(view.members(yes), key)
    edge, last = order[n - 1]
    clear = ranking.apart(key, edge, order[n][0])
    if not clear or not ranking.as_in_life(key, view.members(yes), last):
        return UNKNOWN
    if (key == "far left" and edge > 0.4) or (key == "far right" and edge > -0.6):
        return UNKNOWN
    return view.mask(thing for _, thing in order[:n])


def _ordinal(view: View, key: str, k: int, d: Program) -> int:
    yes, maybe = view.description(d)
    if (yes | maybe).bit_count() < k:
        return 0
    if maybe:
        return UNKNOWN
    order = ranking.ranked(view.members(yes), key)
    if not ranking.as_in_life(key, view.members(yes), order[k - 1][1]):
        return UNKNOWN
    for (first, _), (second, _) in pairwise(order[: k + 1]):
        if not ranking.apart(key, first, second):
            return UNKNOWN
    return view.mask([order[k - 1][1]])


def _except(view: View, d: Program, phrase: Program) -> int:
    yes, maybe = view.description(d)
    if not yes and not maybe:
        return 0
    out = evaluate(view, phrase)
    if out == 0:
        return 0
    if out == UNKNOWN or maybe or out & ~yes:
        return UNKNOWN
    return yes & ~out


def _and(view: View, *phrases: Program) -> int:
    # "girl and the dog": one girl is meant, though "girl" alone may find many.
    masks = [
        _one(view, phrase[1]) if phrase[0] == "bare" else evaluate(view, phrase)
        for phrase in phrases
    ]
    if 0 in masks:
        return 0
    if UNKNOWN in masks:
        return UNKNOWN
    union = 0
    for mask in masks:
        if union & mask:
            return UNKNOWN
        union |= mask
    return union


def _either(view: View, *phrases: Program) -> int:
    masks = [evaluate(view, phrase) for phrase in phrases]
    if UNKNOWN in masks:
        return UNKNOWN
    union = 0
    for mask in masks:
        union |= mask
    return union


def _own(view: View, phrase: Program, d: Program) -> int:
    yes, maybe = view.description(d)
    owners = _one(view, phrase[1]) if phrase[0] == "bare" else evaluate(view, phrase)
    if not (yes | maybe) or owners == 0:
        return 0
    if owners == UNKNOWN:
        return UNKNOWN
    theirs = 0
    for i, (sure, _) in enumerate(view.related("owns")):
        if owners >> i & 1:
            theirs |= sure
    if theirs & maybe:
        return UNKNOWN
    theirs &= yes
    if theirs.bit_count() > 1:
        return UNKNOWN
    return owners | theirs if theirs else 0


def _plane(view: View, where: str) -> int:
    yes, maybe = view.modifier(("plane", where))
    return UNKNOWN if maybe & view.everything else yes


def _shared(view: View, place: str, first: Program, second: Program) -> int:
    def placed(d: Program) -> Program:
        return ("the", ("d", d[1], (*d[2], ("at", place))))

    both = _and(view, placed(first), placed(second))
    only_first = _and(view, placed(first), ("the", second))
    return both if both == only_first else UNKNOWN


_PHRASES: dict[str, Any] = {
    "the": _one,
    "a": _one,
    "bare": _bare,
    "all": _all,
    "count": _count,
    "super": _super,
    "ordinal": _ordinal,
    "except": _except,
    "and": _and,
    "either": _either,
    "own": _own,
    "plane": _plane,
    "shared": _shared,
}

_VIEWS: dict[int, View] = {}
_VIEWS_KEPT = 1024


def view_of(scene: Scene) -> View:
    """The prepared form of a scene; the last thousand are kept."""
    view = _VIEWS.get(id(scene))
    if view is None or view.scene is not scene:
        if len(_VIEWS) >= _VIEWS_KEPT:
            _VIEWS.clear()
        view = _VIEWS[id(scene)] = View(scene)
    return view


def execute(program: Program, scene: Scene) -> frozenset[int] | None:
    """The ids of the things that a program refers to in a scene.

    Returns:
        Their ids; empty where it refers to nothing; None where it is ambiguous or borderline.
    """
    view = view_of(scene)
    mask = evaluate(view, program)
    return None if mask == UNKNOWN else view.ids(mask)
