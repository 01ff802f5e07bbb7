"""``referent models``: which networks there are, what they are made of, and importing others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="List, show and import models.", no_args_is_help=True)


@app.command("list", epilog="Example: `referent models list`")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """List the named models and whether their weights are here."""
    from model.build import SIZES, WEIGHTS_FOLDER

    rows = []
    for name, config in SIZES.items():
        path = WEIGHTS_FOLDER / f"{name}.safetensors"
        rows.append(
            {
                "name": name,
                "weights": str(path) if path.is_file() else None,
                "input_size": config.input_size,
                "regions": config.regions,
                "text": config.text,
            }
        )
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        state = "weights here" if row["weights"] else "no weights: train or import them"
        typer.echo(
            f"{row['name']:12} {row['input_size']}² pixels, {row['regions']} regions, "
            f"text {row['text']}; {state}"
        )


@app.command("show", epilog="Example: `referent models show rela-mini`")
def show_model(name: Annotated[str, typer.Argument(help="A named model or weights file.")]) -> None:
    """Show a model's configuration, size, fingerprints and calibration."""
    from model.build import load_predictor

    predictor = load_predictor(name)
    network = predictor.network
    typer.echo(
        json.dumps(
            {
                "name": predictor.name,
                "parameters": sum(p.numel() for p in network.parameters()),
                "bytes_a_photo": {t: d.itemsize for t, d in predictor.dtypes.items()},
                "fingerprints": predictor.fingerprints,
                "calibration": predictor.calibration.to_dict(),
                "config": predictor.config.to_dict(),
            },
            indent=2,
        )
    )


@app.command(
    "import", epilog="Example: `referent models import gres_swin_base.pth --as rela-official-base`"
)
def import_model(
    file: Annotated[Path, typer.Argument(help="A released ReLA checkpoint (.pth).")],
    as_name: Annotated[str, typer.Option("--as", help="rela-official-tiny or rela-official-base.")],
    lang_weight: Annotated[
        str,
        typer.Option(
            help="`official` (0, as the official loader leaves it) or `trained` (as stored)."
        ),
    ] = "official",
) -> None:
    """Import released weights: check every key and shape, write safetensors and a model card."""
    from indexer.settings import Settings
    from model.importing import import_checkpoint

    folder = Settings().home / "models"
    path = import_checkpoint(file, as_name, folder, keep_lang_weight=lang_weight == "trained")
    typer.echo(f"imported as {as_name}: {path}")
