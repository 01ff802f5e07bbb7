"""An album's new photos are to be shown to saved searches, where there are some."""

from __future__ import annotations

from sqlalchemy import or_, select

from indexer.db.catalog import Catalog
from indexer.db.tables import SavedSearch
from indexer.jobs import jobs


def ask_saved_searches(catalog: Catalog, album_id: int) -> None:
    """Let the job ``watch`` look at an album that was indexed, if a saved search looks at it."""
    here = or_(SavedSearch.album_id == album_id, SavedSearch.album_id.is_(None))
    with catalog.reading() as session:
        asked = session.scalar(select(SavedSearch.id).where(here).limit(1)) is not None
    if asked:
        jobs.create(catalog, "watch", album_id=album_id)
