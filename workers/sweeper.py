"""Sends messages for work that nobody does: the heartbeat of a library with Celery workers.

Messages get lost: Redis is flushed, a worker dies with one in its hands, a place becomes free when
nobody looks. The sweeper looks at the catalog every few seconds and sends what is missing. Any
number may run; more than one sends nothing twice.
"""

from __future__ import annotations

import threading
import time
from collections import Counter

from celery import Celery
from kombu.exceptions import OperationalError

from indexer.db.catalog import Catalog
from indexer.jobs import slots
from indexer.jobs.jobs import QUEUE_OF_KIND
from indexer.jobs.watching import tell_webhooks_again
from indexer.settings import Settings
from model.errors import ReferentError
from search_api.search import retention
from workers.broker import queue_lengths, unreachable
from workers.celery_app import make_app, send_turn
from workers.logging import logger

log = logger(__name__)


class Sweeper:
    """Looks for free places of runnable jobs and sends a message for each."""

    def __init__(self, settings: Settings, catalog: Catalog, app: Celery | None = None) -> None:
        self._settings = settings
        self._catalog = catalog
        self._app = app or make_app(settings)
        self._wake = threading.Event()
        self._stop = threading.Event()

    def sweep(self, *, after_s: float | None = None) -> int:
        """Look once, and send.

        Args:
            after_s: leave places alone that were woken less than this ago; default `sweep_s`.
        Returns:
            messages sent.
        Raises:
            BrokerUnreachable, CatalogUnreachable, CatalogLocked.
        """
        tell_webhooks_again(self._catalog)
        # With nobody to read them, messages must not pile up: no more wait than there are places.
        backlog = Counter(queue_lengths(self._settings))
        wakes = slots.forgotten(
            self._catalog, after_s=self._settings.sweep_s if after_s is None else after_s
        )
        sent = 0
        for wake in wakes:
            queue = QUEUE_OF_KIND[wake.kind]
            if backlog[queue] > 0:
                backlog[queue] -= 1
                continue
            try:
                send_turn(self._app, wake.job_id, wake.slot, queue, time.time())
            except OperationalError as error:
                raise unreachable(self._settings, error) from error
            sent += 1
        if sent:
            log.debug("woken", messages=sent)
        return sent

    def wake(self) -> None:
        """Sweep now instead of at the next beat."""
        self._wake.set()

    def stop(self) -> None:
        """End `run`."""
        self._stop.set()
        self._wake.set()

    def run(self) -> None:
        """Sweep until `stop`; a broker or a catalog that does not answer is asked again.

        What is older than its setting goes as well, now and then.
        """
        tidied_at: float | None = None
        while not self._stop.is_set():
            if tidied_at is None or time.monotonic() - tidied_at > retention.EVERY_S:
                tidied_at = time.monotonic()
                retention.sweep_or_say(self._catalog, self._settings)
            woken = self._wake.is_set()
            self._wake.clear()
            try:
                self.sweep(after_s=0.2 if woken else None)
            except ReferentError as error:
                log.warning("sweep failed", reason=str(error))
            except Exception:
                log.exception("sweep broke")
            self._wake.wait(self._settings.sweep_s)
