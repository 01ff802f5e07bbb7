"""A search run for other programs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from zipstream import ZIP_DEFLATED, ZipStream

from search_api.http.deps import Reader, ServerDep
from search_api.http.downloads import Download
from search_api.http.pictures import image_response
from search_api.http.problems import documented
from search_api.http.schemas import AlbumName, Id
from search_api.http.state import Server
from search_api.search.albums import album_id_of
from search_api.show import exports, take_away
from search_api.show.chosen import Chosen
from search_api.show.exports import Exported, ended_run
from search_api.show.file_names import Address
from search_api.show.images import jpeg
from search_api.show.marked import training_pairs

router = APIRouter(tags=["exports"])
RunId = Annotated[UUID, Path(description="An ended search run's id.")]


def _chosen(
    least: Annotated[
        float | None, Query(ge=0, le=1, description="Only matches from this confidence on.")
    ] = None,
    photo: Annotated[
        list[Id] | None, Query(max_length=1000, description="Only these photos; give it again.")
    ] = None,
    wrong: Annotated[bool, Query(description="Matches too that were marked as wrong.")] = False,
) -> Chosen:
    """The matches that are meant: by default all but those marked as wrong."""
    return Chosen(least, None if photo is None else frozenset(photo), wrong)


ChosenDep = Annotated[Chosen, Depends(_chosen)]
_ABOUT_RUN = documented(401, 403, 404, 409, 422, 429)


def _as(media_type: str, kind: str = "string", **more: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {media_type: {"schema": {"type": kind, **more}}}}, **_ABOUT_RUN}


def _original(request: Request) -> Address:
    """Where a client finds a photo's file."""
    base = str(request.base_url)
    return lambda photo: f"{base}v1/photos/{photo.id}/original"


@router.get(
    "/search/{run_id}/coco.json",
    response_class=StreamingResponse,
    responses=_as("application/json", "object"),
)
def get_coco(
    run_id: RunId, chosen: ChosenDep, request: Request, server: ServerDep, who: Reader
) -> Download:
    """The matches as COCO's instances file; masks are those of mask.json."""
    run = ended_run(server.engine, str(run_id))
    return Download(
        server.downloads,
        lambda: exports.coco_json(server.engine, run, chosen, address=_original(request)),
        name="coco.json",
        media_type="application/json",
    )


@router.get(
    "/search/{run_id}/hits.csv", response_class=StreamingResponse, responses=_as("text/csv")
)
def get_csv(run_id: RunId, chosen: ChosenDep, server: ServerDep, who: Reader) -> Download:
    """The matches as CSV: photo, confidence, box, area.

    A text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    run = ended_run(server.engine, str(run_id))
    return Download(
        server.downloads,
        lambda: exports.csv_lines(server.engine, run, chosen),
        name="hits.csv",
        media_type="text/csv",
    )


@router.get(
    "/search/{run_id}/sheet.jpg",
    response_class=Response,
    responses=_as("image/jpeg", format="binary"),
)
async def get_sheet(run_id: RunId, chosen: ChosenDep, server: ServerDep, who: Reader) -> Response:
    """The best matches with their masks drawn, on one picture."""

    def work() -> bytes:
        return jpeg(exports.sheet(server.engine, ended_run(server.engine, str(run_id)), chosen))

    async with server.pictures.one():
        return image_response(await server.pictures.compute(work), "image/jpeg")


@router.get(
    "/search/{run_id}/grefcoco.zip",
    response_class=StreamingResponse,
    responses=_as("application/zip", format="binary"),
)
def get_grefcoco(
    run_id: RunId, chosen: ChosenDep, request: Request, server: ServerDep, who: Reader
) -> Download:
    """The matches in gRefCOCO's form: grefs(unc).json and instances.json."""
    run = ended_run(server.engine, str(run_id))

    def pairs() -> Iterator[tuple[str, Exported]]:
        return ((run.expression, each) for each in exports.exported(server.engine, run, chosen))

    return _grefcoco(server, pairs, "grefcoco.zip", _original(request))


@router.get(
    "/search/{run_id}/take-away.zip",
    response_class=StreamingResponse,
    responses=_as("application/zip", format="binary"),
)
def get_take_away(
    run_id: RunId,
    chosen: ChosenDep,
    server: ServerDep,
    who: Reader,
    kind: Annotated[
        take_away.Kind,
        Query(
            description="`originals`: the files as they are; `sidecars`: XMP that tags each with "
            "the expression; `gallery`: pages that open without a server."
        ),
    ],
) -> Download:
    """The matches to take away; what cannot be read is named in left-out.txt."""
    run = ended_run(server.engine, str(run_id))
    return Download(
        server.downloads,
        lambda: take_away.zip_pieces(take_away.files(server.engine, run, kind, chosen)),
        name=f"{kind}.zip",
        media_type="application/zip",
    )


@router.get(
    "/marks/grefcoco.zip",
    response_class=StreamingResponse,
    responses=_as("application/zip", format="binary"),
)
def get_marked(
    album: Annotated[AlbumName, Query()], request: Request, server: ServerDep, who: Reader
) -> Download:
    """An album's verdicts in gRefCOCO's form: right ones with masks, wrong ones as no-target."""
    album_id = album_id_of(server.engine.catalog, album)
    return _grefcoco(
        server,
        lambda: training_pairs(server.engine, album_id),
        "marks.zip",
        _original(request),
    )


def _grefcoco(
    server: Server,
    pairs: Callable[[], Iterator[tuple[str, Exported]]],
    name: str,
    address: Address,
) -> Download:
    def pieces() -> Iterator[bytes]:
        with tempfile.TemporaryDirectory(prefix="referent-export-") as made:
            folder = FilePath(made)
            exports.grefcoco(server.engine, pairs(), folder, address=address)
            stream = ZipStream(compress_type=ZIP_DEFLATED)
            for file in sorted(folder.iterdir()):
                stream.add_path(str(file), arcname=file.name)
            yield from stream

    return Download(server.downloads, pieces, name=name, media_type="application/zip")
