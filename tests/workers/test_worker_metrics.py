"""Logs and metrics of jobs: structured lines with ids, figures that any process may scrape."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.support.servers import free_port, wait_until
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


def test_celery_s_two_lines_for_each_message_are_not_written() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    logging.getLogger("celery.worker.strategy").info("Task referent.turn[...] received")
    logging.getLogger("celery.app.trace").info("Task referent.turn[...] succeeded in 0.1s")
    logging.getLogger("celery.app.trace").error("Task referent.turn[...] raised")
    (line,) = stream.getvalue().splitlines()
    assert "raised" in line


def test_folder_of_a_worker_s_metrics_goes_with_it_however_it_ends(tmp_path: Path) -> None:
    folder = tmp_path / "referent-metrics-x"
    folder.mkdir()
    code = (
        "import subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-m', 'workers.exposition', *sys.argv[1:]])\n"
        "time.sleep(600)\n"
    )
    port = free_port()
    worker = subprocess.Popen([sys.executable, "-c", code, str(folder), str(port)])
    try:
        wait_until(lambda: answers(port), what="the metrics")
    finally:
        worker.kill()
        worker.wait()
    wait_until(lambda: not folder.exists(), what="the folder's end")


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics"):
        return True
    return False


def test_traces_stay_on_their_line() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    try:
        raise ZeroDivisionError("by zero")
    except ZeroDivisionError:
        logger("workers.test").exception("turn broke")
    (line,) = stream.getvalue().splitlines()
    assert "ZeroDivisionError: by zero" in json.loads(line)["exception"]
