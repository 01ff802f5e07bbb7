"""Long jobs: their rows, their states, and what a person may do with them.

The row is the truth. A message on a queue, a thread's wake-up or a page's button only says "look
at the catalog". Who works on a job right now is in `indexer.jobs.slots`.

States::

    queued ──▶ running ──▶ done | failed
      │  ▲       │  │
      ▼  │       ▼  └────▶ cancelling ──▶ cancelled      (retry: done, failed, cancelled ──▶ queued)
     paused ◀── pause
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from indexer.db.catalog import Catalog
from indexer.db.clock import clock
from indexer.db.tables import Album, Job, JobFailure, JobSlot, Photo
from indexer.errors import JobConflict, JobParametersInvalid, UnknownJob

KINDS = ("index", "reindex", "compact", "verify", "matte", "export", "watch")
UNFINISHED = ("queued", "running", "paused", "cancelling")
FINISHED = ("cancelled", "failed", "done")
# Which worker may take a job: encoding wants the network (and a GPU), the rest CPU and disk.
QUEUE_OF_KIND: Mapping[str, str] = {
    "index": "encode",
    "reindex": "encode",
    "verify": "encode",
    "compact": "matte",
    "matte": "matte",
    "export": "matte",
    "watch": "encode",
}
QUEUES = ("encode", "matte")
# Kinds whose photos can be shared out between workers; the others have one place.
_SHARED_KINDS = ("index", "reindex")
# Kinds that look at folders: asked for again while they run, they look once more.
_SCANNING_KINDS = ("index",)
DEFAULT_WIDTH = 8


@dataclass(frozen=True)
class JobView:
    """What a person sees of a job; times are Unix seconds of the database's clock."""

    id: int
    kind: str
    album_id: int | None
    album: str | None
    state: str
    phase: str | None
    parameters: dict[str, Any]
    expression: str | None  # what a matte job cuts out
    done: int
    total: int | None
    failed: int
    rate: float | None  # photos a second, smoothed
    seconds_left: float | None
    message: str | None
    attempts: int
    workers: int  # how many hold a live lease on it
    created_at: float
    started_at: float | None
    finished_at: float | None
    heartbeat_at: float | None
    result: dict[str, Any] | None

    @property
    def queue(self) -> str:
        """The queue whose workers run it."""
        return QUEUE_OF_KIND[self.kind]

    @property
    def finished(self) -> bool:
        """Whether nothing will change any more unless it is retried."""
        return self.state in FINISHED

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)


def create(
    catalog: Catalog,
    kind: str,
    *,
    album_id: int | None = None,
    parameters: Mapping[str, Any] | None = None,
    width: int = DEFAULT_WIDTH,
) -> JobView:
    """Write a job's row; whoever runs jobs is woken by the caller.

    Asking for a job that is already queued, running or paused (same kind, album and parameters)
    returns that one, also when two processes ask in the same instant; one that scans folders does
    so once more before it ends, so that what lies there now is not left out. A job that is being
    cancelled is let go, and a new one made.

    Args:
        kind: one of `KINDS`.
        album_id: the album it works on; None where the kind concerns the whole library.
        parameters: plain JSON values.
        width: how many workers may share it, for kinds whose photos can be shared out.

    Raises:
        JobParametersInvalid: no such kind, no such album, or values that are no JSON.
    """
    if kind not in KINDS:
        raise JobParametersInvalid(f"no kind of job is named {kind!r}: choose {', '.join(KINDS)}")
    if width < 1:
        raise JobParametersInvalid(f"a job needs at least one place for a worker, not {width}")
    values = dict(parameters or {})
    key = _active_key(kind, album_id, values)
    places = width if kind in _SHARED_KINDS else 1
    for _ in range(3):
        try:
            with catalog.session() as session:
                same = _ask_again(session, key)
                if same is None:
                    if album_id is not None and session.get(Album, album_id) is None:
                        raise JobParametersInvalid(f"no album has the number {album_id}")
                    same = session.scalar(
                        insert(Job)
                        .values(
                            kind=kind,
                            album_id=album_id,
                            parameters=values,
                            state="queued",
                            done=0,
                            failed=0,
                            attempts=0,
                            created_at=clock(),
                            active_key=key,
                        )
                        .returning(Job.id)
                    )
                    session.execute(
                        insert(JobSlot), [{"job_id": same, "slot": slot} for slot in range(places)]
                    )
            assert same is not None
            return get(catalog, same)
        except IntegrityError:
            continue  # another process wrote the same job between our look and our insert
    raise JobConflict("the same job is being started elsewhere again and again: try once more")


