"""Programs that are nearly true: one thing of a true program changed, the rest left as it is."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from training.language.describing import compatible
from training.language.lexicon import ADULTS, KIDS
from training.language.programs import Program, View
from training.language.traits import UNNAMED
from training.scene import ANIMALS, COLOURS, HAIR_COLOURS, HELD_OUT, PEOPLE, PERSONS, POSES

Path = tuple[int, ...]

_OPPOSITE = {
    "left": ("right", "right", "middle"), "right": ("left", "left", "middle"),
    "top": ("bottom",), "bottom": ("top",), "middle": ("left", "right"),
    "far left": ("far right",), "far right": ("far left",),
    "top left": ("top right", "bottom right", "bottom left"),
    "top right": ("top left", "bottom left", "bottom right"),
    "bottom left": ("bottom right", "top right", "top left"),
    "bottom right": ("bottom left", "top left", "top right"),
    "front": ("back",), "back": ("front",),
}  # fmt: skip
_OTHER_RELATIONS = {
    "next": ("front", "behind", "left", "right"),
    "left": ("right",), "right": ("left",), "front": ("behind",), "behind": ("front",),
    "holds": ("next",), "rides": ("next",), "sits": ("next",),
    "stands": ("next",), "bears": ("next",),
}  # fmt: skip
_COLOURED = ("colour", "top", "bottom", "dress", "hat", "bag")
_WEARABLE = ("hat", "bag", "glasses", "beard")


def slots(program: Program, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """The places in a program where something can be exchanged, with what stands there."""
    kind = program[0]
    if kind == "d":
        yield (*path, 1), "categories"
        yield path, "description"
        for i, mod in enumerate(program[2]):
            yield from _mod_slots(mod, (*path, 2, i))
        return
    if kind in ("count", "super", "ordinal"):
        yield (*path, 1 if kind == "count" else 2), "number"
    if kind == "plane":
        yield (*path, 1), "place"
    if kind == "shared":
        yield (*path, 1), "place"
    for i, part in enumerate(program):
        if isinstance(part, tuple):
            yield from slots(part, (*path, i))


def _mod_slots(mod: Program, path: Path) -> Iterator[tuple[Path, str]]:
    kind = mod[0]
    yield path, "modifier"
    if kind in _COLOURED and mod[1]:
        yield (*path, 1), "colour"
    elif kind == "hair":
        yield (*path, 1), "hair"
    elif kind == "pose":
        yield (*path, 1), "pose"
    elif kind in ("at", "plane"):
        yield (*path, 1), "place"
    elif kind in ("rel", "nrel"):
        yield (*path, 1), "relation"
        if kind == "nrel":
            yield (*path, 2), "number"
        yield from slots(mod[-1], (*path, len(mod) - 1))
    elif kind == "between":
        yield from slots(mod[1], (*path, 1))
        if mod[2] is not None:
            yield from slots(mod[2], (*path, 2))
    elif kind in ("not", "or"):
        for i in range(1, len(mod)):
            yield from _mod_slots(mod[i], (*path, i))


def at_path(program: Program, path: Path) -> object:
    """What stands at a path."""
    value: object = program
    for step in path:
        value = value[step]  # type: ignore[index]
    return value


def replaced(program: Program, path: Path, value: object) -> Program:
    """The program with what stands at a path exchanged."""
    if not path:
        return value  # type: ignore[return-value]
    i = path[0]
    return (*program[:i], replaced(program[i], path[1:], value), *program[i + 1 :])


_WEIGHTS = {"modifier": 0.5, "description": 0.8}


def mutate(view: View, program: Program, r: Random, narrow: bool = True) -> Program | None:
    """The program with one slot changed to something else that the scene mostly shows.

    Args:
        view: of the scene.
        program: true of it.
        r: the source of chance.
        narrow: a description may also get a further modifier, true of something else in the scene.
    """
    places = [(p, kind) for p, kind in slots(program) if narrow or kind != "description"]
    weights = [_WEIGHTS.get(kind, 2.0) for _, kind in places]
    path, kind = r.choices(places, weights)[0]
    old = at_path(program, path)
    new = _other(view, kind, old, r)
    return None if new is None or new == old else replaced(program, path, new)


def _other(view: View, kind: str, old: object, r: Random) -> object:
    if kind == "categories":
        return _other_categories(view, old, r)
    if kind == "description":
        return _narrowed(view, old, r)  # type: ignore[arg-type]
    if kind == "colour":
        seen = [t.colour for t in view.things if t.colour] + [
            c for t in view.things for p, c in t.parts.items() if p in ("bottom", "hat", "bag")
        ]
        return r.choice(seen if r.random() < 0.75 and seen else list(COLOURS))
    if kind == "hair":
        return r.choice(HAIR_COLOURS)
    if kind == "pose":
        return r.choice(POSES)
    if kind == "place":
        return r.choice(_OPPOSITE[str(old)])
    if kind == "number":
        n = int(str(old))
        return r.choice((n + 1, n + 1, n - 1 if n > 2 else n + 2))
    if kind == "relation":
        return r.choice(_OTHER_RELATIONS[str(old)]) if old in _OTHER_RELATIONS else None
    return _other_modifier(old, r)  # type: ignore[arg-type]


def _other_categories(view: View, old: object, r: Random) -> tuple[str, ...]:
    present = sorted(view.by_category)
    if r.random() < 0.7:
        new = r.choice(present)
        if new in PEOPLE and r.random() < 0.15:
            return KIDS if new in KIDS else ADULTS
        return PERSONS if new == "person" else (new,)
    # Somebody else's kin stays related to the photo, another thing does not (rule 1).
    first = old[0]  # type: ignore[index]
    if view.scene.known is None:
        for kin in (PEOPLE, ANIMALS):
            if first in kin:
                return (r.choice(kin),)
        return (r.choice(present),)
    new = r.choice(sorted(view.scene.known - set(PEOPLE)))
    return PERSONS if new == "person" else (new,)


def _narrowed(view: View, d: Program, r: Random) -> Program | None:
    """A description with a colour, a hat or a bag that something else in the scene has."""
    other = r.choice(view.things)
    worn = [(part, c) for part, c in other.parts.items() if part in ("hat", "bag")]
    person = set(d[1]) <= set(PERSONS)
    mod = r.choice(worn) if worn and person and r.random() < 0.4 else ("colour", other.colour)
    if len(d[2]) > 1 or mod[1] in ("", UNNAMED) or not compatible(mod, d[2]):
        return None
    return ("d", d[1], (mod, *d[2]))


def _other_modifier(mod: Program, r: Random) -> Program | None:
    """With for without, and one worn thing for another."""
    kind = mod[0]
    if kind == "not":
        inner: Program = mod[1]
        return inner
    if kind in _WEARABLE:
        if r.random() < 0.5:
            return ("not", (kind, *mod[1:]))
        new = r.choice([k for k in _WEARABLE if k != kind])
        return (new, *mod[1:]) if new in ("hat", "bag") and len(mod) > 1 else (
            (new, "") if new in ("hat", "bag") else (new,))  # fmt: skip
    if kind == "size":
        return ("size", "small" if mod[1] == "big" else "big")
    return None


def held_out(program: Program) -> bool:
    """Whether a program names only colour-category pairs that training must not see."""
    if program[0] == "d":
        cats, mods = program[1], program[2]
        for mod in mods:
            for part in mod[1:] if mod[0] == "or" else (mod,):
                names = part[0] in ("colour", "top", "dress") and part[1]
                if names and all((c, part[1]) in HELD_OUT for c in cats):
                    return True
        return any(_inner_held_out(mod) for mod in mods)
    return any(isinstance(part, tuple) and held_out(part) for part in program)


def _inner_held_out(mod: Program) -> bool:
    return any(
        isinstance(part, tuple)
        and (held_out(part) if part and part[0] in _PHRASE_HEADS else _inner_held_out(part))
        for part in mod
    )


_PHRASE_HEADS = frozenset(("the", "a", "bare", "all", "count", "super", "ordinal", "and", "d"))


def well_formed(program: Program) -> bool:
    """Whether a changed program still says something that a person would say."""
    if program[0] == "d":
        cats, mods = program[1], program[2]
        person = all(c in PERSONS for c in cats)
        if not all(compatible(mod, mods[:i]) for i, mod in enumerate(mods)):
            return False
        return all(_mod_fits(mod, person, cats) for mod in mods)
    if program[0] == "except":
        out = program[2][-1]
        if out == program[1] or not set(out[1]) <= set(program[1][1]):
            return False
    if program[0] == "own" and set(program[2][1]) & set(PERSONS):
        return False
    if program[0] == "shared" and program[1] not in ("left", "right"):
        return False
    if (
        program[0] in ("count", "super")
        and not 1 <= program[1 if program[0] == "count" else 2] <= 9
    ):
        return False
    if program[0] in ("super", "ordinal") and program[1] in ("tall", "short"):
        return set(program[3][1]) <= set(PERSONS) and well_formed(program[3])
    if program[0] == "ordinal" and not 2 <= program[2] <= 5:
        return False
    if program[0] in ("the", "bare") and program[1][1] == ("sheep",) and program[0] == "bare":
        return False
    if program[0] == "either" and set(program[1][1][1]) & set(program[2][1][1]):
        return False
    if program[0] in ("and", "either") and len(set(program[1:])) < len(program) - 1:
        return False
    return all(well_formed(part) for part in program if isinstance(part, tuple))


_ACTORS = ("holds", "rides", "sits", "owns")


def _mod_fits(mod: Program, person: bool, cats: tuple[str, ...]) -> bool:
    kind = mod[0]
    if kind in ("top", "bottom", "dress", "hat", "bag", "hair", "glasses", "pose", "beard"):
        return person and (kind != "beard" or cats == ("man",) or "woman" not in cats)
    if kind == "size":
        return len(cats) == 1 and not person
    if kind == "or":
        if mod[1] == mod[2] or mod[1][0] == "not" or mod[2][0] == "not":
            return False
        return all(_mod_fits(m, person, cats) for m in mod[1:])
    if kind == "not":
        return mod[1][0] != "not" and _mod_fits(mod[1], person, cats)
    if kind in ("rel", "nrel"):
        thing = mod[-1] if kind == "nrel" else mod[2][1]
        if not well_formed(mod[-1]):
            return False
        others = set(thing[1])
        if mod[1] in _ACTORS:
            return person and not others <= set(PERSONS)
        if mod[1] in ("stands", "bears"):
            if (min(others) if mod[1] == "stands" else cats[0]) not in ("table", "dining table"):
                return False
            return not person and not others & set(PERSONS)
        if mod[1] in ("held", "ridden", "seats", "owned"):
            return not person and others <= set(PERSONS)
        return True
    if kind == "between":
        return well_formed(mod[1]) and (
            mod[2] is None or (well_formed(mod[2]) and mod[1] != mod[2])
        )
    return True
