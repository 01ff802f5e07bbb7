"""Which matches of a run are meant: those that a person sees, or has selected.

One meaning for exports, cut-outs, the contact sheet and "search within".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from search_api.search import runs
from search_api.search.corrections import marks_of
from search_api.search.decisions import Decision
from search_api.search.engine import Engine
from search_api.search.runs import Run

_PAGE = 500


@dataclass(frozen=True)
class Chosen:
    """A part of a run's matches; all of them, but those marked wrong, where nothing is given."""

    least: float | None = None
    """From this confidence on."""
    photos: frozenset[int] | None = None
    """Only these."""
    wrong: bool = False
    """Those as well that a person marked as wrong."""


EVERY = Chosen()


def matches(engine: Engine, run: Run, chosen: Chosen = EVERY) -> Iterator[Decision]:
    """The chosen matches of an ended run, best first."""
    wrong = set() if chosen.wrong else wrong_ones(engine, run)
    after, more = -1, True
    while more:
        _, page = runs.page(engine.catalog, run.id, after=after, size=_PAGE)
        for decision in (hit.decision for hit in page.hits):
            if chosen.least is not None and decision.confidence < chosen.least:
                return  # best first: the rest is lower
            if chosen.photos is not None and decision.photo_id not in chosen.photos:
                continue
            if decision.photo_id not in wrong:
                yield decision
        after, more = page.hits[-1].rank if page.hits else after, page.more


def wrong_ones(engine: Engine, run: Run) -> set[int]:
    """The photos that were marked as wrong for the run's expression."""
    return {each.photo_id for each in marks_of(engine.catalog, run) if each.verdict == "wrong"}
