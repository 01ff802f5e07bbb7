"""Upkeep of the feature store: merging segments, removing leftovers. See also `verify`.

Everything here may run beside indexing and searching, in any process, and be killed at any time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.orm import Session

from indexer.db.catalog import Catalog
from indexer.db.clock import clock
from indexer.db.owner import is_gone, new_owner
from indexer.db.tables import Album, FeatureRow, Photo, Segment, revision_step
from indexer.features import vector_file
from indexer.features.segment import read_header
from indexer.features.store import FeatureStore, Part, Written, insert_missing, temporary_of

# A merged segment of this size is left alone: large enough to map few files, small enough to
# rewrite in a second or two.
TARGET_BYTES = 512 * 1024 * 1024
# Features of photos that were deleted longer ago than this go with a compaction.
KEEP_DELETED_S = 7 * 86400.0
# A segment of which more than this is needed no longer is rewritten: no more of the disk is lost.
UNUSED_SHARE = 0.1
# A worker may still be writing when its lease has run out; a row that names its file is kept for
# this long after the lease, so that a file that appears late is still found.
KEEP_INTENT_S = 86400.0
ROWS_PER_BLOCK = 256


@dataclass
class Compacted:
    """What a compaction did."""

    merged: int = 0
    """Segments that were retired."""
    made: int = 0
    rows: int = 0
    dropped: int = 0
    """Rows that no photo needs any more."""


def compact(
    catalog: Catalog,
    store: FeatureStore,
    *,
    min_segments: int = 2,
    target_bytes: int = TARGET_BYTES,
    should_stop: Callable[[], bool] = lambda: False,
) -> Compacted:
    """Merge small segments of each fingerprint into large ones, without what no photo needs.

    The old segments are retired, not removed: `collect` does that when no reader needs them.
    """
    report = Compacted()
    with catalog.reading() as session:
        groups = session.execute(
            select(Segment.tier, Segment.fingerprint)
            .where(Segment.state == "live")
            .distinct()
            .order_by(Segment.tier, Segment.fingerprint)
        ).all()
    for tier, fingerprint in groups:
        report.dropped += _forget_deleted(catalog, fingerprint)
        for batch in _merge_plan(catalog, fingerprint, min_segments, target_bytes):
            if should_stop():
                return report
            merge(catalog, store, tier, fingerprint, batch, report)
    return report


def _merge_plan(
    catalog: Catalog, fingerprint: str, min_segments: int, target_bytes: int
) -> list[list[tuple[int, str]]]:
    """Group small or mostly unused segments, oldest first, up to the target size."""
    with catalog.reading() as session:
        used = (
            select(func.count())
            .where(FeatureRow.segment_id == Segment.id)
            .correlate(Segment)
            .scalar_subquery()
        )
        found = session.execute(
            select(Segment.id, Segment.path, Segment.bytes, Segment.rows, used)
            .where(Segment.fingerprint == fingerprint, Segment.state == "live")
            .order_by(Segment.id)
        ).all()
    plan: list[list[tuple[int, str]]] = []
    batch: list[tuple[int, str]] = []
    size = 0
    sparse = False
    for segment_id, path, total, rows, live in found:
        unused = live < rows * (1 - UNUSED_SHARE)
        if total >= target_bytes // 2 and not unused:
            continue
        if batch and size + total > target_bytes:
            plan.append(batch)
            batch, size = [], 0
        batch.append((segment_id, path))
        size += int(total * live / max(rows, 1))
        sparse = sparse or unused
    if batch:
        plan.append(batch)
    return [batch for batch in plan if len(batch) >= min_segments or sparse]


def merge(
    catalog: Catalog,
    store: FeatureStore,
    tier: str,
    fingerprint: str,
    batch: Sequence[tuple[int, str]],
    report: Compacted,
) -> None:
    """Rewrite the rows of some segments as one, and point the catalog at it."""
    paths = dict(batch)
    with catalog.reading() as session:
        rows = session.execute(
            select(FeatureRow.content_hash, FeatureRow.segment_id, FeatureRow.position)
            .where(FeatureRow.segment_id.in_(paths), FeatureRow.fingerprint == fingerprint)
            .order_by(FeatureRow.segment_id, FeatureRow.position)
        ).all()
    if rows:
        dtype = read_header(store.path_of(paths[rows[0].segment_id])).dtype
        places = [(row.segment_id, row.position) for row in rows]

        def move(session: Session, written: list[Written]) -> None:
            _retire(session, paths)
            # Rows that vanished or moved meanwhile are not brought back; the others keep their age,
            # by which "index everything anew" tells what it has not done.
            still = {
                row.content_hash: row.encoded_at
                for row in session.execute(
                    select(FeatureRow.content_hash, FeatureRow.encoded_at).where(
                        FeatureRow.segment_id.in_(paths), FeatureRow.fingerprint == fingerprint
                    )
                )
            }
            session.execute(delete(FeatureRow).where(FeatureRow.segment_id.in_(paths)))
            insert_missing(
                session,
                fingerprint,
                written[0].segment_id,
                [
                    (at, row.content_hash, still[row.content_hash])
                    for at, row in enumerate(rows)
                    if row.content_hash in still
                ],
            )
            touch_all(session)

        part = Part(
            tier=tier,
            fingerprint=fingerprint,
            dtype=dtype,
            content_hashes=[row.content_hash for row in rows],
            rows=_blocks(store, paths, places, dtype),
        )
        store.commit([part], new_owner(), also=move, insert_rows=False)
        report.made += 1
    else:
        with catalog.session() as session:
            _retire(session, paths)
    report.merged += len(batch)
    report.rows += len(rows)


def _retire(session: Session, segment_ids: Sequence[int] | dict[int, str]) -> None:
    session.execute(
        update(Segment)
        .where(Segment.id.in_(list(segment_ids)))
        .values(state="retired", retired_at=clock())
    )


def touch_all(session: Session) -> None:
    """Let every album's caches look again: rows have moved."""
    session.execute(update(Album).values(revision=Album.revision + revision_step()))


