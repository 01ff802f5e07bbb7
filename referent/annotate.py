"""``referent annotate``: a page where people write expressions for photos, and verify others'."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def annotate(
    folder: Annotated[
        Path, typer.Argument(help="Photos with instances.json, COCO's form, as `referent synth`.")
    ],
    out: Annotated[
        Path, typer.Option(help="Folder of the expressions; gone on with if it exists.")
    ],
    model: Annotated[
        str, typer.Option(help="The network that is asked about the rules for no-target ones.")
    ] = "rela-photo",
    split: Annotated[str, typer.Option(help="Of the references that are written.")] = "train",
    photos: Annotated[int, typer.Option(min=1, help="At most so many.")] = 200,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8010,
) -> None:
    """Open a page of one's own machine: choose targets, write, and verify what others wrote.

    Who writes chooses one thing, several or none; of an expression that refers to nothing the two
    rules of GRES (section 3.2) are shown with what a network thinks. A second person is shown photo
    and expression and marks the targets; what two people mean alike is written in gRefCOCO's form,
    for `referent evaluate --data OUT` and `referent train base --data OUT`. The photos stay where
    they are: OUT/images is a link to them.
    """
    import contextlib

    import uvicorn

    from referent.annotating.advice import Adviser
    from referent.annotating.app import create_app
    from referent.annotating.journal import Journal
    from referent.annotating.photos import link, read
    from referent.networks import load_network

    collection = read(folder, photos)
    journal = Journal(out, collection, split)
    link(collection, out)
    app = create_app(journal, Adviser(load_network(model), collection))
    typer.echo(
        f"http://127.0.0.1:{port}: {len(collection.photos)} photos; Ctrl-C ends it", err=True
    )
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", server_header=False)
    told = journal.agreement()
    typer.echo("{written} written, {verified} verified, {agreed} agreed".format(**told))


annotate.epilog = (  # type: ignore[attr-defined]
    "Example: `referent annotate photos --out mine`, `referent evaluate rela-photo --data mine`"
)
