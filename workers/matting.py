"""The job that cuts out every match of an expression, a few photos a turn."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from indexer.errors import JobParametersInvalid
from indexer.jobs.failures import failures_of, note_failure
from model.replacing import clear_parts
from search_api.search import pipeline, runs
from search_api.search.engine import Engine
from search_api.search.query import Query
from search_api.show import manifest, matte
from search_api.show.archive import folder_of_job
from search_api.show.chosen import Chosen
from workers.logging import logger
from workers.turn import MORE, WAIT, Outcome, Turn

log = logger(__name__)

STATE = ".run.json"


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
    engine = turn.models.engine(turn.settings, turn.catalog)
    run_id = _run_of(turn, engine, folder)
    if run_id is None:
        return _ended_early(turn)
    run = runs.load(turn.catalog, run_id)
    items = matte.plan(engine, run, options, _chosen(parameters))
    # With --overwrite only what this job itself wrote before a break need not be written again.
    clear_parts(folder)
    before = manifest.read_entries(folder, journal_only=options.overwrite)
    # What failed in an earlier turn of this job is not tried again in each of the next ones.
    told = {one.photo_id for one in failures_of(turn.catalog, turn.job.id, limit=1_000_000)}
    entries: list[manifest.Entry] = []
    failed = 0
    for item in items:
        entry = matte.finished(folder, item, before)
        if entry is None and item.photo.id in told:
            entry = before.get(str(item.file))
        if entry is None:
            if turn.is_over():
                return _ended_early(turn)
            entry = matte.cut_out(engine, run, item, options, folder, before)
            if entry.status != "done":
                _note_failure(turn, entry)
        entries.append(entry)
        failed += entry.status != "done"
        turn.report(done=len(entries) - failed, total=len(items), failed=failed)
    if items:
        manifest.write_manifest(folder, run, asdict(options), entries)
    (folder / STATE).unlink(missing_ok=True)
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


def _run_of(turn: Turn, engine: Engine, folder: Path) -> str | None:
    """The run to cut out; None when the search was told to stop."""
    parameters = turn.job.parameters
    if named := parameters.get("run"):
        return str(named)
    if "query" not in parameters:
        raise JobParametersInvalid("a matte job needs the parameter run or query")
    state = folder / STATE
    try:
        kept = json.loads(state.read_text("utf-8"))
        if kept["job"] == turn.job.id:
            return str(kept["run"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no search of this job has ended yet
    query = Query.model_validate({**parameters["query"], "mode": "exhaustive"})
    events = pipeline.search(engine, query, streaming=False)
    for event in events:
        if isinstance(event, pipeline.Done):
            with manifest.writing(state):
                state.write_text(json.dumps({"job": turn.job.id, "run": event.run_id}), "utf-8")
            return event.run_id
        if isinstance(event, pipeline.Progress):
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
