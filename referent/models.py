"""``referent models``: which networks there are, what they are made of, and importing others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from referent.terminal import say

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from model.predictor import Predictor

MEASURED = 400
PICTURES = {".jpg", ".jpeg", ".png", ".webp"}

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
    "card", epilog="Example: `referent models card rela-photo --photos photos --others drawings`"
)
def show_card(
    name: Annotated[str, typer.Argument(help="A named model or weights file.")],
    photos: Annotated[
        Path | None,
        typer.Option(help="Photos like those it was trained on: learn to tell them from --others."),
    ] = None,
    others: Annotated[
        Path | None, typer.Option(help="Photos unlike those; goes with --photos.")
    ] = None,
) -> None:
    """Say in words what a model can do; its card is a JSON file beside the weights."""
    from model.build import card_of, load_predictor, weights_of
    from model.cards import CardError, Familiar, card_path

    card = card_of(name)
    if card is None:
        raise CardError(
            f"{name} has no card; write one beside its weights: {card_path(weights_of(name))}"
        )
    if (photos is None) != (others is None):
        raise typer.BadParameter("--photos and --others go together")
    if photos is not None and others is not None:
        predictor = load_predictor(name)
        known, strange = (_vectors(predictor, folder) for folder in (photos, others))
        familiar = Familiar.fit(known, strange, predictor.fingerprints["vectors"])
        card = replace(card, familiar=familiar)
        card.save(card_path(weights_of(name)))
    typer.echo(f"{name}: {card.summary}")
    typer.echo(f"But: {card.limits}")
    warns = "is" if card.familiar is not None else "is not"
    typer.echo(f"Trained on {card.trained_on}; of albums unlike those, a search {warns} warned.")


def _vectors(predictor: Predictor, folder: Path) -> NDArray[np.float32]:
    """Vectors (B, V, D) of photos below a folder, `MEASURED` at most, evenly picked."""
    import numpy as np

    from indexer.errors import FolderError
    from indexer.photos.decode import load_upright
    from indexer.settings import Settings
    from model.errors import PhotoError
    from model.network.preprocess import to_pixels

    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in PICTURES)
    if not files:
        raise FolderError(f"{folder} holds no photos ({', '.join(sorted(PICTURES))})")
    vectors = []
    for file in files[:: -(-len(files) // MEASURED)]:
        try:
            image = load_upright(file, Settings())
        except PhotoError as error:
            say(f"left out: {file}: {error}", err=True)
            continue
        pixels = to_pixels(image, predictor.input_size)[None]
        vectors.append(predictor.vectors_of(predictor.encode(pixels, ("vectors",))["vectors"]))
    if not vectors:
        raise FolderError(f"none of the photos in {folder} can be read")
    return np.concatenate(vectors)


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
