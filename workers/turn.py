"""What a job's function gets, and how its turn ends; who runs it makes no difference."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from indexer.db.catalog import Catalog
from indexer.jobs import jobs, slots
from indexer.settings import Settings
from workers.held import Held
from workers.pulse import Progress, Pulse

Step = Literal["more", "wait", "done"]


@dataclass(frozen=True)
class Outcome:
    """How a turn at a job ended.

    "more": there is more to do right now; "wait": others hold what is left, or the job is paused;
    "done": the job has ended.
    """

    step: Step
    result: dict[str, Any] | None = None
    message: str | None = None
    """What a person should know of a job that is done."""


MORE = Outcome("more")
WAIT = Outcome("wait")


@dataclass
class Turn:
    """What a job's function gets: the job, the library, and when to stop."""

    settings: Settings
    catalog: Catalog
    held: Held
    job: jobs.JobView
    place: slots.Place
    pulse: Pulse
    until: float  # monotonic time at which the turn should end
    stopping: Callable[[], bool]

    def should_stop(self) -> bool:
        """Whether to stop at once after the batch at hand: paused, cancelled, lost, shut down."""
        return self.pulse.stop_reason is not None or self.stopping()

    def is_over(self) -> bool:
        """Whether to begin no further batch in this turn, so that other jobs get theirs."""
        return self.should_stop() or time.monotonic() >= self.until

    def report(
        self,
        *,
        done: int | None = None,
        total: int | None = None,
        failed: int | None = None,
        message: str | None = None,
    ) -> None:
        """Say how far the job is."""
        self.pulse.report(Progress(done=done, total=total, failed=failed, message=message))
