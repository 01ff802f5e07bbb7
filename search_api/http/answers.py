"""Answers of the API about searches: plain functions over the pipeline, for routes to call."""

from __future__ import annotations

from collections.abc import Sequence

from search_api.http.cursors import make_cursor, read_cursor
from search_api.http.schemas import HitOut, HitPage, MaskOut, RunOut, SearchRequest
from search_api.http.state import Server
from search_api.search import runs
from search_api.search.coverage import Stopwatch
from search_api.search.decisions import Decision
from search_api.search.photos import one_photo
from search_api.search.pipeline import collect
from search_api.search.query import NOBODY, Asker, Query
from search_api.search.runs import Run
from search_api.show.shown import polygons, render, show


def answer(server: Server, request: SearchRequest, asker: Asker = NOBODY) -> HitPage:
    """Search to the end and show the first page.

    Raises:
        Stopping: the process was told to end; the run is kept as stopped.
    """
    server.check_running()
    query = query_of(request)
    done = collect(
        server.engine,
        query,
        asker=asker,
        time_limit_s=server.limits.search_time_s,
        stopping=server.stopping.is_set,
        helpers=server.helpers,
    )
    server.ended(query.mode, done)
    run = done.run
    if run.state == "stopped":
        server.check_running()  # half an answer would pass for a whole one
    watch = Stopwatch()
    with watch.stage("render"):
        hits = hits_out(server, run, done.matched[: request.size], 0)
        rejected = hits_out(server, run, done.rejected, len(done.matched))
    shown = RunOut.of(run)
    shown.timings_ms["render"] = watch.as_json()["render"]
    more = len(done.matched) > request.size
    cursor = make_cursor(f"{run.id}:hits:confidence", request.size - 1) if more else None
    return HitPage(run=shown, hits=hits, rejected=rejected, next_cursor=cursor)


def query_of(request: SearchRequest) -> Query:
    """The pipeline's query out of a request."""
    return Query.model_validate(request.model_dump(exclude={"size"}))


def page_of(
    server: Server,
    run_id: str,
    *,
    cursor: str | None,
    size: int,
    rejected: bool,
    order: runs.Order = "confidence",
) -> HitPage:
    """A page of a run's hits, with boxes."""
    listing = f"{run_id}:{'rejected' if rejected else 'hits'}:{order}"
    after = read_cursor(cursor, listing, start=-1)
    run, page = runs.page(
        server.engine.catalog,
        run_id,
        after=after,
        size=size,
        accepted=not rejected,
        order=order,
    )
    last = page.hits[-1].rank if page.more and order == "confidence" else after + size
    ranks = {hit.decision.photo_id: hit.rank for hit in page.hits}
    hits = hits_out(server, run, [hit.decision for hit in page.hits], 0)
    for hit in hits:
        hit.rank = ranks[hit.photo.id]
    return HitPage(
        run=RunOut.of(run),
        hits=hits,
        next_cursor=make_cursor(listing, last) if page.more else None,
    )


def hits_out(
    server: Server, run: Run, decisions: Sequence[Decision], first_rank: int
) -> list[HitOut]:
    """Decisions of a run, ready for the API."""
    shown = show(server.engine, decisions, run.fingerprints, first_rank=first_rank)
    return [HitOut.of(hit) for hit in shown]


def mask_of(server: Server, run_id: str, photo_id: int, side: int | None) -> MaskOut:
    """The mask of one hit in COCO's forms.

    Raises:
        UnknownRun, UnknownPhoto, NotIndexed.
    """
    run, hit = runs.one_hit(server.engine.catalog, run_id, photo_id)
    photo = one_photo(server.engine.catalog, photo_id)
    whole = render(server.engine, photo, hit.decision, run.fingerprints)
    mask = whole.within(side)
    return MaskOut(
        width=mask.width,
        height=mask.height,
        photo_width=whole.width,
        photo_height=whole.height,
        box=whole.box,
        area=whole.area,
        rle=mask.rle,
        polygons=polygons(mask, max(whole.width, whole.height) / max(mask.width, mask.height)),
    )
