"""``referent train``: run a recipe, or go on with it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from referent.options import Device

if TYPE_CHECKING:
    from training.learning.validation import Validation


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="mini, mini-small, base, paper, photo, or a stage of one, such as mini-head."
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
    device: Device = "cpu",
    loaders: Annotated[
        int | None,
        typer.Option(help="Processes that draw batches; default: none on the CPU, 4 for a GPU."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Anything that the recipe holds; may be repeated."
        ),
    ] = None,
    recipe_file: Annotated[
        Path | None,
        typer.Option("--recipe", help="A TOML file with such settings; --set comes after it."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the network's start.")] = None,
    data_seed: Annotated[
        int | None, typer.Option(help="Of the photos that are drawn and of every draw.")
    ] = None,
    val: Annotated[
        str | None,
        typer.Option(help="Measure on this, named as for `referent evaluate`, while training."),
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="With --val: after so many steps.")] = 500,
    keep: Annotated[int, typer.Option(min=1, help="With --val: weights kept beside the best.")] = 3,
    new_leg: Annotated[
        bool,
        typer.Option(
            "--new-leg", help="Go on with a run by a changed recipe, recorded in its weights."
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse gRefCOCO-form data with rows of no use.")
    ] = False,
) -> None:
    """Train a model by a recipe; Ctrl-C saves the run (status 130), the same command goes on.

    With several processes: `torchrun --nproc-per-node 2 -m -- referent.main train mini`.
    """
    from model.network.config import ReLAConfig
    from referent.evaluate import MASK_SIDE
    from training.learning.session import RECIPES, model_named, run_recipe
    from training.recipes import changes as by_name

    if recipe not in RECIPES:
        raise typer.BadParameter(f"no recipe {recipe!r}; known: {', '.join(RECIPES)}")
    chosen = RECIPES[recipe]
    if model is not None:  # first: what is set of the model changes that one
        chosen = replace(chosen, model=model_named(model))
    if recipe_file is not None:
        chosen = by_name.changed(chosen, by_name.read(recipe_file))
    chosen = by_name.changed(chosen, by_name.parsed(settings or []))
    changes: dict[str, Any] = {
        "photos": photos, "steps": steps, "batch": batch, "seed": seed, "data_seed": data_seed,
    }  # fmt: skip
    chosen = replace(
        chosen, **{name: value for name, value in changes.items() if value is not None}
    )
    folder = out or Path("runs") / recipe
    validation = None
    if val is not None:
        network = chosen.network
        mask_side = network.mask_side if isinstance(network, ReLAConfig) else MASK_SIDE
        validation = validation_on(val, folder, data, mask_side, every, keep, device, strict)
    path = run_recipe(
        chosen,
        folder=folder,
        data=data,
        start=start,
        limit_minutes=limit_minutes,
        workers=workers,
        device=device,
        loaders=loaders if loaders is not None else 4 * (device != "cpu"),
        new_leg=new_leg,
        strict=strict,
        validation=validation,
    )
    typer.echo(f"averaged weights: {path}")


def validation_on(
    named: str,
    folder: Path,
    pack: Path | None,
    mask_side: int,
    every: int,
    keep: int,
    device: str,
    strict: bool,
) -> Validation:
    """What measures a run on data that are named as for `referent evaluate`.

    Args:
        pack: of `photos:val`. mask_side: of the network's masks, which photographs are told at.
    Raises:
        DatasetError: there are no such data.
    """
    from referent.evaluate import pairs_of, parse
    from referent.networks import load_network
    from training.learning.validation import Validation
    from training.measuring import suite

    name, split = parse(named)
    quick = name == "synthetic"
    pairs = pairs_of(
        name, split, quick=quick, pack=pack, strict=strict, usual="val", mask_side=mask_side
    )

    def measure(weights: Path) -> dict[str, float | None]:
        return suite.curve_figures(load_network(str(weights), device), pairs)

    return Validation(folder, measure, every, keep)


train.epilog = (  # type: ignore[attr-defined]
    "Example: `referent train mini --photos 24000 --limit-minutes 90`, `referent train base --data "
    "grefcoco --val grefcoco:val --every 1000 --set losses.dice=0 --seed 3`"
)
