"""Which of the two runners a server has: jobs in its own process, or messages to Celery workers."""

from __future__ import annotations

import threading
from typing import Protocol, Self

from indexer.db.catalog import Catalog
from indexer.settings import Settings
from workers.held import Held
from workers.inprocess import InProcessRunner


class Runner(Protocol):
    """What a server needs of a runner; `wake` goes to `search_api.http.app.create_app`."""

    def start(self) -> None:
        """Begin to run or to send."""

    def wake(self) -> None:
        """A job was written, resumed or retried."""

    def stop(self) -> None:
        """End, giving back what is held."""


class CeleryRunner:
    """Sends messages from a thread; the work is done by `referent worker` processes."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        from workers.sweeper import Sweeper  # Celery is imported only where it is used

        self._sweeper = Sweeper(settings, catalog)
        self._thread = threading.Thread(target=self._sweeper.run, name="sweeper", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Send messages for whatever is free now."""
        self._sweeper.wake()

    def stop(self) -> None:
        """End the thread."""
        self._sweeper.stop()
        self._thread.join(10)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def make_runner(settings: Settings, catalog: Catalog, held: Held | None = None) -> Runner:
    """The runner that the settings ask for (REFERENT_RUNNER), not yet started.

    Args:
        held: the process's network, shared with in-process jobs.
    """
    if settings.runner == "celery":
        return CeleryRunner(settings, catalog)
    return InProcessRunner(settings, catalog, held)
