"""Albums to look at without searching: photos in order, under headings."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from search_api.http.deps import Reader, ServerDep
from search_api.http.problems import documented
from search_api.http.schemas import (
    AlbumName,
    CopiesOut,
    Id,
    PhotoOut,
    TimelineGroup,
    TimelineOut,
    TimelinePhotos,
)
from search_api.search.photos import one_photo
from search_api.search.timeline import Order, copies

router = APIRouter(tags=["photos"])
OfAlbum = Annotated[AlbumName | None, Query(description="Every album if left out.")]
InOrder = Annotated[Order, Query(description="Photos without a date come last by time.")]
_PROBLEMS = documented(401, 403, 404, 422, 429)


@router.get("/timeline", response_model=TimelineOut, responses=_PROBLEMS)
async def get_timeline(
    server: ServerDep,
    who: Reader,
    album: OfAlbum = None,
    order: InOrder = "newest",
    photo: Annotated[Id | None, Query(description="Tell the place of this one.")] = None,
) -> TimelineOut:
    """How many photos there are under which heading; the same bytes count once."""

    def work() -> TimelineOut:
        found = server.timelines.of(album, order, among=who.albums)
        return TimelineOut(
            revision=found.revision,
            photos=len(found.photo_ids),
            searchable=found.searchable,
            unreadable=found.unreadable,
            place=found.place(photo) if photo is not None else None,
            groups=[TimelineGroup(key=each.key, photos=each.photos) for each in found.groups],
        )

    async with server.pictures.one():
        return await server.pictures.compute(work)


@router.get("/timeline/photos", response_model=TimelinePhotos, responses=_PROBLEMS)
async def get_timeline_photos(
    server: ServerDep,
    who: Reader,
    album: OfAlbum = None,
    order: InOrder = "newest",
    first: Annotated[int, Query(ge=0, le=2**53, description="Place in the order.")] = 0,
    size: Annotated[int, Query(ge=1, le=200)] = 100,
) -> TimelinePhotos:
    """A stretch of the order, from any place on."""

    def work() -> TimelinePhotos:
        found = server.timelines.of(album, order, among=who.albums)
        photos = found.photos(server.engine.catalog, first, size)
        return TimelinePhotos(
            revision=found.revision, photos=[PhotoOut.of(photo) for photo in photos]
        )

    async with server.pictures.one():
        return await server.pictures.compute(work)


@router.get("/photos/{photo_id}/copies", response_model=CopiesOut, responses=_PROBLEMS)
def get_copies(
    photo_id: Annotated[int, Path(ge=1, le=2**53)], server: ServerDep, who: Reader
) -> CopiesOut:
    """The other places of the same bytes, in every album."""
    catalog = server.engine.catalog
    found = copies(catalog, one_photo(catalog, photo_id), among=who.albums)
    return CopiesOut(photos=[PhotoOut.of(photo) for photo in found])
