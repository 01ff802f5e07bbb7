"""``referent search``: one expression in, the photos that show it out, with masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from referent.loading import loading
from referent.narrowing import (
    Camera,
    FileType,
    Gps,
    Orientation,
    PathGlob,
    TakenBefore,
    TakenFrom,
    filters_of,
)
from referent.options import takes
from referent.terminal import SOME_FAILED, say

if TYPE_CHECKING:
    from http.client import HTTPConnection

    from indexer.settings import Settings
    from referent.search_output import Answer
    from search_api.search.decisions import Decision
    from search_api.search.engine import Engine
    from search_api.search.events import Done
    from search_api.search.query import Query
    from search_api.show.shown import ShownHit

DEFAULT_TOP = 20
# Hits on one page of the API.
PAGE_MOST = 100


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
    taken_from: TakenFrom = None
    taken_before: TakenBefore = None
    path: PathGlob = None
    camera: Camera = None
    orientation: Orientation = None
    gps: Gps = None
    file_type: FileType = None
    run: Annotated[
        str | None, typer.Option(metavar="ID", help="Among the matches of an earlier search.")
    ] = None
    here: Annotated[
        bool, typer.Option("--here", help="Search in this process, even where a server runs.")
    ] = False

    @property
    def lists_paths(self) -> bool:
        """Whether nothing but paths is printed."""
        return self.paths or self.print0


@takes(Asked)
def search(asked: Asked) -> None:
    """Find the photos that show what an expression refers to, and where in them it is.

    Where a server of this library runs on this machine, it is asked; the answer is the same.

    Leaves with status 0 when something matches, 1 when nothing does, 2 on an error and 3 when some
    of the photos could not be drawn with --out.
    """
    tell(asked, {**filters_of(asked), "run": asked.run})


search.epilog = (  # type: ignore[attr-defined]
    'Example: `referent search "kid in blue"`, '
    '`referent search "everyone except the man in white" --mode exhaustive --out found`, '
    '`referent search "dog AND NOT person"`, '
    '`referent search "dog" --path "2024/**" -0 | xargs -0 ls`'
)


def tell(asked: Asked, filters: dict[str, Any]) -> None:
    """Search and print what was found, in the form that was asked for.

    Args:
        filters: those of the query, in place of what `asked` says of them.
    Raises:
        typer.Exit: with 1 when nothing matches, 3 when some photos could not be drawn.
    """
    from indexer.settings import Settings
    from referent import search_output as output

    settings = Settings()
    options = {
        "expression": asked.expression,
        "album": asked.album,
        "mode": asked.mode,
        "candidates": asked.candidates,
        "threshold": asked.threshold,
        "rejected": asked.rejected,
        "verifier": asked.verifier,
        "seconds": asked.seconds,
        "filters": filters,
    }
    answer, failed = _by_server(settings, asked, options), 0
    if answer is None:
        answer, failed = _here(settings, asked, options)
    if asked.as_json:
        output.print_json(answer)
    elif asked.lists_paths:
        output.print_paths(answer, end=b"\0" if asked.print0 else b"\n")
    else:
        output.print_table(answer)
    if not answer.matched:
        raise typer.Exit(1)
    if failed:
        raise typer.Exit(SOME_FAILED)


def query_of(**values: Any) -> Query:
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


def _by_server(settings: Settings, asked: Asked, options: dict[str, Any]) -> Answer | None:
    """What the library's server answers; None where there is none, or it is not the one to ask.

    What takes long shows how far it is, and is left to `_here`, like whatever the server refuses.
    """
    from referent import serving

    short = asked.mode == "fast" and asked.verifier is None and 0 < asked.top <= PAGE_MOST
    if asked.here or asked.out is not None or not short:
        return None
    filters = {name: value for name, value in options["filters"].items() if value}
    given = {name: value for name, value in options.items() if value is not None}
    with serving.connected(settings) as server:
        if server is None:
            return None
        try:
            body = {**given, "filters": filters, "size": asked.top}
            page = serving.ask(server, "POST", "/v1/search", body)
            return _of_page(server, asked, page)
        except serving.NoAnswer:
            return None


def _of_page(server: HTTPConnection, asked: Asked, page: dict[str, Any]) -> Answer:
    """The API's answer, with what its page leaves out: masks, and where the files lie.

    Raises:
        NoAnswer.
    """
    from referent.search_output import Answer, Hit
    from referent.serving import ask

    run, hits = page["run"], []
    for hit in (*page["hits"], *page["rejected"]):
        number, photo, rle = hit["photo"]["id"], hit["photo"], None
        if asked.as_json or asked.lists_paths:
            photo = ask(server, "GET", f"/v1/photos/{number}?server_path=true")
        if asked.as_json and hit["accepted"]:
            rle = ask(server, "GET", f"/v1/search/{run['id']}/hits/{number}/mask.json")["rle"]
        hits.append(
            Hit(
                file=Path(photo["server_path"] or ""),
                rle=rle,
                photo=number,
                **{name: photo[name] for name in ("album", "path", "width", "height")},
                **{
                    name: hit[name]
                    for name in ("confidence", "accepted", "box", "area", "vanished")
                },
            )
        )
    same = ("expression", "mode", "verifier", "state", "coverage", "sentence", "at_threshold",
            "timings_ms", "notes")  # fmt: skip
    return Answer(run=run["id"], hits=hits, **{name: run[name] for name in same})


def _here(settings: Settings, asked: Asked, options: dict[str, Any]) -> tuple[Answer, int]:
    """Search in this process; the answer, and how many photos could not be drawn."""
    from referent.search_output import Answer, Hit

    with loading():
        from search_api.search.coverage import Stopwatch
        from search_api.search.engine import Engine
        from search_api.show.shown import show

    query = query_of(**options)
    with Engine.open(settings) as engine:
        done = _run(engine, query, quiet=asked.as_json or asked.lists_paths)
        run = done.run
        wanted = [*done.matched[: asked.top or None], *done.rejected]
        watch = Stopwatch()
        with watch.stage("render"):
            masks = not asked.lists_paths or asked.out is not None
            shown = show(engine, wanted, run.fingerprints, masks=masks)
        by_photo = {decision.photo_id: decision for decision in wanted}
        failed = 0
        if asked.out is not None:
            pairs = [(hit, by_photo[hit.photo.id]) for hit in shown]
            failed = _write(engine, asked.out, query, done, pairs, run.fingerprints)
    hits = [
        Hit(
            file=hit.photo.file,
            album=hit.photo.album,
            path=hit.photo.path,
            photo=hit.photo.id,
            width=hit.photo.width,
            height=hit.photo.height,
            confidence=hit.confidence,
            accepted=hit.accepted,
            box=hit.box,
            area=hit.area,
            rle=hit.mask.rle if asked.as_json and hit.mask is not None else None,
            vanished=hit.vanished,
        )
        for hit in shown
    ]
    answer = Answer(
        run=run.id,
        expression=query.expression,
        mode=query.mode,
        verifier=query.verifier,
        state=run.state,
        coverage=run.coverage.as_json(),
        sentence=run.coverage.sentence(),
        at_threshold=run.at_threshold,
        timings_ms={**run.timings, "render": watch.as_json()["render"]},
        notes=[note.as_json() for note in run.notes],
        hits=hits,
    )
    return answer, failed


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
