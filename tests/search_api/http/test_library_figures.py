"""The library's figures, which any server process may be scraped for."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import insert

from indexer.db.catalog import Catalog
from indexer.db.owner import new_owner
from indexer.db.tables import Segment
from indexer.jobs import jobs, slots
from search_api.http.library_figures import LibraryCollector
from workers.errors import BrokerUnreachable


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
    assert 'referent_jobs{kind="compact",state="running"} 1.0' in text
    assert "referent_catalog_up 1.0" in text


def test_figures_without_a_broker_or_a_catalog_say_so_and_do_not_fail(catalog: Catalog) -> None:
    def away() -> dict[str, int]:
        raise BrokerUnreachable("Redis does not answer")

    assert "referent_broker_up 0.0" in scraped(LibraryCollector(catalog, away))
    gone = Catalog("postgresql+psycopg://nobody@127.0.0.1:1/none")
    text = scraped(LibraryCollector(gone))
    assert "referent_catalog_up 0.0" in text
    assert "referent_workers_busy" not in text


def test_scrapes_that_follow_each_other_read_a_large_library_once(catalog: Catalog) -> None:
    jobs.create(catalog, "compact")
    quick, slow = LibraryCollector(catalog, fresh_s=0.0), LibraryCollector(catalog)
    before = scraped(slow)
    jobs.create(catalog, "verify")
    assert scraped(slow) == before
    assert 'referent_jobs{kind="verify",state="queued"} 1.0' in scraped(quick)
