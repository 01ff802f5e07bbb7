"""Albums of any size out of a small real one: tokens and vectors with noise, masks shared."""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path

import numpy as np
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from indexer.db.catalog import Catalog, touch
from indexer.db.owner import new_owner
from indexer.db.tables import Album, FeatureRow, Photo, Root
from indexer.features.snapshot import open_snapshot
from indexer.features.store import FeatureStore, Part
from model.predictor import Predictor

BLOCK = 5000
COPIED = ("tokens", "vectors")


def grow(
    catalog: Catalog, store: FeatureStore, predictor: Predictor, real: str, name: str, size: int
) -> None:
    """Add `size` photos to the album `name`, made where it is new, out of those of album `real`."""
    with catalog.session() as session:
        originals = session.execute(
            select(Photo.content_hash, Photo.width, Photo.height)
            .join(Album)
            .where(Album.name == real, Photo.status == "indexed")
            .order_by(Photo.id)
        ).all()
        real_id = session.scalars(select(Album.id).where(Album.name == real)).one()
        album_id, root_id, first = _album(session, name)
        masks = _places_of_masks(session, predictor.fingerprints["masks"])
    seed = blake2b(f"{name} {first} {size}".encode(), digest_size=4)
    dice = np.random.default_rng(int(seed.hexdigest(), 16))
    with open_snapshot(catalog, store, real_id, predictor.fingerprints) as snapshot:
        rows = np.arange(len(snapshot))
        records = {tier: snapshot.gather(tier, rows).copy() for tier in COPIED}
    block = np.arange(min(BLOCK, size)) % len(originals)
    noises = {tier: Noise(records[tier][block], dice) for tier in COPIED}
    for start in range(first, first + size, BLOCK):
        chosen = np.arange(start, min(first + size, start + BLOCK)) % len(originals)
        hashes = [f"{seed.hexdigest()}{start + i:032x}" for i in range(len(chosen))]
        store.commit(
            [
                Part(
                    tier,
                    predictor.fingerprints[tier],
                    records[tier].dtype,
                    hashes,
                    noises[tier].on(records[tier][chosen]),
                )
                for tier in COPIED
            ],
            new_owner(),
        )
        photos = [
            {
                "album_id": album_id, "root_id": root_id,
                "path": f"{start + i:07d}.jpg".encode(), "content_hash": digest,
                "size": 1, "mtime_ns": 0, "inode": 0, "format": "JPEG",
                "width": originals[at].width, "height": originals[at].height,
                "status": "indexed", "seen_at": 0.0, "added_at": 0.0,
            }
            for i, (digest, at) in enumerate(zip(hashes, chosen, strict=True))
        ]  # fmt: skip
        # Mask features are far larger; a copy's row points at those of its original.
        features = [
            {
                "fingerprint": predictor.fingerprints["masks"],
                "content_hash": digest,
                "segment_id": masks[originals[at].content_hash][0],
                "position": masks[originals[at].content_hash][1],
            }
            for digest, at in zip(hashes, chosen, strict=True)
        ]
        with catalog.session() as session:
            session.execute(insert(Photo), photos)
            session.execute(insert(FeatureRow), features)
    with catalog.session() as session:
        touch(session, album_id)


def _album(session: Session, name: str) -> tuple[int, int, int]:
    """Ids of an album and its root, and how many photos it has."""
    album = session.scalars(select(Album).where(Album.name == name)).one_or_none()
    if album is None:
        album = Album(name=name, settings={})
        session.add(album)
        session.flush()
        session.add(Root(album_id=album.id, path=f"/nowhere/{name}".encode(), mounts=[]))
        session.flush()
    root = session.scalars(select(Root.id).where(Root.album_id == album.id)).one()
    there = select(func.count()).select_from(Photo).where(Photo.album_id == album.id)
    return album.id, root, session.scalars(there).one()


def _places_of_masks(session: Session, fingerprint: str) -> dict[str, tuple[int, int]]:
    rows = session.scalars(select(FeatureRow).where(FeatureRow.fingerprint == fingerprint))
    return {row.content_hash: (row.segment_id, row.position) for row in rows}


class Noise:
    """Makes records that differ a little from their originals.

    Its random numbers are drawn once for a block's length and shifted for every block.

    Args:
        like: records (B,), of the block's length.
    """

    def __init__(self, like: np.ndarray, dice: np.random.Generator) -> None:
        self._dice = dice
        self._drawn: dict[str, np.ndarray] = {}
        for field in like.dtype.names or ():
            values = like[field]
            if values.dtype == np.int8:
                self._drawn[field] = dice.integers(-2, 3, values.shape, np.int8)
            elif values.dtype == np.float16:
                drawn = dice.standard_normal(values.shape, np.float32) * np.float32(0.02)
                self._drawn[field] = drawn.astype(np.float16)

    def on(self, records: np.ndarray) -> np.ndarray:
        """The records (B,), of the block's length or fewer, with noise."""
        out = records.copy()
        for field, drawn in self._drawn.items():
            shift = int(self._dice.integers(len(drawn)))
            rows = (np.arange(len(records)) + shift) % len(drawn)
            values = records[field]
            if values.dtype == np.int8:
                values = np.clip(values, -125, 125)
            out[field] = values + drawn[rows]
        return out


def drop_pages(folder: Path) -> None:
    """Ask the system to forget what it holds of the feature files, as after a restart."""
    for file in folder.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
