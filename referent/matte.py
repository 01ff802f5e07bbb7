"""`referent matte`: cut out every photo's match of an expression, into a folder or a zip."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from referent.terminal import SOME_FAILED, say

if TYPE_CHECKING:
    from indexer.jobs.jobs import JobView


def matte(
    expression: Annotated[str, typer.Argument(help="What to cut out, such as: kid in blue")],
    out: Annotated[Path, typer.Option(help="A folder, or a file that ends with .zip.")],
    album: Annotated[str | None, typer.Option(help="Look in this album only.")] = None,
    webp: Annotated[bool, typer.Option("--webp", help="WebP instead of PNG.")] = False,
    background: Annotated[
        str | None,
        typer.Option(help="A colour (white, #ff8000), a picture's file, or blur; else none."),
    ] = None,
    crop: Annotated[bool, typer.Option("--crop", help="Only the box of the match.")] = False,
    mask_only: Annotated[
        bool, typer.Option("--mask-only", help="Only alpha, as a grey PNG.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that exist; else they are skipped.")
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Confidence that counts as a match; else the calibrated."),
    ] = None,
    path: Annotated[
        str | None, typer.Option(metavar="GLOB", help="Only photos whose path matches.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Cut out every match of an expression, with soft edges and without the old background.

    Every photo of the album is verified. A second run does only what is missing. Leaves with
    status 0 when all is written, 1 when nothing matches, 2 on an error and 3 when some photos
    could not be cut out; manifest.json beside the cut-outs tells of each. Ctrl-C (status 130) keeps
    what is written.
    """
    from dataclasses import asdict

    from indexer.db.catalog import Catalog
    from indexer.jobs import jobs
    from indexer.jobs.failures import failures_of
    from indexer.settings import Settings
    from model.matting.cutout import BLUR
    from model.stopping import STOPPED, Stop
    from referent.progress import ProgressLine
    from referent.search import query_of
    from search_api.show.matte import Options
    from workers.inprocess import run_job
    from workers.logging import configure_logging

    given = Path(background) if background is not None and background != BLUR else None
    picture = str(given.resolve()) if given is not None and given.is_file() else None
    options = Options(
        "webp" if webp else "png",
        background if picture is None else None,
        picture,
        crop,
        mask_only,
        overwrite,
    )
    options.look()
    query = query_of(
        expression=expression,
        album=album,
        mode="exhaustive",
        threshold=threshold,
        filters={"path": path},
    )
    zipped = out.suffix.lower() == ".zip"
    folder = (out.parent / f".{out.name}.parts" if zipped else out).absolute()
    if zipped:
        _unpack(out, folder, None if overwrite else expression)
    settings = Settings()
    configure_logging(log_format="console", level="ERROR", file=settings.log_file)
    with Catalog.open(settings) as catalog, Stop() as stop:
        job = jobs.create(
            catalog,
            "matte",
            parameters={
                "query": query.model_dump(mode="json", exclude_defaults=True),
                "options": asdict(options),
                "out": str(folder),
            },
        )
        with ProgressLine(expression, quiet=as_json) as line:
            job = run_job(settings, catalog, job.id, should_stop=stop.asked, on_progress=line.job)
        failures = failures_of(catalog, job.id, limit=10_000)
    if stop.asked() and job.state != "done":
        raise typer.Exit(STOPPED)  # the same command goes on
    _check(job)
    result = dict(job.result or {})
    if zipped and result["matched"]:
        _pack(folder, out)
    elif zipped:
        shutil.rmtree(folder, ignore_errors=True)
    result |= {"out": str(out)}
    if as_json:
        listed = [{"photo": one.photo_id, "path": one.path, "reason": one.reason}
                  for one in failures]  # fmt: skip
        typer.echo(json.dumps({**result, "failures": listed}))
    else:
        _tell(result, failures)
    if not result["matched"]:
        raise typer.Exit(1)
    if result["failed"]:
        raise typer.Exit(SOME_FAILED)


matte.epilog = (  # type: ignore[attr-defined]
    'Example: `referent matte "kid in blue" --album holiday --out kid.zip`, '
    '`referent matte "the red car" --out cars --background white --crop`'
)


def _check(job: JobView) -> None:
    from indexer.errors import JobConflict

    if job.state == "failed":
        raise JobConflict(job.message or f"job {job.id} failed")
    if job.state != "done":
        raise JobConflict(
            f"job {job.id} is {job.state}; go on with: referent jobs resume {job.id}, or run the "
            "same command again"
        )


def _tell(result: dict[str, Any], failures: list[Any]) -> None:
    say(str(result["sentence"]))
    for note in result["notes"]:
        say(note, err=True)
    if result["matched"]:
        parts = [f"{result['written']:,} cut-outs in {result['out']}"]
        parts += [f"{result[name]:,} {name}" for name in ("failed", "skipped") if result[name]]
        say(", ".join(parts))
    for one in failures:
        say(f"{one.path or 'a photo that is gone'}: {one.reason}", err=True)


def _unpack(archive: Path, folder: Path, expression: str | None) -> None:
    """Lay out an earlier zip of this expression, so that only what is missing is made anew."""
    import zipfile

    from search_api.errors import SearchError
    from search_api.show.manifest import MANIFEST, read_entries, writing
    from search_api.show.matte import refuse_other_expression

    if folder.exists() or not archive.exists():
        return
    try:
        with zipfile.ZipFile(archive) as opened, writing(folder / MANIFEST):
            members = set(opened.namelist())
            if MANIFEST not in members:
                raise SearchError(f"{archive} exists and is no zip of cut-outs; choose another")
            opened.extract(MANIFEST, folder)
            if expression is not None:
                refuse_other_expression(folder, expression, shown=archive)
            for name in read_entries(folder):
                if name in members:
                    opened.extract(name, folder)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, (zipfile.BadZipFile, OSError)):
            raise SearchError(f"{archive} cannot be read ({error}); choose another file") from error
        raise


def _pack(folder: Path, archive: Path) -> None:
    """Make the zip of a folder, whole or not at all, and let the folder go."""
    import zipfile

    from model.replacing import replacing
    from search_api.show.archive import members
    from search_api.show.manifest import writing

    with (
        writing(archive),
        replacing(archive) as part,
        zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as made,
    ):
        for name, file in members(folder):
            made.write(file, name)
    shutil.rmtree(folder, ignore_errors=True)
