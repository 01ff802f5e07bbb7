"""Searches, their runs and pages, and what can be shown of each hit."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Path, Query, Response
from starlette.concurrency import run_in_threadpool

from indexer.db import audit
from search_api.errors import BadCursor, Forbidden, UnknownPhoto, UnknownRun
from search_api.http.access import check_asked
from search_api.http.answers import answer, mask_of, page_of
from search_api.http.deps import ActorDep, Reader, ServerDep, Writer
from search_api.http.pictures import image_response
from search_api.http.problems import documented
from search_api.http.schemas import (
    AlbumName,
    Cursor,
    FoldsOut,
    HitPage,
    MaskOut,
    PageSize,
    RunOut,
    RunPage,
    SearchRequest,
)
from search_api.http.streams import EVENTS, EventStream
from search_api.search import runs
from search_api.search.albums import album_id_of
from search_api.search.folding import folds
from search_api.search.photos import one_photo
from search_api.show.images import jpeg, mask_png, png
from search_api.show.overlay import draw_minimap
from search_api.show.shown import overlay, render

Responses = dict[int | str, dict[str, Any]]
router = APIRouter(tags=["search"])
RunId = Annotated[UUID, Path(description="The search run's id.")]
PhotoId = Annotated[int, Path(ge=1, le=2**53)]
Side = Annotated[int, Query(ge=16, le=4096, description="Longer side in pixels.")]
_PNG: Responses = {
    200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}
}
_JPEG: Responses = {
    200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}
}
_ABOUT_HIT = documented(401, 403, 404, 409, 410, 422, 429)


@router.post(
    "/search",
    response_model=HitPage,
    responses={200: EVENTS, **documented(400, 401, 403, 404, 409, 413, 422, 429, 503)},
)
async def search(
    request: SearchRequest,
    server: ServerDep,
    who: Reader,
    accept: Annotated[str, Header(include_in_schema=False)] = "application/json",
) -> HitPage | Response:
    """Find the photos that show what an expression refers to.

    With `Accept: text/event-stream` the answer comes as server-sent events while photos are
    verified: `started`, then `hit` and `progress`, then `done` (or `problem`).
    """
    catalog = server.engine.catalog
    await run_in_threadpool(check_asked, catalog, who, request.album, request.filters)
    if "text/event-stream" in accept:
        return EventStream(server, request, who.asker)
    async with server.searches.one():
        return await server.searches.compute(lambda: answer(server, request, who.asker))


@router.get("/search/{run_id}", response_model=RunOut, responses=documented(401, 403, 404, 422))
def get_run(run_id: RunId, server: ServerDep, who: Reader) -> RunOut:
    """A search run: what was asked, what it covered, how long it took."""
    return RunOut.of(runs.load(server.engine.catalog, str(run_id)))


@router.delete("/search/{run_id}", status_code=204, responses=documented(401, 403, 404, 422))
def forget_run(run_id: RunId, server: ServerDep, who: Writer, by: ActorDep) -> None:
    """Remove a search run of one's own from the history; admins may remove anyone's."""
    catalog = server.engine.catalog
    run = runs.load(catalog, str(run_id))
    if run.key_id != who.key_id and "admin" not in who.scopes:
        raise Forbidden("This search is someone else's; an admin may remove it.")
    runs.forget(catalog, run.id)
    with catalog.session() as session:
        audit.note(session, by, "search deleted", run.id)


@router.get(
    "/search/{run_id}/hits",
    response_model=HitPage,
    responses=documented(400, 401, 403, 404, 409, 422, 429),
)
async def get_hits(
    run_id: RunId,
    server: ServerDep,
    who: Reader,
    cursor: Annotated[Cursor, Query()] = None,
    size: Annotated[PageSize, Query()] = 24,
    rejected: Annotated[
        bool, Query(description="The nearest photos that did not match, instead.")
    ] = False,
    order: Annotated[
        runs.Order, Query(description="By time or path instead; without a date come last.")
    ] = "confidence",
) -> HitPage:
    """A page of a run's hits; following `next_cursor` gives each of `matched` exactly once."""
    async with server.pictures.one():
        return await server.pictures.compute(
            lambda: page_of(
                server, str(run_id), cursor=cursor, size=size, rejected=rejected, order=order
            )
        )


