"""What webhooks of saved searches are still to be told, and what became of it.

A run that found something is a row until its webhook took it: a server that ends in between, or a
webhook that does not answer, loses nothing. Each is tried `len(PAUSES_S)` times again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from indexer.db.catalog import Catalog
from indexer.db.clock import clock
from indexer.db.tables import SavedSearch, SavedTelling, SearchRun
from indexer.settings import Settings
from search_api.search import runs, saved, webhooks
from search_api.search.engine import Engine
from search_api.search.photos import by_id
from search_api.search.saved import Saved

# How long after a failure it is tried again: a restart, a night's outage, then it is given up.
PAUSES_S = (60.0, 300.0, 1800.0, 7200.0, 36_000.0)
# Who began to tell has so long before another may: longer than a webhook may take.
_TELLING_S = 6 * webhooks.TIMEOUT_S
_PHOTOS = 50


def tell_due(engine: Engine, album_id: int, *, stopping: Callable[[], bool]) -> int:
    """Tell webhooks what is due of an album's runs; how many took it."""
    told = 0
    for run_id in _due(engine.catalog, album_id):
        if stopping():
            break
        tries = _begin(engine.catalog, run_id)
        if tries is not None:
            told += _tell(engine, run_id, tries)
    return told


def _due(catalog: Catalog, album_id: int) -> list[str]:
    statement = (
        select(SavedTelling.run_id)
        .join(SearchRun, SearchRun.id == SavedTelling.run_id)
        .where(SearchRun.album_id == album_id, SavedTelling.due_at <= clock())
        .order_by(SavedTelling.due_at)
    )
    with catalog.reading() as session:
        return list(session.scalars(statement))


def _begin(catalog: Catalog, run_id: str) -> int | None:
    """Take a telling, so that nobody else tells it too; which try it is, None if one did."""
    with catalog.session() as session:
        return session.scalar(
            update(SavedTelling)
            .where(SavedTelling.run_id == run_id, SavedTelling.due_at <= clock())
            .values(due_at=clock() + _TELLING_S, tries=SavedTelling.tries + 1)
            .returning(SavedTelling.tries)
        )


def _tell(engine: Engine, run_id: str, tries: int) -> bool:
    catalog = engine.catalog
    kept = _wanted(catalog, run_id)
    if kept is None or kept.webhook is None:
        _end(catalog, run_id)
        return False
    try:
        body = _body(engine, kept, run_id)
        webhooks.post(kept.webhook, body, inner_hosts=_inner_hosts(engine.settings))
    except webhooks.WebhookFailed as error:
        if tries > len(PAUSES_S):
            _end(catalog, run_id, trouble=f"{error} It was tried {tries} times and is given up.")
        else:
            with catalog.session() as session:
                session.execute(
                    update(SavedTelling)
                    .where(SavedTelling.run_id == run_id)
                    .values(due_at=clock() + PAUSES_S[tries - 1])
                )
                _note(session, kept.id, trouble=str(error))
        return False
    _end(catalog, run_id, trouble=None, told_at=clock())
    return True


def _wanted(catalog: Catalog, run_id: str) -> Saved | None:
    """The saved search whose run it is; None where its key may not know of the run any more."""
    with catalog.reading() as session:
        statement = select(SavedTelling.saved_id, SearchRun.album_id).join(
            SearchRun, SearchRun.id == SavedTelling.run_id
        )
        found = session.execute(statement.where(SavedTelling.run_id == run_id)).first()
        if found is None:
            return None
        kept = saved.by_number(session, found.saved_id)
        asker = None if kept is None else saved.asker_of(session, kept)
    if asker is None or (asker.albums is not None and found.album_id not in asker.albums):
        return None
    return kept


def _end(catalog: Catalog, run_id: str, **values: Any) -> None:
    """Forget a telling, and write down how it ended."""
    with catalog.session() as session:
        saved_id = session.scalar(
            delete(SavedTelling)
            .where(SavedTelling.run_id == run_id)
            .returning(SavedTelling.saved_id)
        )
        if saved_id is not None and values:
            _note(session, saved_id, **values)


def _note(session: Session, saved_id: int, **values: Any) -> None:
    session.execute(update(SavedSearch).where(SavedSearch.id == saved_id).values(**values))


def _body(engine: Engine, kept: Saved, run_id: str) -> dict[str, Any]:
    """What a webhook is told of a run."""
    run, page = runs.page(engine.catalog, run_id, size=_PHOTOS)
    photos = by_id(engine.catalog, [hit.decision.photo_id for hit in page.hits])
    return {
        "saved": kept.id,
        "name": kept.name,
        "expression": kept.expression,
        "album": run.album,
        "run": run.id,
        "matched": run.coverage.matched,
        "photos": [
            {
                "id": hit.decision.photo_id,
                "path": photos[hit.decision.photo_id].path,
                "confidence": hit.decision.confidence,
            }
            for hit in page.hits
            if hit.decision.photo_id in photos
        ],
    }


def _inner_hosts(settings: Settings) -> frozenset[str]:
    words = settings.webhook_hosts.lower().split(",")
    return frozenset(word.strip() for word in words if word.strip())
