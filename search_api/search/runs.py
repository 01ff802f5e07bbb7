"""Search runs in the catalog: written while they run, paged and opened again afterwards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import uuid4

from sqlalchemy import Select, delete, insert, select
from sqlalchemy.orm import Session, aliased

from indexer.db.catalog import Catalog
from indexer.db.clock import clock
from indexer.db.owner import is_gone, new_owner
from indexer.db.tables import Album, Hit, Photo, SearchRun
from search_api.errors import StillRunning, UnknownPhoto, UnknownRun
from search_api.search.coverage import Coverage, Note
from search_api.search.decisions import Decision, pack_decision, unpack_decision
from search_api.search.filters import Filters
from search_api.search.query import Asker, Query

# What a run tells beside its timings, under this name in their column.
_BESIDE = "beside"
_ENDED = ("done", "stopped")

Order = Literal["confidence", "newest", "oldest", "name"]
# Photos without a date come last.
_ORDERS: dict[Order, tuple[Any, ...]] = {
    "newest": (Photo.taken_at.is_(None), Photo.taken_at.desc(), Photo.id.desc()),
    "oldest": (Photo.taken_at.is_(None), Photo.taken_at, Photo.id),
    "name": (Photo.path, Photo.id),
}


@dataclass(frozen=True)
class Run:
    """A search run as kept.

    ``state`` is running, done, or stopped (by its time limit or its client, so it covers less).
    ``verifier`` names the released network that judged the photos; None where the head did.
    """

    id: str
    expression: str
    album: str | None
    album_id: int | None
    mode: str
    filters: Filters
    fingerprints: dict[str, str]
    calibration_revision: str | None
    index_version_id: int | None
    coverage: Coverage
    timings: dict[str, float]
    notes: tuple[Note, ...]
    threshold: float | None
    at_threshold: dict[str, int]
    verifier: str | None
    state: str
    key_id: int | None
    created_at: float


@dataclass(frozen=True)
class RankedHit:
    """A decision of a run and its rank among its kind (matched or rejected), from 0."""

    run_id: str
    rank: int
    decision: Decision


@dataclass(frozen=True)
class Page:
    """Some hits of a run, and whether there are more behind them."""

    hits: tuple[RankedHit, ...]
    more: bool


def begin(
    catalog: Catalog,
    query: Query,
    asker: Asker,
    *,
    album_id: int | None,
    fingerprints: Mapping[str, str],
    calibration_revision: str,
    threshold: float,
    index_version_id: int | None,
    coverage: Coverage,
) -> str:
    """Write a new run's row and return its id.

    Args:
        threshold: the one that decides, be it the query's or the album's own.
    """
    run_id = str(uuid4())
    filters = query.filters.model_dump(mode="json", exclude_defaults=True)
    question = [query.expression, album_id, query.mode, filters, query.verifier, threshold]
    asked = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:40]
    beside = {"threshold": threshold, "verifier": query.verifier, "owner": new_owner()}
    with catalog.session() as session:
        session.execute(
            insert(SearchRun).values(
                id=run_id,
                expression=query.expression,
                album_id=album_id,
                mode=query.mode,
                filters=filters,
                fingerprints=dict(fingerprints),
                calibration_revision=calibration_revision,
                index_version_id=index_version_id,
                coverage=coverage.as_json(),
                timings={_BESIDE: beside},
                state="running",
                key_id=asker.key_id,
                asked=asked,
                saved_id=asker.saved_id,
                created_at=clock(),
            )
        )
    return run_id


def add_hits(
    catalog: Catalog,
    run_id: str,
    decisions: Sequence[Decision],
    first: int,
    coverage: Coverage,
) -> None:
    """Keep decisions of a running run, ranked provisionally from ``first`` on.

    Raises:
        UnknownRun: it was removed while it ran.
    """
    with catalog.session() as session:
        _hold(session, run_id).coverage = coverage.as_json()
        _insert(session, _rows(run_id, decisions, first))


def finish(
    catalog: Catalog,
    run_id: str,
    *,
    state: str,
    coverage: Coverage,
    timings: Mapping[str, float],
    notes: Sequence[Note],
    matched: Sequence[Decision],
    rejected: Sequence[Decision],
    kept_matched: int,
    at_threshold: Mapping[str, int],
) -> Run:
    """Write how a run ended, and the final ranks; the run as kept.

    Args:
        matched: every accepted decision, best first.
        rejected: the nearest others, best first.
        kept_matched: how many of the accepted ones `add_hits` wrote already.
        at_threshold: how many would match from other confidences on.
    Raises:
        UnknownRun: it was removed while it ran.
    """
    with catalog.session() as session:
        row = _hold(session, run_id)
        if kept_matched:
            session.execute(delete(Hit).where(Hit.run_id == run_id))
        _insert(session, _rows(run_id, matched, 0) + _rows(run_id, rejected, len(matched)))
        beside = {
            **row.timings[_BESIDE],
            "notes": [note.as_json() for note in notes],
            "at_threshold": dict(at_threshold),
        }
        row.state, row.coverage = state, coverage.as_json()
        row.timings = {**timings, _BESIDE: beside}
        session.flush()
        return _load(session, run_id)


def _hold(session: Session, run_id: str) -> SearchRun:
    """The row of a run that is being written, so that nobody removes it in this transaction."""
    query = select(SearchRun).where(SearchRun.id == run_id).with_for_update()
    row = session.scalars(query).one_or_none()
    if row is None:
        raise UnknownRun("The search was removed while it ran; search again.", field="run_id")
    return row


def _insert(session: Session, rows: list[dict[str, Any]]) -> None:
    """Insert hits, but none of a photo that has left the catalog while the search ran."""
    for start in range(0, len(rows), 1000):
        some = rows[start : start + 1000]
        there = set(
            session.scalars(
                select(Photo.id)
                .where(Photo.id.in_([row["photo_id"] for row in some]))
                .with_for_update(read=True, key_share=True)
            )
        )
        if kept := [row for row in some if row["photo_id"] in there]:
            session.execute(insert(Hit), kept)


def load(catalog: Catalog, run_id: str) -> Run:
    """Open a run again.

    Raises:
        UnknownRun: there is none of this id, or it was pruned.
    """
    with catalog.reading() as session:
        return _load(session, run_id)


def page(
    catalog: Catalog,
    run_id: str,
    *,
    after: int = -1,
    size: int,
    accepted: bool = True,
    order: Order = "confidence",
) -> tuple[Run, Page]:
    """A run and a page of its hits in an order; each page behind the last gives each once.

    Args:
        after: the rank, in another order the place, that the page begins behind.
        accepted: the matching photos, or else the nearest rejected ones that were kept.
        order: the most confident first, or by when photos were taken, or by path.
    Raises:
        UnknownRun.
        StillRunning: the ranks are not final yet.
    """
    with catalog.reading() as session:
        run = _load(session, run_id)
        if run.state not in _ENDED:
            raise StillRunning("The search is still running; page it when it has ended.")
        statement = _hits(run_id).where(Hit.accepted.is_(accepted)).limit(size + 1)
        if order == "confidence":
            statement = statement.where(Hit.rank > after).order_by(Hit.rank)
        else:
            statement = statement.join(Photo, Photo.id == Hit.photo_id).order_by(*_ORDERS[order])
            statement = statement.offset(after + 1)
        rows = session.scalars(statement).all()
    return run, Page(tuple(_hit(row) for row in rows[:size]), more=len(rows) > size)


def one_hit(catalog: Catalog, run_id: str, photo_id: int) -> tuple[Run, RankedHit]:
    """A run and its decision about one photo.

    Raises:
        UnknownRun, UnknownPhoto: the run kept no decision about it.
    """
    with catalog.reading() as session:
        run = _load(session, run_id)
        row = session.scalars(_hits(run_id).where(Hit.photo_id == photo_id)).one_or_none()
        if row is None:
            raise UnknownPhoto(
                f"The search kept no decision about photo {photo_id}.", field="photo_id"
            )
        return run, _hit(row)


def history(
    catalog: Catalog,
    *,
    before: str | None = None,
    size: int = 50,
    album_id: int | None = None,
    of: Asker | None = None,
) -> tuple[list[Run], bool]:
    """Search runs, newest first, and whether there are older ones; of identical ones the newest.

    Args:
        before: only runs that are older than this one.
        of: whose; None means everyone's.
    Raises:
        UnknownRun: there is none of that id (any more).
    """
    later = aliased(SearchRun)
    again = (
        select(later.id)
        .where(later.asked == SearchRun.asked, later.saved_id.is_(None))
        .where(later.key_id.is_not_distinct_from(SearchRun.key_id))
        .where(
            (later.created_at > SearchRun.created_at)
            | ((later.created_at == SearchRun.created_at) & (later.id > SearchRun.id))
        )
    )
    statement = _runs().where(SearchRun.saved_id.is_(None), ~again.exists()).limit(size + 1)
    statement = statement.order_by(SearchRun.created_at.desc(), SearchRun.id.desc())
    if album_id is not None:
        statement = statement.where(SearchRun.album_id == album_id)
    if of is not None:
        statement = statement.where(SearchRun.key_id.is_not_distinct_from(of.key_id))
    with catalog.reading() as session:
        if before is not None:
            last = _load(session, before)
            statement = statement.where(
                (SearchRun.created_at < last.created_at)
                | ((SearchRun.created_at == last.created_at) & (SearchRun.id < last.id))
            )
        found = [_run(*row) for row in session.execute(statement)]
    return found[:size], len(found) > size


def forget(catalog: Catalog, run_id: str) -> None:
    """Remove a run and its hits, with the identical ones of the same key that it stands for.

    Raises:
        UnknownRun: there is none of this id.
    """
    with catalog.session() as session:
        _load(session, run_id)
        run = session.get_one(SearchRun, run_id)
        same = [run_id]
        if run.asked is not None and run.saved_id is None:
            same = list(
                session.scalars(
                    select(SearchRun.id).where(
                        SearchRun.asked == run.asked,
                        SearchRun.saved_id.is_(None),
                        SearchRun.key_id.is_not_distinct_from(run.key_id),
                    )
                )
            )
        for each in same:
            session.execute(delete(Hit).where(Hit.run_id == each))
            session.execute(delete(SearchRun).where(SearchRun.id == each))


def _rows(run_id: str, decisions: Sequence[Decision], first: int) -> list[dict[str, Any]]:
    return [
        {
            "run_id": run_id,
            "photo_id": each.photo_id,
            "rank": rank,
            "confidence": each.confidence,
            "accepted": each.accepted,
            "no_target_logit": each.no_target_logit,
            "judgement": pack_decision(each),
        }
        for rank, each in enumerate(decisions, first)
    ]


def _hits(run_id: str) -> Select[Hit]:
    return select(Hit).where(Hit.run_id == run_id)


def _hit(row: Hit) -> RankedHit:
    assert row.judgement is not None and row.no_target_logit is not None
    minimap, coefficients, mask = unpack_decision(row.judgement)
    decision = Decision(
        row.photo_id,
        row.confidence,
        row.accepted,
        row.no_target_logit,
        minimap,
        coefficients,
        mask,
    )
    return RankedHit(row.run_id, row.rank, decision)


def _runs() -> Select[SearchRun, str]:
    return select(SearchRun, Album.name).outerjoin(Album, Album.id == SearchRun.album_id)


def _load(session: Session, run_id: str) -> Run:
    row = session.execute(_runs().where(SearchRun.id == run_id)).one_or_none()
    if row is None:
        raise UnknownRun(
            "There is no search run of this id (any more); search again.", field="run_id"
        )
    return _run(*row)


def _run(row: SearchRun, album: str | None) -> Run:
    timings = dict(row.timings)
    beside = timings.pop(_BESIDE, {})
    state, notes = row.state, tuple(Note(**note) for note in beside.get("notes", ()))
    if state == "running" and is_gone(beside.get("owner")):
        state = "stopped"
        notes = (
            *notes,
            Note("stopped", "The server ended before the search did.", {"why": "died"}),
        )
    return Run(
        id=row.id,
        expression=row.expression,
        album=album,
        album_id=row.album_id,
        mode=row.mode,
        filters=Filters.kept(row.filters),
        fingerprints={str(k): str(v) for k, v in row.fingerprints.items()},
        calibration_revision=row.calibration_revision,
        index_version_id=row.index_version_id,
        coverage=Coverage(**row.coverage) if row.coverage else Coverage(),
        timings=timings,
        notes=notes,
        threshold=beside.get("threshold"),
        at_threshold=beside.get("at_threshold", {}),
        verifier=beside.get("verifier"),
        state=state,
        key_id=row.key_id,
        created_at=row.created_at,
    )
