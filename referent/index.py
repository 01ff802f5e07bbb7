"""``referent index``: from folders of photos to a searchable album, and upkeep of the library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def index(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Folders of photos; none: what is indexed already.")
    ] = None,
    album: Annotated[
        str | None, typer.Option(help="The album's name; default: the folder's.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="The model that encodes; default: the one the album is searched with."),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave out what a glob covers (raw, **/tmp/**).")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Stay, and keep the album current.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also photos that failed three times.")
    ] = False,
    confirm_deletions: Annotated[
        bool,
        typer.Option("--confirm-deletions", help="Believe it when over half of an album is gone."),
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read all features; encode damaged ones again.")
    ] = False,
    gc: Annotated[
        bool, typer.Option("--gc", help="Remove files that nothing needs any more.")
    ] = False,
    compact: Annotated[
        bool, typer.Option("--compact", help="Merge small feature files into large ones.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for scripts; with --watch a line each time.")
    ] = False,
) -> None:
    """Index folders of photos, incrementally: only what is new or changed is encoded.

    Safe to interrupt at any time; the next run goes on where it stopped.
    """
    from indexer.db.catalog import Catalog
    from indexer.settings import Settings
    from model.stopping import STOPPED, Stop
    from referent.index_run import Run

    if exclude and not (paths or album):
        raise typer.BadParameter("name a folder or --album with it", param_hint="--exclude")
    settings = Settings()
    upkeep = verify or gc or compact
    found: dict[str, Any] = {}
    with Catalog.open(settings) as catalog, Stop() as stop:
        run = Run(settings, catalog, stop, model, as_json, confirm_deletions, retry_failed)
        names = run.albums(paths or [], album, exclude or [])
        if verify:
            found["verify"] = run.verify()
        if watch and names:
            run.watch(names)
        elif paths or not upkeep:
            reports = [run.index(name) for name in names if not stop.asked()]
            found["albums"] = [report.to_json() for report in reports]
        if compact:
            found["compact"] = run.compact()
        if gc:
            found["gc"] = run.collect()
    if as_json and found:
        typer.echo(json.dumps(found, indent=2))
    elif not as_json and not names and not upkeep:
        typer.echo("no albums yet; make one with: referent index FOLDER")
    if stop.asked():
        raise typer.Exit(STOPPED)


index.epilog = (  # type: ignore[attr-defined]
    "Example: `referent index ~/Photos`, `referent index ~/Photos --album family --exclude raw "
    "--watch`, `referent index --verify --gc`"
)
