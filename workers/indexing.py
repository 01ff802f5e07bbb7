"""The job that indexes an album: scan, encode together with other workers, build the prefilter."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select

from indexer.db.catalog import count_by_status
from indexer.db.tables import Album, FeatureRow, Photo
from indexer.encoding import claims, ingest
from indexer.encoding.commits import Tally
from indexer.encoding.encode import Ingest
from indexer.errors import UnknownAlbum
from indexer.features import versions
from indexer.folders import scan
from indexer.folders.offline import Away, sentence
from indexer.jobs import jobs, slots
from indexer.jobs.failures import note_album_failures, note_failure
from indexer.jobs.watching import ask_saved_searches
from indexer.settings import MEBIBYTE
from workers import metrics
from workers.errors import ReindexRefused
from workers.logging import logger
from workers.turn import MORE, WAIT, Outcome, Turn

if TYPE_CHECKING:
    from model.predictor import Predictor

log = logger(__name__)

UNSCANNED = (None, "retry", "scan")
RENEWED_AT_ONCE = 64
# Counting a million photos takes seconds: at most a 20th of the time goes into it.
COUNTING_SHARE = 20.0


def index(turn: Turn) -> Outcome:
    """Scan the album's folders, encode what lacks features, and make it searchable.

    Parameters of the job: ``model`` (default: the one that serves the album, else the setting),
    ``which`` ("missing" or "all"), ``confirm_deletions``, ``scan`` (False leaves the folders be).
    """
    album_id = album_of(turn)
    if turn.job.phase in UNSCANNED:
        with slots.leading(turn.catalog, turn.place) as leads:
            if not leads:
                return WAIT
            if _phase(turn) not in UNSCANNED:
                return MORE
            slots.begin_scan(turn.catalog, turn.place)
            scanned = _scan(turn, album_id)
            if scanned is None:
                return broken_off(turn)
            phase = "reopen" if turn.job.phase == "retry" else "start"
            slots.enter_phase(turn.catalog, turn.place, phase, result={"scan": scanned})
    predictor = model_of(turn, album_id)
    encoded = encode(turn, album_id, predictor, all_anew=turn.job.parameters.get("which") == "all")
    if not isinstance(encoded, Encoded):
        return encoded
    # The lead is kept until the job has ended or begun to scan once more: whoever else comes here
    # must not end it in between.
    if not slots.lead(turn.catalog, turn.place):
        return WAIT
    if _phase(turn) != "encode":
        return MORE
    return _finish(turn, album_id, predictor, encoded)


def _phase(turn: Turn) -> str | None:
    return jobs.get(turn.catalog, turn.place.job_id).phase


@dataclass(frozen=True)
class Encoded:
    """Nothing waits any more: every photo has its features for the version, or has failed."""

    version: versions.Version
    wanted: dict[str, str]


def encode(
    turn: Turn, album_id: int, predictor: Predictor, *, all_anew: bool = False
) -> Encoded | Outcome:
    """Encode an album for a model, together with whoever else works at this job.

    Args:
        all_anew: also what has features from before the job's start.
    Returns:
        how the turn ends while something still waits.
    """
    decoder = turn.models.decoder(turn.settings, predictor.input_size)
    run = (turn.job.id, album_id)
    with Ingest(
        turn.settings,
        turn.catalog,
        album_id,
        predictor,
        decoder=decoder,
        after=turn.models.cursors.get(run, 0),
        owner=turn.place.owner,
    ) as part:
        phase = _phase(turn)
        if phase == "scan":
            return MORE  # another worker has ended this round, and the next one begins with a scan
        if phase != "encode":
            with slots.leading(turn.catalog, turn.place) as leads:
                if not leads:
                    return WAIT
                part.start(all_failed=phase in ("reopen", "retry"))
                slots.enter_phase(turn.catalog, turn.place, "encode")
        counted = Tally()

        def tell(tally: Tally) -> None:
            metrics.PHOTOS.labels(outcome="encoded").inc(tally.encoded - counted.encoded)
            metrics.PHOTOS.labels(outcome="failed").inc(tally.failed - counted.failed)
            metrics.PHOTOS.labels(outcome="lost").inc(tally.lost - counted.lost)
            counted.encoded, counted.failed = tally.encoded, tally.failed
            counted.lost = tally.lost
            _note_failures(turn, tally)
            reporter.tell()

        anew = _Anew(turn, album_id, part.wanted, part.away) if all_anew else None
        reporter = _Reporter(turn, album_id, part.wanted, anew)
        reporter.tell()
        renewed: int | None = 0
        while True:
            ended = part.run(should_stop=turn.should_stop, is_over=turn.is_over, progress=tell)
            if ended != "done" or anew is None or renewed is None:
                break
            renewed = anew.renew_some(renewed)
    # The next turn goes on there, not at the album's first photo.
    turn.models.cursors[run] = part.after
    if ended == "stopped":
        return broken_off(turn)
    if ended == "wait":
        return MORE if turn.is_over() and not turn.should_stop() else broken_off(turn)
    return Encoded(part.version, part.wanted)


class _Reporter:
    """Tells the progress, but spends no more than a small share of the time on counting it."""

    def __init__(
        self, turn: Turn, album_id: int, wanted: dict[str, str], anew: _Anew | None
    ) -> None:
        self._turn = turn
        self._album_id = album_id
        self._wanted = wanted
        self._anew = anew
        self._next = 0.0

    def tell(self) -> None:
        """Count and report, unless the last count was a moment ago for its cost."""
        begun = time.monotonic()
        if begun < self._next:
            return
        old = self._anew.left() if self._anew is not None else 0
        report_progress(self._turn, self._album_id, self._wanted, old)
        ended = time.monotonic()
        self._next = ended + COUNTING_SHARE * (ended - begun)


def broken_off(turn: Turn) -> Outcome:
    """How a turn ends that did not come to the end of its work."""
    if turn.pulse.stop_reason is None and turn.stopping():
        return MORE  # this process ends; another one should go on at once
    return WAIT


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


def model_of(turn: Turn, album_id: int) -> Predictor:
    """The network to index an album with: the one named, else the one that serves it.

    Raises:
        ReindexRefused: the album was indexed by a network that is not installed here any more.
        UnknownModel, WeightsError.
    """
    if named := turn.job.parameters.get("model"):
        return turn.models.get(str(named))
    default = turn.models.get(turn.settings.model)
    serving = versions.serving(turn.catalog, album_id)
    if serving is None or versions.fits(default, serving.fingerprints):
        return default
    predictor = turn.models.get(serving.model)
    if not versions.fits(predictor, serving.fingerprints):
        raise ReindexRefused(
            f"the album was indexed with a build of {serving.model} that is not installed here: "
            f"run referent reindex --model {turn.settings.model}"
        )
    return predictor


def _scan(turn: Turn, album_id: int) -> dict[str, Any] | None:
    """Bring the album's rows in line with its folders; None when it was told to stop.

    Returns:
        counts of what the scan found, the question that it has, and what it did not take.
    """
    if turn.job.parameters.get("scan", True) is False:
        return {}
    with turn.catalog.reading() as session:
        name = session.scalar(select(Album.name).where(Album.id == album_id))
    if name is None:
        raise UnknownAlbum(f"the album of job {turn.job.id} is gone")
    report = scan.scan_album(
        turn.catalog,
        name,
        confirm_deletions=bool(turn.job.parameters.get("confirm_deletions", False)),
        should_stop=turn.should_stop,
        max_file_bytes=turn.settings.max_file_mib * MEBIBYTE,
        read_all=turn.job.parameters.get("which") == "all",
        progress=lambda at: turn.report(message=f"scanning: {at.files:,} files"),
    )
    if report.stopped:
        return None
    counts = {k: v for k, v in asdict(report).items() if isinstance(v, int) and k != "stopped"}
    log.info("scanned", **counts)
    turn.report(message=report.question or "")
    more = {"question": report.question, "unread": report.unread, "notes": report.notes}
    return {**counts, "offline": len(report.offline), **more}


@dataclass(frozen=True)
class _Anew:
    """An album whose every photo is to be encoded again, once: what is older than the job."""

    turn: Turn
    album_id: int
    wanted: dict[str, str]
    away: Away

    def old(self) -> ColumnElement[bool]:
        """Photos (`Photo`) of the album that have features from before the job's start."""
        started = self.turn.job.started_at or self.turn.job.created_at
        row = exists().where(
            FeatureRow.fingerprint.in_(self.wanted.values()),
            FeatureRow.content_hash == Photo.content_hash,
            or_(FeatureRow.encoded_at.is_(None), FeatureRow.encoded_at < started),
        )
        return and_(claims.waiting_clause(self.album_id, self.away), row)

    def left(self) -> int:
        """How many photos have old features; those that lack some are waiting anyway."""
        whole = ~claims.missing_clause(self.wanted)
        with self.turn.catalog.reading() as session:
            return session.scalar(select(func.count(Photo.id)).where(self.old(), whole)) or 0

    def renew_some(self, after: int) -> int | None:
        """Forget the features of some photos behind one, so that they are made anew.

        Few at a time: they are missing from searches, which say so, for no longer than a batch
        takes.

        Returns:
            the photo behind which to go on; None when none is left.
        """
        query = select(Photo.id, Photo.content_hash).where(self.old()).order_by(Photo.id)
        with self.turn.catalog.session() as session:
            some = session.execute(query.where(Photo.id > after).limit(RENEWED_AT_ONCE)).all()
            some = some or session.execute(query.limit(RENEWED_AT_ONCE)).all()
            session.execute(
                delete(FeatureRow).where(
                    FeatureRow.fingerprint.in_(self.wanted.values()),
                    FeatureRow.content_hash.in_({row.content_hash for row in some}),
                )
            )
        return some[-1].id if some else None


def _finish(turn: Turn, album_id: int, predictor: Predictor, encoded: Encoded) -> Outcome:
    """Statuses, prefilter, and the job's report."""
    version = ingest.finish(
        turn.settings, turn.catalog, encoded.version, predictor, should_stop=turn.should_stop
    )
    serving = versions.serving(turn.catalog, album_id)
    if not turn.job.parameters.get("model") and serving is not None and serving.id != version.id:
        return MORE  # another model was swapped in meanwhile: what came since belongs to it
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
        "model": predictor.name,
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
