"""`referent synth`: write a synthetic album with known truth."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer


def synth(
    out: Annotated[Path, typer.Option(help="Folder to write; empty, new, or an earlier album.")],
    photos: Annotated[int, typer.Option(help="How many photos.")] = 300,
    seed: Annotated[int, typer.Option(help="Another seed, another album.")] = 1,
    split: Annotated[
        str,
        typer.Option(help="train, val, test, or test-b (compositions that training never shows)."),
    ] = "test",
    width: Annotated[int, typer.Option(help="Width in pixels; 0 leaves it to the photo.")] = 0,
    height: Annotated[int, typer.Option(help="Height in pixels; 0 leaves it to the photo.")] = 0,
    megapixels: Annotated[
        float, typer.Option(help="The middle of the sizes, where no width or height is given.")
    ] = 0.8,
    quality: Annotated[int, typer.Option(help="JPEG quality, 1 to 95.")] = 90,
    workers: Annotated[int, typer.Option(help="Processes; 0 takes one for each processor.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON.")] = False,
) -> None:
    """Write drawn photos with EXIF, exact masks (COCO) and references (gRefCOCO's form).

    The same options give the same bytes. Interrupting leaves whole photos only.
    """
    from referent.progress import ProgressLine
    from training.data.album import AlbumError, AlbumPlan, default_workers, write_album

    if workers < 0:
        raise AlbumError(f"workers {workers}: give 0 or more")
    plan = AlbumPlan(photos, seed, split, width, height, megapixels, quality)
    start = time.monotonic()
    with ProgressLine("synth", quiet=as_json) as line:
        for done in write_album(plan, out, workers or default_workers()):
            line.count("drawing", done, photos)
    seconds = round(time.monotonic() - start, 1)
    with (out / "grefs(unc).json").open(encoding="utf-8") as file:
        references = json.load(file)
    summary = {
        "folder": str(out),
        "photos": photos,
        "references": len(references),
        "no_target": sum(r["no_target"] for r in references),
        "seconds": seconds,
    }
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        typer.echo(
            f"{photos} photos and {summary['references']} references "
            f"({summary['no_target']} of them no-target) in {out}"
        )


synth.epilog = "Example: referent synth --photos 300 --seed 1 --out album"  # type: ignore[attr-defined]
