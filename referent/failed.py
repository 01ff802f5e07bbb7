"""``referent failed``: the photos that could not be indexed, with reasons, and another try."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from referent.terminal import say


def failed(
    album: Annotated[
        str | None, typer.Argument(help="Of this album; default: of every one.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="Only those whose reason holds these words.")
    ] = None,
    photo: Annotated[
        list[int] | None, typer.Option(help="Only this photo, by its number; may be repeated.")
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Try them afresh, however often they have failed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """List every photo that failed, with its number, path and reason; with --retry try them again.

    A retry writes an index job, which `referent serve` or a worker runs, or
    `referent index --album NAME`.
    """
    from sqlalchemy import select

    from indexer.db.catalog import Catalog
    from indexer.db.names import shown_path
    from indexer.db.tables import Album, Photo, Root
    from indexer.encoding.failed import failed_clause, retry_failed
    from indexer.folders.albums import list_albums
    from indexer.jobs import jobs
    from indexer.settings import Settings

    settings = Settings()
    with Catalog.open(settings) as catalog:
        with catalog.reading() as session:
            names = [each.name for each in list_albums(session, album)]
            albums = session.execute(select(Album.id, Album.name).where(Album.name.in_(names)))
            found = []
            for album_id, name in albums.all():
                query = (
                    select(Photo.id, Root.path, Photo.path, Photo.error)
                    .join(Root, Root.id == Photo.root_id)
                    .where(failed_clause(album_id, reason))
                    .order_by(Photo.id)
                )
                if photo:
                    query = query.where(Photo.id.in_(photo))
                found += [(album_id, name, *row) for row in session.execute(query)]
        rows = [
            {
                "album": name,
                "photo": number,
                "path": shown_path(path, root),
                "reason": error or "unknown",
            }
            for _, name, number, root, path, error in found
        ]
        started = []
        if retry:
            for album_id in sorted({row[0] for row in found}):
                ids = [row[2] for row in found if row[0] == album_id]
                retry_failed(catalog, album_id, photo_ids=ids)
                job = jobs.create(catalog, "index", album_id=album_id, width=settings.job_width)
                started.append(job.id)
    if as_json:
        typer.echo(json.dumps({"failed": rows, "jobs": started}, indent=2))
        return
    for row in rows:
        say(f"{row['photo']:>8}  {row['path']}: {row['reason']}")
    if not rows:
        typer.echo("no photo has failed")
    elif retry:
        numbers = ", ".join(f"#{number}" for number in started)
        typer.echo(f"{len(rows):,} photos are tried again by job {numbers}", err=True)


failed.epilog = (  # type: ignore[attr-defined]
    "Example: `referent failed holidays --reason megapixels`, `referent failed --photo 12 --retry`"
)
