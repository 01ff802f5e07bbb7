"""The photos that a job could not handle, each with its reason: part of the job's report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import case, exists, func, insert, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from indexer.db.catalog import Catalog
from indexer.db.names import shown_path
from indexer.db.tables import JobFailure, Photo, Root


@dataclass(frozen=True)
class Failure:
    """One photo that a job could not handle, and why; ``path`` is for display."""

    id: int
    photo_id: int | None
    path: str | None
    reason: str
    attempts: int


def failures_of(
    catalog: Catalog, job_id: int, *, after: int = 0, limit: int = 100
) -> list[Failure]:
    """The photos that a job could not handle, oldest first; page on with the last one's id."""
    query = (
        select(JobFailure, Photo.path, Root.path)
        .outerjoin(Photo, Photo.id == JobFailure.photo_id)
        .outerjoin(Root, Root.id == Photo.root_id)
        .where(JobFailure.job_id == job_id, JobFailure.id > after)
        .order_by(JobFailure.id)
        .limit(limit)
    )
    with catalog.reading() as session:
        return [
            Failure(
                id=row.id,
                photo_id=row.photo_id,
                path=None if path is None else shown_path(path, root),
                reason=row.reason,
                attempts=row.attempts,
            )
            for row, path, root in session.execute(query)
        ]


def note_failure(
    session: Session, job_id: int, photo_id: int | None, reason: str, attempts: int = 1
) -> None:
    """Write down, once a photo, that a job could not handle it; again adds to its attempts."""
    row = {"job_id": job_id, "photo_id": photo_id, "reason": reason, "attempts": attempts}
    if photo_id is not None:
        statement = _insert(session).values(row)
        more = {
            "reason": statement.excluded.reason,
            "attempts": JobFailure.attempts + statement.excluded.attempts,
        }
        session.execute(
            statement.on_conflict_do_update(index_elements=["job_id", "photo_id"], set_=more)
        )
        return
    same = update(JobFailure).where(
        JobFailure.job_id == job_id, JobFailure.photo_id.is_(None), JobFailure.reason == reason
    )
    counted = same.values(attempts=JobFailure.attempts + attempts).returning(JobFailure.id)
    if session.scalar(counted) is None:
        session.execute(insert(JobFailure).values(row))


def note_album_failures(session: Session, job_id: int, album_id: int) -> None:
    """Name every failed photo of an album in a job's report, whichever worker met it."""
    known = exists().where(JobFailure.job_id == job_id, JobFailure.photo_id == Photo.id)
    failed = select(
        literal(job_id),
        Photo.id,
        func.coalesce(Photo.error, "unknown"),
        case((Photo.attempts > 1, Photo.attempts), else_=1),
    ).where(
        Photo.album_id == album_id, Photo.status == "failed", Photo.deleted_at.is_(None), ~known
    )
    columns = ["job_id", "photo_id", "reason", "attempts"]
    statement = _insert(session).from_select(columns, failed, include_defaults=False)
    session.execute(statement.on_conflict_do_nothing())  # its worker is just about to name it


def _insert(session: Session) -> Any:
    """The database's own insert, which knows what to do about a row that is there."""
    on_sqlite = session.get_bind().dialect.name == "sqlite"
    return sqlite.insert(JobFailure) if on_sqlite else postgresql.insert(JobFailure)
