"""Searches that are kept under a name, and asked again of photos that come.

What an album holds when a search is saved counts as judged. When an indexing job has ended, the job
``watch`` judges what came since, each content once, in a run of its own; its matches are news.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, insert, literal, or_, select, true, update
from sqlalchemy.orm import Session

from indexer.db import audit
from indexer.db.audit import Actor
from indexer.db.catalog import Catalog, album_named
from indexer.db.clock import clock
from indexer.db.tables import (
    Album,
    ApiKey,
    Hit,
    Photo,
    SavedJudged,
    SavedSearch,
    SavedTelling,
    SearchRun,
)
from search_api.errors import BadQuery, NotFound
from search_api.search import runs, webhooks
from search_api.search.engine import Engine
from search_api.search.filters import Filters
from search_api.search.pipeline import collect
from search_api.search.query import Asker, Query
from search_api.search.runs import Run

AT_MOST = 200
NEWS = 50


@dataclass(frozen=True)
class Saved:
    """A saved search; times are Unix seconds.

    ``trouble`` says why its webhook could not be told since ``told_at``, and ``again_at`` when that
    is tried again, if it is.
    """

    id: int
    key_id: int | None
    name: str
    expression: str
    album_id: int | None
    album: str | None
    filters: Filters
    webhook: str | None
    trouble: str | None
    told_at: float | None
    again_at: float | None
    created_at: float


def everybodys(catalog: Catalog) -> list[Saved]:
    """All that are saved, by name."""
    with catalog.reading() as session:
        return _all(session, true())


def of_key(catalog: Catalog, key_id: int | None) -> list[Saved]:
    """What a key saved, by name."""
    with catalog.reading() as session:
        return _all(session, SavedSearch.key_id.is_not_distinct_from(key_id))


def of_album(catalog: Catalog, album_id: int) -> list[Saved]:
    """Everybody's that look at an album."""
    with catalog.reading() as session:
        here = or_(SavedSearch.album_id == album_id, SavedSearch.album_id.is_(None))
        return _all(session, here)


def one(catalog: Catalog, saved_id: int, key_id: int | None) -> Saved:
    """One of a key's own.

    Raises:
        NotFound: it has none of this number.
    """
    with catalog.reading() as session:
        return _one(session, saved_id, key_id)


def by_number(session: Session, saved_id: int) -> Saved | None:
    """Anybody's, if it is there."""
    return next(iter(_all(session, SavedSearch.id == saved_id)), None)


def save(
    catalog: Catalog,
    *,
    name: str,
    expression: str,
    album: str | None,
    filters: Filters,
    asker: Asker,
    webhook: str | None = None,
    actor: Actor,
) -> Saved:
    """Keep a search under a name; what is there now counts as judged.

    Raises:
        BadQuery: the name is empty, there are too many, or the webhook's address is none.
        UnknownAlbum.
    """
    tidy = _name(name)
    if webhook is not None:
        webhooks.checked(webhook)
    with catalog.session() as session:
        mine = SavedSearch.key_id.is_not_distinct_from(asker.key_id)
        if (session.scalar(select(func.count()).where(mine)) or 0) >= AT_MOST:
            raise BadQuery(f"{AT_MOST} searches are saved already; remove one.", field="name")
        row = SavedSearch(
            key_id=asker.key_id,
            name=tidy,
            expression=expression,
            album_id=album_named(session, album).id if album is not None else None,
            filters=filters.model_dump(mode="json", exclude_defaults=True),
            webhook=webhook,
        )
        session.add(row)
        session.flush()
        there = select(literal(row.id), Photo.content_hash).where(_waits(row.album_id)).distinct()
        session.execute(insert(SavedJudged).from_select(["saved_id", "content_hash"], there))
        if webhook is not None:
            audit.note(session, actor, "webhook set", f"{row.id} ({tidy}): {webhook}")
        return _one(session, row.id, asker.key_id)


def change(
    catalog: Catalog,
    saved_id: int,
    key_id: int | None,
    *,
    name: str | None = None,
    webhook: str | None = None,
    actor: Actor,
) -> Saved:
    """Give it another name or webhook ("" takes the webhook off); None leaves either.

    Raises:
        NotFound, BadQuery.
    """
    with catalog.session() as session:
        before = _one(session, saved_id, key_id)
        values: dict[str, Any] = {}
        if name is not None:
            values["name"] = _name(name)
        if webhook is not None:
            values |= {"webhook": webhooks.checked(webhook) if webhook else None, "trouble": None}
            if not webhook:
                session.execute(delete(SavedTelling).where(SavedTelling.saved_id == saved_id))
            audit.note(session, actor, "webhook set", f"{saved_id} ({before.name}): {webhook}")
        if values:
            session.execute(update(SavedSearch).where(SavedSearch.id == saved_id).values(**values))
        return _one(session, saved_id, key_id)


