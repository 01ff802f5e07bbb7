"""``referent index``: from folders of photos to a searchable album, and upkeep of the library."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from indexer.catalog import Catalog
    from indexer.ingest import IndexReport, Progress
    from indexer.settings import Settings
    from indexer.stats import Stats
    from model.predictor import Predictor

# With --watch the whole album is compared now and then: network mounts report no changes.
FULL_SCAN_S = 900.0
FAILURES_SHOWN = 20


def index(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Folders of photos; none: what is indexed already.")
    ] = None,
    album: Annotated[
        str | None, typer.Option(help="The album's name; default: the folder's.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model that encodes.")] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave out what a glob covers (raw, **/tmp/**).")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Stay, and keep the album current.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also photos that failed three times.")
    ] = False,
    confirm_deletions: Annotated[
        bool,
        typer.Option("--confirm-deletions", help="Believe it when over half of an album is gone."),
    ] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Show what the library holds.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read all features; encode damaged ones again.")
    ] = False,
    gc: Annotated[
        bool, typer.Option("--gc", help="Remove files that nothing needs any more.")
    ] = False,
    compact: Annotated[
        bool, typer.Option("--compact", help="Merge small feature files into large ones.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Index folders of photos, incrementally: only what is new or changed is encoded.

    Safe to interrupt at any time; the next run goes on where it stopped.
    """
    from indexer.catalog import Catalog
    from indexer.settings import Settings

    settings = Settings()
    stop = _Stop()
    upkeep = stats or verify or gc or compact
    with Catalog.open(settings) as catalog:
        names = _albums(catalog, paths or [], album, exclude or [])
        found: dict[str, Any] = {}
        if verify:
            found["verify"] = _verify(settings, catalog, model, stop, as_json)
        if paths or not upkeep:
            predictor = _load(settings, model)
            reports = []
            for name in names:
                if not stop.asked():
                    report = _index(
                        settings,
                        catalog,
                        name,
                        predictor,
                        stop,
                        as_json,
                        confirm_deletions,
                        retry_failed,
                    )
                    reports.append(report)
            found["albums"] = [report.to_json() for report in reports]
            if watch and not stop.asked():
                _watch(settings, catalog, names, predictor, stop, as_json)
        if compact or gc:
            found.update(_tidy(settings, catalog, compact=compact, gc=gc))
        if stats:
            found["stats"] = _stats(settings, catalog, as_json)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif not names and not upkeep:
        typer.echo("no albums yet; make one with: referent index FOLDER")
    if stop.asked():
        raise typer.Exit(130)


index.epilog = (  # type: ignore[attr-defined]
    "Example: `referent index ~/Photos`, `referent index ~/Photos --album family --exclude raw "
    "--watch`, `referent index --verify --gc`"
)


class _Stop:
    """Ctrl-C asks for a stop after the batch at hand; a second one ends at once."""

    def __init__(self) -> None:
        self._asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        if not self._asked:
            sys.stderr.write("\nstopping after this batch; what is finished is kept\n")
        self._asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def asked(self) -> bool:
        return self._asked


def _load(settings: Settings, model: str | None) -> Predictor:
    from model.build import load_predictor

    return load_predictor(model or settings.model, device=settings.device)


def _albums(
    catalog: Catalog, paths: list[Path], album: str | None, exclude: list[str]
) -> list[str]:
    """Make or find the albums that are meant: of the paths, the named one, or all."""
    from indexer.albums import ensure_album, list_albums

    if paths or album:
        with catalog.session() as session:
            return [ensure_album(session, paths, name=album, exclude=exclude).name]
    with catalog.reading() as session:
        return [each.name for each in list_albums(session)]


def _index(
    settings: Settings,
    catalog: Catalog,
    name: str,
    predictor: Predictor,
    stop: _Stop,
    as_json: bool,
    confirm_deletions: bool,
    retry_failed: bool,
    only: dict[int, list[bytes]] | None = None,
) -> IndexReport:
    from indexer.ingest import index_album

    with _progress(name, quiet=as_json) as tell:
        report = index_album(
            settings,
            name,
            predictor,
            catalog=catalog,
            progress=tell,
            should_stop=stop.asked,
            confirm_deletions=confirm_deletions,
            retry_failed=retry_failed,
            only=only,
        )
    if not as_json and (only is None or report.encoded or _changes(report)):
        typer.echo("\n".join(_summary(report)))
    return report


