"""Logs and metrics of jobs: structured lines with ids, figures that any process may scrape."""

from __future__ import annotations

import io
import json
import logging

import pytest

from workers.logging import configure_logging, log_context, logger


@pytest.fixture(autouse=True)
def _restored_logging() -> object:
    root = logging.getLogger()
    kept = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = kept[0], kept[1]


def test_every_line_is_json_and_carries_the_ids_of_its_job_and_photo() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    with log_context(job_id=7, worker="w"):
        logger("workers.test").warning("photo failed", photo_id=3, reason="no image")
        logging.getLogger("indexer.photos.decode").error("plain %s", "record")
    logger("workers.test").info("outside")
    first, second, third = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["event"], first["job_id"], first["photo_id"]) == ("photo failed", 7, 3)
    assert (second["event"], second["job_id"], second["logger"]) == (
        "plain record",
        7,
        "indexer.photos.decode",
    )
    assert "job_id" not in third
    assert {"timestamp", "level"} <= third.keys()


def test_traces_stay_on_their_line() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    try:
        raise ZeroDivisionError("by zero")
    except ZeroDivisionError:
        logger("workers.test").exception("turn broke")
    (line,) = stream.getvalue().splitlines()
    assert "ZeroDivisionError: by zero" in json.loads(line)["exception"]
