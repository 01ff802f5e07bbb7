"""Small albums of real files for tests."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image
from sqlalchemy import select

from indexer.db.catalog import Catalog
from indexer.db.tables import Album, Root


def photo(path: Path, seed: int, size: tuple[int, int] = (40, 30)) -> Path:
    """Write one JPEG whose content depends on the seed alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), np.uint8)
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(path, quality=92)
    return path


def folder_of(folder: Path, count: int, *, first: int = 0) -> Path:
    """Write photos 0000.jpg, 0001.jpg, ... into a folder."""
    for number in range(first, first + count):
        photo(folder / f"{number:04}.jpg", number)
    return folder


def album(catalog: Catalog, name: str, *folders: Path) -> int:
    """Make an album with these roots; return its id."""
    with catalog.session() as session:
        row = session.scalars(select(Album).where(Album.name == name)).one_or_none()
        if row is None:
            row = Album(name=name, settings={})
            session.add(row)
            session.flush()
        for folder in folders:
            session.add(Root(album_id=row.id, path=os.fsencode(folder)))
        return row.id
