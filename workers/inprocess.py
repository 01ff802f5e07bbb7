"""The embedded runner: jobs in a thread of this process, no broker, nothing to start.

`referent serve` keeps one; `referent index` and its kin run a single job with `run_job`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Self

from indexer.db.catalog import Catalog
from indexer.db.owner import new_owner
from indexer.jobs import jobs, slots
from indexer.jobs.watching import tell_webhooks_again
from indexer.settings import Settings
from model.errors import ReferentError
from workers.held import Held
from workers.logging import logger
from workers.work import run_turn

log = logger(__name__)


class InProcessRunner:
    """Runs the library's jobs one turn at a time, oldest turn first.

    Several processes may each have one on the same catalog, next to Celery workers: leases keep
    them apart.
    """

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        held: Held | None = None,
        *,
        kinds: Collection[str] = jobs.KINDS,
        poll_s: float = 2.0,
    ) -> None:
        """Make it; `start` (or a with block) starts its thread.

        Args:
            held: shares a network that the process holds already.
            kinds: the kinds of job that it takes.
            poll_s: how often it looks at the catalog without a `wake`, for jobs that another
                process wrote.
        """
        self._settings = settings
        self._catalog = catalog
        self._held = held or Held(settings)
        self._kinds = tuple(kinds)
        self._poll_s = poll_s
        self._owner = new_owner()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Look at the catalog now: a job was written, resumed or retried."""
        self._wake.set()

    def start(self) -> None:
        """Start the thread."""
        assert self._thread is None, "a runner is started once"
        self._thread = threading.Thread(target=self._run, name="referent-jobs", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 30.0) -> None:
        """Finish the batch at hand, give the job back, and end."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self) -> None:
        resting: dict[int, float] = {}  # job → when to look at it again
        tell = log.warning
        while not self._stop.is_set():
            self._wake.clear()
            place = None
            try:
                jobs.settle_cancelled(self._catalog)
                tell_webhooks_again(self._catalog)
                place = slots.take_any(
                    self._catalog,
                    owner=self._owner,
                    lease_s=self._settings.job_lease_s,
                    kinds=self._kinds,
                    without=[job for job, until in resting.items() if until > time.monotonic()],
                )
                if place is not None:
                    step = run_turn(
                        self._settings,
                        self._catalog,
                        self._held,
                        place,
                        stopping=self._stop.is_set,
                    )
                    if step == "wait":
                        # Others hold what is left, or it broke: come back in a moment.
                        resting[place.job_id] = time.monotonic() + self._poll_s
                    else:
                        resting.pop(place.job_id, None)
                tell = log.warning
            except ReferentError as error:
                tell("catalog does not answer", reason=str(error))
                tell = log.debug  # once is enough, until it answers again
            except Exception:
                log.exception("runner")
            if place is None:
                if self._settings.idle_s:
                    self._held.let_go(self._settings.idle_s)
                self._wake.wait(self._poll_s)


def run_job(
    settings: Settings,
    catalog: Catalog,
    job_id: int,
    held: Held | None = None,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[jobs.JobView], None] = lambda job: None,
    poll_s: float = 0.5,
) -> jobs.JobView:
    """Run one job here, in the foreground, until it ends or is stopped.

    Other workers may help with it; then this one also waits for what they hold. When it is stopped
    the job is queued again, and whoever runs jobs next goes on with it.

    Args:
        should_stop: asked between batches, such as after Ctrl-C.
        on_progress: called about twice a second while there is progress to see.
    Returns:
        the job as it stands at the end; look at its state.
    """
    own = held is None
    held = held or Held(settings)
    owner = new_owner()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(poll_s):
            try:
                on_progress(jobs.get(catalog, job_id))
            except ReferentError as error:
                log.debug("no progress to show", reason=str(error))

    watcher = threading.Thread(target=watch, name="job-progress", daemon=True)
    watcher.start()
    try:
        while not should_stop():
            place = slots.take_here(catalog, job_id, owner=owner, lease_s=settings.job_lease_s)
            step = None
            if place is not None:
                step = run_turn(settings, catalog, held, place, stopping=should_stop)
            job = jobs.get(catalog, job_id)
            if job.finished or job.state == "paused":
                break
            if step != "more":
                jobs.settle_cancelled(catalog, job_id)
                time.sleep(poll_s)
    finally:
        over.set()
        watcher.join()
        if own:
            held.close()
    job = jobs.get(catalog, job_id)
    on_progress(job)
    return job
