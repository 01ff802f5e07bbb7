"""Which photos a search verifies, in which order, and in which batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

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
    ks = [min(count, HEAD_START if whole else query.candidates) for count in counts]
    ranked = [(np.empty(0, np.int64), np.empty(0, np.float32))] * len(views)
    for members in _by_network(views):
        found = [
            candidates(
                [views[i] for i in members],
                words[members[0]][part],
                [ks[i] for i in members],
                [subsets[i] for i in members],
            )
            for part in led_by
        ]
        for i, *each in zip(members, *found, strict=True):
            ranked[i] = _in_turn(each)
    prints = [view.predictor.fingerprints for view in views]
    if len({(each["vectors"], each["head"]) for each in prints}) > 1:
        # Scores of different networks say nothing about each other; ranks do.
        ranked = [(rows, -np.arange(len(rows), dtype=np.float32)) for rows, _ in ranked]
    if not whole and len(views) > 1:
        ranked = _best_of_all(ranked, query.candidates * len(led_by))
    plans = []
    for view, subset, count, read, (rows, _) in zip(
        views, subsets, counts, words, ranked, strict=True
    ):
        if whole and len(rows) < count:
            every = np.arange(count) if subset is None else subset
            rows = np.concatenate([rows, np.setdiff1d(every, rows, assume_unique=True)])
        plans.append(Plan(view, read, rows, count))
    return plans


def _in_turn(
    ranked: Sequence[tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and scores of several parts' candidates as one ranking, by the best rank of each row."""
    if len(ranked) == 1:
        return ranked[0]
    rows = np.concatenate([rows for rows, _ in ranked])
    ranks = np.concatenate([np.arange(len(rows)) for rows, _ in ranked])
    order = np.argsort(ranks, kind="stable")
    _, first = np.unique(rows[order], return_index=True)
    kept = order[np.sort(first)]
    return rows[kept], -ranks[kept].astype(np.float32)


def _by_network(views: Sequence[View]) -> list[list[int]]:
    """Places of the views, those of one network together."""
    groups: dict[int, list[int]] = {}
    for place, view in enumerate(views):
        groups.setdefault(id(view.predictor), []).append(place)
    return list(groups.values())


def _best_of_all(
    ranked: list[tuple[np.ndarray, np.ndarray]], k: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The k best over all albums, still apart."""
    scores = np.concatenate([scores for _, scores in ranked])
    if len(scores) <= k:
        return ranked
    cut = np.sort(scores)[::-1][k - 1]
    return [(rows[scores >= cut], scores[scores >= cut]) for rows, scores in ranked]


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
