"""Prometheus metrics of one server process."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from indexer.db.catalog import Catalog
from indexer.db.tables import Album, Photo
from indexer.jobs import jobs
from search_api.http.limits import Slots
from search_api.search.coverage import Coverage

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Counts what this process answers, and asks the catalog for the state of the library."""

    def __init__(self, catalog: Catalog, searches: Slots) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "referent_http_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "referent_http_request_seconds",
            "Time to the end of an answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.searches = Counter(
            "referent_searches", "Searches ended.", ("mode", "state"), registry=self.registry
        )
        self.stage_seconds = Histogram(
            "referent_search_stage_seconds",
            "Time of a search by stage.",
            ("mode", "stage"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.verified = Counter(
            "referent_photos_verified", "Photos judged.", registry=self.registry
        )
        self.matched = Counter(
            "referent_photos_matched", "Photos that matched.", registry=self.registry
        )
        self.registry.register(_Library(catalog, searches))

    def count_search(
        self, mode: str, state: str, coverage: Coverage, timings: dict[str, float]
    ) -> None:
        """Count one ended search; timings are milliseconds by stage."""
        self.searches.labels(mode, state).inc()
        self.verified.inc(coverage.verified)
        self.matched.inc(coverage.matched)
        for stage, milliseconds in timings.items():
            self.stage_seconds.labels(mode, stage).observe(milliseconds / 1000)

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class CountRequests:
    """ASGI middleware that counts requests by the template of their route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and count its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, begun = 500, time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            # Paths that no route has share one label, or a scanner could make endless series.
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in _METHODS else "OTHER"
            self.metrics.requests.labels(method, route, str(status)).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - begun)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _Library(Collector):
    """Gauges that are read from the catalog when somebody asks."""

    def __init__(self, catalog: Catalog, searches: Slots) -> None:
        self.catalog = catalog
        self.searches = searches

    def collect(self) -> Iterator[Metric]:
        """Photos by album and status, jobs by kind and state, searches in progress."""
        photos = GaugeMetricFamily(
            "referent_photos", "Photos by album and status.", labels=("album", "status")
        )
        with self.catalog.reading() as session:
            rows = session.execute(
                select(Album.name, Photo.status, func.count())
                .join(Photo, Photo.album_id == Album.id)
                .group_by(Album.name, Photo.status)
            )
            for album, status, number in rows:
                photos.add_metric((album, status), number)
        yield photos
        states = GaugeMetricFamily(
            "referent_jobs", "Jobs by kind and state.", labels=("kind", "state")
        )
        for (kind, state), number in jobs.count_by_state(self.catalog).items():
            states.add_metric((kind, state), number)
        yield states
        yield GaugeMetricFamily(
            "referent_searches_in_progress",
            "Searches that run or wait.",
            value=self.searches.taken,
        )

    def describe(self) -> Iterator[Metric]:
        """Nothing is known before the catalog is asked."""
        return iter(())
