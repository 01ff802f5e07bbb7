"""How many searches run and wait at once, and how large a request may be."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import anyio
from anyio import to_thread
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from indexer.errors import NoSpaceLeft
from search_api.errors import TooBusy
from search_api.http.forwarded import route_path

T = TypeVar("T")
# Room on the disk that uploads leave to databases and features, bytes.
DISK_KEPT = 256 * 2**20


class Slots:
    """Admits ``running`` computations at once and lets ``waiting`` more queue for ``wait_s``.

    Whoever waits holds no thread. Everyone beyond is turned away at once with a time to come
    back. One event loop uses it.
    """

    def __init__(
        self, running: int, waiting: int, wait_s: float, *, what: str = "searches"
    ) -> None:
        self._what = what
        self._free = anyio.Semaphore(running)
        self._threads = anyio.CapacityLimiter(running)
        self._running = running
        self._places = running + waiting
        self._wait_s = wait_s
        self._recent_s = 1.0  # a moving mean of how long a slot is held
        self.taken = 0
        """Computations that run or wait now."""

    @asynccontextmanager
    async def one(self) -> AsyncIterator[float]:
        """Hold a slot; gives the seconds that were waited for it.

        Raises:
            TooBusy: every place is taken, or none became free in time.
        """
        if self.taken >= self._places:
            raise self._busy()
        self.taken += 1
        try:
            asked = time.monotonic()
            with anyio.move_on_after(self._wait_s) as waiting:
                await self._free.acquire()
            if waiting.cancelled_caught:
                raise self._busy()
            started = time.monotonic()
            try:
                yield started - asked
            finally:
                self._recent_s += 0.2 * (time.monotonic() - started - self._recent_s)
                self._free.release()
        finally:
            self.taken -= 1

    async def compute(self, work: Callable[[], T]) -> T:
        """Run blocking work of a slot's holder in the bounded pool of threads."""
        return await to_thread.run_sync(work, limiter=self._threads)

    def _busy(self) -> TooBusy:
        rounds = max(1.0, self.taken / self._running)
        seconds = max(1, min(60, round(self._recent_s * rounds)))
        return TooBusy(
            f"Too many {self._what} at once; try again in {seconds} s.", retry_after_s=seconds
        )


class Rarely:
    """Tells what has just been told of from what is new, so that nobody fills a log with one thing.

    Threads may share it.
    """

    def __init__(self, every_s: float, known_max: int = 1000) -> None:
        self._every_s = every_s
        self._known_max = known_max
        self._told: dict[str, float] = {}

    def first(self, what: str) -> bool:
        """Whether it was not told for a while; then it counts as told."""
        now = time.monotonic()
        if now - self._told.get(what, -self._every_s) < self._every_s:
            return False
        if len(self._told) >= self._known_max:
            self._told.clear()
        self._told[what] = now
        return True


class Spool:
    """Bytes of uploads that are on their way to the disk, all requests together.

    One event loop uses it.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.taken = 0
        """Bytes that those requests may still bring or have brought."""

    @contextmanager
    def holding(self, size: int, folder: Path) -> Iterator[None]:
        """Make sure of room for a request's body before any of it is read.

        Raises:
            TooBusy: others take the room.
            NoSpaceLeft: the disk does not have it.
        """
        if self.taken and self.taken + size > self._limit:
            raise TooBusy(
                "Too many uploads at once; send this one again in a moment.", retry_after_s=10
            )
        if shutil.disk_usage(folder).free < size + DISK_KEPT:
            raise NoSpaceLeft("The server's disk has no room for this upload; nothing was taken.")
        self.taken += size
        try:
            yield
        finally:
            self.taken -= size


class BodyLimit:
    """ASGI middleware that stops reading a request body once it passes its limit.

    Args:
        app: the application inside.
        limit_of: bytes that a request to this path may hold.
    """

    def __init__(self, app: ASGIApp, limit_of: Callable[[str], int]) -> None:
        self.app = app
        self.limit_of = limit_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting what is read of its body."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.limit_of(route_path(scope))
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > limit:
                scope["referent.too_large"] = limit
        read = 0

        async def bounded() -> Message:
            nonlocal read
            if scope.get("referent.too_large"):
                raise too_large(limit)
            message = await receive()
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                if read > limit:
                    raise too_large(limit)
            return message

        await self.app(scope, bounded, send)


def too_large(limit: int) -> HTTPException:
    """The error for a body over ``limit`` bytes.

    Of starlette's kind, since FastAPI passes only those on while it reads a body.
    """
    shown = f"{limit // 2**20} MiB" if limit >= 2**20 else f"{limit // 1024} KiB"
    return HTTPException(413, f"The request body is larger than {shown}; send less at once.")