@router.get(
    "/search/{run_id}/folds",
    response_model=FoldsOut,
    responses=documented(401, 403, 404, 409, 422, 429),
)
async def get_folds(run_id: RunId, server: ServerDep, who: Reader) -> FoldsOut:
    """Matches that can be shown as one: the same picture again, shots of one minute alike."""
    async with server.pictures.one():
        found = await server.pictures.compute(lambda: folds(server.engine, str(run_id)))
    return FoldsOut(folds=found)


@router.get("/history", response_model=RunPage, responses=documented(400, 401, 403, 404, 422))
def get_history(
    server: ServerDep,
    who: Reader,
    cursor: Annotated[Cursor, Query()] = None,
    size: Annotated[PageSize, Query()] = 24,
    album: Annotated[AlbumName | None, Query()] = None,
    everyone: Annotated[bool, Query(description="Everyone's, for admins; else one's own.")] = False,
) -> RunPage:
    """Search runs of one's own key, newest first."""
    if everyone and "admin" not in who.scopes:
        raise Forbidden("Only a key with the scope admin may see everyone's searches.")
    catalog = server.engine.catalog
    album_id = album_id_of(catalog, album) if album is not None else None
    of = None if everyone else who.asker
    try:
        before = str(UUID(cursor)) if cursor else None
        found, more = runs.history(catalog, before=before, size=size, album_id=album_id, of=of)
    except (ValueError, UnknownRun) as error:
        raise BadCursor(
            "The cursor is damaged or its run is gone; start again without one.", field="cursor"
        ) from error
    return RunPage(
        runs=[RunOut.of(run) for run in found], next_cursor=found[-1].id if more else None
    )


@router.get(
    "/search/{run_id}/hits/{photo_id}/mask.json", response_model=MaskOut, responses=_ABOUT_HIT
)
async def get_mask(
    run_id: RunId,
    photo_id: PhotoId,
    server: ServerDep,
    who: Reader,
    side: Annotated[
        int | None,
        Query(ge=16, le=4096, description="Render the mask at most this large; else full size."),
    ] = None,
) -> MaskOut:
    """The mask as COCO run-length code and as polygons."""
    async with server.pictures.one():
        return await server.pictures.compute(lambda: mask_of(server, str(run_id), photo_id, side))


@router.get(
    "/search/{run_id}/hits/{photo_id}/mask.png",
    response_class=Response,
    responses={**_PNG, **_ABOUT_HIT},
)
async def get_mask_png(
    run_id: RunId, photo_id: PhotoId, server: ServerDep, who: Reader
) -> Response:
    """The mask as a black and white PNG of the upright photo's size."""

    def work() -> bytes:
        run, hit = runs.one_hit(server.engine.catalog, str(run_id), photo_id)
        photo = one_photo(server.engine.catalog, photo_id)
        mask = render(server.engine, photo, hit.decision, run.fingerprints)
        return mask_png(mask.array)

    async with server.pictures.one():
        return image_response(await server.pictures.compute(work), "image/png")


@router.get(
    "/search/{run_id}/hits/{photo_id}/overlay.jpg",
    response_class=Response,
    responses={**_JPEG, **_ABOUT_HIT},
)
async def get_overlay(
    run_id: RunId, photo_id: PhotoId, server: ServerDep, who: Reader, side: Side = 1600
) -> Response:
    """The photo with its mask drawn on it."""

    def work() -> bytes:
        run, hit = runs.one_hit(server.engine.catalog, str(run_id), photo_id)
        photo = one_photo(server.engine.catalog, photo_id)
        drawn = overlay(server.engine, photo, hit.decision, run.fingerprints, side)
        return jpeg(drawn)

    async with server.pictures.one():
        return image_response(await server.pictures.compute(work), "image/jpeg")


@router.get(
    "/search/{run_id}/hits/{photo_id}/minimap.png",
    response_class=Response,
    responses={**_PNG, **_ABOUT_HIT},
)
def get_minimap(
    run_id: RunId,
    photo_id: PhotoId,
    server: ServerDep,
    who: Reader,
    side: Annotated[int, Query(ge=16, le=1024)] = 320,
) -> Response:
    """How likely each region of the photo holds a target, as a picture."""
    _, hit = runs.one_hit(server.engine.catalog, str(run_id), photo_id)
    if not hit.decision.minimap.size:  # a verifier's, kept by an older version
        raise UnknownPhoto(
            f"The search kept no minimap of photo {photo_id}; search again.", field="photo_id"
        )
    return image_response(png(draw_minimap(hit.decision.minimap, side)), "image/png")