def _blocks(
    store: FeatureStore,
    paths: dict[int, str],
    places: Sequence[tuple[int, int]],
    dtype: np.dtype,
) -> Iterator[np.ndarray]:
    """Read rows (n,) a block at a time, so that memory stays small."""
    start = 0
    while start < len(places):
        segment_id = places[start][0]
        end = start
        while end < len(places) and places[end][0] == segment_id and end - start < ROWS_PER_BLOCK:
            end += 1
        mapped = store.rows(paths[segment_id], dtype)
        yield mapped[[position for _, position in places[start:end]]]
        start = end


def _forget_deleted(catalog: Catalog, fingerprint: str) -> int:
    """Remove the rows of contents that no photo has had for a while."""
    needed = exists().where(
        Photo.content_hash == FeatureRow.content_hash,
        or_(Photo.deleted_at.is_(None), Photo.deleted_at > clock() - KEEP_DELETED_S),
    )
    with catalog.session() as session:
        result = session.execute(
            delete(FeatureRow).where(FeatureRow.fingerprint == fingerprint, ~needed)
        )
        if result.rowcount:  # type: ignore[attr-defined]
            touch_all(session)
        return int(result.rowcount)  # type: ignore[attr-defined]


def forget_unneeded(catalog: Catalog) -> int:
    """Forget rows that no photo needs any more, and retire segments that are left without rows.

    Returns:
        rows forgotten.
    """
    with catalog.reading() as session:
        fingerprints = session.scalars(select(FeatureRow.fingerprint).distinct()).all()
    forgotten = sum(_forget_deleted(catalog, fingerprint) for fingerprint in fingerprints)
    with catalog.session() as session:
        session.execute(
            update(Segment)
            .where(Segment.state == "live", ~exists().where(FeatureRow.segment_id == Segment.id))
            .values(state="retired", retired_at=clock())
        )
    return forgotten


@dataclass
class Collected:
    """What a collection removed."""

    files: int = 0
    bytes: int = 0
    kept_for_readers: int = 0


def collect(catalog: Catalog, store: FeatureStore) -> Collected:
    """Remove files that expired intents and retired segments left, and nothing else.

    An intent is expired when its lease is over or its holder is gone; a retired segment goes when
    no reader started before it was retired. A file that the catalog does not know is never
    touched: it may belong to a catalog that was restored from a backup (`verify` attaches it).
    """
    report = Collected()
    oldest = store.oldest_reader()
    with catalog.reading() as session:
        now = catalog_now(session)
        found = session.execute(
            select(
                Segment.id,
                Segment.path,
                Segment.state,
                Segment.lease_owner,
                Segment.lease_until,
                Segment.retired_at,
            ).where(Segment.state != "live")
        ).all()
    for segment_id, path, state, owner, until, retired_at in found:
        gone = is_gone(owner)
        if state == "intent":
            if not gone and (until or 0.0) > now:
                continue
            # From here on its holder cannot commit, even if it is only slow.
            if not _expire(catalog, segment_id, owner):
                continue
        elif oldest is not None and (retired_at or 0.0) >= oldest:
            report.kept_for_readers += 1
            continue
        store.forget(path)
        for file in (store.path_of(path), temporary_of(store.path_of(path))):
            with contextlib.suppress(FileNotFoundError):
                size = file.stat().st_size
                file.unlink()
                report.files += 1
                report.bytes += size
        if owner is None or gone or (until or 0.0) + KEEP_INTENT_S < now:
            with catalog.session() as session:
                session.execute(delete(FeatureRow).where(FeatureRow.segment_id == segment_id))
                session.execute(
                    delete(Segment).where(Segment.id == segment_id, Segment.state == "retired")
                )
    report.bytes += vector_file.sweep(store.folder)
    return report


def catalog_now(session: Session) -> float:
    """Return the database's time inside a transaction."""
    return float(session.execute(select(clock())).scalar_one())


def _expire(catalog: Catalog, segment_id: int, owner: str | None) -> bool:
    """Turn an intent into a retired segment, unless it was committed meanwhile."""
    with catalog.session() as session:
        result = session.execute(
            update(Segment)
            .where(
                Segment.id == segment_id,
                Segment.state == "intent",
                Segment.lease_owner == owner,
            )
            .values(state="retired", retired_at=clock())
        )
        return bool(result.rowcount == 1)  # type: ignore[attr-defined]
