"""Photos that went to another folder keep their rows, and with these their marks and features.

They are known by their content. The row that stays is the one that was known first; what people
said of the other one goes over to it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.orm import Session, aliased

from indexer.db.catalog import Catalog
from indexer.db.clock import clock
from indexer.db.tables import Base, Mark, Photo, Root

# Parameters of one IN (...): far below the limits of both databases.
_CHUNK = 1000
_PHOTOS = Base.metadata.tables[Photo.__tablename__]


def follow(
    session: Session, album_id: int, gone: Sequence[int], is_new: Callable[[Any], bool]
) -> set[int]:
    """Give photos that are gone the place of a new file with the same content.

    Args:
        gone: ids of their rows.
        is_new: whether a living row of the album (id, root_id, path, added_at) is such a file.
    Returns:
        ids of those that have a place again.
    """
    query = (
        select(Photo.content_hash, Photo.id)
        .where(Photo.id.in_(gone), Photo.content_hash.is_not(None))
        .order_by(Photo.id)
    )
    lost = [(str(content_hash), photo_id) for content_hash, photo_id in session.execute(query)]
    found: defaultdict[str, list[Any]] = defaultdict(list)
    without = set(gone)
    for row in photos_of(session, album_id, {content_hash for content_hash, _ in lost}):
        if row.deleted_at is None and row.id not in without and is_new(row):
            found[row.content_hash].append(row)
    for places in found.values():
        places.reverse()  # the oldest is given away first
    moves = [
        (photo_id, found[content_hash].pop())
        for content_hash, photo_id in lost
        if found[content_hash]
    ]
    if not moves:
        return set()
    carry_marks(session, [(place.id, photo_id) for photo_id, place in moves])
    session.execute(
        delete(Photo)
        .where(Photo.id.in_([place.id for _, place in moves]))
        .execution_options(synchronize_session=False)
    )
    columns = ("root_id", "path", "size", "mtime_ns", "inode")
    update_each(
        session,
        [
            {"photo": photo_id} | {name: getattr(place, name) for name in columns}
            for photo_id, place in moves
        ],
        columns,
    )
    return {photo_id for photo_id, _ in moves}


def elsewhere(
    catalog: Catalog, album_id: int, roots: Collection[int], is_new: Callable[[Any], bool]
) -> list[int]:
    """Photos of some roots whose content a new file of the album has too, by id."""
    if not roots:
        return []
    old, new = aliased(Photo), aliased(Photo)
    query = (
        select(old.id, new.root_id, new.added_at)
        .join(new, new.content_hash == old.content_hash)
        .where(
            old.album_id == album_id,
            old.root_id.in_(roots),
            old.deleted_at.is_(None),
            new.album_id == album_id,
            new.deleted_at.is_(None),
        )
    )
    with catalog.reading() as session:
        return sorted({row.id for row in session.execute(query) if is_new(row)})


def carry_marks(session: Session, pairs: Sequence[tuple[int, int]]) -> int:
    """Let the marks of photos that go be those of photos that stay; returns how many went over.

    Args:
        pairs: (photo that goes, photo that stays). Where both are marked for an expression, the
            later word counts.
    """
    carried = 0
    stays = dict(pairs)
    for chunk in chunks(list(stays)):
        marks = session.scalars(select(Mark).where(Mark.photo_id.in_(chunk)).order_by(Mark.id))
        for mark in marks.all():
            to = stays[mark.photo_id]
            there = session.scalar(
                select(Mark).where(Mark.photo_id == to, Mark.expression == mark.expression)
            )
            if there is None:
                mark.photo_id = to
            elif there.created_at < mark.created_at:
                there.verdict, there.created_at = mark.verdict, mark.created_at
            carried += 1
        session.flush()
    return carried


def carry_from(session: Session, root: Root) -> int:
    """Let the marks of a root's photos go over to the same photos in the album's other roots."""
    marked = (
        select(Photo.id, Photo.content_hash)
        .where(Photo.root_id == root.id, Photo.id.in_(select(Mark.photo_id)))
        .where(Photo.content_hash.is_not(None))
    )
    pairs = []
    for photo_id, content_hash in session.execute(marked).all():
        other = session.scalar(
            select(func.min(Photo.id)).where(
                Photo.content_hash == content_hash,
                Photo.album_id == root.album_id,
                Photo.root_id != root.id,
                Photo.deleted_at.is_(None),
            )
        )
        if other is not None:
            pairs.append((photo_id, other))
    return carry_marks(session, pairs)


def move_root(session: Session, root: Root, place: bytes) -> int:
    """Let a root be another folder, to which its files were moved; rows and marks stay.

    Returns:
        how many photos are known at the new place; the next scan looks which are really there.
    """
    other = session.scalars(
        select(Root).where(Root.album_id == root.album_id, Root.path == place)
    ).one_or_none()
    photos = select(func.count(Photo.id)).where(Photo.root_id == root.id)
    if other is None:
        root.path, root.mounts = place, []
        return session.scalar(photos) or 0
    # The new folder was added, and perhaps scanned, before anyone said that it is the old one.
    ids = session.scalars(
        select(Photo.id).where(Photo.root_id == root.id, Photo.deleted_at.is_(None))
    ).all()
    moved = 0
    for chunk in chunks(ids):
        moved += len(follow(session, root.album_id, chunk, lambda row: row.root_id == other.id))
    taken = select(Photo.path).where(Photo.root_id == other.id)
    session.execute(
        update(Photo)
        .where(Photo.root_id == root.id, Photo.path.not_in(taken))
        .values(root_id=other.id)
        .execution_options(synchronize_session=False)
    )
    if not session.scalar(photos):
        session.delete(root)
    return moved


def photos_of(session: Session, album_id: int, hashes: set[str]) -> Iterator[Any]:
    """The album's rows of some contents, by id.

    Only the hash is asked of the database: given the album as well, SQLite may walk all of it.
    """
    columns = (
        Photo.content_hash,
        Photo.album_id,
        Photo.id,
        Photo.root_id,
        Photo.path,
        Photo.size,
        Photo.mtime_ns,
        Photo.inode,
        Photo.added_at,
        Photo.deleted_at,
    )
    for chunk in chunks(sorted(hashes)):
        query = select(*columns).where(Photo.content_hash.in_(chunk)).order_by(Photo.id)
        yield from (row for row in session.execute(query) if row.album_id == album_id)


def update_each(
    session: Session, rows: list[dict[str, Any]], columns: Sequence[str], **fixed: Any
) -> None:
    """Set columns of many rows, each row's own values under its ``photo`` id."""
    if not rows:
        return
    statement = (
        update(_PHOTOS)
        .where(_PHOTOS.c.id == bindparam("photo"))
        .values(seen_at=clock(), **fixed, **{name: bindparam(f"new_{name}") for name in columns})
    )
    session.connection().execute(
        statement,
        [{"photo": row["photo"]} | {f"new_{name}": row[name] for name in columns} for row in rows],
    )


def chunks(items: Sequence[Any]) -> Iterator[list[Any]]:
    """Parts of a sequence that fit into one IN (...)."""
    for start in range(0, len(items), _CHUNK):
        yield list(items[start : start + _CHUNK])
