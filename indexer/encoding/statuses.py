"""Photos' statuses and facts, kept in step with the features that the serving version has."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import and_, or_, select, update
from sqlalchemy.orm import Session

from indexer.db.catalog import touch
from indexer.db.names import shown_path
from indexer.db.tables import EncodeClaim, IndexVersion, Photo, Root
from indexer.encoding.claims import (
    Work,
    claim_key,
    missing_clause,
    missing_rows_clause,
    waiting_clause,
)
from indexer.features.versions import Version
from indexer.photos.exif import PhotoFacts
from indexer.photos.name_dates import date_in_name

NAME, NAME_DAY = "name", "name-day"
_FACTS = (
    "format",
    "width",
    "height",
    "orientation",
    "taken_at",
    "taken_source",
    "taken_offset_min",
    "camera",
    "lat",
    "lon",
    "note",
)


def record(
    session: Session,
    version: Version,
    wanted: Mapping[str, str],
    done: Iterable[tuple[Work, str, PhotoFacts | None]],
    failed: Sequence[tuple[Work, str]],
) -> None:
    """Write down what became of contents, for all photos that share them.

    Statuses follow the version that serves; while another one is built they stay as they are.

    Args:
        done: the work, the hash of the bytes that were read, and their facts (None: known before).
        failed: the work and the reason.
    """
    serves = _serves(session, version)
    for work, content_hash, facts in done:
        if content_hash != work.content_hash:
            # The file changed between scan and decoding: what was read is what counts.
            session.execute(
                update(Photo).where(Photo.id == work.photo_id).values(content_hash=content_hash)
            )
        if facts is not None:
            values = {name: getattr(facts, name) for name in _FACTS}
            session.execute(
                update(Photo).where(Photo.content_hash == content_hash).values(**values)
            )
        if serves:
            session.execute(
                update(Photo)
                .where(waiting_clause(version.album_id), Photo.content_hash == content_hash)
                .values(status="indexed", error=None, attempts=0)
            )
    for work, reason in failed:
        if serves:
            session.execute(
                update(Photo)
                .where(waiting_clause(version.album_id), Photo.content_hash == work.content_hash)
                .values(status="failed", error=reason, attempts=Photo.attempts + 1)
            )
    touch(session, version.album_id)


def settle(session: Session, version: Version, wanted: Mapping[str, str]) -> None:
    """Bring an album's statuses in line with the features that are there for a version.

    A photo is indexed when it has all rows, failed when its content could not be encoded, and new
    otherwise. Photos whose content was encoded for another one take over its facts. Does nothing
    while the version does not serve.
    """
    if not _serves(session, version):
        return
    album = version.album_id
    _copy_facts(session, album, wanted)
    changed = _date_by_name(session, album)
    lacking = missing_clause(wanted)
    failure = (
        select(EncodeClaim.error)
        .where(
            EncodeClaim.fingerprint == claim_key(wanted),
            EncodeClaim.content_hash == Photo.content_hash,
            EncodeClaim.error.is_not(None),
        )
        .correlate(Photo)
    )
    here = waiting_clause(album)
    for condition, values in (
        (and_(Photo.status != "indexed", ~lacking), {"status": "indexed", "error": None}),
        (
            and_(Photo.status != "failed", lacking, failure.exists()),
            {"status": "failed", "error": failure.scalar_subquery()},
        ),
        (and_(Photo.status == "indexed", lacking, ~failure.exists()), {"status": "new"}),
    ):
        result: Any = session.execute(
            update(Photo)
            .where(here, condition)
            .values(**values)
            .execution_options(synchronize_session=False)
        )
        changed += result.rowcount
    if changed:
        touch(session, album)


def _copy_facts(session: Session, album_id: int, wanted: Mapping[str, str]) -> None:
    """Give photos without facts those of another photo with the same bytes."""
    lonely = session.scalars(
        select(Photo.content_hash)
        .where(waiting_clause(album_id), Photo.width.is_(None), ~missing_rows_clause(wanted))
        .distinct()
    ).all()
    columns = [getattr(Photo, name) for name in _FACTS]
    for content_hash in lonely:
        donor = session.execute(
            select(*columns)
            .where(Photo.content_hash == content_hash, Photo.width.is_not(None))
            .limit(1)
        ).one_or_none()
        if donor is not None:
            session.execute(
                update(Photo)
                .where(Photo.content_hash == content_hash, Photo.width.is_(None))
                .values(**dict(zip(_FACTS, donor, strict=True)))
            )


def _date_by_name(session: Session, album_id: int) -> int:
    """Date photos that carry no date by their names; how many were dated otherwise than before."""
    undated = session.execute(
        select(Photo.id, Photo.path, Photo.taken_at, Photo.taken_source, Photo.taken_offset_min)
        .where(Photo.album_id == album_id, Photo.deleted_at.is_(None), Photo.width.is_not(None))
        .where(or_(Photo.taken_at.is_(None), Photo.taken_source.in_((NAME, NAME_DAY))))
    ).all()
    changed = []
    for photo_id, path, *known in undated:
        found = date_in_name(os.fsdecode(path.rpartition(b"/")[2]))
        values: list[Any] = [None, None, None]
        if found is not None:
            source = NAME_DAY if found.day_only else NAME
            values = [found.taken_at, source, found.offset_min]
        if values != known:
            columns = ("taken_at", "taken_source", "taken_offset_min")
            changed.append({"id": photo_id, **dict(zip(columns, values, strict=True))})
    if changed:
        session.execute(update(Photo), changed)
    return len(changed)


def _serves(session: Session, version: Version) -> bool:
    """Whether searches use the version now; it may have been swapped since `version` was read."""
    state = session.scalar(select(IndexVersion.state).where(IndexVersion.id == version.id))
    return state == "serving"


def failures(session: Session, album_id: int) -> list[tuple[str, str]]:
    """Return path, made printable, and reason of an album's failed photos."""
    found = session.execute(
        select(Root.path, Photo.path, Photo.error)
        .join(Root, Root.id == Photo.root_id)
        .where(Photo.album_id == album_id, Photo.status == "failed", Photo.deleted_at.is_(None))
        .order_by(Root.path, Photo.path)
    )
    return [(shown_path(path, folder), error or "unknown") for folder, path, error in found]
