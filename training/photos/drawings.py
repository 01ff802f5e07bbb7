"""Drawn photos told as real ones are, so that what drawings taught is not lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from training.data.shards import Shards
from training.photos.kinds import COCO80
from training.photos.pack import Photo
from training.photos.scenes import Album, Told
from training.scene import CATEGORIES, PERSONS

FOLDER = "drawings"
# A drawing shows nothing but what is drawn. What photographs call otherwise stays unsure.
_OTHERWISE = {"dining table", "sports ball", "potted plant"}
KNOWN = frozenset({*CATEGORIES, *PERSONS, *COCO80} - _OTHERWISE)


def draw_album(shards: Shards, side: int) -> Album:
    """Rendered shards as an album.

    Args:
        side: of the grids of shares; a whole fraction of half the shards' size.
    """
    told = []
    for at, scene in enumerate(shards.scenes):
        ids = shards.photo(at)[1]
        rows = max((thing.id for thing in scene.instances), default=0)
        block = ids.shape[0] // side
        shown = ids == np.arange(1, rows + 1)[:, None, None]
        cells = shown.reshape(rows, side, block, side, block).mean((2, 4))
        shares = np.round(255 * cells).astype(np.uint8)
        name = f"{at:06}.png"
        photo = Photo(
            Path(FOLDER) / name, FOLDER, f"{FOLDER}/{name}", shards.size, shards.size, KNOWN
        )
        told.append(Told(photo, replace(scene, known=KNOWN), {}, (), shares))
    return Album(tuple(told), side)
