"""Questions of several parts: read exactly, each judged once, decided by their parts' decisions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest

from search_api.errors import BadQuery
from search_api.search import booleans, runs
from search_api.search.booleans import Joined, Not, Part, read
from search_api.search.events import Done
from search_api.search.photos import one_photo
from search_api.search.pipeline import collect
from search_api.search.query import Query
from search_api.show.shown import render
from tests.support.library import EXPRESSION, Library, make_library
from tests.support.page import let_match

A, B, C = EXPRESSION, "a green circle", "the large blue square"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """An album of which about a half matches A."""
    made = make_library(tmp_path_factory.mktemp("booleans"), 24)
    let_match(made, "small", 0.5)
    made.engine.let_go(0)  # a view that took long to open would be shown a while longer
    yield made
    made.engine.close()


def ask(library: Library, expression: str, **values: object) -> Done:
    return collect(library.engine, Query(expression=expression, album="small", **values))  # type: ignore[arg-type]


def found(library: Library, expression: str, **values: object) -> set[int]:
    return {decision.photo_id for decision in ask(library, expression, **values).matched}


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("dog AND NOT person", Joined(True, (Part("dog"), Not(Part("person"))))),
        (
            '(cat OR dog) AND "on the left"',
            Joined(True, (Joined(False, (Part("cat"), Part("dog"))), Part("on the left"))),
        ),
        ("a OR b AND c", Joined(False, (Part("a"), Joined(True, (Part("b"), Part("c")))))),
        ("NOT NOT red car", Not(Not(Part("red car")))),
        ("NOT (a dog OR a cat)", Not(Joined(False, (Part("a dog"), Part("a cat"))))),
        ("“rock AND roll” sign AND x", Joined(True, (Part("rock AND roll sign"), Part("x")))),
        ("no people", Not(Part("people"))),
        ("No people on the beach", Not(Part("people on the beach"))),
        ("without a hat", Not(Part("hat"))),
        ("photos without any cars", Not(Part("cars"))),
        ("photos that show nothing of dogs", Not(Part("dogs"))),
        ("nobody", Not(Part("people"))),
        ("no people and no cars", Joined(True, (Not(Part("people")), Not(Part("cars"))))),
    ],
)
def test_question_is_read_as_it_is_meant(text: str, question: booleans.Question) -> None:
    assert read(text) == question


@pytest.mark.parametrize(
    "text",
    [
        "cats and dogs",
        "the dog (or the cat)",
        "man without a hat",
        "everyone except the man in white",
        "a sign that says AND1",
        "DO NOT ENTER",
        "no entry sign",
        "the one who is not smiling",
        "a note",
    ],
)
def test_plain_sentence_stays_what_it_was(text: str) -> None:
    assert read(text) == Part(text) and booleans.is_plain(text)


@pytest.mark.parametrize(
    "text",
    ["dog AND", "OR cat", "dog AND OR cat", "(dog AND cat", "dog AND cat)", "x AND NOT", 'x AND ""',
     "(a OR b) c", " OR ".join(f"x{n}" for n in range(9))],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadQuery, match="dog AND NOT") as refused:
        read(text)
    assert refused.value.field == "expression"


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.5, 0.93])
def test_confidence_reaches_the_threshold_exactly_where_the_decisions_say_so(
    threshold: float,
) -> None:
    edges = (0.0, 1e-6, threshold - 1e-6, threshold, threshold + 1e-6, 1 - 1e-6, 1.0)
    grid = np.array(list(product(edges, repeat=3))).T
    of_parts = dict(zip("abc", grid, strict=True))
    accepted = {text: p >= threshold for text, p in of_parts.items()}
    for text in ("a AND NOT b", "NOT a", "(a OR b) AND c", "NOT (a AND b) OR c", "a OR NOT a"):
        question = read(text)
        told = booleans.confidence(question, of_parts, threshold)
        assert ((told >= threshold) == booleans.holds(question, accepted)).all(), text
        assert ((told >= 0) & (told <= 1)).all()


@pytest.mark.parametrize("mode", ["fast", "exhaustive"])
def test_matches_are_those_of_the_parts_put_together(library: Library, mode: str) -> None:
    a, b, c = (found(library, each, mode=mode) for each in (A, B, C))
    everything = {int(each) for each in library.engine.views("small")[0].snapshot.photo_ids}
    assert 0 < len(a) < len(everything)
    for text, wanted in (
        (f"{A} AND {B}", a & b),
        (f"{A} OR {B}", a | b),
        (f"{A} AND NOT {B}", a - b),
        (f"NOT {A}", everything - a),
        (f"no {A.removeprefix('the ')}", everything - found(library, A.removeprefix("the "))),
        (f"({A} OR {B}) AND NOT ({C})", (a | b) - c),
    ):
        assert found(library, text, mode=mode) == wanted, text


def test_part_by_itself_in_quotes_is_judged_like_the_sentence(library: Library) -> None:
    plain = ask(library, A)
    doubled = ask(library, f'"{A}" OR "{A}"')
    for one, other in zip(plain.matched, doubled.matched, strict=True):
        assert one.photo_id == other.photo_id
        assert one.confidence == pytest.approx(other.confidence, abs=2e-6)


def test_mask_is_where_any_of_the_parts_that_are_there_is(library: Library) -> None:
    apart = {each: ask(library, each, threshold=0.0) for each in (A, B)}
    both = ask(library, f"{A} AND {B}", threshold=0.0)

    def mask(done: Done, photo_id: int) -> np.ndarray:
        run, hit = runs.one_hit(library.engine.catalog, done.run_id, photo_id)
        photo = one_photo(library.engine.catalog, photo_id)
        drawn = render(library.engine, photo, hit.decision, run.fingerprints)
        made = drawn[0] if isinstance(drawn, tuple) else drawn
        return np.asarray(made.probability)

    assert len(both.matched) == 24
    for decision in both.matched[:6]:
        one, other = (mask(done, decision.photo_id) for done in apart.values())
        assert (mask(both, decision.photo_id) == np.maximum(one, other)).all()


def test_part_that_leaves_something_out_keeps_its_mask(library: Library) -> None:
    text = f"everything except {A}"
    done = ask(library, f"{text} OR {B}", threshold=0.0)
    assert len(done.matched) == 24
    assert {decision.coefficients.shape for decision in done.matched} == {(2, 16)}


def test_absence_shows_no_mask_and_says_how_it_was_read(library: Library) -> None:
    done = ask(library, "no purple elephants", threshold=1.0)
    assert len(done.matched) == 24 == done.coverage.verified
    assert [note.code for note in done.run.notes][-1:] == ["read-as"]
    assert "NOT “purple elephants”" in done.run.notes[-1].text and done.run.at_threshold == {}
    _, hit = runs.one_hit(library.engine.catalog, done.run_id, done.matched[0].photo_id)
    assert hit.decision.coefficients.shape == (0, 8) and not hit.decision.minimap.any()


def test_each_part_is_judged_once(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    judge = type(library.predictor).judge

    def listen(self, tokens, words):  # type: ignore[no-untyped-def]
        heard.append(words.texts[0])
        return judge(self, tokens, words)

    monkeypatch.setattr(type(library.predictor), "judge", listen)
    ask(library, f"({A} OR {B}) AND NOT {A}")
    assert sorted(heard) == sorted([A, B])


def test_verifier_reads_plain_expressions_only(library: Library) -> None:
    with pytest.raises(BadQuery, match="verifier reads one plain expression"):
        ask(library, "dog AND cat", verifier="rela-official-base")
