"""Complements: what an expression and its rest refer to never overlaps."""

from random import Random

import numpy as np
import pytest

from training.drawing.scenes import make_photo
from training.language import grammar
from training.language.complements import complement
from training.scene import Scene

RED_DOG = ("the", ("d", ("dog",), (("colour", "red"),)))


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [make_photo(seed, "train", 64, 64)[2] for seed in range(40)]


def test_rest_never_overlaps_what_it_is_the_rest_of(scenes: list[Scene]) -> None:
    rng = np.random.default_rng(4)
    seen: dict[str, int] = {}
    for scene in scenes:
        for expression in grammar.expressions(scene, rng, 8):
            rest = grammar.complement(expression, rng)
            if rest is None:
                continue
            own = grammar.execute(expression.program, scene)
            left_out = grammar.execute(rest.program, scene)
            if left_out is None:
                continue
            assert own is not None and not own & left_out, (expression.text, rest.text)
            seen[rest.program[0]] = seen.get(rest.program[0], 0) + 1
    assert min(seen["except"], seen["all"]) > 10


def test_an_expression_that_chooses_from_nothing_has_no_rest() -> None:
    assert complement(("all", ("d", ("dog",), ())), Random(1)) is None
    assert complement(("and", RED_DOG, RED_DOG), Random(1)) is None


def test_the_rest_of_a_negation_is_what_it_denies() -> None:
    negated = ("all", ("d", ("person",), (("not", ("hat", "")),)))
    assert complement(negated, Random(1)) == ("all", ("d", ("person",), (("hat", ""),)))
    assert complement(("except", ("d", ("dog",), ()), RED_DOG), Random(1)) == RED_DOG
