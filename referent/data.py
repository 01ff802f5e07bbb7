"""``referent data``: look at a data set before a run reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from referent.terminal import say

app = typer.Typer(help="Check data before training or evaluating on them.", no_args_is_help=True)


@app.command("check", epilog="Example: `referent data check grefcoco`")
def check(
    folder: Annotated[
        Path, typer.Argument(help="A folder in the gRefCOCO form, or of annotated photographs.")
    ],
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if anything would be left out.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Judge every row, mask and photo, and count what there is beside the paper's figures.

    Reads the files and the photos' headers: seconds, and nothing from any network.
    """
    from training.data.grefcoco import references_file
    from training.measuring.suite import check_folder

    if references_file(folder).exists():
        counts = check_folder(folder)
        left_out = counts.left_out
        if as_json:
            told = {"found": dict(counts.found), "splits": dict(counts.splits),
                    "quirks": {name: n for name, n in counts.quirks.items() if n},
                    "left_out": left_out, "rows": dict(counts.where)}  # fmt: skip
            typer.echo(json.dumps(told, indent=2))
        else:
            typer.echo(counts.table())
            if left_out:
                typer.echo("left out, with the first rows of each:")
                for line in counts.lines():
                    say(line)
        raise typer.Exit(1 if strict and left_out else 0)
    from training.photos.pack import read_pack

    photos = read_pack(folder)  # refuses what it cannot use, naming it
    missing = [str(photo.path) for photo in photos if not photo.path.is_file()]
    told = {
        "photos": len(photos),
        "validation": sum(photo.split == "val" for photo in photos),
        "annotations": sum(len(photo.annotations) for photo in photos),
        "missing": missing,
    }
    if as_json:
        typer.echo(json.dumps(told, indent=2))
    else:
        typer.echo(
            f"{told['photos']:,} photos ({told['validation']:,} of them kept out of training), "
            f"{told['annotations']:,} annotations, {len(missing):,} files missing"
        )
        for name in missing[:10]:
            say(name)
    raise typer.Exit(1 if strict and missing else 0)
