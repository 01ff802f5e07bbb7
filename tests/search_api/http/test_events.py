"""The form of server-sent events, and the sign of life between them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import anyio
import pytest
from starlette.types import Message

from search_api.http import events


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PING_S", 0.01)


async def slow(*texts: str, gate: asyncio.Event) -> AsyncIterator[str]:
    for text in texts:
        await gate.wait()
        yield events.event("hit", text)


def test_quiet_stream_is_kept_alive_and_loses_nothing() -> None:
    async def run() -> list[str]:
        gate, seen = asyncio.Event(), []
        async for text in events.with_pings(slow("1", "2", gate=gate)):
            seen.append(text)
            if len(seen) == 3:
                gate.set()
        return seen

    seen = asyncio.run(run())
    assert seen[:3] == [": ping\n\n"] * 3
    told = [text for text in seen if not text.startswith(":")]
    assert told == ["event: hit\ndata: 1\n\n", "event: hit\ndata: 2\n\n"]


def test_error_of_the_events_reaches_the_reader() -> None:
    async def broken() -> AsyncIterator[str]:
        yield "one"
        raise LookupError

    async def run() -> list[str]:
        seen: list[str] = []
        with pytest.raises(LookupError):
            async for text in events.with_pings(broken()):
                seen += [text]
        return seen

    assert asyncio.run(run()) == ["one"]


def test_reader_that_leaves_waits_for_what_is_being_made() -> None:
    ended = []

    def compute() -> None:
        time.sleep(0.1)
        ended.append(True)

    async def stubborn() -> AsyncIterator[str]:
        yield "one"
        await anyio.to_thread.run_sync(compute)
        yield "two"

    async def send(message: Message) -> None:
        if message.get("body") == b": ping\n\n":
            raise OSError("the client went away")

    async def run() -> None:
        with pytest.raises(OSError):
            await events.EventResponse(stubborn()).stream_response(send)
        assert ended == [True]

    asyncio.run(run())
