"""The work of `referent index`: the albums of one command, one after another."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import typer
from sqlalchemy import select

from indexer.db.catalog import Catalog, album_named
from indexer.db.tables import Album
from indexer.encoding.alone import IndexReport, index_album
from indexer.features import maintenance, versions
from indexer.features.store import FeatureStore
from indexer.features.verify import verify
from indexer.folders.albums import check_folder, ensure_album, find_album, list_albums
from indexer.folders.watch import Only, watch_albums
from indexer.jobs.watching import ask_saved_searches
from indexer.settings import Settings
from model.predictor import Predictor
from model.stopping import Stop
from referent import index_output
from referent.progress import ProgressLine
from referent.terminal import of_another_model, say
from search_api.search import retention
from search_api.search.models import Models


@dataclass
class Run:
    """What the parts of one command share."""

    settings: Settings
    catalog: Catalog
    stop: Stop
    model: str | None = None
    """The model that was asked for; None leaves it to each album."""
    quiet: bool = False
    """Nothing for people on stdout, no progress."""
    confirm_deletions: bool = False
    retry_failed: bool = False
    models: Models = field(init=False)

    def __post_init__(self) -> None:
        self.models = Models(self.settings)

    def albums(
        self, folders: Sequence[Path], name: str | None, exclude: Sequence[str]
    ) -> list[str]:
        """Find or make the albums that are meant: of the folders, the named one, or all.

        Nothing is made before the folders and the model have proved to be there.

        Raises:
            FolderError, UnknownAlbum, UnknownModel, WeightsError.
        """
        places = [check_folder(folder) for folder in folders]
        with self.catalog.reading() as session:
            if not (places or exclude):
                return [each.name for each in list_albums(session, name)]
            known = find_album(session, places, name)
        if places:
            self.predictor(None if known is None else known.id)
        with self.catalog.session() as session:
            return [ensure_album(session, places, name=name, exclude=exclude).name]

    def predictor(self, album_id: int | None) -> Predictor:
        """Load the model that was asked for, else the one that the album is searched with.

        Raises:
            UnknownModel, WeightsError.
            ModelVersionMismatch: the album's own model is not to be found.
        """
        if self.model is not None:
            return self.models.named(self.model)
        serving = None if album_id is None else versions.serving(self.catalog, album_id)
        return self.models.that_made(serving)

    def index(self, album: str, only: Only | None = None) -> IndexReport:
        """Bring an album up to date and say how it stands; quietly where nothing was to do."""
        with self.catalog.reading() as session:
            album_id = album_named(session, album).id
        with ProgressLine(album, quiet=self.quiet) as line:
            report = index_album(
                self.settings,
                album,
                self.predictor(album_id),
                catalog=self.catalog,
                progress=partial(index_output.show, line),
                should_stop=self.stop.asked,
                confirm_deletions=self.confirm_deletions,
                retry_failed=self.retry_failed,
                only=only,
            )
        ask_saved_searches(self.catalog, album_id)
        if only is None or report.encoded or _changes(report):
            self._say(index_output.summary(report))
            if self.model is None:
                self._say(of_another_model(album, report.model, self.settings.model))
        return report

    def watch(self, albums: Sequence[str]) -> None:
        """Index what changes, until stopped; with --json, a line of JSON for each look."""
        say(f"watching {', '.join(albums)}; Ctrl-C ends it", err=True)
        for album, only in watch_albums(self.catalog, albums, stop=self.stop.event):
            report = self.index(album, only)
            if self.quiet:
                typer.echo(json.dumps(report.to_json()))
                sys.stdout.flush()

    def verify(self) -> dict[str, Any]:
        """Verify every feature, then encode again what was lost, each album with its own model."""
        store = FeatureStore.open(self.settings, self.catalog)
        with ProgressLine("features", quiet=self.quiet) as line:
            report = verify(
                self.catalog,
                store,
                progress=lambda done, total: line.count("verifying files", done, total),
                should_stop=self.stop.asked,
            )
        with self.catalog.reading() as session:
            albums = select(Album.id, Album.name).where(Album.id.in_(report.albums))
            names: dict[int, str] = {row[0]: row[1] for row in session.execute(albums)}
        again = 0
        for album_id, name in names.items():
            with ProgressLine(name, quiet=self.quiet) as line:
                again += index_album(
                    self.settings,
                    name,
                    self.predictor(album_id),
                    catalog=self.catalog,
                    progress=partial(index_output.show, line),
                    should_stop=self.stop.asked,
                    scan=False,
                ).encoded
        self._say(index_output.verified(report, again))
        return {
            "segments": report.segments,
            "rows": report.rows,
            "damaged": [{"path": path, "reason": reason} for path, reason in report.damaged],
            "photos": report.photos,
            "lost_rows": report.lost_rows,
            "encoded_again": again,
            "attached": report.attached,
        }

    def compact(self) -> dict[str, Any]:
        """Merge small segments."""
        store = FeatureStore.open(self.settings, self.catalog)
        merged = maintenance.compact(self.catalog, store, should_stop=self.stop.asked)
        self._say(
            [
                f"merged {merged.merged:,} feature files into {merged.made:,} "
                f"({merged.rows:,} rows, {merged.dropped:,} dropped)"
            ]
        )
        return merged.__dict__

    def collect(self) -> dict[str, Any]:
        """Remove rows and files that nothing needs."""
        store = FeatureStore.open(self.settings, self.catalog)
        forgotten = maintenance.forget_unneeded(self.catalog)
        removed = maintenance.collect(self.catalog, store)
        swept = retention.sweep(self.catalog, self.settings)
        kept = f", {removed.kept_for_readers} kept for readers" * bool(removed.kept_for_readers)
        self._say(
            [
                f"removed {removed.files:,} files ({removed.bytes / 1e6:,.1f} MB){kept}, "
                f"forgot {forgotten:,} rows that no photo needs"
                f"; removed {swept.folders:,} folders of deleted albums and old jobs, "
                f"{swept.jobs:,} jobs, {swept.runs:,} searches"
            ]
        )
        return {**removed.__dict__, "rows": forgotten, "swept": asdict(swept)}

    def _say(self, lines: Any) -> None:
        if not self.quiet:
            for line in lines:
                say(line)


def _changes(report: IndexReport) -> int:
    scan = report.scan
    return (
        0 if scan is None else scan.new + scan.changed + scan.moved + scan.missing + scan.unreadable
    )
