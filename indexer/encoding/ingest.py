"""Ingest: from an album's folders to cached features, incrementally, resumable at any instant.

`index_album` does it all in one process. Many workers do the same in parts: one scans
(`scan_album`), all run `Ingest` over what waits, and the last one calls `finish`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sqlalchemy import func, select

from indexer.db.catalog import Catalog, album_named, count_by_status
from indexer.db.tables import Photo, Segment
from indexer.encoding import claims, statuses
from indexer.encoding.commits import Tally
from indexer.encoding.encode import Encoder, Ingest
from indexer.errors import IndexerError
from indexer.features import vector_builds, versions
from indexer.features.maintenance import collect, compact
from indexer.features.snapshot import open_snapshot
from indexer.features.store import FeatureStore
from indexer.features.versions import Version
from indexer.folders.offline import away
from indexer.folders.scan import ScanProgress, ScanReport, scan_album
from indexer.settings import MEBIBYTE, Settings

log = logging.getLogger(__name__)

# So many segments of one tier are merged when a run ends; a photo added a day makes 64 in months.
COMPACT_SEGMENTS = 48
# How often to look whether other workers have finished, or left, what they claimed.
POLL_S = 0.5


@dataclass(frozen=True)
class Progress:
    """How far a run is; counts are photos' contents that this run had to encode."""

    phase: Literal["scan", "encode", "finish"]
    done: int = 0
    total: int = 0
    failed: int = 0
    rate: float = 0.0
    """Contents a second."""
    left_s: float | None = None
    """Seconds to go at this rate."""


@dataclass
class IndexReport:
    """What one run did, and how the album stands after it."""

    album: str
    model: str
    scan: ScanReport | None
    encoded: int = 0
    """Contents that this run encoded."""
    indexed: int = 0
    """Photos of the album that can be searched."""
    failed: int = 0
    """Photos that cannot; `failures` says why."""
    waiting: int = 0
    """Photos that are left for the next run; 0 unless it was stopped."""
    total: int = 0
    """Photos of the album: indexed + failed + waiting."""
    duplicates: int = 0
    """Photos whose bytes another photo of the album has too."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of every failed photo."""
    seconds: float = 0.0
    stopped: bool = False
    activated: bool = False
    """Whether the album switched to this model at the end of the run."""
    lacking: int = 0
    """Photos that this model lacks of those that the one has which serves the album."""
    offline: int = 0
    """Photos that wait because their folders are offline."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON for scripts."""
        values = asdict(self)
        values["failures"] = [{"path": path, "reason": why} for path, why in self.failures]
        return values


def index_album(
    settings: Settings,
    album: str,
    predictor: Encoder,
    *,
    catalog: Catalog | None = None,
    progress: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
    confirm_deletions: bool = False,
    retry_failed: bool = False,
    scan: bool = True,
    only: Mapping[int, Sequence[bytes]] | None = None,
) -> IndexReport:
    """Scan an album's folders and encode what is new, changed or missing for a model.

    Args:
        album: its name; its roots are in the catalog.
        should_stop: asked often; the index stays consistent and the next run goes on.
        confirm_deletions: see `indexer.folders.scan.scan_album`.
        retry_failed: also photos that failed three times.
        scan: False encodes what the catalog knows.
        only: scan only these paths, {root id: paths below it} (`--watch`).
    Raises:
        UnknownAlbum, NoSpaceLeft, EncodingFailed, CatalogLocked and others of the catalog.
    """
    started = time.monotonic()
    own = Catalog.open(settings) if catalog is None else None
    base = catalog or own
    assert base is not None
    try:
        store = FeatureStore.open(settings, base)
        with base.reading() as session:
            album_id = album_named(session, album).id
        collect(base, store)
        report = IndexReport(album=album, model=predictor.name, scan=None)
        if scan:
            report.scan = scan_album(
                base,
                album,
                confirm_deletions=confirm_deletions,
                progress=lambda at: progress(_scanning(at)),
                should_stop=should_stop,
                only=only,
                max_file_bytes=settings.max_file_mib * MEBIBYTE,
            )
        with Ingest(settings, base, album_id, predictor, store=store) as ingest:
            _encode_all(ingest, progress, should_stop, retry_failed)
            report.encoded = ingest.tally.encoded
            report.stopped = should_stop()
            progress(Progress("finish"))
            version = finish(
                settings, base, ingest.version, predictor, store=store, complete=not report.stopped
            )
            report.activated = version.state == "serving" != ingest.version.state
            if version.state == "building":
                report.lacking = lacking(base, version)
            report.offline = count_offline(base, album_id, ingest.wanted)
        _describe(base, album_id, version, report)
        report.seconds = time.monotonic() - started
        return report
    finally:
        if own is not None:
            own.close()


def _scanning(at: ScanProgress) -> Progress:
    return Progress("scan", done=at.files, failed=0)


