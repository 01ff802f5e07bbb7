"""The grammar of referring expressions: texts whose meaning can be executed on a scene.

For any scene it yields expressions with their exact referents, and expressions that are nearly
but not true there, so that each pair of photo and expression has a truth (issue: executable
expressions; Liu et al., GRES, CVPR 2023, section 3.2, for the kinds and the no-target rules).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

from training.language import complements
from training.language.absent import absent
from training.language.builders import KINDS, Builder
from training.language.describing import Unsuitable
from training.language.imagined import imagine
from training.language.mutations import held_out as names_held_out
from training.language.mutations import mutate, well_formed
from training.language.photo_builder import PhotoBuilder
from training.language.phrases import realise
from training.language.programs import UNKNOWN, Program, View, evaluate, execute, view_of
from training.language.slips import MAX_PIECES, finish, pieces
from training.scene import PHOTOS, Scene

__all__ = [
    "ALBUM_KINDS", "KINDS", "Expression", "Program", "absent", "draw", "execute", "expressions",
    "from_json", "mirror", "mirror_program", "no_target", "to_json",
]  # fmt: skip

# The kinds that album retrieval is reported by.
ALBUM_KINDS = (
    "category", "attribute", "location", "superlative", "relation", "counting", "exclusion",
    "compound",
)  # fmt: skip

_ATTEMPTS = 4
# Splits whose expressions may name the colour-category pairs that drawn training never holds.
_ALL_PAIRS = ("test-b", PHOTOS)


@dataclass(frozen=True)
class Expression:
    """A text and what it means.

    Attributes:
        text: as somebody would type it; at most 20 BERT word pieces.
        kind: one of KINDS.
        program: its meaning, see training.language.programs.
    """

    text: str
    kind: str
    program: Program


def _random(rng: np.random.Generator) -> Random:
    return Random(int(rng.integers(1 << 62)))


def _say(program: Program, r: Random) -> str | None:
    """A wording that fits the text encoder's window, None if three were too long."""
    for _ in range(3):
        text = realise(program, r)
        if pieces(text) <= MAX_PIECES - 1:
            return finish(text, r)
    return None


def _true(view: View, kind: str, r: Random, may_hold_out: bool) -> Program | None:
    builder = (PhotoBuilder if view.scene.split == PHOTOS else Builder)(view, r)
    for _ in range(_ATTEMPTS):
        try:
            program = builder.build(kind)
        except Unsuitable:
            continue
        if evaluate(view, program) in (0, UNKNOWN) or not well_formed(program):
            continue
        if may_hold_out or not names_held_out(program):
            return program
    return None


def expressions(
    scene: Scene,
    rng: np.random.Generator,
    n: int,
    kinds: tuple[str, ...] = KINDS,
) -> list[Expression]:
    """Expressions that refer to something in a scene, clearly.

    Args:
        scene: what the photo shows.
        rng: the source of chance.
        n: how many.
        kinds: to draw from, balanced as far as the scene allows.
    Returns:
        At most n, with different texts; fewer only where the scene offers no more.
    """
    return _said(_true, scene, rng, n, kinds)


def complement(expression: Expression, rng: np.random.Generator) -> Expression | None:
    """What an expression leaves out of the things that it chooses from, in words of its own.

    None where it chooses from nothing ("dogs"), or its rest has no plain words.
    """
    r = _random(rng)
    program = complements.complement(expression.program, r)
    if program is None or not well_formed(program):
        return None
    text = _say(program, r)
    return None if text is None else Expression(text, "exclusion", program)


def no_target(
    scene: Scene,
    rng: np.random.Generator,
    n: int,
    kinds: tuple[str, ...] = KINDS,
) -> list[Expression]:
    """Expressions that are related to a scene but refer to nothing in it (rule 1 of the paper).

    Each is a true one with one thing changed, mostly to something else that the scene shows.

    Args:
        scene: what the photo shows.
        rng: the source of chance.
        n: how many.
        kinds: to draw from, balanced as far as the scene allows.
    Returns:
        At most n; executing each on the scene gives the empty set.
    """
    return _said(_false, scene, rng, n, kinds)


def _said(
    make: Callable[[View, str, Random, bool], Program | None],
    scene: Scene,
    rng: np.random.Generator,
    n: int,
    kinds: tuple[str, ...],
) -> list[Expression]:
    """Up to n programs of a sort in words, no text twice, of each kind in its turn."""
    r = _random(rng)
    view = view_of(scene)
    found: list[Expression] = []
    texts: set[str] = set()
    failed = dict.fromkeys(kinds, 0)
    while len(found) < n:
        order = [k for k in kinds if failed[k] < 3]
        if not order:
            break
        r.shuffle(order)
        for kind in order:
            program = make(view, kind, r, scene.split in _ALL_PAIRS)
            text = _say(program, r) if program is not None else None
            if program is None or text is None or text.lower() in texts:
                failed[kind] += 1
                continue
            texts.add(text.lower())
            found.append(Expression(text, kind, program))
            if len(found) == n:
                break
    return found


def _false(view: View, kind: str, r: Random, may_hold_out: bool) -> Program | None:
    program = _true(view, kind, r, may_hold_out)
    if program is None:
        return None
    for _ in range(14):
        changed = mutate(view, program, r, narrow=kind != "category")
        if changed is None or not well_formed(changed):
            continue
        if not may_hold_out and names_held_out(changed):
            continue
        if evaluate(view, changed) == 0:
            return changed
    return None


def draw(
    rng: np.random.Generator, kinds: tuple[str, ...] = ALBUM_KINDS, *, held_out: bool = False
) -> Expression:
    """An expression that no photo suggested, such as somebody types to search an album.

    Args:
        rng: the source of chance.
        kinds: to draw from.
        held_out: whether it may name the colour-category pairs kept out of training.
    """
    while True:
        scene = imagine(_random(rng), held_out=held_out)
        found = expressions(scene, rng, 1, (kinds[int(rng.integers(len(kinds)))],))
        if found:
            return found[0]


_MIRRORED = {
    "left": "right", "right": "left", "leftmost": "rightmost", "rightmost": "leftmost",
}  # fmt: skip
_SIDES = re.compile(r"\b(leftmost|rightmost|left|right)\b", re.IGNORECASE)


def mirror(text: str) -> str:
    """An expression for the mirrored photo: left and right words swapped, case kept."""

    def swap(match: re.Match[str]) -> str:
        word = match.group(0)
        other = _MIRRORED[word.lower()]
        if word.isupper():
            return other.upper()
        return other.capitalize() if word[0].isupper() else other

    return _SIDES.sub(swap, text)


def mirror_program(program: Program) -> Program:
    """The meaning of a mirrored expression."""
    swap = {
        "left": "right", "right": "left", "far left": "far right", "far right": "far left",
        "top left": "top right", "top right": "top left", "bottom left": "bottom right",
        "bottom right": "bottom left",
    }  # fmt: skip

    def walk(part: Any) -> Any:
        if isinstance(part, tuple):
            return tuple(walk(p) for p in part)
        return swap.get(part, part) if isinstance(part, str) else part

    mirrored: Program = walk(program)
    return mirrored


def to_json(program: Program) -> str:
    """A program as JSON."""
    return json.dumps(program, separators=(",", ":"))


def from_json(text: str) -> Program:
    """A program from its JSON."""

    def tuples(value: Any) -> Any:
        return tuple(tuples(v) for v in value) if isinstance(value, list) else value

    program: Program = tuples(json.loads(text))
    return program
