"""``referent demo``: the main job from nothing, on a synthetic album, with pictures to look at."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

# One target, several, an exclusion, and a thing that no photo shows.
SEARCHES = (
    ("one", "the person on the far left"),
    ("several", "three people"),
    ("exclusion", "everyone except the girl"),
    ("absent", "a giraffe next to a helicopter"),
)


def demo(
    out: Annotated[
        Path, typer.Option(help="Folder for the album, the library and the pictures.")
    ] = Path("demo"),
    photos: Annotated[int, typer.Option(help="Photos in the album.")] = 150,
) -> None:
    """Draw an album, index it, search it four times and show the answers as pictures."""
    from PIL import Image

    album, library = out / "album", out / "library"
    environment = {**os.environ, "REFERENT_HOME": str(library.resolve())}

    def referent(*words: str, allowed: tuple[int, ...] = (0,)) -> int:
        typer.echo("\n$ referent " + shlex.join(words))
        command = [sys.executable, "-m", "referent.main", *words]
        status = subprocess.run(command, env=environment, check=False).returncode
        if status not in allowed:
            raise typer.Exit(status or 2)
        return status

    referent("synth", "--photos", str(photos), "--seed", "1", "--out", str(album))
    referent("index", str(album), "--album", "demo")
    sheets = []
    for name, expression in SEARCHES:
        folder = out / "answers" / name
        found = referent(
            "search", expression, "--album", "demo", "--mode", "exhaustive", "--top", "8",
            "--out", str(folder), allowed=(0, 1),
        )  # fmt: skip
        if found == 0:
            sheets.append(Image.open(folder / "contact-sheet.jpg").convert("RGB"))
    if sheets:
        width = max(sheet.width for sheet in sheets)
        whole = Image.new("RGB", (width, sum(s.height for s in sheets)), (22, 24, 29))
        y = 0
        for sheet in sheets:
            whole.paste(sheet, (0, y))
            y += sheet.height
        whole.save(out / "contact-sheet.jpg", quality=90)
        typer.echo(f"\nanswers as pictures: {out / 'contact-sheet.jpg'}")
    typer.echo(
        f"the web page: REFERENT_HOME={library} {Path(sys.executable).parent}/referent serve"
    )


demo.epilog = "Example: `referent demo --out demo`"  # type: ignore[attr-defined]
