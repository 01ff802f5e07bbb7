"""What a key that is limited to albums may see: nothing else is there for it.

What a path or a query names by `album_id`, `photo_id`, `run_id`, `job_id`, `album` or `photo` is
looked at for every route, before it runs (`check_request`); what a body names, its route looks at.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import select
from starlette.requests import Request

from indexer.db.catalog import Catalog, find_album
from indexer.db.tables import Job, Photo, SearchRun
from indexer.errors import UnknownAlbum, UnknownJob
from search_api.errors import Forbidden, NotFound, UnknownPhoto, UnknownRun
from search_api.http.keys import Principal
from search_api.search import saved
from search_api.search.filters import Filters

_DIGITS = 18


def check_request(catalog: Catalog, who: Principal, request: Request) -> None:
    """Let nothing through that names what the key may not see.

    Raises:
        NotFound, UnknownAlbum, UnknownJob: as if it were not there.
    """
    if who.albums is None:
        return
    named = request.path_params
    for name, check in _CHECKS.items():
        for number in _numbers([str(named.get(name, ""))]):
            check(catalog, who, number)
    if run_id := named.get("run_id"):
        check_run(catalog, who, run_id)
    for album in request.query_params.getlist("album"):
        check_album(catalog, who, album)
    check_photos(catalog, who, _numbers(request.query_params.getlist("photo")))


def check_album(catalog: Catalog, who: Principal, name: str | None) -> None:
    """The same for an album by its name; None passes, and means those that the key may see.

    Raises:
        UnknownAlbum.
    """
    if who.albums is None or name is None:
        return
    with catalog.reading() as session:
        album = find_album(session, name)
    if album is None or album.id not in who.albums:
        raise UnknownAlbum(f"no album of this key is named {name!r}: GET /v1/albums lists them")


def check_run(catalog: Catalog, who: Principal, run_id: UUID | str | None) -> None:
    """The same for a search: one over an album that the key may see, or one of its own.

    Raises:
        UnknownRun.
    """
    if who.albums is None or run_id is None:
        return
    with catalog.reading() as session:
        row = session.execute(
            select(SearchRun.album_id, SearchRun.key_id).where(SearchRun.id == str(run_id).lower())
        ).one_or_none()
    if row is None or not (
        row.album_id in who.albums or (row.album_id is None and row.key_id == who.key_id)
    ):
        raise UnknownRun(
            "There is no search run of this id (any more); search again.", field="run_id"
        )


def check_asked(catalog: Catalog, who: Principal, album: str | None, filters: Filters) -> None:
    """The same for what a search asks for.

    Raises:
        UnknownAlbum, UnknownRun.
        NotFound: a saved search that is another's.
    """
    check_album(catalog, who, album)
    check_run(catalog, who, filters.run)
    if filters.unjudged_by is not None:
        saved.one(catalog, filters.unjudged_by, who.key_id)


def check_photos(catalog: Catalog, who: Principal, photo_ids: Iterable[int]) -> None:
    """The same for photos.

    Raises:
        UnknownPhoto.
    """
    for photo_id in photo_ids if who.albums is not None else ():
        _check_photo(catalog, who, photo_id)


def whole_library(who: Principal) -> None:
    """Let nobody through who may see some albums only.

    Raises:
        Forbidden.
    """
    if who.albums is not None:
        raise Forbidden("This needs a key that is not limited to albums.")


def _numbers(texts: Iterable[str]) -> list[int]:
    """Those that are numbers; the route refuses the others, and larger ones than a database has."""
    return [int(t) for t in texts if t.isascii() and t.isdigit() and len(t) <= _DIGITS]


def _check_album_id(catalog: Catalog, who: Principal, album_id: int) -> None:
    if album_id not in (who.albums or ()):
        raise NotFound(
            f"There is no album {album_id}; GET /v1/albums lists them.", field="album_id"
        )


def _check_photo(catalog: Catalog, who: Principal, photo_id: int) -> None:
    with catalog.reading() as session:
        album_id = session.scalar(select(Photo.album_id).where(Photo.id == photo_id))
    if album_id not in (who.albums or ()):
        raise UnknownPhoto(f"There is no photo {photo_id}.", field="photo_id")


def _check_job(catalog: Catalog, who: Principal, job_id: int) -> None:
    with catalog.reading() as session:
        job = session.get(Job, job_id)
    if job is not None and job.album_id in (who.albums or ()):
        return
    run_id = job.parameters.get("run") if job is not None and job.album_id is None else None
    try:
        if run_id is None:
            raise UnknownRun("It writes no search.")
        check_run(catalog, who, str(run_id))
    except UnknownRun:
        raise UnknownJob(f"no job has the number {job_id}: `referent jobs` lists them") from None


_CHECKS = {"album_id": _check_album_id, "photo_id": _check_photo, "job_id": _check_job}
