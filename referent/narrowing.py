"""Options that narrow the photos a command looks at; they never change what is decided of one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

TakenFrom = Annotated[
    str | None, typer.Option(metavar="DATE", help="Taken at or after: 2024-05-01[T12:00].")
]
TakenBefore = Annotated[
    str | None, typer.Option(metavar="DATE", help="Taken before: 2024-06-01[T12:00].")
]
PathGlob = Annotated[
    str | None, typer.Option(metavar="GLOB", help="Glob on the path: '2024/**', '*.heic'.")
]
Camera = Annotated[str | None, typer.Option(help="Part of the camera's name.")]
Orientation = Annotated[str | None, typer.Option(help="`landscape`, `portrait` or `square`.")]
Gps = Annotated[
    str | None, typer.Option(metavar="W,S,E,N", help="Taken inside this box, in degrees.")
]
FileType = Annotated[
    list[str] | None, typer.Option("--type", help="File type: JPEG, HEIF, PNG, ...")
]


def filters_of(asked: Any) -> dict[str, Any]:
    """The filters of a query.

    Args:
        asked: what a command was told; an attribute for each of these options.
    Raises:
        BadQuery: the box is none.
    """
    return {
        "taken_from": asked.taken_from,
        "taken_before": asked.taken_before,
        "path": asked.path,
        "camera": asked.camera,
        "orientation": asked.orientation,
        "gps": _box(asked.gps),
        "formats": asked.file_type or [],
    }


def _box(text: str | None) -> dict[str, float] | None:
    from search_api.errors import BadQuery

    if text is None:
        return None
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError as error:
        raise BadQuery(
            "--gps: give west,south,east,north in degrees, as in 8.3,47.1,8.7,47.5"
        ) from error
    return {"west": west, "south": south, "east": east, "north": north}
