"""What a scan writes: new, changed, moved and vanished photos, in short transactions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from indexer.db.catalog import Catalog, touch
from indexer.db.clock import clock
from indexer.db.tables import Album, Base, Photo
from indexer.folders.content import HashedFile
from indexer.folders.moved import chunks, elsewhere, follow, photos_of, update_each
from indexer.folders.walk import FoundFile

_PHOTOS = Base.metadata.tables[Photo.__tablename__]


@dataclass
class NewFile:
    """A file at a path that has no row."""

    file: FoundFile
    hashed: HashedFile = field(default_factory=HashedFile)


@dataclass
class StoredFile:
    """A file whose row says something else, or says that it is missing."""

    file: FoundFile
    photo_id: int
    hashed: HashedFile = field(default_factory=HashedFile)


@dataclass
class Changes:
    """One batch of one root."""

    new: list[NewFile] = field(default_factory=list)
    stored: list[StoredFile] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.new) + len(self.stored)


@dataclass
class Applied:
    """How many photos a batch changed, by what happened to them."""

    new: int = 0
    changed: int = 0
    moved: int = 0
    returned: int = 0
    unchanged: int = 0
    unreadable: int = 0


@dataclass
class Settled:
    """What became of the rows whose files were not found."""

    moved: int = 0
    missing: int = 0
    unconfirmed: int = 0


def apply(catalog: Catalog, album_id: int, root_id: int, changes: Changes) -> Applied:
    """Write one batch in one transaction."""
    done = Applied()
    with catalog.session() as session:
        lock_album(session, album_id)
        done.new, done.moved = add_files(session, catalog, album_id, root_id, changes.new)
        _replace(session, changes.stored, done)
        if done.new or done.changed or done.moved or done.returned or done.unreadable:
            touch(session, album_id)
    return done


def settle(
    catalog: Catalog,
    album_id: int,
    *,
    vanished: Sequence[int],
    excluded: Sequence[int],
    living: int,
    scanned: Mapping[int, float],
    offline: Collection[int],
    confirm: bool,
) -> Settled:
    """Follow moved photos to their new place, tombstone the rest.

    Args:
        vanished: ids of rows whose files were not found in a folder that is really there.
        excluded: ids of rows that the album's globs leave out now; never asked about.
        living: photos that the album had before the scan.
        scanned: root id → end of its last scan; a row that was added after it may be a vanished
            photo at another place.
        offline: ids of roots that are not there: their photos are followed, and never tombstoned.
        confirm: tombstone even more than half of the album.
    """
    settled = Settled()
    gone: list[int] = []

    def is_new(row: Any) -> bool:
        return row.root_id not in offline and row.added_at >= scanned.get(row.root_id, 0.0)

    for chunk in chunks(elsewhere(catalog, album_id, offline, is_new)):
        with catalog.session() as session:
            lock_album(session, album_id)
            settled.moved += len(follow(session, album_id, chunk, is_new))
            touch(session, album_id)
    for chunk in chunks(vanished):
        with catalog.session() as session:
            lock_album(session, album_id)
            moved = follow(session, album_id, chunk, is_new)
            if moved:
                touch(session, album_id)
        settled.moved += len(moved)
        gone.extend(photo_id for photo_id in chunk if photo_id not in moved)
    if 2 * len(gone) > living and not confirm:
        settled.unconfirmed = len(gone)
        gone = []
    for chunk in chunks([*gone, *excluded]):
        with catalog.session() as session:
            lock_album(session, album_id)
            session.execute(
                update(Photo)
                .where(Photo.id.in_(chunk), Photo.deleted_at.is_(None))
                .values(status="missing", deleted_at=clock())
                .execution_options(synchronize_session=False)
            )
            touch(session, album_id)
        settled.missing += len(chunk)
    return settled


def lock_album(session: Session, album_id: int) -> None:
    """Let one scan write to an album at a time (SQLite has one writer anyway)."""
    session.execute(select(Album.id).where(Album.id == album_id).with_for_update())


def _place(file: FoundFile) -> dict[str, Any]:
    return {"size": file.size, "mtime_ns": file.mtime_ns, "inode": file.inode}


def add_files(
    session: Session, catalog: Catalog, album_id: int, root_id: int, files: Sequence[NewFile]
) -> tuple[int, int]:
    """Insert new files; a tombstone with the same content comes back to life at the new place.

    Returns:
        how many rows are new, and how many came back to life.
    """
    paths = [item.file.path for item in files]
    taken: set[bytes] = set()
    for chunk in chunks(paths):
        query = select(Photo.path).where(Photo.root_id == root_id, Photo.path.in_(chunk))
        taken.update(session.scalars(query))  # another scan was quicker
    graves = _tombstones(session, album_id, [item.hashed.content_hash for item in files])
    inserts: list[dict[str, Any]] = []
    revived: list[dict[str, Any]] = []
    for item in files:
        content_hash, reason = item.hashed.content_hash, item.hashed.reason
        if item.file.path in taken or (content_hash is None and reason is None):
            continue
        place = {"root_id": root_id, "path": item.file.path, **_place(item.file)}
        if content_hash is not None and graves[content_hash]:
            revived.append({"photo": graves[content_hash].pop(0), **place})
        else:
            inserts.append(
                place
                | {
                    "album_id": album_id,
                    "content_hash": content_hash,
                    "status": "new" if reason is None else "failed",
                    "error": reason,
                    "attempts": 0,
                }
            )
    if inserts:
        insert = sqlite.insert if catalog.is_sqlite else postgresql.insert
        session.connection().execute(
            insert(_PHOTOS).on_conflict_do_nothing(index_elements=["root_id", "path"]),
            inserts,
        )
    if revived:
        columns = ("root_id", "path", "size", "mtime_ns", "inode")
        update_each(session, revived, columns, status="new", error=None, deleted_at=None)
    return len(inserts), len(revived)


def _tombstones(
    session: Session, album_id: int, hashes: Sequence[str | None]
) -> defaultdict[str, list[int]]:
    graves: defaultdict[str, list[int]] = defaultdict(list)
    for row in photos_of(session, album_id, {value for value in hashes if value is not None}):
        if row.deleted_at is not None:
            graves[row.content_hash].append(row.id)
    return graves


def _replace(session: Session, files: Sequence[StoredFile], done: Applied) -> None:
    """Rows of known paths: same content gets new file data only, other content starts anew, and
    what cannot be read any more fails: its old features are of something else."""
    before: dict[int, tuple[str | None, bool]] = {}
    for chunk in chunks([item.photo_id for item in files]):
        query = select(Photo.id, Photo.content_hash, Photo.deleted_at).where(Photo.id.in_(chunk))
        for photo_id, content_hash, deleted_at in session.execute(query):
            before[photo_id] = content_hash, deleted_at is not None
    same: list[dict[str, Any]] = []
    back: list[dict[str, Any]] = []
    anew: list[dict[str, Any]] = []
    lost: list[dict[str, Any]] = []
    for item in files:
        found = item.hashed
        if item.photo_id not in before or (found.content_hash is None and found.reason is None):
            continue  # removed by another scan, or being written: the row keeps what it knows
        content_hash, deleted = before[item.photo_id]
        values = {"photo": item.photo_id, **_place(item.file), "content_hash": found.content_hash}
        if found.content_hash is None:
            lost.append(values | {"error": found.reason})
            if content_hash is None and not deleted:
                done.unchanged += 1
            else:
                done.unreadable += 1
        elif found.content_hash != content_hash:
            anew.append(values)
            done.changed += 1
        elif deleted:
            back.append(values)
            done.returned += 1
        else:
            same.append(values)
            done.unchanged += 1
    columns: tuple[str, ...] = ("size", "mtime_ns", "inode")
    update_each(session, same, columns)
    update_each(session, back, columns, status="new", error=None, deleted_at=None)
    facts = (
        "format width height orientation taken_at taken_source taken_offset_min camera lat lon "
        "note deleted_at"
    )
    forgotten: dict[str, Any] = dict.fromkeys(facts.split()) | {"attempts": 0}
    columns = (*columns, "content_hash")
    update_each(session, anew, columns, status="new", error=None, **forgotten)
    update_each(session, lost, (*columns, "error"), status="failed", **forgotten)
