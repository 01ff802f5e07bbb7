"""A search run for other programs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask
from zipstream import ZIP_DEFLATED, ZipStream

from search_api.http.deps import Reader, ServerDep
from search_api.http.pictures import image_response
from search_api.http.problems import documented
from search_api.http.schemas import AlbumName
from search_api.search.albums import album_id_of
from search_api.search.engine import Engine
from search_api.show import exports
from search_api.show.exports import Exported, ended_run
from search_api.show.images import jpeg
from search_api.show.marked import training_pairs

router = APIRouter(tags=["exports"])
RunId = Annotated[UUID, Path(description="An ended search run's id.")]
_ABOUT_RUN = documented(401, 403, 404, 409, 422, 429)


def _as(media_type: str, kind: str = "string", **more: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {media_type: {"schema": {"type": kind, **more}}}}, **_ABOUT_RUN}


def _file(name: str) -> dict[str, str]:
    return {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "private, no-cache",
    }


@router.get(
    "/search/{run_id}/coco.json",
    response_class=StreamingResponse,
    responses=_as("application/json", "object"),
)
def get_coco(run_id: RunId, server: ServerDep, who: Reader) -> StreamingResponse:
    """The matches as COCO's instances file; masks are those of mask.json."""
    run = ended_run(server.engine, str(run_id))
    pieces = exports.coco_json(server.engine, run)
    return StreamingResponse(pieces, media_type="application/json", headers=_file("coco.json"))


@router.get(
    "/search/{run_id}/hits.csv", response_class=StreamingResponse, responses=_as("text/csv")
)
def get_csv(run_id: RunId, server: ServerDep, who: Reader) -> StreamingResponse:
    """The matches as CSV: photo, confidence, box, area."""
    run = ended_run(server.engine, str(run_id))
    lines = exports.csv_lines(server.engine, run)
    return StreamingResponse(lines, media_type="text/csv", headers=_file("hits.csv"))


@router.get(
    "/search/{run_id}/sheet.jpg",
    response_class=Response,
    responses=_as("image/jpeg", format="binary"),
)
async def get_sheet(run_id: RunId, server: ServerDep, who: Reader) -> Response:
    """The best matches with their masks drawn, on one picture."""

    def work() -> bytes:
        return jpeg(exports.sheet(server.engine, ended_run(server.engine, str(run_id))))

    async with server.pictures.one():
        return image_response(await server.pictures.compute(work), "image/jpeg")


@router.get(
    "/search/{run_id}/grefcoco.zip",
    response_class=StreamingResponse,
    responses=_as("application/zip", format="binary"),
)
def get_grefcoco(run_id: RunId, server: ServerDep, who: Reader) -> StreamingResponse:
    """The matches in gRefCOCO's form: grefs(unc).json and instances.json."""
    run = ended_run(server.engine, str(run_id))
    pairs = ((run.expression, each) for each in exports.exported(server.engine, run))
    return _grefcoco(server.engine, pairs, "grefcoco.zip")


@router.get(
    "/marks/grefcoco.zip",
    response_class=StreamingResponse,
    responses=_as("application/zip", format="binary"),
)
def get_marked(
    album: Annotated[AlbumName, Query()], server: ServerDep, who: Reader
) -> StreamingResponse:
    """An album's verdicts in gRefCOCO's form: right ones with masks, wrong ones as no-target."""
    album_id = album_id_of(server.engine.catalog, album)
    pairs = training_pairs(server.engine, album_id)
    return _grefcoco(server.engine, pairs, "marks.zip")


def _grefcoco(
    engine: Engine, pairs: Iterator[tuple[str, Exported]], name: str
) -> StreamingResponse:
    folder = FilePath(tempfile.mkdtemp(prefix="referent-export-"))
    try:
        exports.grefcoco(engine, pairs, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    stream = ZipStream(compress_type=ZIP_DEFLATED)
    for file in sorted(folder.iterdir()):
        stream.add_path(str(file), arcname=file.name)
    return StreamingResponse(
        iter(stream),
        media_type="application/zip",
        headers=_file(name),
        background=BackgroundTask(shutil.rmtree, folder, ignore_errors=True),
    )
