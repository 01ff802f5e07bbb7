"""The feature store: immutable segments on disk, their rows in the catalog.

Order of a commit, so that a crash anywhere loses nothing and leaves nothing for good: intent row
with a lease, temporary file, fsync, rename, fsync of the folder, then the rows in one transaction
that checks the lease and that (fingerprint, content) is unique. What a crash leaves behind is
named by an intent row, and `indexer.features.maintenance.collect` removes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from indexer.db.catalog import Catalog
from indexer.db.clock import clock
from indexer.db.tables import FeatureRow, Segment
from indexer.errors import CatalogReadOnly, FeaturesMissing, LeaseLost, NoSpaceLeft
from indexer.features.readers import Reader, Readers
from indexer.features.segment import map_rows, write_segment
from indexer.settings import Settings
from model.replacing import replacing, sync_folder

# Writing a batch takes well under a second; a lease of minutes outlives a stalled disk.
LEASE_S = 180.0
# Systems allow a process some 65,000 mappings.
MAPS_MAX = 4096


@dataclass(frozen=True)
class Part:
    """Rows of one tier that are committed together with those of the other tiers."""

    tier: str
    fingerprint: str
    dtype: np.dtype
    content_hashes: Sequence[str]
    rows: np.ndarray | Iterable[np.ndarray]
    """Structured rows (N,), or blocks of them."""


@dataclass(frozen=True)
class Written:
    """A segment on disk whose rows the catalog does not know yet."""

    segment_id: int
    part: Part
    bytes: int
    checksum: str


@dataclass
class FeatureStore:
    """Segments below one folder; threads may share it."""

    folder: Path
    catalog: Catalog
    _maps: OrderedDict[str, np.ndarray] = field(default_factory=OrderedDict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _readers: Readers = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._readers = Readers(self.folder / "readers")

    @classmethod
    def open(cls, settings: Settings, catalog: Catalog) -> FeatureStore:
        """Return the store of an installation; its folder is made when it is first written."""
        return cls(settings.features_dir, catalog)

    def path_of(self, relative: str) -> Path:
        """Return the file of a segment from its path in the catalog."""
        return self.folder / relative

    def rows(self, relative: str, dtype: np.dtype | None = None) -> np.ndarray:
        """Map a segment's rows (N,); mappings are kept for the next call.

        Raises:
            DamagedSegment: the file is missing, cut short or of another dtype.
        """
        with self._lock:
            known = self._maps.get(relative)
            if known is not None:
                self._maps.move_to_end(relative)
                return known if dtype is None else known.view(dtype)
        mapped = map_rows(self.path_of(relative), dtype)
        with self._lock:
            self._maps[relative] = mapped
            while len(self._maps) > MAPS_MAX:
                self._maps.popitem(last=False)
        return mapped

    def let_removed_go(self) -> None:
        """Unmap segments that another process has removed: until then the disk holds them."""
        with self._lock:
            known = list(self._maps)
        gone = [relative for relative in known if not self.path_of(relative).exists()]
        with self._lock:
            for relative in gone:
                self._maps.pop(relative, None)

    def places(self, fingerprint: str, content_hashes: Sequence[str]) -> dict[str, tuple[str, int]]:
        """Return content hash → (segment path, row) of those contents that have a row."""
        found: dict[str, tuple[str, int]] = {}
        with self.catalog.reading() as session:
            for start in range(0, len(content_hashes), 1000):
                some = content_hashes[start : start + 1000]
                for digest, path, position in session.execute(
                    select(FeatureRow.content_hash, Segment.path, FeatureRow.position)
                    .join(Segment, Segment.id == FeatureRow.segment_id)
                    .where(FeatureRow.fingerprint == fingerprint, FeatureRow.content_hash.in_(some))
                ):
                    found[digest] = (path, position)
        return found

    def fetch(self, fingerprint: str, content_hashes: Sequence[str], dtype: np.dtype) -> np.ndarray:
        """Return the rows (N,) of contents.

        Raises:
            FeaturesMissing: a content has no row.
            DamagedSegment: a segment is missing or cut short.
        """
        places = self.places(fingerprint, content_hashes)
        out = np.zeros(len(content_hashes), dtype)
        for number, digest in enumerate(content_hashes):
            if digest not in places:
                raise FeaturesMissing(f"the content {digest} has no features of {fingerprint}")
            path, position = places[digest]
            out[number] = self.rows(path, dtype)[position]
        return out

    def forget(self, relative: str) -> None:
        """Let go of a mapping (the file is about to be replaced or removed)."""
        with self._lock:
            self._maps.pop(relative, None)

    # -- writing -------------------------------------------------------------------------------

    def commit(
        self,
        parts: Sequence[Part],
        owner: str,
        *,
        also: Callable[[Session, list[Written]], None] | None = None,
        insert_rows: bool = True,
    ) -> list[Written]:
        """Write the parts as one segment each and make their rows known, all or nothing.

        Args:
            parts: at least one row each.
            owner: the lease's holder (`indexer.db.owner.new_owner`).
            also: runs in the last transaction, after the rows; raising rolls everything back.
            insert_rows: False leaves the rows to `also` (compaction moves existing ones).
        Returns:
            the segments in the order of the parts. A row that another worker committed meanwhile
            is left out of the catalog; its bytes go with the next compaction.
        Raises:
            LeaseLost: the lease ran out meanwhile; nothing was committed.
            NoSpaceLeft, CatalogReadOnly: nothing was committed and no file is left.
        """
        intents = self._intend(parts, owner)
        try:
            written = [
                self._write(part, segment_id, relative)
                for part, (segment_id, relative) in zip(parts, intents, strict=True)
            ]
            with self.catalog.session() as session:
                for each in written:
                    self._make_live(session, each, owner, insert_rows)
                if also is not None:
                    also(session, written)
        except BaseException as error:
            self._abandon(intents)
            if isinstance(error, OSError):
                raise _explained(error, self.folder) from error
            raise
        return written

    def _intend(self, parts: Sequence[Part], owner: str) -> list[tuple[int, str]]:
        with self.catalog.session() as session:
            intents = []
            for part in parts:
                name = f"{part.tier}/{part.fingerprint[:16]}/{uuid.uuid4().hex}.seg"
                segment_id = session.execute(
                    insert(Segment)
                    .values(
                        tier=part.tier,
                        fingerprint=part.fingerprint,
                        path=name,
                        rows=0,
                        bytes=0,
                        state="intent",
                        lease_owner=owner,
                        lease_until=clock() + LEASE_S,
                    )
                    .returning(Segment.id)
                ).scalar_one()
                intents.append((segment_id, name))
            return intents

    def _write(self, part: Part, segment_id: int, relative: str) -> Written:
        path = self.path_of(relative)
        make_folder(path.parent)
        with replacing(path, part=temporary_of(path), durable=True) as temporary:
            size, checksum = write_segment(
                temporary,
                tier=part.tier,
                fingerprint=part.fingerprint,
                rows=part.rows,
                content_hashes=part.content_hashes,
                dtype=part.dtype,
            )
        return Written(segment_id, part, size, checksum)

    def _make_live(self, session: Session, written: Written, owner: str, insert_rows: bool) -> None:
        part = written.part
        held = session.execute(
            update(Segment)
            .where(
                Segment.id == written.segment_id,
                Segment.state == "intent",
                Segment.lease_owner == owner,
                Segment.lease_until > clock(),
            )
            .values(
                state="live",
                lease_owner=None,
                lease_until=None,
                rows=len(part.content_hashes),
                bytes=written.bytes,
                checksum=written.checksum,
            )
        )
        if _rowcount(held) != 1:
            raise LeaseLost(
                "this worker was too slow to commit its features; another one encodes the photos"
            )
        if insert_rows:
            now = float(session.execute(select(clock())).scalar_one())
            rows = [(at, digest, now) for at, digest in enumerate(part.content_hashes)]
            insert_missing(session, part.fingerprint, written.segment_id, rows)

    def _abandon(self, intents: Sequence[tuple[int, str]]) -> None:
        """Remove what a failed commit left; a crash in here is what `collect` is for."""
        for _, relative in intents:
            with contextlib.suppress(OSError):
                temporary_of(self.path_of(relative)).unlink(missing_ok=True)
        with contextlib.suppress(Exception), self.catalog.session() as session:
            # Where the database's answer was lost the commit may have happened all the same: only
            # what is an intent still goes, file before row.
            ids = [segment_id for segment_id, _ in intents]
            dropped = delete(Segment).where(Segment.id.in_(ids), Segment.state == "intent")
            for relative in session.scalars(dropped.returning(Segment.path)).all():
                self.path_of(relative).unlink(missing_ok=True)

    # -- readers -------------------------------------------------------------------------------

    def lock_reader(self) -> Reader:
        """Keep every segment that is live now from being removed, until the mark is released.

        See `indexer.features.readers`; a killed process holds nothing up.
        """
        return self.lock_readers(1)[0]

    def lock_readers(self, number: int) -> list[Reader]:
        """The same for several holders at once."""
        started = self.catalog.now()
        try:
            return [self._readers.enter(started) for _ in range(number)]
        except OSError as error:
            raise _explained(error, self.folder) from error

    def oldest_reader(self) -> float | None:
        """Return when the oldest living reader started (database clock); None without readers."""
        oldest: float | None = None
        for path in (self.folder / "readers").glob("*"):
            try:
                with path.open("r+") as file:
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except OSError:
                        started = float(file.read() or 0)
                        oldest = started if oldest is None else min(oldest, started)
                    else:
                        path.unlink(missing_ok=True)
            except (FileNotFoundError, ValueError):
                continue
        return oldest


def insert_missing(
    session: Session,
    fingerprint: str,
    segment_id: int,
    rows: Iterable[tuple[int, str, float | None]],
) -> int:
    """Insert (position, content hash, encoded at) rows that are not there yet.

    Returns:
        how many were new.
    """
    values = [
        {
            "fingerprint": fingerprint,
            "content_hash": digest,
            "segment_id": segment_id,
            "position": position,
            "encoded_at": encoded_at,
        }
        for position, digest, encoded_at in rows
    ]
    on_sqlite = session.get_bind().dialect.name == "sqlite"
    new = 0
    for start in range(0, len(values), 2000):
        block = values[start : start + 2000]
        statement: Any
        if on_sqlite:
            statement = sqlite.insert(FeatureRow).values(block).on_conflict_do_nothing()
        else:
            statement = postgresql.insert(FeatureRow).values(block).on_conflict_do_nothing()
        # Drivers differ in what they count; what comes back was inserted.
        inserted = session.execute(statement.returning(FeatureRow.position))
        new += len(inserted.all())
    return new


def temporary_of(path: Path) -> Path:
    """Return the name under which a segment is written before it is renamed into place."""
    return path.with_name(path.name + ".part")


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, each fsynced into its parent."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        sync_folder(each.parent)


def _rowcount(result: Any) -> int:
    return int(result.rowcount)


def _explained(error: OSError, folder: Path) -> Exception:
    """Return what to tell the user about an error while features were written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return NoSpaceLeft(
            f"no space left for features in {folder}: free some and run the command again; "
            "what was finished is kept"
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return CatalogReadOnly(
            f"cannot write features to {folder} ({error.strerror}): make it writable, or choose "
            "another library with REFERENT_HOME"
        )
    return error
