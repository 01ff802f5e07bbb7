"""A pack of photographs made ready to train on: told, and looked at by a frozen trunk, once."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from model.network.config import ReLAConfig
from model.network.preprocess import to_pixels, upright
from model.text import TextEncoder
from training.data.shards import default_folder, open_shards, render
from training.errors import DatasetError
from training.photos import composites, drawings
from training.photos.maps import MapDump, dump_maps, join, open_maps
from training.photos.pack import Split, read_pack
from training.photos.scenes import Album, Told, read_album
from training.photos.trunk import trunk_with_words

CACHE = Path("runs/photos")
Pixels = Callable[[int], NDArray[np.uint8]]


@dataclass(frozen=True)
class PhotoData:
    """Photos that may be trained on.

    Attributes:
        album: all photos of the pack.
        pixels: a photo's (S, S, 3) by its place in the album.
        dump: a frozen stem's maps of them; None for networks without one, which see the pixels.
    """

    album: Album
    pixels: Pixels
    dump: MapDump | None

    def rows(self, split: Split) -> list[int]:
        """Places of the photos of a split."""
        return [row for row, told in enumerate(self.album.told) if told.photo.split == split]


def pack_folder(named: Path | None) -> Path:
    """The pack that is named, or the one that `REFERENT_PHOTO_PACK` names.

    Raises:
        DatasetError: neither.
    """
    if named is not None:
        return named
    if found := os.environ.get("REFERENT_PHOTO_PACK"):
        return Path(found)
    raise DatasetError(
        "which photographs? name a folder with images/ and instances.json (COCO's form), or a "
        "folder of such folders, with --data, or set REFERENT_PHOTO_PACK"
    )


def open_photos(
    pack: Path,
    config: ReLAConfig,
    text: TextEncoder,
    cache: Path = CACHE,
    should_stop: Callable[[], bool] = lambda: False,
    composed: int = 0,
    drawn: int = 0,
) -> PhotoData:
    """Read a pack; what was told and dumped of it before is used again.

    Args:
        composed: composites that are made of the pack's photos and stand beside them; none where
            the pack has no masks to make them of.
        drawn: drawn photos that stand beside them.
    Raises:
        DatasetError: the pack cannot be read, or the dump was interrupted.
        TrunkError: the trunk's weights are not installed.
    """
    size, side = config.input_size, config.mask_side

    def opened(told: Sequence[Told]) -> Pixels:
        def pixels(at: int) -> NDArray[np.uint8]:
            with Image.open(told[at].photo.path) as image:
                return to_pixels(upright(image), size)

        return pixels

    photos = read_pack(pack)
    parts: dict[str, tuple[Album, Pixels]] = {}
    album = read_album(photos, cache / "scenes", side)
    parts["maps"] = album, opened(album.told)
    if composed and not composites.can_compose(photos):
        tqdm.write("no composites: they need masks of COCO's 80 kinds, marked wherever they occur")
    elif composed:
        folder = composites.compose(photos, cache, composed)
        album = read_album(read_pack(folder), cache / "scenes", side)
        parts[folder.parent.name] = album, opened(album.told)
    if drawn:
        shards = default_folder("train", size, first=1)
        render(shards, "train", drawn, size, first=1, workers=1)
        rendered = open_shards(shards, drawn)
        album = drawings.draw_album(rendered, side)
        parts[f"{drawings.FOLDER}-{shards.name}-{drawn}"] = album, lambda at: rendered.photo(at)[0]
    told = tuple(t for album, _ in parts.values() for t in album.told)
    joined = _joined([(len(album), pixels) for album, pixels in parts.values()])
    if not config.swin.stem:
        return PhotoData(Album(told, side), joined, None)
    trunk, words = trunk_with_words(config.swin.stem, text)
    dumps = []
    for name, (album, pixels) in parts.items():
        path = cache / f"{name}-{config.swin.stem}-{size}"
        keys = [f"{t.photo.folder}/{t.photo.path.name}" for t in album.told]
        if not dump_maps(
            trunk, words, config.swin.stem, size, keys, pixels, path, should_stop=should_stop
        ):
            raise DatasetError("looking at the photos was interrupted; the same command goes on")
        dumps.append(open_maps(path))
    return PhotoData(Album(told, side), joined, join(dumps))


def _joined(parts: Sequence[tuple[int, Pixels]]) -> Pixels:
    """Pixels of several albums, one after the other."""
    ends = list(accumulate(length for length, _ in parts))

    def pixels(at: int) -> NDArray[np.uint8]:
        which = bisect_right(ends, at)
        return parts[which][1](at - (ends[which - 1] if which else 0))

    return pixels
