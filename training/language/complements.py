"""What an expression leaves out: the rest of what it chooses from.

"the dog in red" and "the dogs that are not red", "everyone except the girl" and "the girl": whoever
hears both must not be shown the same pixels twice.
"""

from __future__ import annotations

from random import Random

from training.language.programs import Program

# Modifiers that have a negative of their own; all others are left out by an exclusion.
_NEGATED = ("hat", "bag", "beard", "glasses", "colour", "at")


def complement(program: Program, r: Random) -> Program | None:
    """The program of the rest, None where an expression chooses from nothing."""
    kind = program[0]
    if kind == "except":
        excluded: Program = program[2]
        return excluded
    if kind in ("super", "ordinal"):
        return ("except", program[3], program)
    if kind not in ("the", "bare", "all") or not program[1][2]:
        return None
    _, categories, modifiers = program[1]
    *kept, last = modifiers
    if last[0] == "not":
        return ("all", ("d", categories, (*kept, last[1])))
    if last[0] in _NEGATED and r.random() < 0.6:
        return ("all", ("d", categories, (*kept, ("not", last))))
    excluded = ("the", program[1]) if kind == "bare" else program
    return ("except", ("d", categories, tuple(kept)), excluded)
