"""Photos, their thumbnails and originals, and more like them."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import FileResponse

from search_api.errors import Forbidden, PhotoVanished
from search_api.http.access import check_asked, check_photos, check_run
from search_api.http.cursors import make_cursor, read_cursor
from search_api.http.deps import PrincipalDep, Reader, ServerDep
from search_api.http.downloads import FileDownload
from search_api.http.pictures import image_response
from search_api.http.problems import documented
from search_api.http.schemas import (
    AlbumName,
    Cursor,
    PageSize,
    PhotoOut,
    PhotoPage,
    SimilarOut,
    SimilarPage,
    SimilarRequest,
)
from search_api.search.albums import album_id_of
from search_api.search.photos import checked_file, list_photos, one_photo
from search_api.search.similar import Similar, similar
from search_api.show.images import jpeg
from search_api.show.shown import picture

router = APIRouter(tags=["photos"])
PhotoId = Annotated[int, Path(ge=1, le=2**53)]
ServerPath = Annotated[
    bool, Query(description="Tell where the files lie on the server (admins only).")
]
_ABOUT_PHOTO = documented(401, 403, 404, 410, 422, 429)
# Only formats that a browser shows as a picture are sent as such; nothing is ever sent as HTML.
_MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
    "HEIF": "image/heif",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
}


def _allow_server_path(wanted: bool, who: PrincipalDep) -> None:
    if wanted and "admin" not in who.scopes:
        raise Forbidden("Only a key with the scope admin may ask for server paths.")


@router.get("/photos", response_model=PhotoPage, responses=documented(400, 401, 403, 404, 422))
def get_photos(
    server: ServerDep,
    who: Reader,
    album: Annotated[AlbumName | None, Query()] = None,
    status: Annotated[Literal["new", "indexed", "failed", "missing"] | None, Query()] = None,
    reason: Annotated[
        str | None, Query(max_length=200, description="Words that a failed photo's `error` holds.")
    ] = None,
    cursor: Annotated[Cursor, Query()] = None,
    size: Annotated[PageSize, Query()] = 24,
    server_path: ServerPath = False,
) -> PhotoPage:
    """Photos by id; those whose file vanished only with `status=missing`."""
    _allow_server_path(server_path, who)
    catalog = server.engine.catalog
    found = list_photos(
        catalog,
        album_id=album_id_of(catalog, album) if album is not None else None,
        among=who.albums,
        status=status,
        reason=reason,
        after=read_cursor(cursor, "photos"),
        size=size + 1,
    )
    more = len(found) > size
    return PhotoPage(
        photos=[PhotoOut.of(photo, server_path=server_path) for photo in found[:size]],
        next_cursor=make_cursor("photos", found[size - 1].id) if more else None,
    )


@router.get("/photos/{photo_id}", response_model=PhotoOut, responses=documented(401, 403, 404, 422))
def get_photo(
    photo_id: PhotoId, server: ServerDep, who: Reader, server_path: ServerPath = False
) -> PhotoOut:
    """One photo."""
    _allow_server_path(server_path, who)
    return PhotoOut.of(one_photo(server.engine.catalog, photo_id), server_path=server_path)


@router.get(
    "/photos/{photo_id}/thumbnail",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}},
        **_ABOUT_PHOTO,
    },
)
async def get_thumbnail(
    photo_id: PhotoId,
    server: ServerDep,
    who: Reader,
    size: Annotated[int, Query(ge=16, le=2048, description="Longer side in pixels.")] = 384,
    v: Annotated[
        str | None, Query(max_length=64, description="The photo's `version`: keep it for good.")
    ] = None,
) -> Response:
    """The photo upright and shrunk, as a JPEG without metadata."""

    def work() -> tuple[bytes, bool]:
        photo = one_photo(server.engine.catalog, photo_id)
        here = checked_file(photo).stat()
        key = (here.st_dev, here.st_ino, here.st_mtime_ns, here.st_size, size)
        content = server.thumbnails.get(
            key, lambda: jpeg(picture(server.engine.settings, photo, size))
        )
        indexed = (here.st_mtime_ns, here.st_size) == (photo.mtime_ns, photo.size)
        return content, indexed and v == photo.version

    async with server.pictures.one():
        content, for_good = await server.pictures.compute(work)
    return image_response(content, "image/jpeg", for_good=for_good)


@router.get(
    "/photos/{photo_id}/original",
    response_class=FileResponse,
    responses={
        200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}},
        **_ABOUT_PHOTO,
    },
)
def get_original(photo_id: PhotoId, server: ServerDep, who: Reader) -> FileDownload:
    """The photo's file as it is, metadata included."""
    photo = one_photo(server.engine.catalog, photo_id)
    file = checked_file(photo)
    media_type = _MEDIA_TYPES.get(photo.format or "")
    if media_type is None and photo.format is None:
        raise PhotoVanished(
            f"Photo {photo_id} was never decoded, so its file is not served.", field="photo_id"
        )
    return FileDownload(
        server.downloads,
        file,
        media_type=media_type or "application/octet-stream",
        filename=photo.path.rpartition("/")[2],
        content_disposition_type="inline" if media_type else "attachment",
        headers={"Cache-Control": "private, no-cache"},
    )


@router.post(
    "/similar",
    response_model=SimilarPage,
    responses=documented(400, 401, 403, 404, 409, 413, 422, 429),
)
async def more_like_this(request: SimilarRequest, server: ServerDep, who: Reader) -> SimilarPage:
    """Photos that resemble a photo, or the region of it that a search matched.

    A ranking: nothing is verified, and the photo itself is left out.
    """

    def work() -> list[Similar]:
        catalog = server.engine.catalog
        check_asked(catalog, who, request.album, request.filters)
        check_run(catalog, who, request.run)
        check_photos(catalog, who, [request.photo])
        return similar(
            server.engine,
            photo_id=request.photo,
            run_id=request.run,
            album=request.album,
            among=who.albums,
            filters=request.filters,
            duplicates=request.duplicates,
            size=request.size,
        )

    async with server.searches.one():
        found = await server.searches.compute(work)
    return SimilarPage(
        photos=[
            SimilarOut(
                photo=PhotoOut.of(each.photo),
                similarity=each.similarity,
                same_file=each.same_file,
            )
            for each in found
        ]
    )