def _encode_all(
    ingest: Ingest,
    progress: Callable[[Progress], None],
    should_stop: Callable[[], bool],
    retry_failed: bool,
) -> None:
    """Run until nothing waits, also for what other workers hold."""
    total = ingest.start(all_failed=retry_failed)
    started = time.monotonic()
    progress(Progress("encode", total=total))

    def tell(tally: Tally) -> None:
        done = tally.encoded + tally.failed
        elapsed = time.monotonic() - started
        rate = done / elapsed if elapsed > 0 else 0.0
        left = max(total - done, 0) / rate if rate > 0 else None
        progress(Progress("encode", done, max(total, done), tally.failed, rate, left))

    while total and not should_stop():
        outcome = ingest.run(should_stop=should_stop, progress=tell)
        if outcome != "wait":
            break
        time.sleep(POLL_S)


def finish(
    settings: Settings,
    catalog: Catalog,
    version: Version,
    predictor: Encoder,
    *,
    store: FeatureStore | None = None,
    complete: bool = True,
    accept_fewer: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> Version:
    """End a run: settle statuses, swap a complete new version in, merge segments, build FAISS.

    A version that lacks photos of the one that serves is not swapped in: see `lacking`. Several
    workers may call it; each step is repeatable.

    Args:
        version: the run's index version (`Ingest.version`).
        complete: False when the run was stopped, so that nothing is swapped or merged.
        accept_fewer: a person wants the new version, whatever it lacks.
        should_stop: asked between the steps that only tidy up, which the next run makes up for.
    Returns:
        the version as it stands now.
    """
    store = store or FeatureStore.open(settings, catalog)
    wanted = versions.wanted_tiers(version.fingerprints, keep_pyramid=settings.keep_pyramid)
    if (
        complete
        and version.state == "building"
        and not waiting(catalog, version, wanted)
        and (accept_fewer or not lacking(catalog, version))
    ):
        version = versions.activate(catalog, version.id)
    with catalog.session() as session:
        statuses.settle(session, version, wanted)
    if complete:
        with catalog.reading() as session:
            most = session.scalar(
                select(func.count())
                .where(Segment.state == "live")
                .group_by(Segment.fingerprint)
                .order_by(func.count().desc())
                .limit(1)
            )
        if (most or 0) >= COMPACT_SEGMENTS:
            compact(catalog, store, should_stop=should_stop)
            collect(catalog, store)
        if not should_stop():
            _build_prefilter(catalog, store, version, predictor)
    return version


def waiting(catalog: Catalog, version: Version, wanted: Mapping[str, str]) -> int:
    """How many contents that are not offline have yet to be encoded for a version."""
    here = away(catalog, version.album_id)
    with catalog.reading() as session:
        return claims.remaining(session, version.album_id, wanted, here)[0]


def lacking(catalog: Catalog, version: Version) -> int:
    """How many photos that can be searched now a version would lose if it served."""
    serving = versions.serving(catalog, version.album_id)
    if serving is None or serving.id == version.id:
        return 0
    new, old = (
        versions.wanted_tiers(each.fingerprints, keep_pyramid=False) for each in (version, serving)
    )
    with catalog.reading() as session:
        return claims.count_lacking(session, version.album_id, new, old)


def count_offline(catalog: Catalog, album_id: int, wanted: Mapping[str, str]) -> int:
    """How many photos of an album lack features and cannot get them, since they are offline."""
    gone = away(catalog, album_id)
    if not gone:
        return 0
    query = select(func.count(Photo.id)).where(
        claims.waiting_clause(album_id), ~gone.here(), claims.missing_clause(wanted)
    )
    with catalog.reading() as session:
        return session.scalar(query) or 0


def _build_prefilter(
    catalog: Catalog, store: FeatureStore, version: Version, predictor: Encoder
) -> None:
    with open_snapshot(catalog, store, version.album_id, predictor.fingerprints) as snapshot:
        try:
            if len(snapshot) and vector_builds.needs_build(store.folder, snapshot):
                vector_builds.build(store.folder, snapshot, predictor)
        except (OSError, IndexerError) as error:  # searches score such photos from memory
            log.warning("the prefilter's FAISS file was not built: %s", error)


def _describe(catalog: Catalog, album_id: int, version: Version, report: IndexReport) -> None:
    """Fill in how the album stands."""
    with catalog.reading() as session:
        counts = count_by_status(session, album_id)
        report.indexed, report.failed = counts["indexed"], counts["failed"]
        report.waiting = counts["new"]
        report.total = report.indexed + report.failed + report.waiting
        contents = session.scalar(
            select(func.count(func.distinct(Photo.content_hash))).where(
                claims.waiting_clause(album_id)
            )
        )
        hashed = session.scalar(select(func.count()).where(claims.waiting_clause(album_id)))
        report.duplicates = int(hashed or 0) - int(contents or 0)
        report.failures = statuses.failures(session, album_id)
