"""One search: filters, prefilter, verification in batches, decision, ranking.

`search` yields events while it works; `collect` runs it to its end. Nothing here knows HTTP.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence

from search_api.errors import BadQuery, UnknownRun
from search_api.search import booleans, planning, runs, verifier
from search_api.search.coverage import Coverage, Stopwatch
from search_api.search.deciding import least_expected, threshold_of
from search_api.search.engine import Engine, View
from search_api.search.events import Done, Event, Found, Progress, Started
from search_api.search.fingerprints import of_views
from search_api.search.judging import Asked, Helpers, Judged, state_of
from search_api.search.notes import of_albums as notes_of
from search_api.search.planning import Share
from search_api.search.query import NOBODY, Asker, Query
from search_api.search.tally import Tally
from search_api.search.twins import Twins
from search_api.search.verifier import Verification


def _never() -> bool:
    return False


def collect(
    engine: Engine,
    query: Query,
    *,
    asker: Asker = NOBODY,
    time_limit_s: float | None = None,
    stopping: Callable[[], bool] = _never,
    helpers: Helpers | None = None,
) -> Done:
    """Run a search to its end.

    Raises:
        SearchError, IndexerError, ModelError: see `search`.
    """
    for event in search(
        engine,
        query,
        asker=asker,
        time_limit_s=time_limit_s,
        stopping=stopping,
        streaming=False,
        helpers=helpers,
    ):
        if isinstance(event, Done):
            return event
    raise AssertionError("a search ends with Done")


def search(
    engine: Engine,
    query: Query,
    *,
    asker: Asker = NOBODY,
    time_limit_s: float | None = None,
    stopping: Callable[[], bool] = _never,
    streaming: bool = True,
    helpers: Helpers | None = None,
) -> Generator[Event]:
    """Search, yielding Started, then Progress and Found as photos are verified, then Done.

    Closing the iterator early ends the run as stopped, with what was verified until then.

    Args:
        asker: whose search it is: over which albums, and in whose history.
        time_limit_s: stop after this long with what was verified, one batch at least.
        stopping: asked before each batch; the search is stopped once the process shall end.
        streaming: keep hits in the catalog as they are found, so that their masks can be asked
            for before the end; False writes them once, at the end.
        helpers: share the judging of many photos; the answer is the same to the last bit.
    Raises:
        UnknownAlbum: no album has this name.
        UnknownRun: the run was removed while it ran.
        NotIndexed: no photo of the albums has features of this model.
        ModelError: the features or the expression cannot be used.
    """
    watch = Stopwatch()
    question = booleans.read(query.expression)
    if query.verifier is not None and not isinstance(question, booleans.Part):
        raise BadQuery(
            "A verifier reads one plain expression; leave AND, OR, NOT and “no ...” out.",
            field="verifier",
        )
    with watch.stage("open"):
        views = engine.views(query.album, asker.albums)
        notes = notes_of(views, query, question)
    with watch.stage("text"):
        words = [
            tuple(engine.models.words(view.predictor, part) for part in booleans.parts(question))
            for view in views
        ]
    verification = None
    if query.verifier is not None:
        with watch.stage("verifier"):
            verification = verifier.begin(
                engine.verifiers,
                engine.settings,
                query.verifier,
                query.expression,
                query.threshold,
                catalog=engine.catalog,
                albums=[view.album_id for view in views],
            )
    if query.seconds is not None:
        time_limit_s = min(query.seconds, time_limit_s or query.seconds)
    with watch.stage("filter"):
        subsets = [engine.subset(view, query.filters) for view in views]
    with watch.stage("prefilter"):
        plans = planning.plan(views, subsets, words, query, question)
    planned = Coverage(
        total=sum(view.total for view in views),
        filtered=sum(plan.filtered for plan in plans),
        prefiltered=sum(len(plan.rows) for plan in plans),
    )
    threshold = min(threshold_of(view, query) for view in views)
    fingerprints = of_views(views)
    revisions = {v.calibration.revision for v in views}
    if verification is not None:
        threshold = verification.threshold
        fingerprints = {**fingerprints, "verifier": verification.verifier.fingerprint}
        revisions = {each.revision for each in verification.calibrations}
    with watch.stage("keep"):
        run_id = runs.begin(
            engine.catalog,
            query,
            asker,
            album_id=views[0].album_id if query.album is not None else None,
            fingerprints=fingerprints,
            calibration_revision=",".join(sorted(revisions)),
            threshold=threshold,
            index_version_id=views[0].index_version_id if len(views) == 1 else None,
            coverage=planned,
        )
    twins = Twins(engine.catalog, views, subsets, _judges(views, verification))
    tally = Tally(
        engine,
        query,
        question,
        run_id,
        planned,
        plans,
        watch,
        notes,
        twins,
        verification,
        least_expected(views, query, question, planned.filtered),
    )
    batch, later = planning.BATCH, planning.LATER_BATCHES
    if verification is not None:
        batch, later = verifier.BATCH, 1
    if verification is not None or planned.prefiltered < planning.SHARED_FROM:
        helpers = None
    asked = Asked(run_id, query, {view.album_id: state_of(view) for view in views})
    judged = _judged(tally, planning.interleaved(plans, batch, later), asked, helpers)
    try:
        yield Started(run_id, planned, threshold, notes)
        for number in itertools.count():
            if stopping():
                tally.stop(
                    "server",
                    f"The search was stopped with its server; it verified {tally.verified:,} of "
                    f"{planned.prefiltered:,} photos.",
                    verified=tally.verified,
                    of=planned.prefiltered,
                )
                break
            if number and time_limit_s is not None and watch.elapsed_s > time_limit_s:
                tally.stop(
                    "time",
                    f"The search was stopped after {time_limit_s:g} s; it verified "
                    f"{tally.verified:,} of {planned.prefiltered:,} photos.",
                    seconds=time_limit_s,
                    verified=tally.verified,
                    of=planned.prefiltered,
                )
                break
            if (some := next(judged, None)) is None:
                break
            found = tally.take(some, keep=streaming)
            yield from (Found(run_id, decision) for decision in found)
            yield Progress(run_id, tally.coverage)
        yield tally.finish("stopped" if tally.stopped else "done")
    except GeneratorExit:
        if not tally.finished:
            tally.stop("client", "The search was stopped by its client.")
            with contextlib.suppress(UnknownRun):  # removed as well
                tally.finish("stopped")
        raise
    except BaseException:
        if not tally.finished:
            tally.stop("fault", "The search failed before its end.")
            with contextlib.suppress(UnknownRun):
                tally.finish("stopped")
        raise
    finally:
        judged.close()


def _judged(
    tally: Tally, batches: Iterator[list[Share]], asked: Asked, helpers: Helpers | None
) -> Generator[Judged]:
    """Every batch once: by this process in their order, or together with others in any."""
    if helpers is not None:
        first = itertools.islice(batches, planning.HEAD_BATCHES)  # the best, so that hits come
        yield from map(tally.judge, first)
        yield from helpers.judged(asked, batches, tally.judge)
    else:
        yield from map(tally.judge, batches)


def _judges(views: Sequence[View], verification: Verification | None) -> dict[int, object]:
    """Of each album, what decides about its photos: equal where two decide alike."""
    if verification is not None:
        return {v.album_id: verification.albums[v.album_id].revision for v in views}
    return {v.album_id: (v.predictor.fingerprints, v.calibration.revision) for v in views}
