"""`referent jobs`: see, start, pause, resume, cancel and retry long jobs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from referent.loading import loading
from referent.terminal import duration, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from indexer.db.catalog import Catalog
    from indexer.jobs.jobs import JobView

app = typer.Typer(
    help="Long jobs: see them, start, pause, resume, cancel and retry them.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Number = Annotated[int, typer.Argument(help="The job's number.")]


def _open() -> Catalog:
    with loading():
        from indexer.db.catalog import Catalog
        from indexer.settings import Settings

    return Catalog.open(Settings())


@app.command("list", epilog="Example: `referent jobs list --all`")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Finished jobs too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    as_json: Json = False,
) -> None:
    """Jobs, newest first."""
    with loading():
        from indexer.jobs import jobs

    with _open() as catalog:
        found = jobs.list_jobs(catalog, states=None if everything else jobs.UNFINISHED, limit=limit)
    if as_json:
        typer.echo(json.dumps([job.as_json() for job in found]))
        return
    if not found:
        say("no job is waiting or running" if not everything else "no jobs yet")
    for job in found:
        say(line_of(job))


@app.command(epilog="Example: `referent jobs show 3 --watch`")
def show(
    job_id: Number,
    watch: Annotated[bool, typer.Option("--watch", help="Until it ends.")] = False,
    failures: Annotated[int, typer.Option(min=0, help="List at most so many failures.")] = 20,
    as_json: Json = False,
) -> None:
    """One job, with the photos that it could not handle. Exit status 1 if it failed."""
    from indexer.jobs import jobs
    from indexer.jobs.failures import failures_of
    from referent.progress import ProgressLine

    with _open() as catalog:
        job = jobs.get(catalog, job_id)
        with ProgressLine(f"job {job_id}", quiet=as_json or not watch) as line:
            while watch and not job.finished:
                line.job(job)
                time.sleep(1)
                job = jobs.get(catalog, job_id)
        failed = failures_of(catalog, job_id, limit=failures) if failures else []
    if as_json:
        listed = [
            {"photo_id": one.photo_id, "path": one.path, "reason": one.reason} for one in failed
        ]
        typer.echo(json.dumps({**job.as_json(), "failures": listed}))
    else:
        say(line_of(job))
        for one in failed:
            say(f"  {one.path or 'photo that is gone'}: {one.reason}")
        if job.failed > len(failed):
            say(f"  and {job.failed - len(failed)} more (--failures {job.failed})")
    if job.state == "failed":
        raise typer.Exit(1)


@app.command(epilog="Example: `referent jobs start index --album holidays --which all`")
def start(
    kind: Annotated[str, typer.Argument(help="index, reindex, compact, verify.")],
    album: Annotated[str, typer.Option(help="The album; needed by index and reindex.")] = "",
    folder: Annotated[
        list[Path] | None,
        typer.Option(help="With index: a folder of photos that the album gets, or is made of."),
    ] = None,
    which: Annotated[
        str, typer.Option(help="Photos that are `missing` from the index, or `all` of them anew.")
    ] = "missing",
    model: Annotated[str, typer.Option(help="The model; default: the one that serves.")] = "",
    confirm_deletions: Annotated[
        bool,
        typer.Option(
            "--confirm-deletions", help="With index: believe it when over half of it is gone."
        ),
    ] = False,
    accept_fewer: Annotated[
        bool,
        typer.Option(
            "--accept-fewer", help="With reindex: swap also to a version that lacks photos."
        ),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Run it here and wait for its end.")] = False,
    as_json: Json = False,
) -> None:
    """Write a job; `referent serve` or a worker runs it, or this command with --wait."""
    from indexer.db.catalog import album_named
    from indexer.errors import JobParametersInvalid
    from indexer.folders.albums import ensure_album
    from indexer.jobs import jobs
    from indexer.settings import Settings

    settings = Settings()
    if which not in ("missing", "all"):
        raise JobParametersInvalid(f"--which is missing or all, not {which!r}")
    parameters: dict[str, str | bool] = {}
    if kind == "index" and which == "all":
        parameters["which"] = "all"
    if kind == "index" and confirm_deletions:
        parameters["confirm_deletions"] = True
    if kind == "reindex" and accept_fewer:
        parameters["accept_fewer"] = True
    if model:
        parameters["model"] = model
    with _open() as catalog:
        album_id = None
        if folder and kind == "index":
            with catalog.session() as session:
                album_id = ensure_album(session, folder, name=album or None).id
        elif album:
            with catalog.reading() as session:
                album_id = album_named(session, album).id
        elif kind in ("index", "reindex"):
            raise JobParametersInvalid(f"name the album to {kind}: --album NAME")
        job = jobs.create(
            catalog, kind, album_id=album_id, parameters=parameters, width=settings.job_width
        )
        if wait:
            from referent.progress import ProgressLine
            from workers.inprocess import run_job
            from workers.logging import configure_logging

            configure_logging(log_format="console", level="WARNING", file=settings.log_file)
            with ProgressLine(f"job {job.id}", quiet=as_json) as line:
                job = run_job(settings, catalog, job.id, on_progress=line.job)
    _answer(job, as_json)
    if job.state == "failed":
        raise typer.Exit(1)


def _change(job_id: int, as_json: bool, act: Callable[[Catalog, int], JobView]) -> None:
    with _open() as catalog:
        job = act(catalog, job_id)
    _answer(job, as_json)


@app.command(epilog="Example: `referent jobs pause 3`")
def pause(job_id: Number, as_json: Json = False) -> None:
    """Stop after the batch at hand; resume goes on where it stopped."""
    from indexer.jobs import jobs

    _change(job_id, as_json, jobs.pause)


@app.command(epilog="Example: `referent jobs resume 3`")
def resume(job_id: Number, as_json: Json = False) -> None:
    """Let a paused job go on."""
    from indexer.jobs import jobs

    _change(job_id, as_json, jobs.resume)


@app.command(epilog="Example: `referent jobs cancel 3`")
def cancel(job_id: Number, as_json: Json = False) -> None:
    """End a job for good; what it finished is kept."""
    from indexer.jobs import jobs

    _change(job_id, as_json, jobs.cancel)


@app.command(epilog="Example: `referent jobs retry 3`")
def retry(job_id: Number, as_json: Json = False) -> None:
    """Try again what failed in a job that has ended."""
    from indexer.jobs import jobs

    _change(job_id, as_json, jobs.retry)


def _answer(job: JobView, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(job.as_json()))
    else:
        say(line_of(job))


def line_of(job: JobView) -> str:
    """A job in one line."""
    parts = [f"#{job.id}", job.kind]
    if job.album:
        parts.append(job.album)
    parts.append(job.state)
    if job.total is not None:
        parts.append(f"{job.done:,}/{job.total:,}")
    if job.failed:
        parts.append(f"{job.failed:,} failed")
    if job.rate:
        parts.append(f"{job.rate:.1f}/s")
    if job.seconds_left is not None:
        parts.append(f"{duration(job.seconds_left)} left")
    if job.message:
        parts.append(f"({job.message})")
    return "  ".join(parts)
