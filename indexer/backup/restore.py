"""Restore a backup, or another library as it lies there, into an empty library anywhere.

Files first, each compared with its digest; then the catalog in one transaction. So what interrupts
a restore leaves an empty library with some files beside it, and the next run goes on.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from indexer.backup.archive import MANIFEST, Archive
from indexer.backup.backup import Progress, read_names
from indexer.backup.files import Place, base_of, copy, digest_of, found_files
from indexer.backup.rows import copy_rows, quiet, refuse_full
from indexer.db.catalog import Catalog
from indexer.db.names import comparable_path
from indexer.db.tables import FeatureRow, Photo, Root, Segment
from indexer.errors import BackupUnusable, FolderError
from indexer.features.maintenance import touch_all
from indexer.folders.albums import check_folder
from indexer.settings import Settings

SQLITE = "catalog.sqlite"


@dataclass(frozen=True)
class _Sent:
    """A file for the library."""

    place: Place
    path: str
    file: Path
    size: int
    digest: str | None
    """None where it is not known beforehand."""


@dataclass(frozen=True)
class _Source:
    """A catalog of this version as SQLite, which is ours to keep or to change, and its files."""

    catalog: Path
    files: list[_Sent]
    features: bool
    uploads: bytes
    """The folder that its roots of uploads lie in."""


@dataclass
class Restored:
    """What a restore brought."""

    rows: int = 0
    files: int = 0
    bytes: int = 0
    damaged: list[str] = field(default_factory=list)
    """Files that were left out; photos whose features they held wait for the next index."""
    offline: list[str] = field(default_factory=list)
    """Folders of albums that are not here."""


def restore(
    catalog: Catalog,
    settings: Settings,
    source: Path,
    *,
    features: bool = True,
    moved: Sequence[tuple[Path, Path]] = (),
    accept_damage: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> Restored:
    """Fill an empty library.

    Args:
        catalog: the library's, empty.
        source: a folder that `back_up` wrote, or the home of a library whose catalog is SQLite:
            then nobody may write to it meanwhile. It may be this library's own home, whose
            catalog then goes into the database of the settings, and whose files stay.
        features: whether to bring features, where the source has them.
        moved: (old, new) folders of photos that lie elsewhere now, or what lies above them.
        accept_damage: go on without uploads, exports and models that are damaged.
    Raises:
        LibraryNotEmpty: the library's catalog holds something.
        BackupUnusable: the source is neither, or damaged.
        FolderError: a folder did not move so.
        CatalogTooNew: a newer Referent made the source.
        OSError: the disk is full or cannot be written.
    """
    report = Restored()
    places = [(os.fsencode(old), check_folder(new)) for old, new in moved]
    with catalog.session() as session:
        refuse_full(session.connection())
    settings.home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=settings.home) as temporary:
        given = _given(source, settings, Path(temporary) / SQLITE, features=features)
        lost = _bring(settings, given.files, progress, report)
        others = [each for each in lost if each.place != "features"]
        if others and not accept_damage:
            raise BackupUnusable(
                f"{len(others):,} files of {source} are damaged: "
                f"{', '.join(f'{each.place}/{each.path}' for each in others[:5])}. Restore from "
                "another copy, or go on without them: --accept-damage"
            )
        report.damaged = [f"{each.place}/{each.path}" for each in lost]
        with (
            Catalog(f"sqlite:///{given.catalog}") as copied,
            copied.reading() as reading,
            catalog.session() as session,
        ):
            report.rows = copy_rows(
                reading.connection(), session.connection(), lambda n: progress("rows", n, None)
            )
            if given.features:
                damaged = [each.path for each in lost if each.place == "features"]
                forget_features(session, damaged)
            else:
                forget_features(session)
            _rehome(session, given.uploads, os.fsencode(settings.uploads_dir.resolve()))
            for old, new in places:
                if not _rehome(session, old, new):
                    raise FolderError(
                        f"no album has its folder at {os.fsdecode(old)} or below: see what "
                        "`referent restore` tells of folders that are not here"
                    )
            touch_all(session)
    catalog.refresh_statistics()
    with catalog.reading() as session:
        report.offline = sorted(
            os.fsdecode(path)
            for path in session.scalars(select(Root.path).distinct())
            if not Path(os.fsdecode(path)).is_dir()
        )
    return report


def forget_features(session: Session, segments: Collection[str] | None = None) -> None:
    """Let photos wait whose features were in some segments, by path; None means in any."""
    gone = select(Segment.id)
    if segments is not None:
        gone = gone.where(Segment.path.in_(segments))
    lost = select(FeatureRow.content_hash).where(FeatureRow.segment_id.in_(gone))
    session.execute(
        update(Photo)
        .where(Photo.content_hash.in_(lost), Photo.status == "indexed")
        .values(status="new")
        .execution_options(synchronize_session=False)
    )
    ids = list(session.scalars(gone))
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        session.execute(delete(FeatureRow).where(FeatureRow.segment_id.in_(some)))
        session.execute(delete(Segment).where(Segment.id.in_(some)))


def _given(source: Path, settings: Settings, copied: Path, *, features: bool) -> _Source:
    """Look what a source holds, and copy its catalog, brought up to this version."""
    if (source / MANIFEST).exists() or not (source / SQLITE).is_file():
        archive = Archive(source)
        manifest = archive.manifest()
        if copy(source / manifest.catalog, copied) != manifest.catalog_digest:
            raise BackupUnusable(
                f"{source / manifest.catalog} has changed since the backup was made: restore from "
                "another copy"
            )
        Catalog.open(f"sqlite:///{copied}").close()
        whole = features and manifest.features
        files = [
            _Sent(each.place, each.path, source / each.stored, each.size, each.digest)
            for each in archive.files(manifest)
            if whole or each.place != "features"
        ]
        return _Source(copied, files, whole, bytes.fromhex(manifest.uploads))
    _copy_sqlite(source / SQLITE, copied)
    with Catalog.open(f"sqlite:///{copied}") as taken:
        quiet(taken)
    theirs = Settings(home=source, features_dir=source / "features", exports_dir=source / "exports")
    sent: list[_Sent] = []
    if source.resolve() != settings.home.resolve():
        named = read_names(copied, features=features)
        sent = [
            _Sent(each.place, each.path, each.file, each.size, None)
            for each in found_files(theirs, named.segments, named.own)
        ]
    return _Source(copied, sent, features, os.fsencode(theirs.uploads_dir.resolve()))


def _copy_sqlite(file: Path, target: Path) -> None:
    """One version of a database, also while it is written to."""
    try:
        reading = sqlite3.connect(file.resolve().as_uri() + "?mode=ro", uri=True)
        try:
            with sqlite3.connect(target) as writing:
                reading.backup(writing)
            writing.close()
        finally:
            reading.close()
    except sqlite3.Error as error:
        raise BackupUnusable(f"{file} cannot be read ({error})") from error


def _bring(
    settings: Settings, files: Sequence[_Sent], progress: Progress, report: Restored
) -> list[_Sent]:
    """Copy what is not here yet as it should be; returns what is damaged in the source."""
    lost: list[_Sent] = []
    total = sum(each.size for each in files)
    for each in files:
        target = base_of(settings, each.place) / each.path
        try:
            if not _is_here(target, each):
                digest = copy(each.file, target)
                if each.digest not in (None, digest):
                    target.unlink()
                    lost.append(each)
                    continue
        except FileNotFoundError:
            lost.append(each)
            continue
        report.files += 1
        report.bytes += each.size
        progress("bytes", report.bytes, total)
    return lost


def _is_here(target: Path, sent: _Sent) -> bool:
    if not target.is_file() or target.stat().st_size != sent.size:
        return False
    return digest_of(target) == (sent.digest or digest_of(sent.file))


def _rehome(session: Session, old: bytes, new: bytes) -> int:
    """Let the roots at a folder or below it lie at another; returns how many do."""
    above, number = _parts(old), 0
    for root in session.scalars(select(Root)).all():
        parts = _parts(root.path)
        if list(map(comparable_path, parts[: len(above)])) != list(map(comparable_path, above)):
            continue
        number += 1
        if old != new:
            root.path, root.mounts = b"/".join([new.rstrip(b"/"), *parts[len(above) :]]), []
    return number


def _parts(path: bytes) -> list[bytes]:
    return [part for part in path.split(b"/") if part]
