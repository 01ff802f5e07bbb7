"""What one server process holds for all of its requests."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

from starlette.concurrency import run_in_threadpool

from indexer.photos.decode import Decoder
from search_api.errors import Stopping
from search_api.http.hiding import PathHider
from search_api.http.limits import Rarely, Slots, Spool
from search_api.http.metrics import Metrics
from search_api.http.readiness import Readiness
from search_api.http.server_settings import MEBIBYTE, ServerSettings
from search_api.http.sessions import Sessions
from search_api.http.trust import Trust
from search_api.search import retention
from search_api.search.engine import Engine
from search_api.search.events import Done
from search_api.search.judging import Helpers
from search_api.search.places import Places
from search_api.search.timeline import Timelines

log = logging.getLogger(__name__)
# Uploads are only checked to decode; they are scaled to the least that a decoder makes.
CHECK_SIDE_PX = 32
# How often a server looks for what is outdated or idle, at the least.
LOOK_S = 10.0


@dataclass
class Server:
    """Engine, limits and caches; made in `search_api.http.app.create_app`, one an application."""

    engine: Engine
    limits: ServerSettings
    sessions: Sessions
    trust: Trust
    wake: Callable[[], None]
    searches: Slots
    pictures: Slots
    downloads: Slots
    spool: Spool
    metrics: Metrics
    helpers: Helpers | None = None
    """Processes that share the judging of large searches."""
    name: str = field(default_factory=lambda: uuid4().hex)
    """What it calls itself where it is ready, so that nobody takes another for it."""
    ready: threading.Event = field(default_factory=threading.Event)
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set once the process is told to end: searches end as stopped, streams close."""
    refused: Rarely = field(default_factory=lambda: Rarely(60.0))
    """Addresses that were refused to sign in, of which the audit has a line a minute at most."""
    readiness: Readiness = field(init=False)
    thumbnails: ByteCache = field(init=False)
    decoder: Decoder = field(init=False)
    hide: PathHider = field(init=False)
    timelines: Timelines = field(init=False)
    places: Places = field(init=False)

    def __post_init__(self) -> None:
        self.readiness = Readiness(self.engine.catalog)
        self.hide = PathHider(self.engine.settings, self.engine.catalog)
        self.timelines = Timelines(self.engine.catalog)
        self.places = Places(self.engine.catalog, self.timelines)
        self.thumbnails = ByteCache(self.limits.thumbnail_cache_mib * MEBIBYTE)
        self.open()

    def open(self) -> None:
        """Be ready to check uploads; also after `close`. Processes start with the first upload."""
        self.decoder = Decoder(self.engine.settings, CHECK_SIDE_PX, workers=1)

    def close(self) -> None:
        """End the decoder's processes."""
        self.decoder.close()

    def check_running(self) -> None:
        """Let nothing begin or be answered by halves while the process ends.

        Raises:
            Stopping: it was told to end.
        """
        if self.stopping.is_set():
            raise Stopping("The server is being stopped or restarted; search again in a moment.")

    def ended(self, mode: str, done: Done) -> None:
        """Count an ended search."""
        self.metrics.count_search(mode, done.run.state, done.coverage, done.run.timings)

    async def tend(self) -> None:
        """Let the engine go of what nobody needs, and the library of what is old, again and again.

        Until it is cancelled.
        """
        idle_s = self.engine.settings.idle_s
        swept_at = time.monotonic()
        while True:
            await asyncio.sleep(min(LOOK_S, idle_s / 4) if idle_s else LOOK_S)
            try:
                await run_in_threadpool(self.engine.let_outdated_go)
                if idle_s and await run_in_threadpool(self.engine.let_go, idle_s):
                    log.info("nothing was searched for %g s: networks or albums went", idle_s)
                if time.monotonic() - swept_at > retention.EVERY_S:
                    swept_at = time.monotonic()
                    await run_in_threadpool(self.tidy)
            except Exception:
                log.warning("what is outdated or idle was not let go", exc_info=True)

    def warm_up(self) -> None:
        """Load what the first search needs, then report readiness; a failure is logged."""
        try:
            self.engine.warm_up()
        except Exception:
            # The first request meets the same error and shows it to someone who can mend it.
            log.exception("warm-up failed")
        self.ready.set()
        self.tidy()

    def tidy(self) -> None:
        """Remove what is older than its setting, and what deleted albums and jobs left."""
        retention.sweep_or_say(self.engine.catalog, self.engine.settings)


class ByteCache:
    """The most recently used byte strings, up to a size; threads share one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: OrderedDict[object, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: object, make: Callable[[], bytes]) -> bytes:
        """What was kept under this key, or what ``make`` gives."""
        with self._lock:
            if (known := self._held.get(key)) is not None:
                self._held.move_to_end(key)
                return known
        made = make()
        with self._lock:
            if key not in self._held and len(made) <= self._limit:
                self._held[key] = made
                self._bytes += len(made)
                while self._bytes > self._limit:
                    self._bytes -= len(self._held.popitem(last=False)[1])
        return made
