"""`referent ablate`: the paper's tables, trained and measured."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from referent.options import Device


def ablate(
    tables: Annotated[
        list[str],
        typer.Argument(help="2, 3, 4, 5, 6, 7, figure6, or all of them", metavar="TABLE..."),
    ],
    data: Annotated[
        str, typer.Option(help="synthetic, or grefcoco:DIR with a folder in gRefCOCO's form")
    ] = "synthetic",
    steps: Annotated[int | None, typer.Option(help="optimizer steps a row")] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="instead: as many steps as the full network makes in this time here"),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="times that every row is trained")] = 1,
    out: Annotated[
        Path, typer.Option(help="folder of the rows and pages; gone on with if it exists")
    ] = Path("runs/tables"),
    batch: Annotated[int | None, typer.Option(help="photos a step")] = None,
    size: Annotated[int | None, typer.Option(help="side of the input in pixels")] = None,
    model: Annotated[
        str | None, typer.Option(help="another full network: a size, or a .json configuration")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="whose image encoder every row starts with; random for none"),
    ] = None,
    photos: Annotated[int | None, typer.Option(help="synthetic photos to train on")] = None,
    measured: Annotated[
        int, typer.Option(help="synthetic photos to measure on, eight expressions each")
    ] = 200,
    split: Annotated[str, typer.Option(help="that is measured")] = "val",
    device: Device = "cpu",
    workers: Annotated[int, typer.Option(help="processes that draw photos")] = os.cpu_count() or 1,
) -> None:
    """Train the rows of the paper's tables under equal conditions, and write them.

    Every row has the same steps, batches and start, so the folder is bound to its first options.
    Ctrl-C saves the row; the same command goes on with it. A second one beside it, with the same
    --out, takes other rows. Rows that several tables share are trained once.
    """
    from dataclasses import replace

    from training.ablating.plan import Plan, PlanError, recipe_for
    from training.ablating.run import named, run_tables
    from training.learning.session import model_named

    if steps is not None and minutes is not None:
        raise PlanError("give --steps or --minutes, not both")
    asked = named(tables)
    recipe = recipe_for(data)
    changes: dict[str, Any] = {"steps": steps, "batch": batch, "photos": photos, "start": start}
    recipe = replace(recipe, **{n: v for n, v in changes.items() if v is not None})
    config = recipe.config if model is None else model_named(model)
    config = config if size is None else replace(config, input_size=size)
    plan = Plan(data, replace(recipe, model=config), split, measured, minutes)
    runs = [recipe.seed + k for k in range(seeds)]

    def say(line: str) -> None:
        typer.echo(line, err=True)

    if not run_tables(asked, plan, runs, out, device=device, workers=workers, say=say):
        typer.echo("not all rows are done: the same command goes on", err=True)
        raise typer.Exit(1)
    for table in asked:
        typer.echo(out / f"table-{table.name}.md")


ablate.epilog = (  # type: ignore[attr-defined]
    "Example: `referent ablate 3 --minutes 15 --seeds 2 --out runs/tables`"
)
