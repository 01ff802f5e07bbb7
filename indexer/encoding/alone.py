"""A run over an album by one process alone, without a job: what `referent index` does."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sqlalchemy import func, select

from indexer.db.catalog import Catalog, album_named, count_by_status
from indexer.db.tables import Photo
from indexer.encoding import claims, ingest, statuses
from indexer.encoding.encode import Encoder, Ingest
from indexer.encoding.run import Encoded, index
from indexer.features.maintenance import collect
from indexer.features.store import FeatureStore
from indexer.features.versions import Version
from indexer.folders.scan import ScanReport, scan_album
from indexer.settings import MEBIBYTE, Settings

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
    catalog: Catalog,
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
    with catalog.reading() as session:
        album_id = album_named(session, album).id
    collect(catalog, FeatureStore.open(settings, catalog))

    def look() -> ScanReport:
        return scan_album(
            catalog,
            album,
            confirm_deletions=confirm_deletions,
            progress=lambda at: progress(Progress("scan", done=at.files)),
            should_stop=should_stop,
            only=only,
            max_file_bytes=settings.max_file_mib * MEBIBYTE,
        )

    report = IndexReport(album=album, model=predictor.name, scan=None)
    run = _Alone(
        settings,
        catalog,
        album_id,
        predictor,
        should_stop,
        progress,
        look if scan else None,
        "retry" if retry_failed else None,
    )
    try:
        while not isinstance(ended := index(run), Encoded) and not should_stop():
            time.sleep(POLL_S)
        part = run.opened()
        if isinstance(ended, Encoded):
            version = ended.version
        else:
            report.stopped = True
            version = ingest.finish(settings, catalog, part.version, predictor, complete=False)
    finally:
        run.close()
    report.scan = run.scanned
    report.encoded = part.tally.encoded
    report.activated = version.state == "serving" != part.version.state
    if version.state == "building":
        report.lacking = ingest.lacking(catalog, version)
    report.offline = ingest.count_offline(catalog, album_id, part.wanted)
    _describe(catalog, album_id, version, report)
    report.seconds = time.monotonic() - started
    return report


@dataclass
class _Alone:
    """A `Run` that nobody else works at: it leads always, and keeps the phase itself."""

    settings: Settings
    catalog: Catalog
    album_id: int
    predictor: Encoder
    should_stop: Callable[[], bool]
    progress: Callable[[Progress], None]
    look: Callable[[], ScanReport] | None
    at: str | None
    scanned: ScanReport | None = None
    own: Ingest | None = None
    began: float = 0.0

    older_than: float | None = None
    follows: bool = False

    def opened(self) -> Ingest:
        """The one part in it; opened after the scan, for it looks which folders are there."""
        if self.own is None:
            self.own = Ingest(self.settings, self.catalog, self.album_id, self.predictor)
        return self.own

    def close(self) -> None:
        """Give back claims and processes."""
        if self.own is not None:
            self.own.close()

    def is_over(self) -> bool:
        return self.should_stop()

    def phase(self) -> str | None:
        return self.at

    def enter(self, phase: str, scanned: ScanReport | None = None) -> None:
        self.at = phase

    def leading(self) -> AbstractContextManager[bool]:
        return nullcontext(True)

    def lead(self) -> bool:
        return True

    def scan(self) -> ScanReport | None:
        if self.look is not None:
            self.scanned = self.look()
        return self.scanned

    def network(self) -> Encoder:
        return self.predictor

    def part(self, network: Encoder) -> AbstractContextManager[Ingest]:
        return nullcontext(self.opened())

    def encoding(self, part: Ingest, old: Callable[[], int]) -> None:
        """Tell contents, of those that waited when the run began."""
        now = time.monotonic()
        self.began = self.began or now
        done, failed = part.tally.encoded + part.tally.failed, part.tally.failed
        rate = done / (now - self.began) if now > self.began else 0.0
        left = max(part.waiting - done, 0) / rate if rate > 0 else None
        self.progress(Progress("encode", done, max(part.waiting, done), failed, rate, left))

    def finishing(self) -> None:
        self.progress(Progress("finish"))


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
