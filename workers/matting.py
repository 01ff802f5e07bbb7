"""The job that cuts out every match of an expression, a few photos a turn."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from indexer.errors import JobParametersInvalid
from indexer.jobs import slots
from indexer.jobs.failures import note_failure
from model.replacing import clear_parts
from search_api.search import pipeline, runs
from search_api.search.engine import Engine
from search_api.search.events import Done, Progress
from search_api.search.query import Query
from search_api.show import manifest, matte
from search_api.show.archive import folder_of_job
from search_api.show.chosen import Chosen
from workers.logging import logger
from workers.turn import MORE, WAIT, Outcome, Turn

log = logger(__name__)


def cut_out_matches(turn: Turn) -> Outcome:
    """Cut out the matches of a run, or of an exhaustive search that the job makes first.

    Parameters of the job: ``run`` (an ended search run) or ``query`` (as `query.Query`), which of
    its matches (``photos``, ``least``, ``wrong``, as `chosen.Chosen`), ``options`` (as
    `matte.Options`), ``out`` (a folder of this machine, by default the job's own below the exports
    folder).
    """
    parameters = turn.job.parameters
    folder = folder_of_job(turn.catalog, turn.settings, turn.job)
    options = matte.Options(**parameters.get("options", {}))
    options.look()  # a background that cannot be used ends the job before its work
    if turn.job.expression and not options.overwrite:
        matte.refuse_other_expression(folder, turn.job.expression)
    engine = turn.held.engine(turn.catalog)
    so_far = _so_far(turn, engine, folder)
    if so_far is None or so_far.run is None:
        return _ended_early(turn)
    run = runs.load(turn.catalog, so_far.run)
    items = matte.plan(engine, run, options, _chosen(parameters))
    clear_parts(folder)
    # With --overwrite only what this job itself wrote before a break need not be written again.
    before = so_far.entries if options.overwrite else manifest.read_entries(folder)
    entries: list[manifest.Entry] = []
    failed, tried = 0, False
    for item in items:
        entry = matte.finished(folder, item, before)
        if entry is None:  # what failed in an earlier turn of this job is not tried in each again
            own = so_far.entries.get(str(item.file))
            entry = own if own is not None and own.status in ("failed", "skipped") else None
        if entry is None:
            # One in each turn, however long it took to come here.
            if turn.should_stop() or (tried and turn.is_over()):
                return _ended_early(turn)
            tried = True
            entry = matte.cut_out(engine, run, item, options, folder, before)
            if entry.status != "done":
                _note_failure(turn, entry)
        entries.append(entry)
        failed += entry.status != "done"
        turn.report(done=len(entries) - failed, total=len(items), failed=failed)
    if items:
        manifest.write_manifest(folder, run, asdict(options), entries)
    else:
        manifest.forget(folder)
    return Outcome("done", _result(run, folder, entries))


def _chosen(parameters: dict[str, Any]) -> Chosen:
    photos = parameters.get("photos")
    return Chosen(
        least=parameters.get("least"),
        photos=None if photos is None else frozenset(photos),
        wrong=bool(parameters.get("wrong", False)),
    )


def _note_failure(turn: Turn, entry: manifest.Entry) -> None:
    """Write what was not cut out into the job's report and the log."""
    with turn.catalog.session() as session:
        note_failure(session, turn.job.id, entry.photo, f"{entry.status}: {entry.reason}")
    log.warning(
        "photo not cut out",
        photo_id=entry.photo,
        path=entry.path,
        status=entry.status,
        reason=entry.reason,
    )


def _so_far(turn: Turn, engine: Engine, folder: Path) -> manifest.SoFar | None:
    """What this job has done, its run at least; None when its search was told to stop."""
    so_far, again = manifest.of_job(folder, turn.job.id), turn.job.phase == "retry"
    if so_far.run is None or again:
        run = so_far.run or _run_of(turn, engine)
        if run is None:
            return None
        so_far = manifest.begin(folder, turn.job.id, run)
    if again:
        slots.enter_phase(turn.catalog, turn.place, "cut")
    return so_far


def _run_of(turn: Turn, engine: Engine) -> str | None:
    """The run to cut out; None when the search was told to stop."""
    parameters = turn.job.parameters
    if named := parameters.get("run"):
        return str(named)
    if "query" not in parameters:
        raise JobParametersInvalid("a matte job needs the parameter run or query")
    query = Query.model_validate({**parameters["query"], "mode": "exhaustive"})
    events = pipeline.search(engine, query, streaming=False)
    for event in events:
        if isinstance(event, Done):
            return event.run_id
        if isinstance(event, Progress):
            at = event.coverage
            turn.report(message=f"verified {at.verified:,} of {at.prefiltered:,} photos")
        if turn.should_stop():
            events.close()
            return None
    raise AssertionError("a search ends with Done")


def _result(run: runs.Run, folder: Path, entries: list[manifest.Entry]) -> dict[str, Any]:
    return {
        "run": run.id,
        "folder": folder.name,
        "sentence": run.coverage.sentence(),
        "notes": [note.text for note in run.notes],
        "matched": run.coverage.matched,
        "written": sum(entry.status == "done" for entry in entries),
        "failed": sum(entry.status == "failed" for entry in entries),
        "skipped": sum(entry.status == "skipped" for entry in entries),
    }


def _ended_early(turn: Turn) -> Outcome:
    """Another turn should follow unless the job is paused, cancelled or somebody else's."""
    return MORE if turn.pulse.stop_reason is None else WAIT
