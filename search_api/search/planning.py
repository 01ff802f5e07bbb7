"""Which photos a search verifies, in which order, and in which batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from indexer.features.prefilter import Candidates
from model.predictor import JUDGE_BATCH, Words
from search_api.search import booleans
from search_api.search.booleans import Question
from search_api.search.engine import View, candidates
from search_api.search.query import WHOLE_SET, Query

BATCH = 2 * JUDGE_BATCH
# The exhaustive mode judges this many of the prefilter's best first, so that hits come at once;
# the rest goes in the order of the store, where reading is fastest, and in larger steps.
HEAD_START = 3 * BATCH
HEAD_BATCHES = 3
LATER_BATCHES = 2
# With so many photos to judge, a few seconds' work, it is worth asking others to help.
SHARED_FROM = 4_000


@dataclass(frozen=True)
class Plan:
    """What is verified in one album: rows of its snapshot in the order of verification."""

    view: View
    words: tuple[Words, ...]
    """Of each part of the question, as `booleans.parts` tells them."""
    rows: np.ndarray
    filtered: int


Share = tuple[Plan, np.ndarray]
"""Rows (n,) of one album's snapshot within a batch."""


def plan(
    views: list[View],
    subsets: list[np.ndarray | None],
    words: list[tuple[Words, ...]],
    query: Query,
    question: Question,
) -> list[Plan]:
    """Choose what is verified, in each album, best first.

    Args:
        subsets: rows that the filters leave of each album, None where there are none.
        words: of each album's network and part of the question.
    """
    narrowing = booleans.narrowing(question)
    texts = booleans.parts(question)
    led_by = [texts.index(text) for text in narrowing or texts[:1]]
    counts = [
        len(view.snapshot.photo_ids) if subset is None else len(subset)
        for view, subset in zip(views, subsets, strict=True)
    ]
    # A verifier takes seconds a photo, so it never looks at more than was asked for.
    small = query.candidates if query.verifier else max(query.candidates, WHOLE_SET)
    whole = query.mode == "exhaustive" or sum(counts) <= small or narrowing is None
    k = HEAD_START if whole else query.candidates
    groups = _by_network(views)
    found = [
        _in_turn(
            [
                candidates(
                    [views[i] for i in members],
                    words[members[0]][part],
                    k,
                    [subsets[i] for i in members],
                )
                for part in led_by
            ]
        )
        for members in groups
    ]
    if not whole and len(groups) > 1:
        found = _best_of_all(found, query.candidates * len(led_by))
    plans: dict[int, Plan] = {}
    for members, best in zip(groups, found, strict=True):
        for i, rows in zip(members, best.apart(len(members)), strict=True):
            view, subset = views[i], subsets[i]
            if whole and len(rows) < counts[i]:
                left = np.full(len(view.snapshot), subset is None)
                left[... if subset is None else subset] = True
                left[rows] = False
                rows = np.concatenate([rows, np.flatnonzero(left)])
            plans[i] = Plan(view, words[i], rows, counts[i])
    return [plans[i] for i in range(len(views))]


def _in_turn(found: Sequence[Candidates]) -> Candidates:
    """Several parts' candidates as one ranking, by the best rank of each photo."""
    if len(found) == 1:
        return found[0]
    ranks = np.concatenate([np.arange(len(each)) for each in found])
    order = np.argsort(ranks, kind="stable")
    which = np.concatenate([each.which for each in found])[order]
    rows = np.concatenate([each.rows for each in found])[order]
    _, first = np.unique(np.stack([which, rows]), axis=1, return_index=True)
    kept = np.sort(first)
    return Candidates(which[kept], rows[kept], -ranks[order][kept].astype(np.float32))


def _by_network(views: Sequence[View]) -> list[list[int]]:
    """Places of the views, those of one network together."""
    groups: dict[tuple[str, str], list[int]] = {}
    for place, view in enumerate(views):
        prints = view.predictor.fingerprints
        groups.setdefault((prints["vectors"], prints["head"]), []).append(place)
    return list(groups.values())


def _best_of_all(found: Sequence[Candidates], k: int) -> list[Candidates]:
    """The k best of several networks' candidates, still apart.

    Scores of different networks say nothing about each other; ranks do.
    """
    ranks = np.sort(np.concatenate([np.arange(len(each)) for each in found]))
    if len(ranks) <= k:
        return list(found)
    depth = int(ranks[k - 1]) + 1
    return [Candidates(e.which[:depth], e.rows[:depth], e.scores[:depth]) for e in found]


def interleaved(plans: list[Plan], batch: int, later: int) -> Iterator[list[Share]]:
    """Batches of one network's photos, every album's best early; then ``later`` times as large.

    Albums share them, so that three hundred small ones take no more batches than one large.
    """
    longest = max((len(plan.rows) for plan in plans), default=0)
    groups = [[plans[i] for i in members] for members in _by_network([p.view for p in plans])]
    start = 0
    while start < longest:
        size = batch if start < HEAD_START else batch * later
        for group in groups:
            filling: list[Share] = []
            room = size
            for plan in group:
                rows = plan.rows[start : start + size]
                while len(rows):
                    filling.append((plan, rows[:room]))
                    room, rows = room - len(rows[:room]), rows[room:]
                    if not room:
                        yield filling
                        filling, room = [], size
            if filling:
                yield filling
        start += size
