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
    """What is verified in one album."""

    view: View
    words: tuple[Words, ...]
    """Of each part of the question, as `booleans.parts` tells them."""
    rows: np.ndarray
    """Of its snapshot (n,), in the order of verification."""
    places: np.ndarray
    """Of these rows (n,) among all that is verified by this network, in whatever album."""
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
    """Choose what is verified, the best of all albums first.

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
        planned = len(best)
        for i, places in zip(members, best.apart(len(members)), strict=True):
            view, subset, rows = views[i], subsets[i], best.rows[places]
            if whole and len(rows) < counts[i]:
                left = np.full(len(view.snapshot), subset is None)
                left[... if subset is None else subset] = True
                left[rows] = False
                others = np.flatnonzero(left)
                rows = np.concatenate([rows, others])
                places = np.concatenate([places, planned + np.arange(len(others))])
                planned += len(others)
            plans[i] = Plan(view, words[i], rows, places, counts[i])
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
    """Batches of each network's photos in turn, its best first; then ``later`` times as large.

    Albums share them, so that three hundred small ones take no more batches than one large, and
    the best photo of the last is judged as early as if all were in one.
    """
    groups = [[plans[i] for i in members] for members in _by_network([p.view for p in plans])]
    queues = [_queue(group) for group in groups]
    longest = max((len(rows) for _, rows in queues), default=0)
    start = 0
    while start < longest:
        end = start + (batch if start < HEAD_START else batch * later)
        for group, (which, rows) in zip(groups, queues, strict=True):
            if start < len(rows):
                yield _shares(group, which[start:end], rows[start:end])
        start = end


def _queue(plans: Sequence[Plan]) -> tuple[np.ndarray, np.ndarray]:
    """Which of the plans (n,), and which row of it (n,), in the order of verification."""
    places = np.concatenate([plan.places for plan in plans])
    which, rows = np.empty_like(places), np.empty_like(places)
    which[places] = np.repeat(np.arange(len(plans)), [len(plan.rows) for plan in plans])
    rows[places] = np.concatenate([plan.rows for plan in plans])
    return which, rows


def _shares(plans: Sequence[Plan], which: np.ndarray, rows: np.ndarray) -> list[Share]:
    """A batch, each album's rows together."""
    order = np.argsort(which, kind="stable")
    members, starts = np.unique(which[order], return_index=True)
    parts = np.split(rows[order], starts[1:])
    return [(plans[i], part) for i, part in zip(members.tolist(), parts, strict=True)]
