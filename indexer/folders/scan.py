"""Bring an album's rows in line with the files on disk, without decoding anything.

The files come in the byte order of their paths, the rows come in the same order from the
catalog's index, and the two streams are merged: a million photos pass through in little memory.
A file is read (to hash its content) only when it is new or its size, time or inode changed.
"""

# Paths are bytes here, which pathlib does not take.
# ruff: noqa: PTH118, PTH119
from __future__ import annotations

import os
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from sqlalchemy import func, select, update

from indexer.db.catalog import Catalog, album_named
from indexer.db.clock import clock
from indexer.db.names import shown_path
from indexer.db.tables import Album, Photo, Root
from indexer.folders.content import hash_file
from indexer.folders.globs import Globs
from indexer.folders.offline import offline_mounts, why_offline
from indexer.folders.scan_changes import Changes, NewFile, StoredFile, apply, settle
from indexer.folders.scan_merge import KnownFile, differences, is_below_any, outermost
from indexer.folders.walk import FoundFile, Walk
from indexer.settings import MEBIBYTE

# Files hashed and written together: one short transaction each, and little to repeat after a kill.
_BATCH_FILES = 500
_BATCH_SECONDS = 3.0
# Reads overlap, which hides the latency of disks and network mounts; hashing itself is quick.
_READERS = 4
_MANY = 1000  # changed rows after which the database's planner looks anew


@dataclass(frozen=True)
class ScanProgress:
    """How far a scan is; ``folder`` is relative to the root."""

    files: int
    new: int
    changed: int
    read_bytes: int
    folder: str


@dataclass
class ScanReport:
    """What a scan found and did to the album's rows."""

    album: str
    new: int = 0
    """Files that the album did not know."""
    changed: int = 0
    """Known files with other content: they wait for the index again."""
    moved: int = 0
    """Renamed or moved files, found by their content: they keep their row and features."""
    returned: int = 0
    """Files that had been missing and are at their old place again."""
    unchanged: int = 0
    unreadable: int = 0
    """Known photos that cannot be read any more, or are larger than the limit now; they fail."""
    missing: int = 0
    """Rows tombstoned because their files are gone, or excluded now."""
    unconfirmed: int = 0
    """Rows whose files are gone, kept because more than half of the album would go."""
    busy: int = 0
    """Files that were being written; the next scan looks at them."""
    skipped: int = 0
    """Files that are no photos by name or globs, broken links, pipes."""
    unread: dict[str, int] = field(default_factory=dict)
    """Photos and films of kinds that are not read, by extension; they are skipped as well."""
    left_out: int = 0
    """Folders and photos that systems and programs keep for themselves, that ignore files name or
    that Referent wrote."""
    links_out: int = 0
    """Links out of the album's folders that its owner does not let it follow."""
    read_bytes: int = 0
    errors: list[tuple[str, str]] = field(default_factory=list)
    """Files and folders that could not be read, with the reason; none of them lost a row."""
    offline: list[tuple[str, str]] = field(default_factory=list)
    """Roots and mounts that are not really there, with the reason; none of them lost a row."""
    stopped: bool = False
    """``should_stop`` ended it early; nothing was tombstoned."""

    @property
    def files(self) -> int:
        """Photos found on disk."""
        found = self.new + self.changed + self.moved + self.returned
        return found + self.unchanged + self.unreadable

    @property
    def notes(self) -> list[str]:
        """What was not taken for a photo though someone may miss it, a sentence each."""
        found = []
        if self.unread:
            kinds = sorted(self.unread.items(), key=lambda each: (-each[1], each[0]))
            listed = ", ".join(f"{number:,} {kind}" for kind, number in kinds)
            found.append(
                f"{sum(self.unread.values()):,} files of kinds that are not read: {listed}"
            )
        if self.left_out:
            found.append(
                f"{self.left_out:,} folders and files left out: what systems and other programs "
                "keep for themselves, what ignore files name, what Referent wrote (all but the "
                f"last with: referent albums {self.album!r} --everything)"
            )
        if self.links_out:
            found.append(
                f"{self.links_out:,} links lead out of the album's folders and are not followed "
                "until the folder is named again (referent index FOLDER; through the API where "
                "REFERENT_FOLLOW_LINKS is set)"
            )
        return found

    @property
    def question(self) -> str | None:
        """What the user is asked before rows go, or None."""
        if not self.unconfirmed:
            return None
        return (
            f"{self.unconfirmed} photos, more than half of the album {self.album!r}, are gone from "
            "their folders; nothing was removed. If that is right, run again with "
            "--confirm-deletions (in the API: confirm_deletions)"
        )


