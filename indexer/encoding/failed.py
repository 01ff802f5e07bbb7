"""The photos of an album that could not be indexed: which, why, and another try."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, and_, func, select, update

from indexer.db.catalog import Catalog, touch
from indexer.db.tables import EncodeClaim, Photo

# Parameters of one IN (...): far below the limits of both databases.
_CHUNK = 1000


def failed_clause(album_id: int, reason: str | None = None) -> ColumnElement[bool]:
    """Photos (`Photo`) of an album that failed, for a reason that holds some words."""
    here = and_(Photo.album_id == album_id, Photo.status == "failed", Photo.deleted_at.is_(None))
    if not reason:
        return here
    return and_(here, func.lower(Photo.error).contains(reason.lower(), autoescape=True))


def retry_failed(
    catalog: Catalog,
    album_id: int,
    *,
    reason: str | None = None,
    photo_ids: Collection[int] | None = None,
) -> int:
    """Let failed photos be tried afresh by the next index, however often they had failed.

    Args:
        reason: only those whose reason holds these words.
        photo_ids: only these; None means all.
    Returns:
        how many.
    """
    wanted = failed_clause(album_id, reason)
    if photo_ids is not None:
        wanted = and_(wanted, Photo.id.in_(list(photo_ids)))
    with catalog.session() as session:
        found = session.execute(select(Photo.id, Photo.content_hash).where(wanted)).all()
        for start in range(0, len(found), _CHUNK):
            some = [row for row in found[start : start + _CHUNK] if row.content_hash is not None]
            session.execute(
                update(EncodeClaim)
                .where(
                    EncodeClaim.content_hash.in_([row.content_hash for row in some]),
                    EncodeClaim.error.is_not(None),
                )
                .values(error=None, attempts=0)
            )
            # One that could not even be read has no content yet: every scan tries it again.
            session.execute(
                update(Photo)
                .where(Photo.id.in_([row.id for row in some]))
                .values(status="new", error=None, attempts=0)
            )
        if found:
            touch(session, album_id)
    return len(found)
