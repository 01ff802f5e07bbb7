"""Server-sent events: their form, and a sign of life where nothing has happened for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import anyio
from starlette.responses import StreamingResponse
from starlette.types import Send

# Proxies cut a connection off on which nothing came for a minute.
PING_S = 15.0
_PING = ": ping\n\n"


class EventResponse(StreamingResponse):
    """Sends events as they come."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[str]) -> None:
        """Take `event` texts, several at once where they come together."""
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        self._texts = with_pings(events)
        super().__init__(self._texts, headers=headers)

    async def stream_response(self, send: Send) -> None:
        """Send them; whoever breaks this off waits for the text that is being made."""
        async with aclosing(self._texts):
            await super().stream_response(send)


def event(name: str, data: str) -> str:
    """One event; ``data`` is JSON without a line break."""
    return f"event: {name}\ndata: {data}\n\n"


async def with_pings(events: AsyncIterator[str]) -> AsyncGenerator[str]:
    """Pass texts on, and a comment, which clients pass over, after each `PING_S` without one.

    Whoever closes it waits for the text that is being made.
    """
    coming = asyncio.ensure_future(_next(events))
    try:
        while True:
            ready, _ = await asyncio.wait({coming}, timeout=PING_S)
            if not ready:
                yield _PING
            elif (text := coming.result()) is None:
                return
            else:
                yield text
                coming = asyncio.ensure_future(_next(events))
    finally:
        # Never cancelled: what computes in a thread goes on, and nobody may touch it meanwhile.
        with anyio.CancelScope(shield=True):
            await asyncio.wait({coming})
        if not coming.cancelled():
            coming.exception()  # which nobody is there to be told of


async def _next(events: AsyncIterator[str]) -> str | None:
    return await anext(events, None)
