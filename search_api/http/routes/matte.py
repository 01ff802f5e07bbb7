"""Cut out a run's matches: start the job, and take its zip away."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Path
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from indexer.jobs import jobs
from search_api.errors import StillRunning
from search_api.http.access import check_run
from search_api.http.deps import Reader, ServerDep, Writer
from search_api.http.downloads import Download
from search_api.http.job_schemas import JobOut
from search_api.http.problems import documented
from search_api.http.schemas import Id
from search_api.show.archive import kept_cut_outs, zip_of
from search_api.show.exports import ended_run
from search_api.show.matte import Options

router = APIRouter(tags=["matte"])
SELECTED_MAX = 10_000


# What the document promises is what is taken: a few names, any #rrggbb, or a blurred photo.
BACKGROUNDS = (
    "^(blur|#[0-9a-fA-F]{6}|white|black|grey|gray|red|orange|yellow|green|blue|purple|pink|brown)$"
)


class MatteIn(BaseModel):
    """Which matches to cut out, and how."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"run": "0d0e1f9a-5c5b-4f57-9d0e-6a3f6c7d8e9f"}]},
    )
    run: UUID = Field(description="An ended search run.")
    photos: Annotated[list[Id], Field(min_length=1, max_length=SELECTED_MAX)] | None = Field(
        default=None,
        description="A selection of its matches; if left out, every match but those marked wrong.",
    )
    least: float | None = Field(
        default=None, ge=0, le=1, description="Only matches from this confidence on."
    )
    wrong: bool = Field(default=False, description="Matches too that were marked as wrong.")
    format: Literal["png", "webp"] = "png"
    background: Annotated[str, Field(pattern=BACKGROUNDS)] | None = Field(
        default=None,
        description="A colour (`white`, `#ff8000`) or `blur`; transparent if left out.",
        examples=["white"],
    )
    crop: bool = Field(default=False, description="Only the box of the match.")
    mask_only: bool = Field(default=False, description="Only alpha, as a grey PNG.")


@router.post(
    "/matte",
    response_model=JobOut,
    status_code=202,
    responses=documented(400, 401, 403, 404, 409, 413, 422),
)
def start_matte(request: MatteIn, server: ServerDep, who: Writer) -> JobOut:
    """Start the job that cuts the matches out; ask /jobs/{id} how far it is."""
    check_run(server.engine.catalog, who, request.run)
    run = ended_run(server.engine, str(request.run))
    options = Options(
        request.format,
        request.background,
        crop=request.crop,
        mask_only=request.mask_only,
    )
    parameters: dict[str, Any] = {
        "run": run.id,
        "expression": run.expression,
        "options": asdict(options),
    }
    if request.photos is not None:
        parameters["photos"] = sorted(set(request.photos))
    if request.least is not None:
        parameters["least"] = request.least
    if request.wrong:
        parameters["wrong"] = True
    job = jobs.create(server.engine.catalog, "matte", album_id=run.album_id, parameters=parameters)
    server.wake()
    return JobOut.of(job, server.hide)


@router.get(
    "/jobs/{job_id}/cutouts.zip",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}},
        **documented(401, 403, 404, 409, 422),
    },
)
def get_cutouts(
    job_id: Annotated[int, Path(ge=1, le=2**53)], server: ServerDep, who: Reader
) -> Download:
    """The cut-outs of a job that has ended, with their manifest, as a zip."""
    job = jobs.get(server.engine.catalog, job_id)
    if job.kind == "matte" and not job.finished:
        raise StillRunning("The job still cuts out; take the zip when it has ended.")
    folder = kept_cut_outs(server.engine.catalog, server.engine.settings, job)
    stream = zip_of(folder)
    return Download(
        server.downloads,
        lambda: iter(stream),
        name=f"cutouts-{job_id}.zip",
        media_type="application/zip",
        length=len(stream),
    )
