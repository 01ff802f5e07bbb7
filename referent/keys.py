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
    "`referent keys revoke 3`",
    no_args_is_help=True,
)


@app.command(epilog="Example: `referent keys create phone --scope read`")
def create(
    name: Annotated[str, typer.Argument(help="Whom or what the key is for.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="`read`, `write` (reads too) or `admin` (everything)."),
    ] = None,
) -> None:
    """Make a key and print it; it cannot be shown again."""
    from indexer.db.catalog import Catalog
    from indexer.settings import Settings
    from search_api.http.keys import create_key

    with Catalog.open(Settings()) as catalog:
        key = create_key(catalog, name, scope or ["read"])
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
        used = f"used {_day(key.last_used_at)}" if key.last_used_at else "never used"
        state = f"revoked {_day(key.revoked_at)}" if key.revoked_at else used
        say(f"{key.id:>4}  {key.name:<24} {','.join(key.scopes):<12} {state}")


@app.command(epilog="Example: `referent keys revoke 3`")
def revoke(key_id: Annotated[int, typer.Argument(help="Its number, from the list.")]) -> None:
    """Make a key useless from now on, and the sessions that it opened."""
    from indexer.db.catalog import Catalog
    from indexer.settings import Settings
    from search_api.http.keys import revoke_key

    with Catalog.open(Settings()) as catalog:
        key = revoke_key(catalog, key_id)
    say(f"revoked key {key.id} ({key.name})")


def _day(when: float | None) -> str:
    return datetime.fromtimestamp(when or 0).strftime("%Y-%m-%d %H:%M")
