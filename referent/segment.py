"""``referent segment``: photos, expressions, pictures of the answers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from referent.options import Device

if TYPE_CHECKING:
    from PIL import Image

    from referent.answers import Answer, Referent


def segment(
    photos: Annotated[
        list[Path], typer.Argument(help="Photos in any format that Pillow or HEIF reads.")
    ],
    expression: Annotated[str, typer.Argument(help="What to look for.")],
    also: Annotated[
        list[str] | None, typer.Option(help="Another expression; may be repeated.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="A model's name, a weights file, or an imported network's name.")
    ] = "rela-photo",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the pictures; default: PHOTO's name here, or `segment`."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for scripts; a list where several are asked.")
    ] = False,
    device: Device = "cpu",
) -> None:
    """Say whether photos show what expressions refer to, and where.

    Writes overlay.jpg, mask.png, minimap.png and regions.png (which regions answered, as the
    paper's Figure 7), for several photos or expressions into folders of their own. Exit status: 0
    when something is referred to in one of them, 1 when nothing is.
    """
    from referent.answers import Referent

    referent = Referent(model, device=device)
    expressions = [expression, *(also or [])]
    several = len(photos) * len(expressions) > 1
    told: list[dict[str, Any]] = []
    for number, photo in enumerate(photos, 1):
        image = referent.set_image(photo)
        for row, answer in enumerate(referent.ask(expressions), 1):
            folder = out or Path("segment" if several else f"{photo.stem}-segment")
            folder = folder / f"{number}-{photo.stem}-{row}" if several else folder
            write_pictures(image, answer, folder)
            told.append(as_told(referent, photo, answer, folder))
            if not as_json:
                say_answer(told[-1], named=several)
    if as_json:
        typer.echo(json.dumps(told if several else told[0]))
    if not any(row["target"] for row in told):
        sys.exit(1)


def write_pictures(image: Image.Image, answer: Answer, folder: Path) -> None:
    """Write what an answer looks like into a folder of ours."""
    from PIL import Image

    from indexer.folders.own_output import make_room
    from model.figure import heat, region_figure
    from search_api.show.overlay import draw_mask

    for name in ("overlay.jpg", "mask.png", "minimap.png", "regions.png"):
        make_room(folder, folder / name)
    draw_mask(image, answer.mask).save(folder / "overlay.jpg", quality=92)
    Image.fromarray(answer.mask).save(folder / "mask.png")
    heat(answer.minimap, 320).save(folder / "minimap.png")
    region_figure(image, answer.minimap, answer.region_masks).save(folder / "regions.png")


def as_told(referent: Referent, photo: Path, answer: Answer, folder: Path) -> dict[str, Any]:
    """An answer as JSON."""
    from search_api.search.coverage import reading_notes

    height, width = answer.mask.shape
    notes = reading_notes(referent.network.unread(answer.expression))
    return {
        "photo": str(photo),
        "expression": answer.expression,
        "model": referent.network.name,
        "p_no_target": round(answer.p_no_target, 4),
        "target": answer.target,
        "width": width,
        "height": height,
        "area": answer.area,
        "box": answer.box,
        "rle": answer.rle,
        "pictures": str(folder),
        "notes": [note.as_json() for note in notes],
    }


def say_answer(row: dict[str, Any], *, named: bool) -> None:
    """One answer as a line for a terminal, with notes on what was not read."""
    from referent.terminal import say

    found = f"box {row['box']}, {row['area']} pixels" if row["target"] else "nothing here"
    for note in row["notes"]:
        say(note["text"], err=True)
    about = f"{row['photo']}, {row['expression']!r}: " if named else ""
    p = f"p(no target) = {row['p_no_target']:.3f}"
    say(f"{about}{p}: {found}; pictures in {row['pictures']}/")


segment.epilog = (  # type: ignore[attr-defined]
    'Example: `referent segment beach.jpg "the girl with the red ball" --out answer/`, `referent '
    'segment a.jpg b.jpg "two dogs" --also "the cat" --json`'
)