class _progress:  # noqa: N801 - used like a function
    """A progress line on stderr: phase, photos, rate, time left."""

    def __init__(self, name: str, *, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bar

        self.bar = Bar(
            TextColumn("{task.fields[phase]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            console=Console(stderr=True),
            disable=quiet or not sys.stderr.isatty(),
            transient=True,
        )
        self.plain = not quiet and not sys.stderr.isatty()
        self.name = name
        self.task = self.bar.add_task("", total=None, phase=f"{name}: scanning", speed="")
        self.told = time.monotonic()

    def __enter__(self) -> Callable[[Progress], None]:
        self.bar.start()
        return self._tell

    def __exit__(self, *exception: object) -> None:
        self.bar.stop()

    def _tell(self, at: Progress) -> None:
        speed = f"{at.rate:.1f} photos/s" if at.rate else ""
        if at.left_s is not None and at.rate:
            speed += f", {_duration(at.left_s)} left"
        if at.failed:
            speed += f", {at.failed} failed"
        phase = {"scan": "scanning", "encode": "encoding", "finish": "finishing"}[at.phase]
        total = at.total if at.phase == "encode" else None
        self.bar.update(
            self.task,
            phase=f"{self.name}: {phase}",
            completed=at.done,
            total=total,
            speed=speed,
        )
        now = time.monotonic()
        if self.plain and at.phase == "encode" and at.rate and now - self.told >= 5.0:
            self.told = now
            sys.stderr.write(f"{self.name}: {at.done:,} of {at.total:,} photos, {speed}\n")


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _changes(report: IndexReport) -> int:
    scan = report.scan
    return 0 if scan is None else scan.new + scan.changed + scan.moved + scan.missing


def _summary(report: IndexReport) -> list[str]:
    """Return the lines that end a run: one of figures, then what needs a person."""
    scan = report.scan
    parts = [f"{report.indexed:,} indexed"]
    if report.failed:
        parts.append(f"{report.failed:,} failed")
    if report.waiting:
        parts.append(f"{report.waiting:,} left for the next run")
    details = [f"{report.encoded:,} encoded"]
    if scan is not None:
        for number, what in (
            (scan.unchanged, "unchanged"),
            (scan.changed, "changed"),
            (scan.moved, "moved"),
            (scan.missing, "gone"),
        ):
            if number:
                details.append(f"{number:,} {what}")
    if report.duplicates:
        details.append(f"{report.duplicates:,} duplicates")
    rate = f", {report.encoded / report.seconds:.1f} photos/s" if report.encoded else ""
    lines = [
        f"{report.album}: {', '.join(parts)} of {report.total:,} photos "
        f"({', '.join(details)}) in {_duration(report.seconds)}{rate}"
    ]
    if report.activated:
        lines.append(f"  {report.album} is searched with {report.model} from now on")
    for path, reason in report.failures[:FAILURES_SHOWN]:
        lines.append(f"  failed: {path} {reason}")
    if len(report.failures) > FAILURES_SHOWN:
        lines.append(f"  and {len(report.failures) - FAILURES_SHOWN:,} more failures; see --json")
    if scan is not None:
        known = {path for path, _ in report.failures}
        lines += [
            f"  not read: {path} {reason}"
            for path, reason in scan.errors[:FAILURES_SHOWN]
            if not any(path.endswith(each) for each in known)
        ]
        lines += [
            f"  offline: {path} {reason}; its photos are kept" for path, reason in scan.offline
        ]
        if scan.question:
            lines.append(f"  {scan.question}")
    return lines


def _verify(
    settings: Settings, catalog: Catalog, model: str | None, stop: _Stop, as_json: bool
) -> dict[str, Any]:
    """Verify every feature, then encode again what was lost, each album with its own model."""
    from sqlalchemy import select

    from indexer import versions
    from indexer.ingest import index_album
    from indexer.store import FeatureStore
    from indexer.tables import Album
    from indexer.verify import verify

    store = FeatureStore.open(settings, catalog)
    report = verify(catalog, store, should_stop=stop.asked)
    again = 0
    with catalog.reading() as session:
        albums = select(Album.id, Album.name).where(Album.id.in_(report.albums))
        names: dict[int, str] = {row[0]: row[1] for row in session.execute(albums)}
    for album_id, name in names.items():
        version = versions.serving(catalog, album_id)
        predictor = _load(settings, version.model if version else model)
        again += index_album(
            settings, name, predictor, catalog=catalog, should_stop=stop.asked, scan=False
        ).encoded
    if not as_json:
        typer.echo(
            f"verified {report.segments:,} segments with {report.rows:,} rows: "
            f"{len(report.damaged)} damaged, {report.lost_rows} rows lost, {again} photos encoded "
            f"again, {report.attached} rows attached"
        )
        for path, reason in report.damaged:
            typer.echo(f"  damaged: {path} {reason}")
        for path in report.photos:
            typer.echo(f"  encoded again: {path}")
    return {
        "segments": report.segments,
        "rows": report.rows,
        "damaged": [{"path": path, "reason": reason} for path, reason in report.damaged],
        "photos": report.photos,
        "lost_rows": report.lost_rows,
        "encoded_again": again,
        "attached": report.attached,
    }


def _tidy(settings: Settings, catalog: Catalog, *, compact: bool, gc: bool) -> dict[str, Any]:
    from indexer import maintenance
    from indexer.store import FeatureStore

    store = FeatureStore.open(settings, catalog)
    found: dict[str, Any] = {}
    if compact:
        merged = maintenance.compact(catalog, store)
        found["compact"] = merged.__dict__
        typer.echo(
            f"merged {merged.merged:,} feature files into {merged.made:,} ({merged.rows:,} rows, "
            f"{merged.dropped:,} dropped)",
            err=True,
        )
    if gc:
        forgotten = maintenance.forget_unneeded(catalog)
        collected = maintenance.collect(catalog, store)
        found["gc"] = {**collected.__dict__, "rows": forgotten}
        kept = f", {collected.kept_for_readers} kept for readers" * bool(collected.kept_for_readers)
        typer.echo(
            f"removed {collected.files:,} files ({collected.bytes / 1e6:,.1f} MB){kept}", err=True
        )
    return found


def _stats(settings: Settings, catalog: Catalog, as_json: bool) -> dict[str, Any]:
    from indexer.stats import library_stats
    from indexer.store import FeatureStore

    stats = library_stats(catalog, FeatureStore.open(settings, catalog))
    if not as_json:
        typer.echo("\n".join(_stats_lines(stats)))
    return stats.to_json()


def _stats_lines(stats: Stats) -> Iterator[str]:
    for album in stats.albums:
        yield (
            f"{album['name']}: {album['photos']:,} photos, {album['indexed']:,} indexed, "
            f"{album['failed']:,} failed, {album['new']:,} waiting, "
            f"{album['duplicates']:,} duplicates, {album['missing']:,} missing"
        )
    for version in stats.versions:
        yield f"version {version['version']}: {version['album']} with {version['model']}, " + (
            f"{version['state']}"
        )
    for tier in stats.tiers:
        each = f"{tier.bytes_a_photo:,.0f} bytes a photo" if tier.bytes_a_photo else "no rows"
        yield (
            f"{tier.tier:8} {tier.fingerprint}: {tier.rows:,} rows in {tier.segments:,} files, "
            f"{tier.bytes / 1e6:,.1f} MB, {each} ({tier.model})"
        )
    line = f"prefilter {stats.faiss_bytes / 1e6:,.1f} MB"
    if stats.database_bytes is not None:
        line += f", database {stats.database_bytes / 1e6:,.1f} MB"
    yield f"{line}, {stats.leftover_segments} leftover files"


def _watch(
    settings: Settings,
    catalog: Catalog,
    names: list[str],
    predictor: Predictor,
    stop: _Stop,
    as_json: bool,
) -> None:
    """Index what changes, until stopped."""
    import threading

    from sqlalchemy import select
    from watchfiles import watch

    from indexer.tables import Album, Root

    with catalog.reading() as session:
        roots = [
            (album, root_id, path)
            for album, root_id, path in session.execute(
                select(Album.name, Root.id, Root.path)
                .join(Album, Album.id == Root.album_id)
                .where(Album.name.in_(names))
            )
        ]
    folders = [os.fsdecode(path) for _, _, path in roots if Path(os.fsdecode(path)).is_dir()]
    over = threading.Event()
    scanned = time.monotonic()
    sys.stderr.write(f"watching {', '.join(folders)}; Ctrl-C ends it\n")
    for changes in watch(
        *folders,
        stop_event=over,
        debounce=1600,
        rust_timeout=1000,
        yield_on_timeout=True,
        raise_interrupt=False,
        watch_filter=None,
    ):
        if stop.asked():
            over.set()
            return
        full = time.monotonic() - scanned > FULL_SCAN_S
        by_album: dict[str, dict[int, list[bytes]]] = {}
        for _, changed in changes:
            path = os.fsencode(changed)
            for album, root_id, root in roots:
                if path.startswith(root + b"/"):
                    below = by_album.setdefault(album, {}).setdefault(root_id, [])
                    below.append(path[len(root) + 1 :])
        for name in names:
            if full or name in by_album:
                only = None if full else by_album[name]
                _index(settings, catalog, name, predictor, stop, as_json, False, False, only)
        if full:
            scanned = time.monotonic()
