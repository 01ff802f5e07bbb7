"""A run over an album: scan its folders, encode what lacks features, make it searchable.

There is one way for all: `referent index` works alone, the workers of a job share the work. Each
calls `index` until it gets `Encoded`. Where the run stands and who leads it, its `Run` knows.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select

from indexer.db.catalog import Catalog
from indexer.db.tables import FeatureRow, Photo
from indexer.encoding import claims, ingest
from indexer.encoding.encode import Encoder, Ingest
from indexer.features import versions
from indexer.folders.scan import ScanReport
from indexer.settings import Settings

UNSCANNED = (None, "retry", "scan")
RENEWED_AT_ONCE = 64

Broken = Literal["more", "wait", "stopped"]
"""Why a part of a run ends early: there is more to do right now, others hold it, or it was told."""


class Run(Protocol):
    """A run as one who works at it sees it: alone, or in a turn at a job.

    Its phases: None, "retry" (of what failed, too) or "scan" (once more) before the scan, "start"
    or "reopen" before the encoding begins, then "encode". Only the leader changes them.
    """

    settings: Settings
    catalog: Catalog
    album_id: int
    older_than: float | None
    """Encode also what has features from before this time; None: only what lacks some."""
    follows: bool
    """Whether the album is indexed with whatever network serves it at the end."""

    def phase(self) -> str | None:
        """Where the run stands now."""

    def enter(self, phase: str, scanned: ScanReport | None = None) -> None:
        """Go on to a phase."""

    def leading(self) -> AbstractContextManager[bool]:
        """Try to lead for as long as the block takes; False where somebody else leads."""

    def lead(self) -> bool:
        """Try to lead until the run has ended."""

    def should_stop(self) -> bool:
        """Whether to stop at once after the batch at hand."""

    def is_over(self) -> bool:
        """Whether to begin no further batch in this part."""

    def scan(self) -> ScanReport | None:
        """Bring the album's rows in line with its folders; None where they are to be left alone."""

    def network(self) -> Encoder:
        """The network to encode with."""

    def part(self, network: Encoder) -> AbstractContextManager[Ingest]:
        """One's own part in the encoding."""

    def encoding(self, part: Ingest, old: Callable[[], int]) -> None:
        """Hear of each commit, and of the beginning; ``old`` counts photos yet to be renewed."""

    def finishing(self) -> None:
        """Hear that nothing waits any more."""


@dataclass(frozen=True)
class Encoded:
    """Nothing waits any more: every photo has its features for the version, or has failed."""

    version: versions.Version
    wanted: dict[str, str]


def index(run: Run) -> Encoded | Broken:
    """Scan the album's folders, encode what lacks features, and make it searchable.

    Returns:
        how it broke off while something still waits. At the end we lead, where others might.
    """
    if run.phase() in UNSCANNED:
        with run.leading() as leads:
            if not leads:
                return "wait"
            phase = run.phase()
            if phase not in UNSCANNED:
                return "more"
            scanned = run.scan()
            if scanned is not None and scanned.stopped:
                return "stopped"
            run.enter("reopen" if phase == "retry" else "start", scanned)
    network = run.network()
    encoded = encode(run, network)
    if not isinstance(encoded, Encoded):
        return encoded
    # The lead is kept until the run has ended or begun to scan once more: whoever else comes here
    # must not end it in between.
    if not run.lead():
        return "wait"
    if run.phase() != "encode":
        return "more"
    run.finishing()
    version = ingest.finish(
        run.settings, run.catalog, encoded.version, network, should_stop=run.should_stop
    )
    serving = versions.serving(run.catalog, run.album_id)
    if run.follows and serving is not None and serving.id != version.id:
        return "more"  # another model was swapped in meanwhile: what came since belongs to it
    return Encoded(version, encoded.wanted)


def encode(run: Run, network: Encoder) -> Encoded | Broken:
    """Encode an album for a network, together with whoever else works at this run."""
    with run.part(network) as part:
        phase = run.phase()
        if phase == "scan":
            return "more"  # another worker has ended this round, and the next begins with a scan
        if phase != "encode":
            with run.leading() as leads:
                if not leads:
                    return "wait"
                part.start(all_failed=phase in ("reopen", "retry"))
                run.enter("encode")
        anew = None
        if run.older_than is not None:
            anew = _Anew(run.catalog, claims.waiting_clause(run.album_id, part.away), part.wanted,
                         run.older_than)  # fmt: skip
        old = (lambda: 0) if anew is None else anew.left
        run.encoding(part, old)
        renewed: int | None = 0
        while True:
            ended = part.run(
                should_stop=run.should_stop,
                is_over=run.is_over,
                progress=lambda tally: run.encoding(part, old),
            )
            if ended != "done" or anew is None or renewed is None:
                break
            renewed = anew.renew_some(renewed)
    if ended == "done":
        return Encoded(part.version, part.wanted)
    if ended == "stopped" or run.should_stop():
        return "stopped"
    return "more" if run.is_over() else "wait"


@dataclass(frozen=True)
class _Anew:
    """An album whose every photo is to be encoded again, once: what is older than a time."""

    catalog: Catalog
    here: ColumnElement[bool]
    """Photos (`Photo`) of the album that are there."""
    wanted: dict[str, str]
    older_than: float

    def old(self) -> ColumnElement[bool]:
        """Photos (`Photo`) of the album that have features from before that time."""
        row = exists().where(
            FeatureRow.fingerprint.in_(self.wanted.values()),
            FeatureRow.content_hash == Photo.content_hash,
            or_(FeatureRow.encoded_at.is_(None), FeatureRow.encoded_at < self.older_than),
        )
        return and_(self.here, row)

    def left(self) -> int:
        """How many photos have old features; those that lack some are waiting anyway."""
        whole = ~claims.missing_clause(self.wanted)
        with self.catalog.reading() as session:
            return session.scalar(select(func.count(Photo.id)).where(self.old(), whole)) or 0

    def renew_some(self, after: int) -> int | None:
        """Forget the features of some photos behind one, so that they are made anew.

        Few at a time: they are missing from searches, which say so, for no longer than a batch
        takes.

        Returns:
            the photo behind which to go on; None when none is left.
        """
        query = select(Photo.id, Photo.content_hash).where(self.old()).order_by(Photo.id)
        with self.catalog.session() as session:
            some = session.execute(query.where(Photo.id > after).limit(RENEWED_AT_ONCE)).all()
            some = some or session.execute(query.limit(RENEWED_AT_ONCE)).all()
            session.execute(
                delete(FeatureRow).where(
                    FeatureRow.fingerprint.in_(self.wanted.values()),
                    FeatureRow.content_hash.in_({row.content_hash for row in some}),
                )
            )
        return some[-1].id if some else None
