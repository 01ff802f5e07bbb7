"""Files that are sent, or made meanwhile: bounded, and gone when their client is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
from starlette.responses import FileResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from search_api.http.limits import Slots

Pieces = Iterator[bytes] | Iterator[str]


class Download(StreamingResponse):
    """Sends what a generator makes, one piece after another, in a slot of its own kind.

    The generator is closed at the end, however it comes: sent whole, a client that goes away, a
    fault. So what it holds (a temporary file, a half-made zip) never stays behind. An error before
    the first piece is a problem document.

    Args:
        slots: bound how many are made at once; everyone beyond waits, or is told when to come back.
        make: gives the pieces; called when a slot is free.
        name: what the browser calls the file.
        length: in bytes, where it is known before.
    """

    def __init__(
        self,
        slots: Slots,
        make: Callable[[], Pieces],
        *,
        name: str,
        media_type: str,
        length: int | None = None,
    ) -> None:
        headers = {
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "private, no-cache",
        }
        if length is not None:
            headers["Content-Length"] = str(length)
        super().__init__((), media_type=media_type, headers=headers)
        self._slots = slots
        self._make = make

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait for a slot, then send."""
        async with self._slots.one():
            pieces = await self._slots.compute(self._make)
            try:
                first = await self._slots.compute(lambda: next(pieces, None))
                self.body_iterator = self._rest(first, pieces)
                await super().__call__(scope, receive, send)
            finally:
                with anyio.CancelScope(shield=True):
                    await self._slots.compute(lambda: _close(pieces))

    async def _rest(
        self, piece: bytes | str | None, pieces: Pieces
    ) -> AsyncIterator[str | bytes | memoryview[int]]:
        while piece is not None:
            yield piece
            piece = await self._slots.compute(lambda: next(pieces, None))


class FileDownload(FileResponse):
    """Sends a file that is there, in a slot of its own; see `Download`."""

    def __init__(self, slots: Slots, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named)
        self._slots = slots

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait for a slot, then send."""
        async with self._slots.one():
            await super().__call__(scope, receive, send)


def _close(pieces: Pieces) -> None:
    close = getattr(pieces, "close", None)
    if close is not None:
        close()
