"""``referent keys``: make, list and revoke keys of the HTTP API."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from referent.terminal import say

app = typer.Typer(
    help="Make, list and revoke keys of the HTTP API.",
    epilog="Example: `referent keys create phone --scope read`, `referent keys list`, "
    "`referent keys revoke 3`, `referent keys audit`",
    no_args_is_help=True,
)


@app.command(
    epilog="Example: `referent keys create phone --scope read`, `referent keys create ann --scope "
    "write --album holidays --days 365`"
)
def create(
    name: Annotated[str, typer.Argument(help="Whom or what the key is for.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="`read`, `write` (reads too) or `admin` (everything)."),
    ] = None,
    album: Annotated[
        list[str] | None,
        typer.Option(help="An album that it may see, and no others; give it again for more."),
    ] = None,
    days: Annotated[float | None, typer.Option(help="It ends after so many days.")] = None,
) -> None:
    """Make a key and print it; it cannot be shown again."""
    from indexer.db.catalog import Catalog
    from indexer.settings import Settings
    from search_api.http.keys import create_key

    with Catalog.open(Settings()) as catalog:
        key = create_key(catalog, name, scope or ["read"], albums=album, days=days)
    say(key)
    say("keep it: only a hash of it is stored", err=True)


@app.command("list", epilog="Example: `referent keys list --json`")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the keys; what is secret in them is not kept."""
    from indexer.db.catalog import Catalog
    from indexer.settings import Settings
    from search_api.http.keys import list_keys

    with Catalog.open(Settings()) as catalog:
        found = list_keys(catalog)
    if as_json:
        typer.echo(json.dumps([asdict(key) for key in found], indent=2))
        return
    if not found:
        say("no keys yet; make one with: referent keys create NAME --scope read")
    for key in found:
        state = f"used {_day(key.last_used_at)}" if key.last_used_at else "never used"
        if key.revoked_at:
            state = f"revoked {_day(key.revoked_at)}"
        elif key.expires_at:
            state += f", ends {_day(key.expires_at)}"
        albums = "" if key.albums is None else f"  only {', '.join(key.albums) or 'deleted albums'}"
        say(f"{key.id:>4}  {key.name:<24} {','.join(key.scopes):<12} {state}{albums}")


@app.command(epilog="Example: `referent keys rotate 3 --hours 24`")
def rotate(
    key_id: Annotated[int, typer.Argument(help="Its number, from the list.")],
    hours: Annotated[
        float, typer.Option(min=0, help="How long the old secret still works beside the new one.")
    ] = 0.0,
) -> None:
    """Give a key another secret and print it; its rights and its history stay."""
    from indexer.db.catalog import Catalog
    from indexer.settings import Settings
    from search_api.http.keys import rotate_key

    with Catalog.open(Settings()) as catalog:
        key = rotate_key(catalog, key_id, hours=hours)
    say(key)
    say("keep it: only a hash of it is stored", err=True)


@app.command(epilog="Example: `referent keys revoke 3`")
def revoke(key_id: Annotated[int, typer.Argument(help="Its number, from the list.")]) -> None:
    """Make a key useless from now on, and the sessions that it opened."""
    from indexer.db.catalog import Catalog
    from indexer.settings import Settings
    from search_api.http.keys import revoke_key

    with Catalog.open(Settings()) as catalog:
        key = revoke_key(catalog, key_id)
    say(f"revoked key {key.id} ({key.name})")


@app.command(epilog="Example: `referent keys audit --last 20`, `referent keys audit --json`")
def audit(
    last: Annotated[int, typer.Option(min=1, help="How many lines, the newest.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell who signed in, changed keys, and deleted albums, folders and searches."""
    from indexer.db import audit as audits
    from indexer.db.catalog import Catalog
    from indexer.settings import Settings

    with Catalog.open(Settings()) as catalog:
        found = audits.lines(catalog, limit=last)
    if as_json:
        typer.echo(json.dumps([asdict(line) for line in found], indent=2))
        return
    for line in found:
        say(f"{_day(line.at)}  {line.action:<16} {line.what}  by {line.who}")


def _day(when: float | None) -> str:
    return datetime.fromtimestamp(when or 0).strftime("%Y-%m-%d %H:%M")
