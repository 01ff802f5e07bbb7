"""``referent demo``: the main job from nothing, on real photographs, with pictures to look at."""

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

PHOTOS = Path(__file__).parent / "photos"

# A kind, a place, an exclusion, and a thing that no photo shows.
SEARCHES = (
    ("kind", "bicycle"),
    ("place", "the person on the left"),
    ("exclusion", "all people except the one on the left"),
    ("absent", "a zebra"),
)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the library and the pictures.")] = Path(
        "demo"
    ),
    photos: Annotated[
        Path, typer.Option(help="Photos to index instead of those that come along.")
    ] = PHOTOS,
) -> None:
    """Index an album of real photos, search it four times and show the answers as pictures."""
    library = out / "library"
    environment = {**os.environ, "REFERENT_HOME": str(library.resolve())}

    def referent(*words: str, allowed: tuple[int, ...] = (0,)) -> int:
        typer.echo("\n$ referent " + shlex.join(words))
        command = [sys.executable, "-m", "referent.main", *words]
        status = subprocess.run(command, env=environment, check=False).returncode
        if status not in allowed:
            raise typer.Exit(status or 2)
        return status

    referent("index", str(photos), "--album", "demo")
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


demo.epilog = "Examples: `referent demo`, `referent demo --photos ~/Photos --out answers`"  # type: ignore[attr-defined]
