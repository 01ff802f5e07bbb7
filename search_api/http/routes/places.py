"""Where photos were taken, for a map."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from search_api.errors import BadQuery
from search_api.http.deps import Reader, ServerDep
from search_api.http.problems import documented
from search_api.http.schemas import AlbumName, MapTiles, PlacesOut
from search_api.search.filters import GpsBox, Latitude, Longitude

router = APIRouter(tags=["photos"])


@router.get("/places", response_model=PlacesOut, responses=documented(401, 403, 404, 422, 429))
async def get_places(
    server: ServerDep,
    who: Reader,
    album: Annotated[AlbumName | None, Query(description="Every album if left out.")] = None,
    west: Annotated[Longitude, Query(description="Greater than east: over the date line.")] = -180,
    south: Annotated[Latitude, Query()] = -90,
    east: Annotated[Longitude, Query()] = 180,
    north: Annotated[Latitude, Query()] = 90,
    cells: Annotated[
        int, Query(ge=1, le=64, description="Squares of the grid along the longer side.")
    ] = 16,
) -> PlacesOut:
    """Clusters of the photos that were taken within a box; the same bytes count once."""
    if north < south:
        raise BadQuery(f"must not lie south of the southern border, {south:g}", field="north")
    box = GpsBox(west=west, south=south, east=east, north=north)

    def work() -> PlacesOut:
        found = PlacesOut.of(server.places.within(album, box, cells, among=who.albums))
        limits = server.limits
        if limits.map_tiles:
            found.tiles = MapTiles(url=limits.map_tiles, attribution=limits.map_attribution)
        return found

    async with server.pictures.one():
        return await server.pictures.compute(work)
