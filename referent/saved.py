"""``referent saved``: searches that are kept under a name and told of new photos."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
from referent.search import DEFAULT_TOP, Asked, query_of, tell
from referent.terminal import say

if TYPE_CHECKING:
    from indexer.db.catalog import Catalog
    from search_api.search.runs import Run
    from search_api.search.saved import Saved

app = typer.Typer(
    help="Keep searches under names; photos that are indexed later are judged for each once.",
    epilog='Example: `referent saved add Rex "black dog on a beach" --album holidays`, '
    "`referent saved list`, `referent saved run Rex`, `referent saved remove Rex`",
    no_args_is_help=True,
)
Which = Annotated[str, typer.Argument(metavar="NAME", help="Its name, or its number.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@app.command("list", epilog="Example: `referent saved list`, `referent saved list --json`")
def list_(as_json: AsJson = False) -> None:
    """List the saved searches, what each found among new photos, and how its webhook fares."""
    from indexer.db.catalog import Catalog
    from indexer.settings import Settings
    from search_api.search import saved

    with Catalog.open(Settings()) as catalog:
        rows = [(each, saved.news(catalog, each)) for each in saved.everybodys(catalog)]
    if as_json:
        typer.echo(json.dumps({"saved": [_as_json(each, news) for each, news in rows]}, indent=2))
        return
    if not rows:
        say('nothing is saved yet; save a search with: referent saved add NAME "kid in blue"')
    for each, news in rows:
        found = sum(run.coverage.matched for run in news)
        say(f"{each.id:>4}  {each.name}  “{each.expression}” in {each.album or 'every album'}")
        if filters := each.filters.model_dump(mode="json", exclude_defaults=True):
            say(f"      where {json.dumps(filters)}")
        if each.key_id is not None:
            say(f"      of key {each.key_id}")
        say(f"      {found:,} new; feed: {_feed(each)}")
        if each.webhook is not None:
            say(f"      webhook {each.webhook}: {_fares(each)}")


@dataclass(frozen=True)
class Kept:
    """What `referent saved add` may be told."""

    name: Annotated[str, typer.Argument(help="The name to keep it under.")]
    expression: Annotated[str, typer.Argument(help="What to look for, such as: kid in blue")]
    album: Annotated[str | None, typer.Option(help="Look in this album only.")] = None
    taken_from: TakenFrom = None
    taken_before: TakenBefore = None
    path: PathGlob = None
    camera: Camera = None
    orientation: Orientation = None
    gps: Gps = None
    file_type: FileType = None
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="POST what new photos match to this address.")
    ] = None


@app.command(
    epilog='Example: `referent saved add Rex "black dog" --path "2024/**"`, '
    '`referent saved add door "person at a door" --webhook https://example.com/hook`'
)
@takes(Kept)
def add(kept: Kept) -> None:
    """Keep a search; photos that are indexed from now on are judged for it once."""
    from indexer.db import audit
    from indexer.db.catalog import Catalog
    from indexer.settings import Settings
    from search_api.search import saved
    from search_api.search.query import Asker

    query = query_of(expression=kept.expression, album=kept.album, filters=filters_of(kept))
    with Catalog.open(Settings()) as catalog:
        made = saved.save(
            catalog,
            name=kept.name,
            expression=query.expression,
            album=query.album,
            filters=query.filters,
            asker=Asker(),
            webhook=kept.webhook,
            actor=audit.at_the_command_line(),
        )
    say(f"saved {made.name} as number {made.id}; feed: {_feed(made)}")


@app.command(epilog="Example: `referent saved run Rex`, `referent saved run 3 --mode exhaustive`")
def run(
    which: Which,
    mode: Annotated[
        str, typer.Option(help="`fast` verifies the likeliest photos, `exhaustive` every one.")
    ] = "fast",
    top: Annotated[
        int, typer.Option("--top", "-t", min=0, help="Show so many hits; 0 shows all.")
    ] = DEFAULT_TOP,
    paths: Annotated[
        bool, typer.Option("--paths", help="Print only the files' paths, one a line.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Search with it now, among all photos; prints and leaves as `referent search` does."""
    from indexer.db.catalog import Catalog
    from indexer.settings import Settings

    with Catalog.open(Settings()) as catalog:
        found = _one(catalog, which)
    asked = Asked(found.expression, found.album, mode, top, paths, as_json=as_json)
    tell(asked, found.filters.model_dump(mode="json", exclude_defaults=True))


@app.command(epilog="Example: `referent saved remove Rex`")
def remove(which: Which) -> None:
    """Forget it, with what it found among new photos; no photo is touched."""
    from indexer.db.catalog import Catalog
    from indexer.settings import Settings
    from search_api.search import saved

    with Catalog.open(Settings()) as catalog:
        found = _one(catalog, which)
        saved.remove(catalog, found.id, found.key_id)
    say(f"removed {found.name}")


def _one(catalog: Catalog, which: str) -> Saved:
    """The saved search of a name or number.

    Raises:
        NotFound, BadQuery: several have the name.
    """
    from search_api.errors import BadQuery, NotFound
    from search_api.search import saved

    everyone = saved.everybodys(catalog)
    found = [each for each in everyone if each.name == which]
    found = found or [each for each in everyone if str(each.id) == which]
    if not found:
        raise NotFound(f"no saved search is named {which}: `referent saved list` has them")
    if len(found) > 1:
        numbers = ", ".join(str(each.id) for each in found)
        raise BadQuery(f"several are named {which}; give one's number: {numbers}")
    return found[0]


def _feed(kept: Saved) -> str:
    """Where a running server has its feed."""
    return f"/v1/saved/{kept.id}/feed.atom"


def _fares(kept: Saved) -> str:
    """What became of telling its webhook."""
    if kept.trouble is None:
        return "nothing told yet" if kept.told_at is None else f"told {_time(kept.told_at)}"
    again = "" if kept.again_at is None else f" Tried again from {_time(kept.again_at)}."
    return f"{kept.trouble}{again}"


def _time(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s).strftime("%Y-%m-%d %H:%M")


def _as_json(kept: Saved, news: list[Run]) -> dict[str, Any]:
    return {
        "id": kept.id,
        "name": kept.name,
        "expression": kept.expression,
        "album": kept.album,
        "filters": kept.filters.model_dump(mode="json", exclude_defaults=True),
        "key": kept.key_id,
        "feed": _feed(kept),
        "webhook": kept.webhook,
        "trouble": kept.trouble,
        "told_at": kept.told_at,
        "again_at": kept.again_at,
        "news": [
            {"run": run.id, "album": run.album, "matched": run.coverage.matched} for run in news
        ],
    }
