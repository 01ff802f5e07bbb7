"""Run one place of a job for a while: the code that both runners, in-process and Celery, share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from indexer.db.catalog import Catalog
from indexer.encoding import claims
from indexer.errors import CatalogLocked, CatalogUnreachable, DecoderClosed, PlaceLost
from indexer.jobs import jobs, slots
from indexer.settings import Settings
from model.errors import ReferentError
from workers import metrics
from workers.held import Held
from workers.kinds import function_of
from workers.logging import log_context, logger
from workers.pulse import Pulse
from workers.turn import Step, Turn

log = logger(__name__)

# What may pass by itself: the job stays as it is and is taken up again by the sweeper.
TRANSIENT = (CatalogLocked, CatalogUnreachable, DecoderClosed, PlaceLost)
# A job that breaks (not one photo of it) is tried this often before it is given up.
ATTEMPTS_MAX = 3
# How often a catalog that is away is asked to take back what a broken turn holds.
RETRY_S = 0.5


def run_turn(
    settings: Settings,
    catalog: Catalog,
    held: Held,
    place: slots.Place,
    *,
    stopping: Callable[[], bool],
) -> Step:
    """Work at a job in the place that we hold, for at most `settings.turn_s`, and give it back.

    An error that the user can mend fails the job with its sentence; one that may pass (the catalog
    does not answer) leaves it for the sweeper; anything else is tried `ATTEMPTS_MAX` times.

    Args:
        stopping: whether this process is asked to end.
    Returns:
        "more" where another turn should follow at once.
    """
    with log_context(job_id=place.job_id, kind=place.kind, slot=place.slot):
        started = time.monotonic()
        step: Step = "wait"
        broken = True
        try:
            job = jobs.get(catalog, place.job_id)
            with Pulse(catalog, place) as pulse:
                turn = Turn(
                    settings=settings,
                    catalog=catalog,
                    held=held,
                    job=job,
                    place=place,
                    pulse=pulse,
                    until=started + settings.turn_s,
                    stopping=stopping,
                )
                outcome = function_of(place.kind)(turn)
                if pulse.stop_reason != "lost":
                    pulse.beat(last=True)
            step = outcome.step
            broken = False
            if step == "done":
                step = _end(catalog, place, "done", result=outcome.result, message=outcome.message)
        except TRANSIENT as error:
            log.warning("turn broken off", reason=str(error))
        except ReferentError as error:
            step = _end(catalog, place, "failed", message=str(error))
        except Exception as error:
            step = _broken(catalog, place, error)
        finally:
            _give_back(catalog, place, stopping, broken=broken)
            metrics.TURN_SECONDS.labels(kind=place.kind).observe(time.monotonic() - started)
            metrics.TURNS.labels(kind=place.kind, outcome=step).inc()
        return step


def _end(
    catalog: Catalog,
    place: slots.Place,
    state: str,
    *,
    result: dict[str, Any] | None = None,
    message: str | None = None,
) -> Step:
    """End a job, unless it was asked for again meanwhile: then it goes on with another scan."""
    ended = slots.finish(catalog, place, state, result=result, message=message)
    if ended == "again":
        return "more"
    if ended == "ended":
        tell = log.info if state == "done" else log.error
        tell(f"job {state}", result=result, reason=message)
    return "done"


def _broken(catalog: Catalog, place: slots.Place, error: Exception) -> Step:
    """A fault that nobody foresaw: write it down, and give the job up after some of them."""
    log.exception("turn broke")
    # Only its kind: a client reads the message, and a fault's own words may hold anything.
    reason = f"something unexpected happened ({type(error).__name__})"
    try:
        attempts = slots.count_attempt(catalog, place, reason)
        if attempts >= ATTEMPTS_MAX:
            return _end(
                catalog,
                place,
                "failed",
                message=f"{reason} ({attempts} times; the worker's log has the trace; "
                f"try again with: referent jobs retry {place.job_id})",
            )
    except ReferentError as unreachable:
        log.warning("turn's fault not written down", reason=str(unreachable))
    return "wait"


def _give_back(
    catalog: Catalog, place: slots.Place, stopping: Callable[[], bool], *, broken: bool
) -> None:
    """Let go of the place, and after a broken turn of what was claimed in it.

    A worker whose catalog is away has nothing better to do than wait for it: others would have to
    wait for the ends of its leases, since it lives.
    """
    until = time.monotonic() + max(place.lease_s, claims.CLAIM_S)
    tell = log.warning
    while True:
        try:
            if broken:
                claims.release(catalog, place.owner)
            slots.release(catalog, place)
        except TRANSIENT as error:
            tell("place not given back", reason=str(error))
            tell = log.debug  # once is enough
            if stopping() or time.monotonic() >= until:
                return  # the leases end by themselves
            time.sleep(RETRY_S)
        except ReferentError as error:
            log.warning("place not given back", reason=str(error))
            return
        else:
            return
