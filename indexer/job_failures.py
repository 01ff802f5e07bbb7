"""The photos that a job could not handle, each with its reason: part of the job's report."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, insert, select, update
from sqlalchemy.orm import Session

from indexer.catalog import Catalog
from indexer.tables import JobFailure, Photo, Root


@dataclass(frozen=True)
class Failure:
    """One photo that a job could not handle, and why; ``path`` is for display."""

    id: int
    photo_id: int | None
    path: str | None
    reason: str
    attempts: int


def failures(catalog: Catalog, job_id: int, *, after: int = 0, limit: int = 100) -> list[Failure]:
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
                path=None if path is None else _shown(root, path),
                reason=row.reason,
                attempts=row.attempts,
            )
            for row, path, root in session.execute(query)
        ]


def note_failure(
    session: Session, job_id: int, photo_id: int | None, reason: str, attempts: int = 1
) -> None:
    """Write down, once a photo, that a job could not handle it."""
    same = select(JobFailure.id).where(
        JobFailure.job_id == job_id,
        JobFailure.photo_id == photo_id
        if photo_id is not None
        else and_(JobFailure.photo_id.is_(None), JobFailure.reason == reason),
    )
    found = session.scalar(same)
    if found is None:
        session.execute(
            insert(JobFailure).values(
                job_id=job_id, photo_id=photo_id, reason=reason, attempts=attempts
            )
        )
    else:
        session.execute(
            update(JobFailure)
            .where(JobFailure.id == found)
            .values(reason=reason, attempts=JobFailure.attempts + attempts)
        )


def _shown(root: bytes, path: bytes) -> str:
    """A path for people: bytes that are no UTF-8 are shown as escapes."""
    return (root.rstrip(b"/") + b"/" + path).decode("utf-8", "backslashreplace")
