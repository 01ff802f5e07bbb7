"""The one rule of what is only away: a disk that is not mounted is no album that lost its photos.

Scanning, encoding and swapping all ask here. Of what is offline nothing is called gone, unreadable
or failed, and its photos keep the rows and the features that they have.
"""

# Paths are bytes here, which pathlib does not take.
# ruff: noqa: PTH118
from __future__ import annotations

import os
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, not_, or_, select, true

from indexer.db.catalog import Catalog
from indexer.db.tables import Photo, Root
from indexer.folders.globs import Globs


@dataclass(frozen=True)
class Place:
    """A root, or a mount point in one, that is not really there."""

    root_id: int
    root: bytes
    below: bytes
    """Relative to the root; b"" is the root itself."""
    reason: str

    @property
    def path(self) -> bytes:
        """Its absolute path."""
        return os.path.join(self.root, self.below) if self.below else self.root


@dataclass(frozen=True)
class Away:
    """The parts of an album that are offline."""

    places: tuple[Place, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.places)

    def here(self) -> ColumnElement[bool]:
        """Photos (`indexer.db.tables.Photo`) whose place is there."""
        if not self.places:
            return true()
        return not_(or_(*(_below(place) for place in self.places)))

    def holds(self, folder: bytes, path: bytes) -> bool:
        """Whether a file, by its root's absolute path and its own below that, is away."""
        return any(
            folder == place.root and (not place.below or path.startswith(place.below + b"/"))
            for place in self.places
        )


NOWHERE = Away()


def away(catalog: Catalog, album_id: int) -> Away:
    """Look which parts of an album's folders are offline now."""
    with catalog.reading() as session:
        roots = session.scalars(select(Root).where(Root.album_id == album_id)).all()
    places: list[Place] = []
    for root in roots:
        reason = why_offline(catalog, root)
        if reason is not None:
            places.append(Place(root.id, root.path, b"", reason))
        else:
            places += offline_mounts(root)
    return Away(tuple(places))


def why_offline(catalog: Catalog, root: Root, *, confirmed: bool = False) -> str | None:
    """Why a root is not really there; None when it is.

    Args:
        confirmed: a person says that what was a mount point is a plain folder now.
    """
    try:
        with os.scandir(root.path) as listing:
            empty = next(listing, None) is None
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if empty and _has_photos(catalog, root):
        return "is empty; is its disk mounted?"
    if b"".hex() in root.mounts and not os.path.ismount(root.path) and not confirmed:
        return (
            "was a mount point and is none now: mount it, or run with --confirm-deletions if "
            "its photos have come to lie in this folder"
        )
    return None


def offline_mounts(root: Root, globs: Globs | None = None) -> list[Place]:
    """Mount points seen in a root earlier that are gone or empty now.

    Args:
        globs: of the album; what they leave out is not asked about.
    """
    found = []
    for mount in map(bytes.fromhex, root.mounts):
        place = os.path.join(root.path, mount)
        if not mount or os.path.ismount(place) or (globs and globs.skips_folder(mount)):
            continue
        try:
            with os.scandir(place) as listing:
                gone = next(listing, None) is None
        except OSError:
            gone = True
        if gone:
            reason = "was a mount point and is none now"
            found.append(Place(root.id, root.path, mount, reason))
    return found


def sentence(photos: int) -> str:
    """What is said of photos that wait because they are away."""
    return (
        f"{photos:,} photos wait: their folders are offline (mount them, then index again); "
        "what was known of them is kept"
    )


def _has_photos(catalog: Catalog, root: Root) -> bool:
    with catalog.reading() as session:
        query = select(Photo.id).where(Photo.root_id == root.id, Photo.deleted_at.is_(None))
        return session.execute(query.limit(1)).first() is not None


def _below(place: Place) -> ColumnElement[bool]:
    if not place.below:
        return Photo.root_id == place.root_id
    return and_(
        Photo.root_id == place.root_id,
        Photo.path > place.below + b"/",
        Photo.path < place.below + b"0",  # "0" follows "/"
    )
