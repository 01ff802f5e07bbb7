"""Downloads: bounded, and nothing of them stays behind, however they end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from search_api.errors import TooBusy
from search_api.http.downloads import Download, FileDownload
from search_api.http.limits import Slots

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Source:
    """Pieces without end, that tell whether they were closed."""

    def __init__(self) -> None:
        self.made = self.closed = 0

    def __call__(self) -> Iterator[bytes]:
        self.made += 1
        try:
            while True:
                yield b"x" * 1000
        finally:
            self.closed += 1


def download(slots: Slots, source: Source) -> Download:
    return Download(slots, source, name="a.zip", media_type="application/zip")


SCOPE: dict[str, Any] = {"type": "http", "asgi": {"spec_version": "2.3"}, "headers": []}


async def test_a_client_that_goes_away_leaves_nothing() -> None:
    source, slots = Source(), Slots(1, 0, 1.0)
    sent: list[Any] = []
    gone = anyio.Event()

    async def send(message: Any) -> None:
        sent.append(message)
        if len(sent) == 4:
            gone.set()

    async def receive() -> dict[str, str]:
        await gone.wait()
        return {"type": "http.disconnect"}

    await download(slots, source)(SCOPE, receive, send)
    assert (source.made, source.closed, slots.taken) == (1, 1, 0)


async def test_a_connection_that_breaks_leaves_nothing() -> None:
    source, slots = Source(), Slots(1, 0, 1.0)

    async def broken(message: Any) -> None:
        if message["type"] == "http.response.body":
            raise OSError("connection reset")

    async def receive() -> dict[str, str]:
        await anyio.sleep_forever()
        raise AssertionError

    with pytest.raises(BaseException):  # noqa: B017 - starlette's own, whichever it is
        await download(slots, source)(SCOPE, receive, broken)
    assert (source.made, source.closed, slots.taken) == (1, 1, 0)


async def test_no_more_are_made_at_once_than_there_are_slots() -> None:
    source, slots = Source(), Slots(1, 0, 1.0)
    started, gone = anyio.Event(), anyio.Event()

    async def send(message: Any) -> None:
        started.set()
        await anyio.lowlevel.checkpoint()

    async def receive() -> dict[str, str]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(download(slots, source), SCOPE, receive, send)
        await started.wait()
        with pytest.raises(TooBusy):
            await download(slots, source)(SCOPE, receive, send)
        gone.set()
    assert (source.made, source.closed) == (1, 1)


async def test_a_file_that_is_sent_as_it_is_holds_a_slot_too(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x" * 1000)
    slots = Slots(1, 0, 1.0, what="downloads")
    started, gone = anyio.Event(), anyio.Event()

    async def slow(message: Any) -> None:
        started.set()
        await gone.wait()

    async def receive() -> dict[str, str]:
        await anyio.sleep_forever()
        raise AssertionError

    scope = {**SCOPE, "method": "GET"}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(FileDownload(slots, tmp_path / "photo.jpg"), scope, receive, slow)
        await started.wait()
        with pytest.raises(TooBusy, match="Too many downloads"):
            await FileDownload(slots, tmp_path / "photo.jpg")(scope, receive, slow)
        gone.set()
    assert slots.taken == 0


async def test_an_error_before_the_first_piece_comes_before_the_answer() -> None:
    slots = Slots(1, 0, 1.0)
    sent: list[Any] = []

    def refuses() -> Iterator[bytes]:
        raise TooBusy("later", retry_after_s=1)
        yield b""

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, str]:
        await anyio.sleep_forever()
        raise AssertionError

    answer = Download(slots, refuses, name="a.zip", media_type="application/zip")
    with pytest.raises(TooBusy):
        await answer(SCOPE, receive, send)
    assert sent == [] and slots.taken == 0
