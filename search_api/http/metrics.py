"""Prometheus metrics of one server process."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from indexer.db.catalog import Catalog
from search_api.http.library_figures import LibraryCollector
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
        in_progress = Gauge(
            "referent_searches_in_progress", "Searches that run or wait.", registry=self.registry
        )
        in_progress.set_function(lambda: searches.taken)
        self.library = LibraryCollector(catalog)
        self.registry.register(self.library)

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
