"""A run's matches that show nearly the same: one picture again, or shots of one minute.

Photos are compared by the region vectors that are there for the prefilter, place by place: nothing
is decoded and no network runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

import numpy as np
from sqlalchemy import select

from indexer.db.tables import Hit, Photo
from search_api.errors import StillRunning
from search_api.search import runs
from search_api.search.engine import Engine, View

# Mean cosine of the vectors at the same places. Two encodings of one picture stay above the first;
# within BURST_S of each other a hand that moved a little is allowed for.
SAME_FROM = 0.985
BURST_FROM = 0.9
BURST_S = 60.0
# Matches beyond these are not compared: a run folds in the time of a page.
AT_MOST = 4000
_BLOCK = 256


def folds(engine: Engine, run_id: str) -> list[list[int]]:
    """Photos of a run that can be shown as one: ids of each group of several, the best match first.

    Each photo is compared with those that stand for a group, from the best match on, and joins the
    first one that it is like.

    Raises:
        UnknownRun, StillRunning.
    """
    if runs.load(engine.catalog, run_id).state == "running":
        raise StillRunning("The search is still running; fold its matches when it has ended.")
    columns = select(Photo.id, Photo.album_id, Photo.taken_at, Photo.taken_source)
    statement = (
        columns.join(Hit, Hit.photo_id == Photo.id)
        .where(Hit.run_id == run_id, Hit.accepted)
        .order_by(Hit.rank)
        .limit(AT_MOST)
    )
    albums: dict[int, dict[int, float]] = defaultdict(dict)  # when each photo of one was taken
    order: dict[int, int] = {}
    with engine.catalog.reading() as session:
        for rank, (photo_id, album_id, at, source) in enumerate(session.execute(statement)):
            albums[album_id][photo_id] = _seconds(at, source)
            order[photo_id] = rank
    spaces: dict[str, list[tuple[View, dict[int, float]]]] = defaultdict(list)
    for album_id, photos in albums.items():
        if (view := engine.view(album_id)) is not None:
            spaces[view.predictor.fingerprints["vectors"]].append((view, photos))
    groups: list[list[int]] = []
    for parts in spaces.values():
        groups += _alike(*_gathered(parts, order))
    return sorted((each for each in groups if len(each) > 1), key=lambda group: order[group[0]])


def _seconds(at: datetime | None, source: str | None) -> float:
    """A clock time as seconds; nan where no time of day is known."""
    if at is None or (source or "").endswith("-day"):
        return float("nan")
    return (at - datetime(2000, 1, 1)).total_seconds()


def _gathered(
    parts: Sequence[tuple[View, dict[int, float]]], order: dict[int, int]
) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Ids (n,) by rank, what they look like (n, V D) of unit length, when (n,) in s or nan."""
    ids: list[int] = []
    times: list[float] = []
    looks: list[np.ndarray] = []
    for view, photos in parts:
        rows = view.rows_of(np.array(list(photos)))
        records, rows = view.snapshot.gather_readable("vectors", rows)
        if not len(rows):
            continue
        vectors = view.predictor.vectors_of(records)  # (n, V, D)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
        looks.append(vectors.reshape(len(rows), -1) / np.sqrt(vectors.shape[1]))  # (n, V D)
        there = [int(each) for each in view.snapshot.photo_ids[rows]]
        ids += there
        times += [photos[each] for each in there]
    by_rank = sorted(range(len(ids)), key=lambda at: order[ids[at]])
    look = np.concatenate(looks)[by_rank] if looks else np.empty((0, 1), np.float32)
    return [ids[at] for at in by_rank], look, np.array(times)[by_rank]


def _alike(ids: Sequence[int], looks: np.ndarray, times: np.ndarray) -> list[list[int]]:
    """Groups of ids, each led by its first."""
    groups: list[list[int]] = []
    leaders = np.empty(0, np.int64)
    for start in range(0, len(ids), _BLOCK):
        block = looks[start : start + _BLOCK]
        before = block @ looks[leaders].T  # (b, VD) x (g, VD) -> (b, g)
        among = block @ block.T
        fresh: list[int] = []
        for at in range(len(block)):
            place = start + at
            cosine = np.concatenate([before[at], among[at, fresh]])
            heads = np.concatenate([leaders, np.array(fresh, np.int64) + start])
            near = np.abs(times[heads] - times[place]) <= BURST_S  # nan is near to nothing
            like = np.flatnonzero((cosine >= SAME_FROM) | (near & (cosine >= BURST_FROM)))
            if len(like):
                groups[like[0]].append(ids[place])
            else:
                groups.append([ids[place]])
                fresh.append(at)
        leaders = np.concatenate([leaders, np.array(fresh, np.int64) + start])
    return groups
