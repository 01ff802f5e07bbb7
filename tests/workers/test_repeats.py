"""An error that repeats is logged once with a count."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from workers.logging import Repeats, configure_logging, logger


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What is logged as JSON lines."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    stream = io.StringIO()
    configure_logging(stream=stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_error_that_repeats_without_end_is_written_once_and_then_counted(
    written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    monkeypatch.setattr("time.time_ns", lambda: int(now[0] * 1e9))
    for _ in range(5000):
        try:
            raise OSError(24, "Too many open files")
        except OSError:
            logging.getLogger("asyncio").exception("socket.accept() out of system resource")
    assert len(lines(written)) == 1
    now[0] += 61
    logging.getLogger("other").info("life goes on")
    said = [line["event"] for line in lines(written)]
    assert len(said) == 3
    assert "4,999 more times" in str(said[1])
    assert "Too many open files" in str(said[1])


def test_errors_that_differ_are_all_written(written: io.StringIO) -> None:
    log = logger("workers.indexing")
    for photo in range(50):
        log.warning("photo failed", photo_id=photo, reason="truncated")
    for word in ("one", "two"):
        logging.getLogger("x").warning("%s", word)
    for _ in range(3):
        logging.getLogger("x").info("informed")
    assert len(lines(written)) == 55


def test_flood_of_different_errors_is_not_remembered_for_good(written: io.StringIO) -> None:
    for number in range(3000):
        logging.getLogger("x").warning("error %d", number)
    assert len(lines(written)) == 3000
    filters = [each for handler in logging.getLogger().handlers for each in handler.filters]
    (repeats,) = (each for each in filters if isinstance(each, Repeats))
    assert len(repeats._seen) <= 1000
