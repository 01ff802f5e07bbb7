"""Places in a job, and the leases that say who holds one.

A worker takes a place, works while it renews the lease, and gives it back. All times are the
database's, so that a worker's own clock may be wrong. A message for a place that is held, or for a
job that is paused or over, does nothing: messages may be lost, repeated or late.

Transactions lock a place before its job, everywhere, so that PostgreSQL sees no deadlock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from indexer.db.catalog import Catalog
from indexer.db.clock import clock
from indexer.db.owner import is_gone
from indexer.db.tables import Job, JobSlot
from indexer.errors import PlaceLost
from indexer.jobs.jobs import FINISHED, KINDS, settle_cancelled

RUNNABLE = ("queued", "running")
# No lease is longer (`Settings.job_lease_s`): one that ends later was given before the database's
# clock was put back, and nobody should wait for its end.
LEASE_MAX_S = 3600.0
# Weight of the newest interval in the smoothed rate; the others fade by halves about every 2 beats.
_NEWEST = 0.3


@dataclass(frozen=True)
class Place:
    """A place in a job that `owner` holds until its lease runs out."""

    job_id: int
    slot: int
    kind: str
    owner: str
    lease_s: float


@dataclass(frozen=True)
class Wake:
    """A place that nobody holds; a message should be sent for it."""

    job_id: int
    slot: int
    kind: str


def take(catalog: Catalog, job_id: int, slot: int, *, owner: str, lease_s: float) -> Place | None:
    """Take one place of a job, if the job may run and nobody else holds the place."""
    with catalog.session() as session:
        kind = session.scalar(select(Job.kind).where(Job.id == job_id, Job.state.in_(RUNNABLE)))
        return None if kind is None else _occupy(session, job_id, slot, kind, owner, lease_s)


def take_here(catalog: Catalog, job_id: int, *, owner: str, lease_s: float) -> Place | None:
    """Take any free place of one job."""
    free_places_of_the_dead(catalog)
    with catalog.session() as session:
        kind = session.scalar(select(Job.kind).where(Job.id == job_id, Job.state.in_(RUNNABLE)))
        if kind is None:
            return None
        numbers = session.scalars(
            select(JobSlot.slot).where(JobSlot.job_id == job_id, _is_free()).order_by(JobSlot.slot)
        ).all()
        for slot in numbers:
            place = _occupy(session, job_id, slot, kind, owner, lease_s)
            if place is not None:
                return place
    return None


def take_any(
    catalog: Catalog,
    *,
    owner: str,
    lease_s: float,
    kinds: Collection[str] = KINDS,
    without: Collection[int] = (),
) -> Place | None:
    """Take a place of whichever runnable job waited longest for one.

    Places whose holder was a process of this machine and lives no more are free at once.

    Args:
        without: jobs to leave alone.
    """
    free = (
        select(Job.id, JobSlot.slot, Job.kind)
        .join(JobSlot, JobSlot.job_id == Job.id)
        .where(Job.state.in_(RUNNABLE), Job.kind.in_(tuple(kinds)), _is_free())
        .order_by(func.coalesce(JobSlot.woken_at, 0), Job.id, JobSlot.slot)
        .limit(16)
    )
    if without:
        free = free.where(Job.id.not_in(tuple(without)))
    with catalog.reading() as session:
        found = session.execute(free.limit(1)).first()
    if found is None and not free_places_of_the_dead(catalog):
        return None  # the common case writes nothing
    with catalog.session() as session:
        for job_id, slot, kind in session.execute(free).all():
            place = _occupy(session, job_id, slot, kind, owner, lease_s)
            if place is not None:
                return place
    return None


def renew(
    catalog: Catalog,
    place: Place,
    *,
    done: int | None = None,
    total: int | None = None,
    failed: int | None = None,
    message: str | None = None,
    last: bool = False,
) -> str:
    """Keep the place (and the lead, if held) for `lease_s` more, and say how far the job is.

    Args:
        last: the turn ends here, so that what is said must not wait for the next beat.
    Returns:
        The job's state: anything but "running" means stop after the batch at hand.

    Raises:
        PlaceLost: the lease ran out and somebody else may be at work, or the job is gone.
    """
    with catalog.session() as session:
        kept = session.scalar(
            update(JobSlot)
            .where(*_mine(place), JobSlot.lease_until > clock())
            .values(lease_until=clock() + place.lease_s)
            .returning(JobSlot.slot)
        )
        if kept is None:
            raise PlaceLost(f"place {place.slot} of job {place.job_id} belongs to somebody else")
        given = {"total": total, "failed": failed, "message": message}
        values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        job = session.get_one(Job, place.job_id)
        now = float(session.scalar(select(clock())) or 0)
        elapsed = now - (job.heartbeat_at or job.started_at or now)
        left = (job.total if total is None else total) or 0
        left -= (done or 0) + (job.failed if failed is None else failed)
        if done is not None and (not 0 <= elapsed <= 1 or left <= 0 or last):
            # A rate over less than a second would jump about; such a beat waits for the next.
            if elapsed > 1:
                fresh = max(0, done - job.done) / elapsed
                old = fresh if job.rate is None else job.rate
                values["rate"] = _NEWEST * fresh + (1 - _NEWEST) * old
            values |= {"done": done, "heartbeat_at": now}
        elif elapsed > place.lease_s / 2:
            values["heartbeat_at"] = now
        if values:
            session.execute(update(Job).where(Job.id == job.id).values(**values))
        session.execute(
            update(Job)
            .where(Job.id == place.job_id, Job.lease_owner == place.owner)
            .values(lease_until=clock() + place.lease_s)
        )
        return job.state


def release(catalog: Catalog, place: Place) -> None:
    """Give a place back, and the lead; a job that was being cancelled ends with its last worker."""
    with catalog.session() as session:
        session.execute(
            update(JobSlot)
            .where(*_mine(place))
            .values(lease_owner=None, lease_until=None, woken_at=clock())
        )
        _step_back(session, place)
    settle_cancelled(catalog, place.job_id)


@contextmanager
def leading(catalog: Catalog, place: Place) -> Iterator[bool]:
    """`lead` for as long as the block takes."""
    leads = lead(catalog, place)
    try:
        yield leads
    finally:
        if leads:
            with catalog.session() as session:
                _step_back(session, place)


def lead(catalog: Catalog, place: Place) -> bool:
    """Try to be the one worker that scans or finishes a job; False where another one is.

    `renew` keeps the lead together with the place, `release` and `finish` end it.
    """
    with catalog.session() as session:
        mine = session.scalar(
            update(Job)
            .where(
                Job.id == place.job_id,
                or_(
                    Job.lease_owner.is_(None),
                    Job.lease_owner == place.owner,
                    Job.lease_until <= clock(),
                    Job.lease_until > clock() + LEASE_MAX_S,
                ),
            )
            .values(lease_owner=place.owner, lease_until=clock() + place.lease_s)
            .returning(Job.id)
        )
    return mine is not None


def _step_back(session: Session, place: Place) -> None:
    session.execute(
        update(Job)
        .where(Job.id == place.job_id, Job.lease_owner == place.owner)
        .values(lease_owner=None, lease_until=None)
    )


def begin_scan(catalog: Catalog, place: Place) -> None:
    """Note that whatever was asked for until now is looked at from now on."""
    with catalog.session() as session:
        session.execute(update(Job).where(Job.id == place.job_id).values(again=False))


def enter_phase(
    catalog: Catalog, place: Place, phase: str, *, result: dict[str, Any] | None = None
) -> None:
    """Write down which part of the job comes next; only its leader does this.

    Args:
        result: what of the job's result is known already.
    """
    values: dict[str, Any] = {"phase": phase} | ({} if result is None else {"result": result})
    with catalog.session() as session:
        session.execute(update(Job).where(Job.id == place.job_id).values(**values))


def finish(
    catalog: Catalog,
    place: Place,
    state: str,
    *,
    result: dict[str, Any] | None = None,
    message: str | None = None,
) -> Literal["ended", "again", "refused"]:
    """End a running job as done or failed, and give the place back.

    Returns:
        "again" where it was asked for since its last scan began: it is to scan once more.
        "refused" where it was paused, cancelled or ended before, or the place was lost meanwhile.
    """
    assert state in FINISHED
    with catalog.session() as session:
        held = session.scalar(
            update(JobSlot)
            .where(*_mine(place), JobSlot.lease_until > clock())
            .values(lease_owner=None, lease_until=None, woken_at=clock())
            .returning(JobSlot.slot)
        )
        if held is None:
            return "refused"
        running = update(Job).where(Job.id == place.job_id, Job.state == "running")
        ended = session.scalar(
            running.where(~Job.again)
            .values(
                state=state,
                result=result,
                message=message,
                finished_at=clock(),
                active_key=None,
                lease_owner=None,
                lease_until=None,
            )
            .returning(Job.id)
        )
        if ended is not None:
            return "ended"
        again = session.scalar(
            running.where(Job.again)
            .values(phase="scan", lease_owner=None, lease_until=None)
            .returning(Job.id)
        )
        return "refused" if again is None else "again"


def count_attempt(catalog: Catalog, place: Place, reason: str) -> int:
    """Write down that the job itself (not one photo) broke; returns how often it has."""
    with catalog.session() as session:
        attempts = session.scalar(
            update(Job)
            .where(Job.id == place.job_id)
            .values(attempts=Job.attempts + 1, message=reason)
            .returning(Job.attempts)
        )
        return int(attempts or 0)


def forgotten(
    catalog: Catalog, *, after_s: float, kinds: Collection[str] = KINDS, limit: int = 1000
) -> list[Wake]:
    """The sweeper's look: free places of runnable jobs for which no message went out lately.

    Each is marked as woken, so that two sweepers do not send for the same place. Jobs whose last
    worker died while they were being cancelled end here.
    """
    free_places_of_the_dead(catalog)
    settle_cancelled(catalog)
    waiting = (
        select(JobSlot.job_id, JobSlot.slot, Job.kind)
        .join(Job, Job.id == JobSlot.job_id)
        .where(
            Job.state.in_(RUNNABLE),
            Job.kind.in_(tuple(kinds)),
            _is_free(),
            _is_forgotten(after_s),
        )
        .order_by(func.coalesce(JobSlot.woken_at, 0), JobSlot.job_id, JobSlot.slot)
        .limit(limit)
    )
    with catalog.reading() as session:
        found = [Wake(*row) for row in session.execute(waiting)]
    return [wake for wake in found if mark_woken(catalog, wake, after_s=after_s)]


def free_places_of_the_dead(catalog: Catalog) -> int:
    """End the leases of processes of this machine that live no more; returns how many ended.

    Without this a killed worker's places would wait for the end of their leases; on other machines
    they do, since only the machine itself can know.
    """
    with catalog.reading() as session:
        held = select(JobSlot.lease_owner).where(JobSlot.lease_owner.is_not(None))
        owners = set(session.scalars(held))
    dead = [owner for owner in owners if is_gone(owner)]
    if not dead:
        return 0
    with catalog.session() as session:
        freed = session.scalars(
            update(JobSlot)
            .where(JobSlot.lease_owner.in_(dead))
            .values(lease_owner=None, lease_until=None, woken_at=None)
            .returning(JobSlot.slot)
        ).all()
        session.execute(
            update(Job).where(Job.lease_owner.in_(dead)).values(lease_owner=None, lease_until=None)
        )
    return len(freed)


def mark_woken(catalog: Catalog, wake: Wake, *, after_s: float = 0.0) -> bool:
    """Note that a message goes out for a place; False where one did in the last `after_s`."""
    with catalog.session() as session:
        marked = session.scalar(
            update(JobSlot)
            .where(
                JobSlot.job_id == wake.job_id,
                JobSlot.slot == wake.slot,
                _is_forgotten(after_s),
            )
            .values(woken_at=clock())
            .returning(JobSlot.slot)
        )
        return marked is not None


def _occupy(
    session: Session, job_id: int, slot: int, kind: str, owner: str, lease_s: float
) -> Place | None:
    taken = session.scalar(
        update(JobSlot)
        .where(JobSlot.job_id == job_id, JobSlot.slot == slot, _is_free())
        .values(lease_owner=owner, lease_until=clock() + lease_s, woken_at=clock())
        .returning(JobSlot.slot)
    )
    if taken is None:
        return None
    started = session.scalar(
        update(Job)
        .where(Job.id == job_id, Job.state.in_(RUNNABLE))
        .values(state="running", started_at=func.coalesce(Job.started_at, clock()))
        .returning(Job.id)
    )
    if started is None:  # paused between the look and now
        session.execute(
            update(JobSlot)
            .where(JobSlot.job_id == job_id, JobSlot.slot == slot)
            .values(lease_owner=None, lease_until=None)
        )
        return None
    return Place(job_id=job_id, slot=slot, kind=kind, owner=owner, lease_s=lease_s)


def _is_free() -> Any:
    until = JobSlot.lease_until
    return or_(until.is_(None), until <= clock(), until > clock() + LEASE_MAX_S)


def _is_forgotten(after_s: float) -> Any:
    """No message went out lately (or in the future, before the clock was put back)."""
    woken_at = JobSlot.woken_at
    return or_(woken_at.is_(None), woken_at <= clock() - after_s, woken_at > clock())


def _mine(place: Place) -> tuple[Any, ...]:
    return (
        JobSlot.job_id == place.job_id,
        JobSlot.slot == place.slot,
        JobSlot.lease_owner == place.owner,
    )
