"""The job that indexes an album: a run that workers share, a turn of each at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from indexer.db.catalog import count_by_status
from indexer.db.tables import Album
from indexer.encoding import claims, ingest
from indexer.encoding.commits import Tally
from indexer.encoding.encode import Encoder, Ingest
from indexer.encoding.run import Broken, Encoded
from indexer.encoding.run import index as run_index
from indexer.errors import UnknownAlbum
from indexer.features import versions
from indexer.folders import scan
from indexer.folders.offline import sentence
from indexer.jobs import jobs, slots
from indexer.jobs.failures import note_album_failures, note_failure
from indexer.jobs.watching import ask_saved_searches
from indexer.settings import MEBIBYTE
from workers import metrics
from workers.logging import logger
from workers.turn import MORE, WAIT, Outcome, Turn

if TYPE_CHECKING:
    from model.predictor import Predictor

log = logger(__name__)

# Counting a million photos takes seconds: at most a 20th of the time goes into it.
COUNTING_SHARE = 20.0


def index(turn: Turn) -> Outcome:
    """Scan the album's folders, encode what lacks features, and make it searchable.

    Parameters of the job: ``model`` (default: the one that serves the album, else the setting),
    ``which`` ("missing" or "all"), ``confirm_deletions``, ``scan`` (False leaves the folders be).
    """
    run = JobRun(turn)
    ended = run_index(run)
    if not isinstance(ended, Encoded):
        return broken_off(turn, ended)
    return _finish(turn, run.album_id, ended)


class JobRun:
    """A `Run` as one worker sees it in a turn at a job; the job's row has the phase."""

    def __init__(self, turn: Turn) -> None:
        self.settings, self.catalog = turn.settings, turn.catalog
        self.album_id = album_of(turn)
        self.should_stop, self.is_over = turn.should_stop, turn.is_over
        parameters = turn.job.parameters
        self.follows = not parameters.get("model")
        self.older_than: float | None = None
        if parameters.get("which") == "all":
            self.older_than = turn.job.started_at or turn.job.created_at
        self._turn = turn
        self._counted = Tally()
        self._count_next = 0.0

    def phase(self) -> str | None:
        """What the job's row says now."""
        return jobs.get(self.catalog, self._turn.job.id).phase

    def enter(self, phase: str, scanned: scan.ScanReport | None = None) -> None:
        """Write it down, with what the scan found."""
        result = None if phase == "encode" else {"scan": _described(scanned)}
        slots.enter_phase(self.catalog, self._turn.place, phase, result=result)

    def leading(self) -> AbstractContextManager[bool]:
        """As `slots.leading`."""
        return slots.leading(self.catalog, self._turn.place)

    def lead(self) -> bool:
        """As `slots.lead`."""
        return slots.lead(self.catalog, self._turn.place)

    def scan(self) -> scan.ScanReport | None:
        """Look at the folders, and at what was asked for until now."""
        turn = self._turn
        slots.begin_scan(self.catalog, turn.place)
        if turn.job.parameters.get("scan", True) is False:
            return None
        with self.catalog.reading() as session:
            name = session.scalar(select(Album.name).where(Album.id == self.album_id))
        if name is None:
            raise UnknownAlbum(f"the album of job {turn.job.id} is gone")
        report = scan.scan_album(
            self.catalog,
            name,
            confirm_deletions=bool(turn.job.parameters.get("confirm_deletions", False)),
            should_stop=turn.should_stop,
            max_file_bytes=turn.settings.max_file_mib * MEBIBYTE,
            read_all=turn.job.parameters.get("which") == "all",
            progress=lambda at: turn.report(message=f"scanning: {at.files:,} files"),
        )
        if not report.stopped:
            log.info("scanned", **_counts(report))
            turn.report(message=report.question or "")
        return report

    def network(self) -> Predictor:
        """The one that the job names, else the one that the album goes on with."""
        held = self._turn.held
        if named := self._turn.job.parameters.get("model"):
            return held.network(str(named))
        return held.network_of(versions.serving(self.catalog, self.album_id))

    @contextmanager
    def part(self, network: Encoder) -> Iterator[Ingest]:
        """This turn's part; the next one goes on there, not at the album's first photo."""
        turn = self._turn
        at = (turn.job.id, self.album_id)
        with Ingest(
            self.settings,
            self.catalog,
            self.album_id,
            network,
            decoder=turn.held.decoder(network.input_size),
            after=turn.held.cursors.get(at, 0),
            owner=turn.place.owner,
        ) as part:
            yield part
        turn.held.cursors[at] = part.after

    def encoding(self, part: Ingest, old: Callable[[], int]) -> None:
        """Count, note failures and report, the last with no more than a small share of the time."""
        tally, counted = part.tally, self._counted
        metrics.PHOTOS.labels(outcome="encoded").inc(tally.encoded - counted.encoded)
        metrics.PHOTOS.labels(outcome="failed").inc(tally.failed - counted.failed)
        metrics.PHOTOS.labels(outcome="lost").inc(tally.lost - counted.lost)
        self._counted = Tally(tally.encoded, tally.failed, tally.lost)
        _note_failures(self._turn, tally)
        begun = time.monotonic()
        if begun >= self._count_next:
            report_progress(self._turn, self.album_id, part.wanted, old())
            ended = time.monotonic()
            self._count_next = ended + COUNTING_SHARE * (ended - begun)

    def finishing(self) -> None:
        """Nothing to tell: the job is as far as it was."""


