"""`referent reindex`: another model for an album, built beside the serving one and swapped in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from referent.terminal import say

if TYPE_CHECKING:
    from indexer.db.catalog import Catalog


def reindex(
    model: Annotated[str, typer.Option(help="The model to change to.")] = "",
    album: Annotated[str, typer.Option(help="Only this album; default: every one.")] = "",
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Serve the version that served before, at once.")
    ] = False,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Forget the versions that do not serve any more.")
    ] = False,
    accept_fewer: Annotated[
        bool,
        typer.Option("--accept-fewer", help="Swap though photos are lacking that serve now."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Index with another model while searches go on with the old one, then swap at once.

    The new version serves when it holds every photo that the old one has: photos that are offline
    or fail hold it back until that is mended, or you say --accept-fewer. Interrupt it as you like:
    the old version serves meanwhile, and the same command goes on where it stopped.
    """
    from indexer.db.catalog import Catalog
    from indexer.jobs import jobs
    from indexer.settings import Settings
    from model.stopping import STOPPED, Stop
    from referent.progress import ProgressLine
    from workers.errors import ReindexRefused
    from workers.held import Held
    from workers.inprocess import run_job
    from workers.logging import configure_logging
    from workers.reindex import drop_old as drop

    if rollback and (model or drop_old):
        raise ReindexRefused("--rollback goes alone: drop old versions, or change the model, later")
    if not (model or rollback or drop_old):
        raise ReindexRefused("name the model to change to (--model NAME), or use --rollback")
    settings = Settings()
    configure_logging(log_format="console", level="WARNING", file=settings.log_file)
    results: list[dict[str, Any]] = []
    failed = False
    held = Held(settings)
    with Catalog.open(settings) as catalog, Stop() as stop:
        for name, album_id in _albums(catalog, album):
            if not (model or rollback):
                results.append({"album": name, **drop(settings, catalog, album_id)})
                continue
            parameters: dict[str, Any] = {"rollback": True} if rollback else {"model": model}
            if drop_old:
                parameters["drop_old"] = True
            if accept_fewer:
                parameters["accept_fewer"] = True
            job = jobs.create(
                catalog,
                "reindex",
                album_id=album_id,
                parameters=parameters,
                width=settings.job_width,
            )
            with ProgressLine(name, quiet=as_json) as line:
                done = run_job(
                    settings,
                    catalog,
                    job.id,
                    held,
                    should_stop=stop.asked,
                    on_progress=line.job,
                )
            failed = failed or done.state != "done"
            results.append({"album": name, "job": done.id, "state": done.state})
            results[-1].update(done.result or {"message": done.message})
            if stop.asked():
                break
    held.close()
    if as_json:
        typer.echo(json.dumps(results))
    for result in [] if as_json else results:
        say(_line(result))
    if stop.asked():
        raise typer.Exit(STOPPED)
    if failed:
        raise typer.Exit(1)


reindex.epilog = (  # type: ignore[attr-defined]
    "Example: `referent reindex --model rela-base`, then `referent reindex --rollback` if you "
    "like the old one better"
)


def _albums(catalog: Catalog, name: str) -> list[tuple[str, int]]:
    from sqlalchemy import select

    from indexer.db.catalog import album_named
    from indexer.db.tables import Album

    with catalog.reading() as session:
        if name:
            return [(name, album_named(session, name).id)]
        return [(row.name, row.id) for row in session.scalars(select(Album).order_by(Album.id))]


def _line(result: dict[str, Any]) -> str:
    if result.get("state") == "done" and "model" in result:
        return (
            f"{result['album']}: {result['model']} serves now, {result['indexed']:,} photos "
            f"indexed, {result['failed']:,} failed"
        )
    if "dropped_rows" in result and "state" not in result:
        return f"{result['album']}: {result['freed_bytes']:,} bytes freed"
    return f"{result['album']}: {result.get('state')} {result.get('message') or ''}".rstrip()