def remove(catalog: Catalog, saved_id: int, key_id: int | None) -> None:
    """Forget it, with what it found.

    Raises:
        NotFound.
    """
    with catalog.session() as session:
        _one(session, saved_id, key_id)
        found = select(SearchRun.id).where(SearchRun.saved_id == saved_id)
        for about in (SavedJudged, SavedTelling):
            session.execute(delete(about).where(about.saved_id == saved_id))
        session.execute(delete(Hit).where(Hit.run_id.in_(found)))
        session.execute(delete(SearchRun).where(SearchRun.saved_id == saved_id))
        session.execute(delete(SavedSearch).where(SavedSearch.id == saved_id))


def news(catalog: Catalog, saved: Saved, among: frozenset[int] | None = None) -> list[Run]:
    """Its runs that found something among new photos, newest first.

    Args:
        among: only in these albums; None means all.
    """
    with catalog.reading() as session:
        statement = (
            select(SearchRun.id)
            .where(SearchRun.saved_id == saved.id, SearchRun.state.in_(("done", "stopped")))
            .order_by(SearchRun.created_at.desc(), SearchRun.id.desc())
            .limit(NEWS)
        )
        ids = session.scalars(statement).all()
    found = [runs.load(catalog, each) for each in ids]
    return [
        run for run in found if run.coverage.matched and (among is None or run.album_id in among)
    ]


def judge_new(
    engine: Engine, saved: Saved, album_id: int, *, stopping: Callable[[], bool]
) -> Run | None:
    """Ask a saved search of an album's photos that it has not judged; the run, None without any.

    What it found is owed to the webhook. A run that was stopped judges them again the next time.
    """
    catalog = engine.catalog
    with catalog.reading() as session:
        asker = asker_of(session, saved)
        album = session.get(Album, album_id)
        fresh = select(Photo.id, Photo.content_hash).where(
            _waits(album_id), Filters(unjudged_by=saved.id).clauses()[0]
        )
        waiting = {row.id: str(row.content_hash) for row in session.execute(fresh)}
    if asker is None or album is None or not waiting:
        return None
    if asker.albums is not None and album_id not in asker.albums:
        return None
    view = engine.reopened(album_id)
    seen = {int(each) for each in view.snapshot.photo_ids} if view is not None else set()
    judged = sorted({content for photo_id, content in waiting.items() if photo_id in seen})
    if not judged:
        return None
    query = Query(
        expression=saved.expression,
        album=album.name,
        mode="exhaustive",
        filters=saved.filters.model_copy(update={"unjudged_by": saved.id}),
    )
    run = collect(engine, query, asker=asker, stopping=stopping).run
    if run.state == "done":
        with catalog.session() as session:
            known = set(
                session.scalars(
                    select(SavedJudged.content_hash).where(SavedJudged.saved_id == saved.id)
                )
            )
            rows = [
                {"saved_id": saved.id, "content_hash": each} for each in judged if each not in known
            ]
            kept = session.get(SavedSearch, saved.id)
            if rows and kept is not None:
                session.execute(insert(SavedJudged), rows)
            if run.coverage.matched and kept is not None and kept.webhook is not None:
                session.execute(insert(SavedTelling).values(run_id=run.id, saved_id=saved.id))
    return run


def _waits(album_id: int | None) -> Any:
    """Photos of an album, or of all, that a search finds."""
    here = (Photo.status == "indexed") & Photo.deleted_at.is_(None)
    here &= Photo.content_hash.is_not(None)
    return here if album_id is None else here & (Photo.album_id == album_id)


def asker_of(session: Session, saved: Saved) -> Asker | None:
    """For whom it asks; None once its key is no good."""
    if saved.key_id is None:
        return Asker(saved_id=saved.id)
    key = session.get(ApiKey, saved.key_id)
    now = float(session.scalar(select(clock())) or 0)
    if key is None or key.revoked_at is not None or (key.expires_at or now + 1) <= now:
        return None
    albums = None if key.album_ids is None else frozenset(int(each) for each in key.album_ids)
    return Asker(saved.key_id, albums, saved.id)


def _name(name: str) -> str:
    tidy = " ".join(name.split())
    if not 0 < len(tidy) <= 255:
        raise BadQuery("Give it a name of 1 to 255 characters.", field="name")
    return tidy


def _one(session: Session, saved_id: int, key_id: int | None) -> Saved:
    own = (SavedSearch.id == saved_id) & SavedSearch.key_id.is_not_distinct_from(key_id)
    if not (found := _all(session, own)):
        raise NotFound(f"There is no saved search {saved_id}.", field="saved_id")
    return found[0]


def _all(session: Session, condition: Any) -> list[Saved]:
    again_at = (
        select(func.min(SavedTelling.due_at))
        .where(SavedTelling.saved_id == SavedSearch.id, SavedTelling.tries > 0)
        .scalar_subquery()
    )
    statement = (
        select(SavedSearch, Album.name, again_at)
        .outerjoin(Album, Album.id == SavedSearch.album_id)
        .where(condition)
        .order_by(SavedSearch.name, SavedSearch.id)
    )
    return [
        Saved(
            id=row.id,
            key_id=row.key_id,
            name=row.name,
            expression=row.expression,
            album_id=row.album_id,
            album=album,
            filters=Filters.kept(row.filters),
            webhook=row.webhook,
            trouble=row.trouble,
            told_at=row.told_at,
            again_at=again,
            created_at=row.created_at,
        )
        for row, album, again in session.execute(statement)
    ]
