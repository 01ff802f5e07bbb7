"""What another threshold would do is told before anyone tries it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from search_api.search import runs
from search_api.search.coverage import Spread
from search_api.search.pipeline import collect
from search_api.search.query import Query
from tests.support.library import EXPRESSION, Library, make_library
from tests.support.page import let_match


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """An album of which about a half matches."""
    made = make_library(tmp_path_factory.mktemp("spread"), 18)
    let_match(made, "small", 0.5)
    made.engine.let_go(0)  # a view that took long to open would be shown a while longer
    yield made
    made.engine.close()


@pytest.mark.parametrize("threshold", Spread.STEPS[1::4])
def test_number_that_is_told_is_the_number_that_a_search_finds(
    library: Library, threshold: float
) -> None:
    told = collect(library.engine, Query(expression=EXPRESSION, album="small"))
    tried = collect(
        library.engine, Query(expression=EXPRESSION, album="small", threshold=threshold)
    )
    assert told.run.at_threshold[f"{threshold:g}"] == len(tried.matched)
    assert tried.run.at_threshold == told.run.at_threshold
    assert runs.load(library.engine.catalog, told.run_id).at_threshold == told.run.at_threshold


def test_numbers_only_fall_as_the_threshold_rises(library: Library) -> None:
    done = collect(library.engine, Query(expression=EXPRESSION, album="small"))
    numbers = list(done.run.at_threshold.values())
    assert numbers == sorted(numbers, reverse=True)
    assert 0 <= numbers[-1] < numbers[0] <= 18
