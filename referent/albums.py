"""``referent albums``: what is indexed, and which folders belong to it."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from referent.loading import loading
from referent.terminal import of_another_model, say


def albums(
    name: Annotated[
        str | None, typer.Argument(help="Tell of this album only, or change it.")
    ] = None,
    add: Annotated[list[Path] | None, typer.Option(help="Add a folder to the album.")] = None,
    drop: Annotated[
        list[Path] | None,
        typer.Option(help="Take a folder and its photos from the album; no file is touched."),
    ] = None,
    moved: Annotated[
        tuple[Path, Path] | None,
        typer.Option(help="OLD lies at NEW now: photos keep their marks.", metavar="OLD NEW"),
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option(help="Take only files that a glob covers (2019, *.jpg).")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave out what a glob covers (raw, 2019/tmp, *.gif).")
    ] = None,
    drop_glob: Annotated[
        list[str] | None, typer.Option(help="Take an include or exclude glob off again.")
    ] = None,
    everything: Annotated[
        bool | None,
        typer.Option(
            "--everything/--usual",
            help="Take also what systems and other programs keep for themselves (bins, snapshots, "
            "thumbnails, hidden files) and what ignore files name.",
        ),
    ] = None,
    rename: Annotated[str | None, typer.Option(help="Give the album another name.")] = None,
    delete: Annotated[
        bool,
        typer.Option(
            "--delete",
            help="Forget the album and delete what was uploaded to it; no file in your folders.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List albums with their folders and the state of their photos, or change one.

    Changes of folders and globs take effect with the next `referent index`.
    """
    with loading():
        from indexer.db.catalog import Catalog
        from indexer.features.versions import all_serving
        from indexer.folders import own_folders
        from indexer.folders.albums import (
            change_album,
            delete_album,
            list_albums,
            uploaded_photos,
            what_goes_with,
        )
        from indexer.settings import Settings

    changes = bool(add or drop or moved or include or exclude or drop_glob or rename)
    changes = changes or everything is not None
    if name is None and (changes or delete):
        raise typer.BadParameter("name the album that is to be changed", param_hint="NAME")
    settings = Settings()
    with Catalog.open(settings) as catalog:
        if name is not None and delete:
            with catalog.reading() as session:
                uploaded = uploaded_photos(session, name)
            taken = f"{uploaded:,} photos that were uploaded to it are deleted; " * bool(uploaded)
            if not yes:
                typer.confirm(
                    f"Forget the album {name!r}? {taken}files in your folders stay.", abort=True
                )
            with catalog.session() as session:
                photos = delete_album(session, name)
            own_folders.sweep(catalog, settings)
            say(
                f"forgot the album {name!r} ({photos} photos); {taken}"
                "no file in your folders was touched",
                err=True,
            )
            return
        for folder in drop or () if name is not None and not yes else ():
            with catalog.reading() as session:
                photos, marks = what_goes_with(session, str(name), folder)
            if photos:
                typer.confirm(
                    f"{folder} takes {photos:,} photos and {marks:,} marks with it (the files "
                    f"stay). If it has only moved: --moved {folder} NEW. Drop it?",
                    abort=True,
                )
        if name is not None and changes:
            with catalog.session() as session:
                name = change_album(
                    session,
                    name,
                    add=add or (),
                    drop=drop or (),
                    moved=[moved] if moved else (),
                    include=include or (),
                    exclude=exclude or (),
                    drop_globs=drop_glob or (),
                    everything=everything,
                    rename=rename,
                )
        with catalog.reading() as session:
            summaries = list_albums(session, name)
            serving = all_serving(session)
    if as_json:
        typer.echo(json.dumps([asdict(summary) for summary in summaries], indent=2))
        return
    if not summaries:
        typer.echo("no albums yet; make one with: referent index FOLDER")
        return
    for summary in summaries:
        for line in _described(summary):
            say(line)
        if version := serving.get(summary.id):
            for line in of_another_model(summary.name, version.model, settings.model):
                say(line)


albums.epilog = (  # type: ignore[attr-defined]
    "Example: `referent albums`, `referent albums holidays --add ~/Photos/2024 --exclude raw`, "
    "`referent albums holidays --moved /mnt/old/2024 ~/Photos/2024`, "
    "`referent albums --json`"
)


def _described(summary: object) -> list[str]:
    from indexer.folders.albums import AlbumSummary

    assert isinstance(summary, AlbumSummary)
    parts = [f"{summary.indexed:,} indexed"]
    for number, what in (
        (summary.new, "not indexed yet"),
        (summary.failed, "failed"),
        (summary.missing, "missing"),
        (summary.duplicates, "duplicates"),
    ):
        if number:
            parts.append(f"{number:,} {what}")
    lines = [f"{summary.name}: {summary.photos:,} photos ({', '.join(parts)})"]
    lines += [f"  folder   {folder}" for folder in summary.folders]
    lines += [f"  include  {glob}" for glob in summary.include]
    lines += [f"  exclude  {glob}" for glob in summary.exclude]
    when = "never"
    if summary.scanned_at is not None:
        when = datetime.fromtimestamp(summary.scanned_at).strftime("%Y-%m-%d %H:%M")
    lines.append(f"  scanned  {when}")
    return lines