def scan_album(
    catalog: Catalog,
    album: str | Album,
    *,
    confirm_deletions: bool = False,
    progress: Callable[[ScanProgress], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    only: Mapping[int, Sequence[bytes]] | None = None,
    max_file_bytes: int = 256 * MEBIBYTE,
    read_all: bool = False,
) -> ScanReport:
    """Compare an album's folders with its rows and bring the rows up to date.

    Safe to kill at any time and to run again; two scans of one album do not disturb each other.

    Args:
        album: its name, or its row.
        confirm_deletions: believe it when more than half of the album is gone.
        progress: called a few times a second.
        should_stop: asked often; True ends the scan with what it has.
        only: look only at these paths, {root id: relative paths of files or folders}.
        max_file_bytes: a larger file is not read; its row says failed.
        read_all: read every file, for edits that changed neither size nor time.
    Raises:
        UnknownAlbum; CatalogLocked and the other errors of a catalog.
    """
    name = album if isinstance(album, str) else album.name
    scan = _Scan(catalog, name, confirm_deletions, progress, should_stop, max_file_bytes, read_all)
    return scan.run(only)


class _Scan:
    """The state of one scan."""

    def __init__(
        self,
        catalog: Catalog,
        album: str,
        confirm: bool,
        progress: Callable[[ScanProgress], None] | None,
        should_stop: Callable[[], bool],
        max_file_bytes: int,
        read_all: bool,
    ) -> None:
        self.catalog = catalog
        self.confirm = confirm
        self.progress = progress
        self.should_stop = should_stop
        self.max_file_bytes = max_file_bytes
        self.read_all = read_all
        self.report = ScanReport(album)
        with catalog.reading() as session:
            self.album: Album = album_named(session, album)
            self.roots = list(
                session.scalars(
                    select(Root).where(Root.album_id == self.album.id).order_by(Root.path)
                )
            )
            self.living = (
                session.scalar(
                    select(func.count())
                    .select_from(Photo)
                    .where(Photo.album_id == self.album.id, Photo.deleted_at.is_(None))
                )
                or 0
            )
        self.real_roots = tuple(os.path.realpath(root.path) for root in self.roots)
        self.vanished = array("q")
        self.excluded = array("q")
        self.offline_roots: set[int] = set()
        self.folder = b""
        self._told_at = 0.0

    def run(self, only: Mapping[int, Sequence[bytes]] | None) -> ScanReport:
        """Scan all roots, then settle what vanished."""
        with ThreadPoolExecutor(_READERS, "scan") as readers:
            for root in self.roots:
                if only is None:
                    self._scan_root(root, [b""], readers, whole=True)
                elif root.id in only:
                    self._scan_root(root, outermost(only[root.id]), readers, whole=False)
                if self.report.stopped:
                    return self.report
        settled = settle(
            self.catalog,
            self.album.id,
            vanished=self.vanished,
            excluded=self.excluded,
            living=self.living,
            scanned={root.id: root.scanned_at or 0.0 for root in self.roots},
            offline=self.offline_roots,
            confirm=self.confirm,
        )
        self.report.moved += settled.moved
        self.report.new -= settled.moved
        self.report.missing = settled.missing
        self.report.unconfirmed = settled.unconfirmed
        if only is None:
            self._mark_scanned()
            if self.report.new + self.report.moved + self.report.missing > _MANY:
                self.catalog.refresh_statistics()
        self._tell(always=True)
        return self.report

    def _scan_root(
        self, root: Root, tops: list[bytes], readers: ThreadPoolExecutor, *, whole: bool
    ) -> None:
        reason = self._why_offline(root)
        if reason is not None:
            self.report.offline.append((shown_path(root.path), reason))
            self.offline_roots.add(root.id)
            return
        walk = Walk(
            root.path,
            Globs.of(self.album.settings, os.path.basename(root.path)),
            self.real_roots,
            follow_links=root.follow_links,
            on_folder=self._enter,
        )
        self._protect_mounts(root, walk)
        vanished, excluded = array("q"), array("q")
        changes = Changes()
        flushed_at = time.monotonic()
        seen = 0
        for file, row in differences(walk, tops, self.catalog, root.id):
            seen += 1
            if file is None:
                assert row is not None
                if row.deleted or is_below_any(row.path, walk.unsure):
                    continue
                left = is_below_any(row.path, walk.left_out) or not walk.globs.takes(row.path)
                (excluded if left else vanished).append(row.id)
            elif row is None:
                changes.new.append(NewFile(file))
            elif self._must_read(file, row):
                changes.stored.append(StoredFile(file, row.id))
            else:
                self.report.unchanged += 1
            late = time.monotonic() - flushed_at > _BATCH_SECONDS and len(changes)
            if len(changes) >= _BATCH_FILES or late:
                self._flush(root, changes, readers)
                changes, flushed_at = Changes(), time.monotonic()
            if seen % 512 == 0:
                self._tell()
                if self.report.stopped or self.should_stop():
                    self.report.stopped = True
                    break
        self._flush(root, changes, readers)
        self.report.skipped += walk.skipped
        self.report.left_out += len(walk.left_out)
        self.report.links_out += walk.links_out
        for kind, number in walk.unread.items():
            self.report.unread[kind] = self.report.unread.get(kind, 0) + number
        for path, why in walk.errors:
            self._note(root, path, why)
        # A mount may have gone while we looked: then nothing that was not found is gone.
        if self.report.stopped or b"" in walk.unsure or self._why_offline(root) is not None:
            return
        self.vanished.extend(vanished)
        self.excluded.extend(excluded)
        if whole:
            root.mounts = sorted(
                path.hex() for path in walk.mounts | self._still_protected(root, walk)
            )

    def _must_read(self, file: FoundFile, row: KnownFile) -> bool:
        same = file.size == row.size and file.mtime_ns == row.mtime_ns and file.inode == row.inode
        # No hash: it could not be read the last time, or was larger than the limit was then.
        unread = not row.hashed and file.size <= self.max_file_bytes
        return self.read_all or row.deleted or unread or not same

    def _flush(self, root: Root, changes: Changes, readers: ThreadPoolExecutor) -> None:
        """Hash a batch outside of any transaction, then write it in a short one."""
        if not len(changes):
            return
        items: list[NewFile | StoredFile] = [*changes.new, *changes.stored]
        hashed = readers.map(
            lambda item: hash_file(root.path, item.file, self.max_file_bytes), items
        )
        for item, found in zip(items, hashed, strict=True):
            item.hashed = found
            self.report.read_bytes += found.read_bytes
            if found.reason is not None:
                self._note(root, item.file.path, found.reason)
            elif found.content_hash is None:
                self.report.busy += 1
            self._tell()
        if self.should_stop():
            # What was hashed is written; the rest of the album is left for the next run.
            self.report.stopped = True
        done = apply(self.catalog, self.album.id, root.id, changes)
        self.report.new += done.new
        self.report.changed += done.changed
        self.report.moved += done.moved
        self.report.returned += done.returned
        self.report.unchanged += done.unchanged
        self.report.unreadable += done.unreadable

    def _note(self, root: Root, path: bytes, reason: str) -> None:
        self.report.errors.append((shown_path(os.path.join(root.path, path)), reason))

    def _why_offline(self, root: Root) -> str | None:
        return why_offline(self.catalog, root, confirmed=self.confirm)

    def _protect_mounts(self, root: Root, walk: Walk) -> None:
        """Mount points seen earlier that are gone or empty now hold what is only offline."""
        for place in offline_mounts(root, walk.globs):
            walk.unsure.add(place.below)
            self.report.offline.append((shown_path(place.path), place.reason))

    @staticmethod
    def _still_protected(root: Root, walk: Walk) -> set[bytes]:
        known = set(map(bytes.fromhex, root.mounts))
        return {mount for mount in known if is_below_any(mount, walk.unsure)}

    def _mark_scanned(self) -> None:
        offline = {place for place, _ in self.report.offline}
        with self.catalog.session() as session:
            for root in self.roots:
                if shown_path(root.path) not in offline:
                    session.execute(
                        update(Root)
                        .where(Root.id == root.id)
                        .values(scanned_at=clock(), mounts=root.mounts)
                    )

    def _enter(self, folder: bytes) -> None:
        self.folder = folder

    def _tell(self, *, always: bool = False) -> None:
        now = time.monotonic()
        if self.progress is not None and (always or now - self._told_at > 0.1):
            self._told_at = now
            at, folder = self.report, shown_path(self.folder)
            self.progress(ScanProgress(at.files, at.new, at.changed, at.read_bytes, folder))
