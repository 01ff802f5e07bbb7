"""``referent search``: one expression in, the photos that show it out, with masks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from referent.options import takes
from referent.terminal import SOME_FAILED, say, write_paths

if TYPE_CHECKING:
    from search_api.search.decisions import Decision
    from search_api.search.engine import Engine
    from search_api.search.events import Done
    from search_api.search.query import Query
    from search_api.show.shown import ShownHit

DEFAULT_TOP = 20


@dataclass(frozen=True)
class Asked:
    """What `referent search` may be told."""

    expression: Annotated[str, typer.Argument(help="What to look for, such as: kid in blue")]
    album: Annotated[str | None, typer.Option(help="Look in this album only.")] = None
    mode: Annotated[
        str,
        typer.Option(help="`fast` verifies the likeliest photos, `exhaustive` every one."),
    ] = "fast"
    top: Annotated[
        int, typer.Option("--top", "-t", min=0, help="Show so many hits; 0 shows all.")
    ] = DEFAULT_TOP
    paths: Annotated[
        bool, typer.Option("--paths", help="Print only the files' paths, one a line.")
    ] = False
    print0: Annotated[
        bool,
        typer.Option("--print0", "-0", help="Print only the paths, each ended by NUL (xargs -0)."),
    ] = False
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False
    out: Annotated[
        Path | None, typer.Option(help="Write overlays, masks and a contact sheet here.")
    ] = None
    rejected: Annotated[
        int,
        typer.Option(min=0, max=200, help="Also show so many of the nearest that did not match."),
    ] = 0
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Confidence that counts as a match; else the calibrated."),
    ] = None
    candidates: Annotated[
        int, typer.Option(min=1, max=5000, help="How many photos the fast mode verifies.")
    ] = 200
    verifier: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Let a released network verify the candidates: rela-official-tiny or -base.",
        ),
    ] = None
    seconds: Annotated[
        float | None,
        typer.Option(min=0.001, max=86_400, help="Stop after so long with what was verified."),
    ] = None
    taken_from: Annotated[
        str | None, typer.Option(metavar="DATE", help="Taken at or after: 2024-05-01[T12:00].")
    ] = None
    taken_before: Annotated[
        str | None, typer.Option(metavar="DATE", help="Taken before: 2024-06-01[T12:00].")
    ] = None
    path: Annotated[
        str | None, typer.Option(metavar="GLOB", help="Glob on the path: '2024/**', '*.heic'.")
    ] = None
    camera: Annotated[str | None, typer.Option(help="Part of the camera's name.")] = None
    orientation: Annotated[
        str | None, typer.Option(help="`landscape`, `portrait` or `square`.")
    ] = None
    gps: Annotated[
        str | None, typer.Option(metavar="W,S,E,N", help="Taken inside this box, in degrees.")
    ] = None
    file_type: Annotated[
        list[str] | None, typer.Option("--type", help="File type: JPEG, HEIF, PNG, ...")
    ] = None
    run: Annotated[
        str | None, typer.Option(metavar="ID", help="Among the matches of an earlier search.")
    ] = None


@takes(Asked)
def search(asked: Asked) -> None:
    """Find the photos that show what an expression refers to, and where in them it is.

    Leaves with status 0 when something matches, 1 when nothing does, 2 on an error and 3 when some
    of the photos could not be drawn with --out.
    """
    from indexer.settings import Settings
    from search_api.search.coverage import Stopwatch
    from search_api.search.engine import Engine
    from search_api.show.shown import show

    query = _query(
        expression=asked.expression,
        album=asked.album,
        mode=asked.mode,
        candidates=asked.candidates,
        threshold=asked.threshold,
        rejected=asked.rejected,
        verifier=asked.verifier,
        seconds=asked.seconds,
        filters={
            "taken_from": asked.taken_from,
            "taken_before": asked.taken_before,
            "path": asked.path,
            "camera": asked.camera,
            "orientation": asked.orientation,
            "gps": _gps(asked.gps),
            "formats": asked.file_type or [],
            "run": asked.run,
        },
    )
    paths = asked.paths or asked.print0
    engine = Engine.open(Settings())
    try:
        done = _run(engine, query, quiet=asked.as_json or paths)
        wanted = [*done.matched[: asked.top or None], *done.rejected]
        watch = Stopwatch()
        with watch.stage("render"):
            fingerprints = done.run.fingerprints
            shown = show(engine, wanted, fingerprints, masks=not paths or asked.out is not None)
        timings = {**done.run.timings, "render": watch.as_json()["render"]}
        by_photo = {decision.photo_id: decision for decision in wanted}
        failed = 0
        pairs = [(hit, by_photo[hit.photo.id]) for hit in shown]
        if asked.out is not None:
            failed = _write(engine, asked.out, query, done, pairs, fingerprints)
        if asked.as_json:
            typer.echo(json.dumps(_as_json(query, done, pairs, timings), ensure_ascii=True))
        elif paths:
            files = [hit.photo.file for hit in shown if hit.accepted]
            write_paths(files, end=b"\0" if asked.print0 else b"\n")
        else:
            _print_table(query, done, shown)
        if paths:
            said = [note.text for note in done.run.notes]
            for line in said if done.matched else (done.coverage.sentence(), *said):
                typer.echo(line, err=True)
    finally:
        engine.close()
    if not done.matched:
        raise typer.Exit(1)
    if failed:
        raise typer.Exit(SOME_FAILED)


search.epilog = (  # type: ignore[attr-defined]
    'Example: `referent search "kid in blue"`, '
    '`referent search "everyone except the man in white" --mode exhaustive --out found`, '
    '`referent search "dog AND NOT person"`, '
    '`referent search "dog" --path "2024/**" -0 | xargs -0 ls`'
)


def _query(**values: Any) -> Query:
    """A query out of the options; what cannot be used is named like the option.

    Raises:
        BadQuery: the first thing that is wrong.
    """
    from pydantic import ValidationError

    from search_api.errors import BadQuery
    from search_api.search.query import Query

    try:
        return Query.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        names = [str(part) for part in first["loc"] if part != "filters"]
        option = "--" + names[0].replace("_", "-") if names else "the options"
        option = {"--expression": "the expression", "--formats": "--type"}.get(option, option)
        message = str(first["msg"]).removeprefix("Value error, ")
        if option == "the expression":
            message = "give up to 300 characters with a letter or digit, such as: kid in blue"
        raise BadQuery(f"{option}: {message}") from error


def _gps(text: str | None) -> dict[str, float] | None:
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


def _run(engine: Engine, query: Query, *, quiet: bool) -> Done:
    """Search to the end, with a line of progress on stderr."""
    from referent.progress import ProgressLine
    from search_api.search import pipeline
    from search_api.search.events import Done, Progress

    helpers = None
    if engine.settings.judge_workers:
        from workers.judging import Workers

        helpers = Workers(engine.settings)
    with ProgressLine("search", quiet=quiet) as line:
        line.count("reading the index", 0, None)
        for event in pipeline.search(engine, query, streaming=False, helpers=helpers):
            if isinstance(event, Done):
                return event
            if isinstance(event, Progress):
                at = event.coverage
                line.count("verifying", at.verified, at.prefiltered, f"{at.matched:,} match")
    raise AssertionError("a search ends with Done")


def _write(
    engine: Engine,
    folder: Path,
    query: Query,
    done: Done,
    pairs: list[tuple[ShownHit, Decision]],
    fingerprints: dict[str, str],
) -> int:
    """Write the folder; how many photos could not be drawn."""
    from search_api.show.folder import write_folder

    written = write_folder(engine, folder, query.expression, done.coverage, pairs, fingerprints)
    typer.echo(
        f"wrote {len(written.overlays)} overlays, {len(written.masks)} masks and {written.sheet}",
        err=True,
    )
    for path, reason in written.failures:
        say(f"not drawn: {path}: {reason}", err=True)
    return len(written.failures)


def _as_json(
    query: Query,
    done: Done,
    pairs: list[tuple[ShownHit, Decision]],
    timings: dict[str, float],
) -> dict[str, Any]:
    from indexer.folders.printable import shown_file

    def out(hit: ShownHit) -> dict[str, Any]:
        return {
            "path": shown_file(hit.photo.file),
            "album": hit.photo.album,
            "photo": hit.photo.id,
            "width": hit.photo.width,
            "height": hit.photo.height,
            "confidence": hit.confidence,
            "box": hit.box,
            "area": hit.area,
            "rle": hit.mask.rle if hit.mask is not None else None,
            "vanished": hit.vanished,
        }

    return {
        "run": done.run_id,
        "expression": query.expression,
        "mode": query.mode,
        "verifier": query.verifier,
        "state": done.run.state,
        "coverage": done.coverage.as_json(),
        "sentence": done.coverage.sentence(),
        "at_threshold": done.run.at_threshold,
        "timings_ms": timings,
        "notes": [note.as_json() for note in done.run.notes],
        "hits": [out(hit) for hit, _ in pairs if hit.accepted],
        "rejected": [out(hit) for hit, _ in pairs if not hit.accepted],
    }


def _print_table(query: Query, done: Done, shown: list[ShownHit]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from indexer.folders.printable import printable

    console = Console()
    several = len({hit.photo.album for hit in shown}) > 1
    for accepted in (True, False):
        hits = [hit for hit in shown if hit.accepted is accepted]
        if not hits:
            continue
        title = None if accepted else "Nearest photos that did not match"
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        table.add_column("photo", overflow="fold", style=None if accepted else "dim")
        table.add_column("confidence", justify="right", style="bold" if accepted else "dim")
        table.add_column("box x, y, w, h" if accepted else "", justify="right", style="dim")
        for hit in hits:
            name = f"{hit.photo.album}/{hit.photo.path}" if several else hit.photo.path
            if hit.vanished:
                name += " (file is gone)"
            box = ", ".join(str(v) for v in hit.box) if hit.box else "" if accepted else "rejected"
            table.add_row(escape(printable(name)), f"{hit.confidence:.3f}", box)
        console.print(table)
    more = len(done.matched) - sum(hit.accepted for hit in shown)
    if more > 0:
        console.print(f"[dim]... and {more:,} more; --top 0 shows all[/]")
    judge = f"by {query.verifier}, " if query.verifier else ""
    took = f"[dim]{judge}{done.run.timings['total']:,.0f} ms[/]"
    console.print(f"{escape(done.coverage.sentence())} {took}")
    if done.coverage.verified and done.run.at_threshold:
        console.print(f"[dim]{_at_other_thresholds(done)}[/]")
    for note in done.run.notes:
        console.print(f"[yellow]{escape(printable(note.text))}[/]")


def _at_other_thresholds(done: Done) -> str:
    at = done.run.at_threshold
    return f"with --threshold 0.3: {at['0.3']:,}; with --threshold 0.9: {at['0.9']:,}"
