"""The heartbeat of a worker at a job: it keeps the lease, and hears that the job shall stop."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from indexer.db.catalog import Catalog
from indexer.errors import PlaceLost
from indexer.jobs import slots
from model.errors import ReferentError
from workers.logging import logger

log = logger(__name__)

# A pause or a cancellation is heard within this time, and a batch takes a few seconds at most.
BEAT_S = 2.0


@dataclass(frozen=True)
class Progress:
    """How far a job is, as the catalog tells; None leaves what is there."""

    done: int | None = None
    total: int | None = None
    failed: int | None = None
    message: str | None = None


class Pulse:
    """A thread that renews a place's lease until the block ends.

    A catalog that does not answer is asked again and again; work may go on meanwhile, but not
    longer than the lease, since after that somebody else may hold the place.
    """

    def __init__(self, catalog: Catalog, place: slots.Place, *, beat_s: float = BEAT_S) -> None:
        self._catalog = catalog
        self._place = place
        self._beat_s = min(beat_s, place.lease_s / 4)
        self._over = threading.Event()
        self._progress = Progress()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"pulse-{place.job_id}", daemon=True)
        self.stop_reason: str | None = None

    def report(self, progress: Progress) -> None:
        """Say how far the job is; the next beat writes it down."""
        with self._lock:
            old = self._progress
            self._progress = Progress(
                done=old.done if progress.done is None else progress.done,
                total=old.total if progress.total is None else progress.total,
                failed=old.failed if progress.failed is None else progress.failed,
                message=old.message if progress.message is None else progress.message,
            )

    def beat(self, *, last: bool = False) -> None:
        """Renew once, now; ``last`` where the turn ends with it."""
        with self._lock:
            progress = self._progress
        try:
            state = slots.renew(
                self._catalog,
                self._place,
                done=progress.done,
                total=progress.total,
                failed=progress.failed,
                message=progress.message,
                last=last,
            )
        except PlaceLost:
            self.stop_reason = "lost"
            raise
        if state != "running":
            self.stop_reason = state

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        # The monotonic clock: a jump of the machine's wall clock changes nothing here.
        renewed = time.monotonic()
        while not self._over.wait(self._beat_s):
            try:
                self.beat()
            except PlaceLost as error:
                log.warning("place lost", reason=str(error))
                return
            except ReferentError as error:
                log.warning("catalog does not answer", reason=str(error))
                if time.monotonic() - renewed > self._place.lease_s:
                    self.stop_reason = "lost"
                    return
            except Exception:
                log.exception("heartbeat failed")
                if time.monotonic() - renewed > self._place.lease_s:
                    self.stop_reason = "lost"
                    return
            else:
                renewed = time.monotonic()
