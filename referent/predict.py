"""``referent predict``: a network's answers to a data set, to be scored or looked into."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from referent.options import Device


def predict(
    model: Annotated[
        str, typer.Argument(help="A model's name, a weights file, or an imported network's name.")
    ],
    data: Annotated[
        str, typer.Option(help="A folder in the gRefCOCO form (DIR, DIR:SPLIT), or as `evaluate`.")
    ],
    out: Annotated[Path, typer.Option(help="The .jsonl to write; gone on with where it exists.")],
    workers: Annotated[int, typer.Option(min=1, help="Processes; each loads the network.")] = 1,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a folder with rows or photos of no use.")
    ] = False,
    quick: Annotated[bool, typer.Option(help="A tenth of a set that has no folder.")] = False,
    pack: Annotated[
        Path | None, typer.Option(help="Annotated photographs in COCO's form, for photos:val.")
    ] = None,
    device: Device = "cpu",
) -> None:
    """Write a line an expression: p(no target), mask at photo size and at 480 x 480, minimap.

    `referent score` measures such files, of other people's models too. Ctrl-C leaves a file that
    the same command goes on with.
    """
    from model.stopping import Stop
    from referent.evaluate import pairs_of, parse
    from referent.networks import load_network
    from referent.terminal import say
    from training.measuring.predicting import predict as write

    pairs = pairs_of(*parse(data), quick=quick, pack=pack, strict=strict)
    for reason, count in pairs.left_out.items():
        say(f"left out at reading: {count:,}  {reason}", err=True)
    load = partial(load_network, model, device)
    with Stop() as stop:
        count = write(load, pairs, out, workers=workers, should_stop=stop.asked)
    typer.echo(f"{count:,} expressions: {out}")


predict.epilog = (  # type: ignore[attr-defined]
    "Example: `referent predict rela-official-base --data grefcoco:val --out base.jsonl`"
)
