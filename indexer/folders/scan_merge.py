"""Merge the files on disk with the rows of the catalog, both in the byte order of their paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sqlalchemy import select

from indexer.db.catalog import Catalog
from indexer.db.tables import Photo
from indexer.folders.walk import FoundFile, Walk

_PAGE_ROWS = 5000


class KnownFile(NamedTuple):
    """What a scan needs of a photo's row."""

    id: int
    path: bytes
    size: int
    mtime_ns: int
    inode: int
    hashed: bool
    deleted: bool


def _known_files(catalog: Catalog, root_id: int, top: bytes) -> Iterator[KnownFile]:
    """A root's rows at or below a path, in path order, in pages: no transaction stays open."""
    wanted = select(
        Photo.id,
        Photo.path,
        Photo.size,
        Photo.mtime_ns,
        Photo.inode,
        Photo.content_hash.is_not(None),
        Photo.deleted_at.is_not(None),
    ).where(Photo.root_id == root_id)
    if top:
        with catalog.reading() as session:
            single = session.execute(wanted.where(Photo.path == top)).all()
        yield from (KnownFile(*row) for row in single)
        wanted = wanted.where(Photo.path < top + b"0")  # "0" follows "/"
    last = top + b"/" if top else None
    while True:
        page = wanted if last is None else wanted.where(Photo.path > last)
        with catalog.reading() as session:
            rows = session.execute(page.order_by(Photo.path).limit(_PAGE_ROWS)).all()
        yield from (KnownFile(*row) for row in rows)
        if len(rows) < _PAGE_ROWS:
            return
        last = rows[-1].path


def differences(
    walk: Walk, tops: Iterable[bytes], catalog: Catalog, root_id: int
) -> Iterator[tuple[FoundFile | None, KnownFile | None]]:
    """Merge files and rows by path: (file, row), (file, None) for new, (None, row) for gone."""
    for top in tops:
        rows = _known_files(catalog, root_id, top)
        row = next(rows, None)
        for file in walk.files(top):
            while row is not None and row.path < file.path:
                yield None, row
                row = next(rows, None)
            if row is not None and row.path == file.path:
                yield file, row
                row = next(rows, None)
            else:
                yield file, None
        while row is not None:
            yield None, row
            row = next(rows, None)


def outermost(paths: Iterable[bytes]) -> list[bytes]:
    """Sorted paths without those that lie below another one."""
    kept: list[bytes] = []
    for path in sorted({path.strip(b"/") for path in paths}, key=lambda path: path + b"/"):
        if not kept or not (kept[-1] == b"" or path.startswith(kept[-1] + b"/")):
            kept.append(path)
    return kept


def is_below_any(path: bytes, folders: set[bytes]) -> bool:
    """Whether a path is one of these, or lies below one."""
    if not folders:
        return False
    if path in folders or b"" in folders:
        return True
    parts = path.split(b"/")
    return any(b"/".join(parts[:end]) in folders for end in range(1, len(parts)))
