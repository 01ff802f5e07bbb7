"""Make a backup while the library serves.

Order: readers' mark, so that no segment of the catalog's version goes away; the catalog, in one
transaction; then the files that this catalog names. A photo's file is there before its row, so
what came later is merely not in the backup, and what was deleted meanwhile is told.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from indexer.backup.archive import JOURNAL, Archive, Manifest, line_of
from indexer.backup.files import digest_of, found_files
from indexer.backup.rows import copy_rows, quiet
from indexer.db.catalog import Catalog
from indexer.db.tables import OwnFolder, Photo, Root, Segment
from indexer.features.store import FeatureStore
from indexer.settings import Settings

Progress = Callable[[str, int, int | None], None]
"""What is being done, how much of it is done, and of how much (bytes or rows)."""


@dataclass
class Backup:
    """What a backup holds, and what it took."""

    rows: int = 0
    files: int = 0
    bytes: int = 0
    copied_files: int = 0
    copied_bytes: int = 0
    gone: list[str] = field(default_factory=list)
    """Files that the catalog names and that are not there (any more)."""


def back_up(
    catalog: Catalog,
    settings: Settings,
    folder: Path,
    *,
    features: bool = True,
    progress: Progress = lambda what, done, total: None,
) -> Backup:
    """Write a whole backup into a folder, or finish one that was cut off; files are reused.

    Args:
        features: whether to copy what can be encoded again from the photos.
    Raises:
        BackupUnusable: the folder is something else, or in use.
        OSError: the disk is full or cannot be written; what was copied is kept for the next run.
    """
    archive = Archive(folder)
    report = Backup()
    store = FeatureStore.open(settings, catalog)
    with archive.writing(), store.lock_reader():
        known = archive.known()
        copied = folder / f"catalog-{secrets.token_hex(6)}.sqlite"
        report.rows = copy_catalog(
            catalog, copied, progress=lambda rows: progress("rows", rows, None)
        )
        named = read_names(copied, features=features)
        found = list(found_files(settings, named.segments, named.own))
        total = sum(each.size for each in found)
        journal = folder / JOURNAL
        kept = []
        with journal.open("a", encoding="utf-8") as lines:
            lines.write("\n")  # the line before may have been cut short
            for each in found:
                before = known.get((each.place, each.path))
                try:
                    taken = archive.take(each, before)
                except FileNotFoundError:  # deleted since it was listed
                    continue
                if taken is not before:
                    report.copied_files += 1
                    report.copied_bytes += taken.size
                    lines.write(line_of(taken))
                    lines.flush()
                kept.append(taken)
                report.bytes += each.size
                progress("bytes", report.bytes, total)
        report.files = len(kept)
        have = {(each.place, each.path) for each in kept}
        report.gone = sorted(f"{place}/{path}" for place, path in named.files - have)
        listed = folder / f"files-{secrets.token_hex(6)}.jsonl"
        listed.write_text("".join(map(line_of, kept)), "utf-8")
        archive.finish(
            Manifest(
                made_at=time.time(),
                catalog=copied.name,
                catalog_digest=digest_of(copied),
                files=listed.name,
                files_digest=digest_of(listed),
                features=features,
                uploads=os.fsencode(settings.uploads_dir.resolve()).hex(),
                rows=report.rows,
            )
        )
    return report


def copy_catalog(
    catalog: Catalog, path: Path, *, progress: Callable[[int], None] = lambda rows: None
) -> int:
    """Write one version of a catalog, without leases, as an SQLite file; returns its rows."""
    with Catalog.open(f"sqlite:///{path}") as copied:
        with catalog.snapshot() as source, copied.session() as target:
            rows = copy_rows(source.connection(), target.connection(), progress)
        quiet(copied)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")  # one file, nothing beside it
    path.chmod(0o600)
    return rows


@dataclass(frozen=True)
class Named:
    """What a catalog names of a library's files."""

    segments: list[str]
    own: list[tuple[str, str]]
    """Kind and name of the folders that the library made."""
    files: set[tuple[str, str]]
    """Place and path of each file whose absence is a loss: segments and uploaded photos."""


def read_names(path: Path, *, features: bool) -> Named:
    """Read from a catalog's SQLite file what it names."""
    with Catalog(f"sqlite:///{path}") as copied, copied.reading() as session:
        segments = list(session.scalars(select(Segment.path))) if features else []
        own = session.execute(
            select(OwnFolder.kind, OwnFolder.name)
            .where(OwnFolder.owner_id.is_not(None))
            .order_by(OwnFolder.id)
        )
        folders = [(kind, name) for kind, name in own]
        files = {("features", each) for each in segments}
        names = {os.fsencode(name) for kind, name in folders if kind == "uploads"}
        for root, photo in session.execute(
            select(Root.path, Photo.path)
            .join(Root, Root.id == Photo.root_id)
            .where(Photo.deleted_at.is_(None))
        ):
            last = root.rpartition(b"/")[2]
            if last in names:
                files.add(("uploads", os.fsdecode(last + b"/" + photo)))
    return Named(segments, folders, files)
