"""Logs and metrics of jobs: structured lines with ids, figures that any process may scrape."""

from __future__ import annotations

import io
import json
import logging

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import insert

from indexer.db.catalog import Catalog
from indexer.db.owner import new_owner
from indexer.db.tables import Segment
from indexer.jobs import jobs, slots
from workers.errors import BrokerUnreachable
from workers.logging import configure_logging, log_context, logger
from workers.metrics import LibraryCollector


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


def scraped(collector: LibraryCollector) -> str:
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry).decode()


def test_library_figures_come_from_the_catalog_and_the_queues(catalog: Catalog) -> None:
    job = jobs.create(catalog, "compact").id
    place = slots.take(catalog, job, 0, owner=new_owner(), lease_s=60)
    assert place is not None
    slots.renew(catalog, place, done=3, total=9, failed=1)
    with catalog.session() as session:
        session.execute(
            insert(Segment).values(
                tier="tokens", fingerprint="f", path="a.seg", rows=5, bytes=700, state="live"
            )
        )
    text = scraped(LibraryCollector(catalog, lambda: {"encode": 2, "matte": 0}))
    assert 'referent_job_photos{job="1",kind="compact",what="failed"} 1.0' in text
    assert 'referent_job_photos{job="1",kind="compact",what="total"} 9.0' in text
    assert 'referent_cache_bytes{tier="tokens"} 700.0' in text
    assert "referent_workers_busy 1.0" in text
    assert 'referent_queue_messages{queue="encode"} 2.0' in text
    assert "referent_catalog_up 1.0" in text


def test_figures_without_a_broker_or_a_catalog_say_so_and_do_not_fail(catalog: Catalog) -> None:
    def away() -> dict[str, int]:
        raise BrokerUnreachable("Redis does not answer")

    assert "referent_broker_up 0.0" in scraped(LibraryCollector(catalog, away))
    gone = Catalog("postgresql+psycopg://nobody@127.0.0.1:1/none")
    text = scraped(LibraryCollector(gone))
    assert "referent_catalog_up 0.0" in text
    assert "referent_workers_busy" not in text
