"""Jobs: start, watch, pause, resume, cancel and retry them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Literal

import anyio
from fastapi import APIRouter, Path, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from indexer.db.catalog import Catalog
from indexer.errors import UnknownJob
from indexer.jobs import jobs
from indexer.jobs.failures import failures_of
from indexer.jobs.jobs import JobView
from search_api.http.access import check_album, whole_library
from search_api.http.cursors import MAX_POSITION, make_cursor, read_cursor
from search_api.http.deps import Reader, ServerDep, Writer
from search_api.http.events import EventResponse, event
from search_api.http.hiding import PathHider
from search_api.http.job_schemas import FailureOut, FailurePage, JobIn, JobOut, JobPage
from search_api.http.problems import documented, documented_events
from search_api.http.schemas import AlbumName, Cursor, PageSize
from search_api.http.state import Server
from search_api.search.albums import album_id_of

router = APIRouter(prefix="/jobs", tags=["jobs"])
JobId = Annotated[int, Path(ge=1, le=2**53)]
Action = Literal["pause", "resume", "cancel", "retry"]
_ACTIONS: dict[Action, Callable[[Catalog, int], JobView]] = {
    "pause": jobs.pause,
    "resume": jobs.resume,
    "cancel": jobs.cancel,
    "retry": jobs.retry,
}


# How often the catalog is asked while somebody watches.
WATCH_S = 0.5
JOB_EVENTS = documented_events(
    "Events `job` while it goes on, `done` at its end; the data is the job.",
    ("job", "done"),
    'event: job\ndata: {"id": 3, "state": "running", "done": 120}\n\n',
)


@router.get("", response_model=JobPage, responses=documented(400, 401, 403, 404, 422))
def get_jobs(
    server: ServerDep,
    who: Reader,
    album: Annotated[AlbumName | None, Query()] = None,
    unfinished: Annotated[bool, Query(description="Only those that have not ended.")] = False,
    cursor: Annotated[Cursor, Query()] = None,
    size: Annotated[PageSize, Query()] = 24,
) -> JobPage:
    """Jobs, newest first."""
    catalog = server.engine.catalog
    found = jobs.list_jobs(
        catalog,
        states=jobs.UNFINISHED if unfinished else None,
        album_id=album_id_of(catalog, album) if album is not None else None,
        among=who.albums,
        before=read_cursor(cursor, "jobs", start=MAX_POSITION),
        limit=size + 1,
    )
    more = len(found) > size
    return JobPage(
        jobs=[JobOut.of(job, server.hide) for job in found[:size]],
        next_cursor=make_cursor("jobs", found[size - 1].id) if more else None,
    )


@router.post(
    "",
    response_model=JobOut,
    status_code=202,
    responses=documented(400, 401, 403, 404, 409, 413, 422),
)
def start_job(job: JobIn, server: ServerDep, who: Writer) -> JobOut:
    """Start a job; the same one that waits or runs already is answered instead."""
    catalog = server.engine.catalog
    check_album(catalog, who, job.album)
    if job.kind in ("compact", "verify"):
        whole_library(who)
    parameters: dict[str, str | bool] = {}
    if job.kind == "index" and job.which == "all":
        parameters["which"] = "all"
    if job.kind == "index" and job.confirm_deletions:
        parameters["confirm_deletions"] = True
    if job.kind == "reindex" and job.accept_fewer:
        parameters["accept_fewer"] = True
    if job.kind in ("index", "reindex") and job.model is not None:
        parameters["model"] = job.model
    started = jobs.create(
        catalog,
        job.kind,
        album_id=album_id_of(catalog, job.album),
        parameters=parameters,
        width=server.engine.settings.job_width,
    )
    server.wake()
    return JobOut.of(started, server.hide)


@router.get("/{job_id}", response_model=JobOut, responses=documented(401, 403, 404, 422))
def get_job(job_id: JobId, server: ServerDep, who: Reader) -> JobOut:
    """One job and its progress."""
    return JobOut.of(jobs.get(server.engine.catalog, job_id), server.hide)


@router.get(
    "/{job_id}/events",
    response_class=StreamingResponse,
    responses={200: JOB_EVENTS, **documented(401, 403, 404, 422)},
)
def watch_job(job_id: JobId, server: ServerDep, who: Reader) -> EventResponse:
    """A job's progress as server-sent events, one whenever something changed, until it ends.

    The stream of a job that does not end is cut now and then; a browser reconnects by itself.
    """
    first = jobs.get(server.engine.catalog, job_id)
    return EventResponse(_changes(server, first))


def _inside(hide: PathHider, path: str | None) -> str | None:
    """A failure's file without its folder on the server."""
    return None if path is None else hide(path).removeprefix("…/")


async def _changes(server: Server, job: JobView) -> AsyncIterator[str]:
    until = time.monotonic() + server.limits.job_stream_s
    shown: JobView | None = None
    while True:
        if job != shown:
            name = "done" if job.finished else "job"
            yield event(name, JobOut.of(job, server.hide).model_dump_json())
            shown = job
        if job.finished or time.monotonic() >= until or server.stopping.is_set():
            return
        await anyio.sleep(min(WATCH_S, max(0.0, until - time.monotonic())))
        try:
            job = await run_in_threadpool(jobs.get, server.engine.catalog, job.id)
        except UnknownJob:
            return  # its album was deleted


@router.get(
    "/{job_id}/failures", response_model=FailurePage, responses=documented(400, 401, 403, 404, 422)
)
def get_failures(
    job_id: JobId,
    server: ServerDep,
    who: Reader,
    cursor: Annotated[Cursor, Query()] = None,
    size: Annotated[PageSize, Query()] = 24,
) -> FailurePage:
    """The photos that a job could not handle, and why."""
    catalog = server.engine.catalog
    jobs.get(catalog, job_id)
    listing = f"failures-{job_id}"
    found = failures_of(catalog, job_id, after=read_cursor(cursor, listing), limit=size + 1)
    more = len(found) > size
    return FailurePage(
        failures=[
            FailureOut(
                photo=f.photo_id,
                path=_inside(server.hide, f.path),
                reason=server.hide(f.reason),
                attempts=f.attempts,
            )
            for f in found[:size]
        ],
        next_cursor=make_cursor(listing, found[size - 1].id) if more else None,
    )


@router.post(
    "/{job_id}/{action}",
    response_model=JobOut,
    responses=documented(400, 401, 403, 404, 409, 422),
)
def act_on_job(job_id: JobId, action: Action, server: ServerDep, who: Writer) -> JobOut:
    """Pause, resume, cancel or retry a job."""
    changed = _ACTIONS[action](server.engine.catalog, job_id)
    server.wake()
    return JobOut.of(changed, server.hide)
