"""``referent demo``: the main job from nothing, on a synthetic album, with pictures to look at."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image

SHEET_NAME = "contact-sheet.jpg"
SHEET_BACKGROUND = (22, 24, 29)

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
    sheets = []  # the absent thing has one too: it says how many photos were verified
    for name, expression in SEARCHES:
        folder = out / "answers" / name
        referent(
            "search", expression, "--album", "demo", "--mode", "exhaustive", "--top", "8",
            "--out", str(folder), allowed=(0, 1),
        )  # fmt: skip
        sheets.append(folder / SHEET_NAME)
    stack(sheets).save(out / SHEET_NAME, quality=90)
    typer.echo(f"\nanswers as pictures: {out / SHEET_NAME}")
    typer.echo(
        f"the web page: REFERENT_HOME={library} {Path(sys.executable).parent}/referent serve"
    )


def stack(pictures: Sequence[Path]) -> Image.Image:
    """Pictures below one another, as wide as the widest."""
    opened = [Image.open(picture).convert("RGB") for picture in pictures]
    whole = Image.new(
        "RGB", (max(p.width for p in opened), sum(p.height for p in opened)), SHEET_BACKGROUND
    )
    y = 0
    for picture in opened:
        whole.paste(picture, (0, y))
        y += picture.height
    return whole


demo.epilog = "Example: `referent demo --out demo`"  # type: ignore[attr-defined]
