"""When the job ``watch`` is wanted: photos were indexed, or a webhook is to be told again."""

from __future__ import annotations

from sqlalchemy import or_, select

from indexer.db.catalog import Catalog
from indexer.db.clock import clock
from indexer.db.tables import Job, SavedSearch, SavedTelling, SearchRun
from indexer.jobs import jobs

# A job that breaks before it told anybody is not made anew at every look.
TOLD_EVERY_S = 30.0


def ask_saved_searches(catalog: Catalog, album_id: int) -> None:
    """Let the job ``watch`` look at an album that was indexed, if a saved search looks at it."""
    here = or_(SavedSearch.album_id == album_id, SavedSearch.album_id.is_(None))
    with catalog.reading() as session:
        asked = session.scalar(select(SavedSearch.id).where(here).limit(1)) is not None
    if asked:
        jobs.create(catalog, "watch", album_id=album_id)


def tell_webhooks_again(catalog: Catalog) -> None:
    """Let the job ``watch`` look at albums of whose runs a webhook is due to be told."""
    lately = (
        select(Job.id)
        .where(
            Job.kind == "watch",
            Job.album_id == SearchRun.album_id,
            Job.created_at > clock() - TOLD_EVERY_S,
        )
        .exists()
    )
    due = (
        select(SearchRun.album_id)
        .join(SavedTelling, SavedTelling.run_id == SearchRun.id)
        .where(SavedTelling.due_at <= clock(), ~lately)
        .distinct()
    )
    with catalog.reading() as session:
        albums = session.scalars(due).all()
    for album_id in albums:
        jobs.create(catalog, "watch", album_id=album_id)
