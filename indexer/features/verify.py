"""Damage to the feature store: what is lost is forgotten, so that the next index makes it anew."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import delete, select, update

from indexer.db.catalog import Catalog
from indexer.db.names import shown_path
from indexer.db.tables import EncodeClaim, FeatureRow, Photo, Root, Segment
from indexer.errors import DamagedSegment, FeatureStoreAway
from indexer.features.maintenance import Compacted, merge, touch_all
from indexer.features.segment import SegmentCheck, check_segment, read_header
from indexer.features.store import FeatureStore, insert_missing

log = logging.getLogger(__name__)


@dataclass
class Verified:
    """What reading every byte of the store showed."""

    segments: int = 0
    rows: int = 0
    damaged: list[tuple[str, str]] = field(default_factory=list)
    """Path and fault of each damaged segment."""
    photos: list[str] = field(default_factory=list)
    """Paths of the photos whose features were lost and are encoded anew by the next index."""
    lost_rows: int = 0
    attached: int = 0
    """Rows of files that the catalog had lost."""
    albums: set[int] = field(default_factory=set)


def verify(
    catalog: Catalog,
    store: FeatureStore,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Verified:
    """Read every live segment, forget the rows that are damaged, attach files that were lost.

    Rows that are whole in a damaged file move to a new one, so that only the damaged rows' photos
    are encoded again (by the next `referent index`).
    """
    report = Verified()
    with catalog.reading() as session:
        found = session.execute(
            select(Segment.id, Segment.tier, Segment.fingerprint, Segment.path, Segment.checksum)
            .where(Segment.state == "live")
            .order_by(Segment.id)
        ).all()
    for done, (segment_id, tier, fingerprint, path, checksum) in enumerate(found):
        progress(done, len(found))
        if should_stop():
            return report
        report.segments += 1
        fault, bad = _examine(catalog, store, segment_id, fingerprint, path, checksum, report)
        if fault:
            report.damaged.append((str(store.path_of(path)), fault))
            store.forget(path)
            _forget_rows(catalog, segment_id, bad, report)
            merge(catalog, store, tier, fingerprint, [(segment_id, path)], Compacted())
    progress(len(found), len(found))
    _attach_unknown(catalog, store, report)
    return report


def heal(catalog: Catalog, store: FeatureStore, fingerprints: Collection[str]) -> Verified:
    """Forget the rows of segments that are gone or cut short, as every index does at its start.

    Only headers and sizes are looked at, which costs some microseconds a segment; `verify` reads
    every byte.

    Raises:
        FeatureStoreAway: not one segment is there, so the store's disk is rather not mounted.
    """
    report = Verified()
    with catalog.reading() as session:
        found = session.execute(
            select(Segment.id, Segment.tier, Segment.fingerprint, Segment.path).where(
                Segment.state == "live"
            )
        ).all()
    if found and not any(store.path_of(row.path).exists() for row in found):
        raise FeatureStoreAway(
            f"none of the {len(found):,} feature files is in {store.folder}: is its disk mounted? "
            "If they are lost for good: referent index --verify"
        )
    for segment_id, tier, fingerprint, path in found:
        if fingerprint not in fingerprints:
            continue
        report.segments += 1
        try:
            read_header(store.path_of(path))
        except DamagedSegment as error:
            log.warning("%s", error)
            report.damaged.append((str(error.path), error.reason))
            store.forget(path)
            with catalog.reading() as session:
                rows = select(FeatureRow.content_hash).where(FeatureRow.segment_id == segment_id)
                lost = set(session.scalars(rows))
            _forget_rows(catalog, segment_id, lost, report)
            merge(catalog, store, tier, fingerprint, [(segment_id, path)], Compacted())
    return report


def _examine(
    catalog: Catalog,
    store: FeatureStore,
    segment_id: int,
    fingerprint: str,
    path: str,
    checksum: str | None,
    report: Verified,
) -> tuple[str | None, set[str]]:
    """Compare a file with the catalog; return the fault and the contents whose rows are bad."""
    with catalog.reading() as session:
        rows = session.execute(
            select(FeatureRow.content_hash, FeatureRow.position).where(
                FeatureRow.segment_id == segment_id
            )
        ).all()
    report.rows += len(rows)
    try:
        check = check_segment(store.path_of(path))
    except DamagedSegment as error:
        return error.reason, {digest for digest, _ in rows}
    bad_positions = set(check.bad_positions)
    bad = {
        digest
        for digest, position in rows
        if position in bad_positions
        or position >= check.header.rows
        or check.content_hashes[position] != digest
    }
    if check.header.fingerprint != fingerprint:
        return "it holds another model's features", {digest for digest, _ in rows}
    if not check.frame_intact:
        return "its header or table changed", bad
    if checksum is not None and check.checksum != checksum:
        return "it is another file than the one that was written", {digest for digest, _ in rows}
    if bad:
        return f"{len(bad)} of {len(rows)} rows changed", bad
    return None, bad


def _forget_rows(catalog: Catalog, segment_id: int, bad: set[str], report: Verified) -> None:
    """Remove rows, and let their photos wait for the index again."""
    digests = sorted(bad)
    named = set(report.photos)
    with catalog.session() as session:
        for start in range(0, len(digests), 500):
            some = digests[start : start + 500]
            session.execute(
                delete(FeatureRow).where(
                    FeatureRow.segment_id == segment_id, FeatureRow.content_hash.in_(some)
                )
            )
            of_these = Photo.content_hash.in_(some)
            for album_id, folder, path in session.execute(
                select(Photo.album_id, Root.path, Photo.path)
                .join(Root, Root.id == Photo.root_id)
                .where(of_these, Photo.deleted_at.is_(None))
            ):
                name = shown_path(path, folder)
                if name not in named:
                    named.add(name)
                    report.photos.append(name)
                report.albums.add(album_id)
            session.execute(
                update(Photo)
                .where(of_these, Photo.deleted_at.is_(None), Photo.status == "indexed")
                .values(status="new")
            )
            session.execute(delete(EncodeClaim).where(EncodeClaim.content_hash.in_(some)))
        touch_all(session)
    report.lost_rows += len(digests)


def _attach_unknown(catalog: Catalog, store: FeatureStore, report: Verified) -> None:
    """Give the catalog the segments that it does not know (it was restored, or lost)."""
    with catalog.reading() as session:
        known = set(session.scalars(select(Segment.path)))
    for file in sorted(store.folder.glob("*/*/*.seg")):
        relative = file.relative_to(store.folder).as_posix()
        if relative in known:
            continue
        try:
            check = check_segment(file)
        except DamagedSegment as error:
            report.damaged.append((str(file), error.reason))
            continue
        if check.frame_intact:
            report.attached += _attach(catalog, relative, file, check)


def _attach(catalog: Catalog, relative: str, file: Path, check: SegmentCheck) -> int:
    bad = set(check.bad_positions)
    with catalog.session() as session:
        segment = Segment(
            tier=check.header.tier,
            fingerprint=check.header.fingerprint,
            path=relative,
            rows=check.header.rows,
            bytes=file.stat().st_size,
            checksum=check.checksum,
            state="live",
        )
        session.add(segment)
        session.flush()
        whole = [
            (position, digest, None)
            for position, digest in enumerate(check.content_hashes)
            if position not in bad
        ]
        touch_all(session)
        return insert_missing(session, check.header.fingerprint, segment.id, whole)
