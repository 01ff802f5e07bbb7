"""`referent export`: a search run for other programs, as files, tags or a gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from referent.terminal import SOME_FAILED, say


def export(
    run: Annotated[str, typer.Argument(help="The search run's id, from `referent search --json`.")],
    out: Annotated[
        Path,
        typer.Option(
            help="The file to write; a folder for grefcoco, originals, sidecars and gallery."
        ),
    ],
    form: Annotated[
        str,
        typer.Option(
            help="`coco`, `grefcoco`, `csv`, `sheet`; `originals` (copies), `sidecars` (XMP tags), "
            "`gallery` (pages without a server); else by the file's ending."
        ),
    ] = "",
) -> None:
    """Write the matches of a search run for other programs."""
    from indexer.settings import Settings
    from search_api.errors import BadQuery, SearchError
    from search_api.search.engine import Engine
    from search_api.show.exports import FORMS, write_export

    chosen = form or {".json": "coco", ".csv": "csv", ".jpg": "sheet", "": "grefcoco"}.get(
        out.suffix.lower(), ""
    )
    if chosen not in FORMS:
        raise BadQuery(f"--form: choose one of {', '.join(FORMS)}")
    with Engine.open(Settings()) as engine:
        try:
            written = write_export(engine, run, chosen, out)
        except OSError as error:
            raise SearchError(f"cannot write {out}: {error.strerror or error}") from error
    say(f"{out}: {written.told}")
    if written.left_out:
        raise typer.Exit(SOME_FAILED)


export.epilog = (  # type: ignore[attr-defined]
    "Example: `referent export 0f0e... --out kids.json`, "
    "`referent export 0f0e... --form grefcoco --out kids`, "
    "`referent export 0f0e... --form gallery --out kids-gallery`"
)
