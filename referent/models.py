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
    from indexer.settings import Settings
    from model.build import SIZES, WEIGHTS_FOLDER
    from model.official.config import OFFICIAL

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
    for name, official in OFFICIAL.items():
        path = Settings().models_dir / f"{name}.safetensors"
        rows.append(
            {
                "name": name,
                "weights": str(path) if path.is_file() else None,
                "input_size": official.input_size,
                "regions": official.regions,
                "text": "bert-base-uncased",
            }
        )
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        state = "weights here" if row["weights"] else "no weights: train or import them"
        typer.echo(
            f"{row['name']:18} {row['input_size']}² pixels, {row['regions']} regions, "
            f"text {row['text']}; {state}"
        )


@app.command("show", epilog="Example: `referent models show rela-mini`")
def show_model(
    name: Annotated[str, typer.Argument(help="A model, an imported network, or a weights file.")],
) -> None:
    """Show a model's configuration, size, fingerprints and calibration."""
    from model.asking import EarlyFusion, LateFusion
    from referent.networks import load_network

    loaded = load_network(name)
    if isinstance(loaded, EarlyFusion):
        released = loaded.verifier
        told = {
            "name": released.name,
            "parameters": sum(p.numel() for p in released.network.parameters()),
            "fingerprint": released.fingerprint,
            "calibration": released.calibration.to_dict(),
            "config": released.config.to_dict(),
        }
        typer.echo(json.dumps(told, indent=2))
        return
    assert isinstance(loaded, LateFusion)
    predictor = loaded.predictor
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
            help="`trained` (as stored: every other weight was fitted to it) or `official` (0, as "
            "the official loader leaves it, to repeat its evaluation)."
        ),
    ] = "trained",
) -> None:
    """Import released weights: check every key and shape, write safetensors and a model card."""
    from indexer.settings import Settings
    from model.importing import import_checkpoint

    if lang_weight not in ("trained", "official"):
        raise typer.BadParameter("--lang-weight is `trained` or `official`")
    folder = Settings().models_dir
    path = import_checkpoint(
        file,
        as_name,
        folder,
        keep_lang_weight=lang_weight == "trained",
        report=lambda line: typer.echo(line, err=True),
    )
    typer.echo(f"imported as {as_name}: {path}")


@app.command(
    "start",
    epilog="Example: `referent models start mask2former-swin-base --as rela-base -o s.safetensors`",
)
def write_starting_point(
    source: Annotated[
        str,
        typer.Argument(
            help="A Mask2Former folder or hub name, or Swin weights: file or timm name."
        ),
    ],
    as_name: Annotated[str, typer.Option("--as", help="rela-tiny, rela-small or rela-base.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The safetensors file to write.")],
) -> None:
    """Write the weights that `referent train --start` begins with."""
    from model.build import config_of
    from model.starting_points import write_start

    started = write_start(source, config_of(as_name), out)
    typer.echo(f"{len(started.filled)} entries of {as_name} filled, written to {out}")
    if started.rank is not None:
        typer.echo(f"masks keep the {started.rank} directions that matter most", err=True)
