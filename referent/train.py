"""``referent train``: run a recipe, or go on with it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="mini, mini-small, base, or a stage: mini-head, mini-prefilter, base-head."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The run's folder; default: runs/RECIPE. Resumed if it exists."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="gRefCOCO-form folder (base), or rendered shards (mini).")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="What to start from: a .safetensors file of ours, a Mask2Former folder or hub "
            "name, Swin weights, or random; default: what the recipe says."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Another size, or a .json file with a configuration.")
    ] = None,
    photos: Annotated[int | None, typer.Option(help="Synthetic photos to render.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps.")] = None,
    batch: Annotated[int | None, typer.Option(help="Photos a step.")] = None,
    limit_minutes: Annotated[
        float | None, typer.Option(help="Stop (and save) after so many minutes.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that render.")] = os.cpu_count() or 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    loaders: Annotated[
        int | None,
        typer.Option(help="Processes that draw batches; default: none on the CPU, 4 for a GPU."),
    ] = None,
    new_leg: Annotated[
        bool,
        typer.Option(
            "--new-leg", help="Go on with a run by a changed recipe, recorded in its weights."
        ),
    ] = False,
) -> None:
    """Train a model by a recipe; Ctrl-C saves the run (status 130), the same command goes on.

    With several processes: `torchrun --nproc-per-node 2 -m -- referent.main train mini`.
    """
    from referent.terminal import say
    from training.errors import Interrupted
    from training.learning.session import RECIPES, model_named, run_recipe

    if recipe not in RECIPES:
        raise typer.BadParameter(f"no recipe {recipe!r}; known: {', '.join(RECIPES)}")
    changes: dict[str, Any] = {"photos": photos, "steps": steps, "batch": batch}
    if model is not None:
        changes["model"] = model_named(model)
    wanted = {name: value for name, value in changes.items() if value is not None}
    chosen = replace(RECIPES[recipe], **wanted)
    try:
        path = run_recipe(
            chosen,
            folder=out or Path("runs") / recipe,
            data=data,
            start=start,
            limit_minutes=limit_minutes,
            workers=workers,
            device=device,
            loaders=loaders if loaders is not None else 4 * (device != "cpu"),
            new_leg=new_leg,
        )
    except Interrupted as stopped:
        say(str(stopped), err=True)
        raise typer.Exit(130) from None
    typer.echo(f"averaged weights: {path}")


train.epilog = (  # type: ignore[attr-defined]
    "Example: `referent train mini --photos 24000 --limit-minutes 90`"
)
