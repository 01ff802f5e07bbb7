"""``referent stats``: what the library holds, how large it is, and how long what grows is kept."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from referent.terminal import say


def stats(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show albums, features and their bytes, and what is kept for how long."""
    from indexer.db.catalog import Catalog
    from indexer.features.stats import library_stats
    from indexer.features.store import FeatureStore
    from indexer.settings import Settings
    from referent.index_output import stats_lines
    from search_api.search.retention import kept

    settings = Settings()
    with Catalog.open(settings) as catalog:
        found = library_stats(catalog, FeatureStore.open(settings, catalog))
        held = kept(catalog, settings)
    if as_json:
        typer.echo(
            json.dumps({**found.to_json(), "kept": [asdict(each) for each in held]}, indent=2)
        )
        return
    for line in stats_lines(found):
        say(line)
    for each in held:
        size = "" if each.bytes is None else f", {each.bytes / 1e6:,.1f} MB"
        say(f"{each.what}: {each.number:,}{size}; kept {each.rule}")


stats.epilog = "Example: `referent stats`, `referent stats --json`"  # type: ignore[attr-defined]