def _ask_again(session: Session, key: str) -> int | None:
    """Let an unfinished job of this key know that it is wanted; None where there is none.

    Its end and this are two updates of one row, so that one of them sees the other.
    """
    session.execute(
        update(Job).where(Job.active_key == key, Job.state == "cancelling").values(active_key=None)
    )
    return session.scalar(
        update(Job)
        .where(Job.active_key == key)
        .values(again=Job.kind.in_(_SCANNING_KINDS))
        .returning(Job.id)
    )


def get(catalog: Catalog, job_id: int) -> JobView:
    """One job.

    Raises:
        UnknownJob: no such number.
    """
    with catalog.reading() as session:
        views = _views(session, [job_id])
    if not views:
        raise UnknownJob(f"no job has the number {job_id}: `referent jobs` lists them")
    return views[0]


def list_jobs(
    catalog: Catalog,
    *,
    states: Collection[str] | None = None,
    kinds: Collection[str] | None = None,
    album_id: int | None = None,
    among: Collection[int] | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[JobView]:
    """Jobs, newest first.

    Args:
        among: only jobs of these albums; None means any.
        before: only jobs with a smaller number; pass the last one's to page on.
    """
    query = select(Job.id).order_by(Job.id.desc()).limit(limit)
    if states is not None:
        query = query.where(Job.state.in_(tuple(states)))
    if kinds is not None:
        query = query.where(Job.kind.in_(tuple(kinds)))
    if album_id is not None:
        query = query.where(Job.album_id == album_id)
    if among is not None:
        query = query.where(Job.album_id.in_(tuple(among)))
    if before is not None:
        query = query.where(Job.id < before)
    with catalog.reading() as session:
        return _views(session, session.scalars(query).all())


def pause(catalog: Catalog, job_id: int) -> JobView:
    """Stop a job after the batches that are being worked on; `resume` goes on where it stopped.

    Raises:
        UnknownJob, JobConflict.
    """
    return _move(catalog, job_id, ("queued", "running"), "paused", "paused")


def resume(catalog: Catalog, job_id: int) -> JobView:
    """Let a paused job go on; the caller wakes the workers.

    Raises:
        UnknownJob, JobConflict.
    """
    with catalog.session() as session:
        _let_sweep(session, job_id)
    return _move(catalog, job_id, ("paused",), "queued", "resumed", also=("running",))


def cancel(catalog: Catalog, job_id: int) -> JobView:
    """End a job for good; what it finished is kept.

    It is ``cancelling`` until no worker holds it any more.

    Raises:
        UnknownJob, JobConflict.
    """
    _move(
        catalog,
        job_id,
        ("queued", "running", "paused"),
        "cancelling",
        "cancelled",
        also=("cancelled",),
    )
    settle_cancelled(catalog, job_id)
    return get(catalog, job_id)


def retry(catalog: Catalog, job_id: int) -> JobView:
    """Queue a finished job again: what failed is tried afresh, what is there is kept.

    Raises:
        UnknownJob, JobConflict: it has not finished, or the same job already runs under another
            number.
    """
    job = get(catalog, job_id)
    if not job.finished:
        if job.state in ("queued", "running"):
            return job
        raise JobConflict(f"job {job_id} is {job.state}: only a finished job can be retried")
    key = _active_key(job.kind, job.album_id, job.parameters)
    try:
        with catalog.session() as session:
            _let_sweep(session, job_id)
            session.execute(
                update(Job)
                .where(Job.id == job_id, Job.state == job.state)
                .values(
                    state="queued",
                    phase="retry",
                    active_key=key,
                    attempts=0,
                    failed=0,
                    message=None,
                    result=None,
                    finished_at=None,
                    rate=None,
                )
            )
            if job.album_id is not None and job.kind == "index":
                session.execute(
                    update(Photo)
                    .where(Photo.album_id == job.album_id, Photo.status == "failed")
                    .values(status="new", attempts=0, error=None)
                )
            session.execute(delete(JobFailure).where(JobFailure.job_id == job_id))
    except IntegrityError:
        raise JobConflict(
            f"the same job as {job_id} already runs under another number: `referent jobs` shows it"
        ) from None
    return get(catalog, job_id)


def settle_cancelled(catalog: Catalog, job_id: int | None = None) -> None:
    """Turn ``cancelling`` into ``cancelled`` where no worker holds a live lease any more."""
    held = (
        select(JobSlot.slot).where(JobSlot.job_id == Job.id, JobSlot.lease_until > clock()).exists()
    )
    over = [Job.state == "cancelling", ~held]
    if job_id is not None:
        over.append(Job.id == job_id)
    with catalog.reading() as session:
        if session.scalar(select(Job.id).where(*over).limit(1)) is None:
            return  # the common case writes nothing: runners ask every few seconds
    with catalog.session() as session:
        session.execute(
            update(Job).where(*over).values(state="cancelled", finished_at=clock(), active_key=None)
        )


def forget_ended(catalog: Catalog, after_s: float) -> int:
    """Remove jobs that ended so long ago, with their places and reports; 0 removes none.

    Returns:
        how many.
    """
    if not after_s:
        return 0
    with catalog.session() as session:
        ended = Job.state.in_(FINISHED) & (Job.finished_at < clock() - after_s)
        result: Any = session.execute(
            delete(Job).where(ended).execution_options(synchronize_session=False)
        )
        return int(result.rowcount)


def count_by_state(catalog: Catalog) -> dict[tuple[str, str], int]:
    """How many jobs there are, by (kind, state); for metrics."""
    with catalog.reading() as session:
        rows = session.execute(
            select(Job.kind, Job.state, func.count()).group_by(Job.kind, Job.state)
        )
        return {(kind, state): number for kind, state, number in rows}


def _move(
    catalog: Catalog,
    job_id: int,
    before: Sequence[str],
    after: str,
    verb: str,
    *,
    also: Sequence[str] = (),
) -> JobView:
    """Change a state where it is one of `before`; being in `after` or `also` already is fine."""
    with catalog.session() as session:
        session.execute(
            update(Job).where(Job.id == job_id, Job.state.in_(before)).values(state=after)
        )
    job = get(catalog, job_id)
    if job.state not in (after, *also):
        raise JobConflict(f"job {job_id} is {job.state} and cannot be {verb}")
    return job


def _let_sweep(session: Session, job_id: int) -> None:
    """Let the next sweep send for a job's free places, however lately a message went out."""
    session.execute(
        update(JobSlot)
        .where(JobSlot.job_id == job_id, JobSlot.lease_owner.is_(None))
        .values(woken_at=None)
    )


def _views(session: Session, ids: Sequence[int]) -> list[JobView]:
    if not ids:
        return []
    counts = session.execute(
        select(JobSlot.job_id, func.count())
        .where(JobSlot.job_id.in_(ids), JobSlot.lease_until > clock())
        .group_by(JobSlot.job_id)
    )
    held: dict[int, int] = dict(counts.all())
    rows = session.execute(
        select(Job, Album.name)
        .outerjoin(Album, Album.id == Job.album_id)
        .where(Job.id.in_(ids))
        .order_by(Job.id.desc())
    )
    return [_view(job, album, held.get(job.id, 0)) for job, album in rows]


def _view(job: Job, album: str | None, workers: int) -> JobView:
    left = None
    if job.state == "running" and job.rate and job.total is not None:
        left = max(0, job.total - job.done - job.failed) / job.rate
    return JobView(
        id=job.id,
        kind=job.kind,
        album_id=job.album_id,
        album=album,
        state=job.state,
        phase=job.phase,
        parameters=dict(job.parameters),
        expression=_expression(job.parameters),
        done=job.done,
        total=job.total,
        failed=job.failed,
        rate=job.rate if job.state == "running" else None,
        seconds_left=left,
        message=job.message,
        attempts=job.attempts,
        workers=workers,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        heartbeat_at=job.heartbeat_at,
        result=job.result,
    )


def _expression(parameters: Mapping[str, Any]) -> str | None:
    found = parameters.get("expression") or parameters.get("query", {}).get("expression")
    return str(found) if found else None


def _active_key(kind: str, album_id: int | None, parameters: Mapping[str, Any]) -> str:
    try:
        text = json.dumps([kind, album_id, dict(parameters)], sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise JobParametersInvalid(f"a job's parameters must be plain JSON: {error}") from error
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()
