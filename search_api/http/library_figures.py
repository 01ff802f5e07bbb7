"""A library's figures for Prometheus: what the catalog and the broker say when they are asked.

They are right whoever did the work and whenever a process was restarted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from indexer.db.catalog import Catalog
from indexer.db.clock import clock
from indexer.db.tables import Album, EncodeClaim, JobSlot, Photo, Segment
from indexer.jobs import jobs
from model.errors import ReferentError

log = logging.getLogger(__name__)


class LibraryCollector(Collector):
    """Reads photos, jobs, segments, leases and queues from the catalog and the broker.

    A scrape that follows another within `fresh_s` gets the same figures, so that scraping costs
    a large library nothing noticeable. A catalog that does not answer yields `referent_catalog_up
    0` and no other figure.
    """

    def __init__(
        self,
        catalog: Catalog,
        queue_lengths: Callable[[], Mapping[str, int]] | None = None,
        *,
        fresh_s: float = 10.0,
    ) -> None:
        """Read nothing yet.

        Args:
            queue_lengths: asks the broker, where there is one.
        """
        self._catalog = catalog
        self.queue_lengths = queue_lengths
        self._fresh_s = fresh_s
        self._lock = threading.Lock()
        self._read_at: float | None = None
        self._known: list[Metric] = []

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry must not read a database when this is registered."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The figures, at most `fresh_s` old."""
        with self._lock:
            now = time.monotonic()
            if self._read_at is None or now - self._read_at > self._fresh_s:
                self._known = list(self._read())
                self._read_at = now
            return list(self._known)

    def _read(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("referent_catalog_up", "Whether the catalog answers.")
        try:
            figures = [*self._photos(), *self._jobs(), *self._contents()]
        except ReferentError as error:
            log.warning("metrics without a catalog: %s", error)
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from figures
        if self.queue_lengths is not None:
            yield from self._queues(self.queue_lengths)

    def _photos(self) -> Iterable[Metric]:
        photos = GaugeMetricFamily(
            "referent_photos", "Photos by album and status.", labels=("album", "status")
        )
        by_status = (
            select(Album.name, Photo.status, func.count())
            .join(Photo, Photo.album_id == Album.id)
            .group_by(Album.name, Photo.status)
        )
        with self._catalog.reading() as session:
            for album, status, number in session.execute(by_status):
                photos.add_metric((album, status), number)
        return [photos]

    def _jobs(self) -> Iterable[Metric]:
        states = GaugeMetricFamily(
            "referent_jobs", "Jobs by kind and state.", labels=("kind", "state")
        )
        for (kind, state), number in jobs.count_by_state(self._catalog).items():
            states.add_metric((kind, state), number)
        progress = GaugeMetricFamily(
            "referent_job_photos",
            "Photos of unfinished jobs: done, failed, total.",
            labels=["job", "kind", "what"],
        )
        rate = GaugeMetricFamily(
            "referent_job_rate", "Photos a second of running jobs.", labels=["job", "kind"]
        )
        for job in jobs.list_jobs(self._catalog, states=jobs.UNFINISHED, limit=100):
            progress.add_metric([str(job.id), job.kind, "done"], job.done)
            progress.add_metric([str(job.id), job.kind, "failed"], job.failed)
            if job.total is not None:
                progress.add_metric([str(job.id), job.kind, "total"], job.total)
            if job.rate is not None:
                rate.add_metric([str(job.id), job.kind], job.rate)
        return [states, progress, rate]

    def _contents(self) -> Iterable[Metric]:
        cache_bytes = GaugeMetricFamily(
            "referent_cache_bytes", "Bytes of live feature segments by tier.", labels=["tier"]
        )
        cache_rows = GaugeMetricFamily(
            "referent_cache_rows", "Rows of live feature segments by tier.", labels=["tier"]
        )
        segments = GaugeMetricFamily(
            "referent_segments", "Feature segments by tier and state.", labels=["tier", "state"]
        )
        workers = GaugeMetricFamily("referent_workers_busy", "Workers that hold a live lease.")
        claims = GaugeMetricFamily("referent_claims", "Contents that workers hold right now.")
        with self._catalog.reading() as session:
            tiers = select(
                Segment.tier,
                Segment.state,
                func.count(),
                func.coalesce(func.sum(Segment.bytes), 0),
                func.coalesce(func.sum(Segment.rows), 0),
            ).group_by(Segment.tier, Segment.state)
            for tier, state, number, size, rows in session.execute(tiers):
                segments.add_metric([tier, state], number)
                if state == "live":
                    cache_bytes.add_metric([tier], float(size))
                    cache_rows.add_metric([tier], float(rows))
            busy = select(func.count(func.distinct(JobSlot.lease_owner))).where(
                JobSlot.lease_until > clock()
            )
            workers.add_metric([], session.scalar(busy) or 0)
            held = select(func.count()).where(EncodeClaim.lease_until > clock())
            claims.add_metric([], session.scalar(held) or 0)
        return [cache_bytes, cache_rows, segments, workers, claims]

    def _queues(self, lengths: Callable[[], Mapping[str, int]]) -> Iterable[Metric]:
        up = GaugeMetricFamily("referent_broker_up", "Whether Redis answers.")
        waiting = GaugeMetricFamily(
            "referent_queue_messages", "Messages that wait in a queue.", labels=["queue"]
        )
        try:
            for queue, number in lengths().items():
                waiting.add_metric([queue], number)
            up.add_metric([], 1)
        except ReferentError as error:
            log.warning("metrics without a broker: %s", error)
            up.add_metric([], 0)
        return [up, waiting]