def _counts(report: scan.ScanReport) -> dict[str, int]:
    return {k: v for k, v in asdict(report).items() if isinstance(v, int) and k != "stopped"}


def _described(report: scan.ScanReport | None) -> dict[str, Any]:
    """Counts of what a scan found, the question that it has, and what it did not take."""
    if report is None:
        return {}
    more = {"question": report.question, "unread": report.unread, "notes": report.notes}
    return {**_counts(report), "offline": len(report.offline), **more}


def broken_off(turn: Turn, why: Broken = "stopped") -> Outcome:
    """How a turn ends that did not come to the end of its work."""
    if why == "stopped" and turn.pulse.stop_reason is None and turn.stopping():
        return MORE  # this process ends; another one should go on at once
    return MORE if why == "more" else WAIT


def report_progress(turn: Turn, album_id: int, wanted: dict[str, str], old: int = 0) -> None:
    """Derive the job's progress from the catalog: photos that are there, encoded, failed.

    Args:
        old: photos whose features are still to be made anew.
    """
    with turn.catalog.reading() as session:
        by_status = count_by_status(session, album_id)
        waiting, failed = claims.remaining_photos(session, album_id, wanted)
    total = sum(number for status, number in by_status.items() if status != "missing")
    turn.report(done=max(0, total - waiting - failed - old), total=total, failed=failed)


def album_of(turn: Turn) -> int:
    """The album that a job works on.

    Raises:
        UnknownAlbum: the job names none.
    """
    if turn.job.album_id is None:
        raise UnknownAlbum(f"the job {turn.job.id} names no album")
    return turn.job.album_id


def _finish(turn: Turn, album_id: int, encoded: Encoded) -> Outcome:
    """The job's report, and who else wants to know."""
    version = encoded.version
    report_progress(turn, album_id, encoded.wanted)
    ask_saved_searches(turn.catalog, album_id)
    with turn.catalog.session() as session:
        note_album_failures(session, turn.job.id, album_id)
        counts = count_by_status(session, album_id)
    job = jobs.get(turn.catalog, turn.job.id)
    scanned = (job.result or {}).get("scan") or {}
    result: dict[str, Any] = {
        **counts,
        "scan": scanned,
        "model": version.model,
        "index_version": version.id,
        "index_state": version.state,
    }
    offline = ingest.count_offline(turn.catalog, album_id, encoded.wanted)
    said = [
        scanned.get("question"),
        offline and sentence(offline),
        version.state == "building" and not_swapped(turn, version),
        *scanned.get("notes", ()),
    ]
    return Outcome("done", result, "; ".join(text for text in said if text) or None)


def not_swapped(turn: Turn, version: versions.Version) -> str:
    """Why a version that was built is not the one that serves, and what a person may do."""
    lacks = ingest.lacking(turn.catalog, version)
    return (
        f"{version.model} lacks {lacks:,} photos that can be searched now, so it does not serve "
        "yet; `referent jobs show "
        f"{turn.job.id}` tells why. When that is mended: `referent jobs retry {turn.job.id}`. To "
        "have it nevertheless: reindex with --accept-fewer (in the API: accept_fewer)"
    )


def _note_failures(turn: Turn, tally: Tally) -> None:
    """Write a worker's failures into the job's report."""
    # Another thread adds to the end meanwhile: only what was read goes.
    fresh = list(tally.failures)
    del tally.failures[: len(fresh)]
    if not fresh:
        return
    with turn.catalog.session() as session:
        for photo_id, _, reason in fresh:
            note_failure(session, turn.place.job_id, photo_id, reason)
    for photo_id, path, reason in fresh:
        log.warning("photo failed", photo_id=photo_id, path=path, reason=reason)
