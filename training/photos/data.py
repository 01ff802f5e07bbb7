"""A pack of photographs made ready to train on: told, and looked at by the trunk, once."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.network.config import ReLAConfig
from model.network.preprocess import to_pixels, upright
from model.text import TextEncoder
from training.errors import DatasetError
from training.photos.maps import MapDump, dump_maps, open_maps
from training.photos.pack import Split
from training.photos.scenes import Album, read_album
from training.photos.trunk import trunk_with_words

CACHE = Path("runs/photos")


@dataclass(frozen=True)
class PhotoData:
    """Photos that may be trained on, with what the frozen trunk sees of them.

    Attributes:
        album: all photos of the pack.
        dump: the trunk's maps of them.
    """

    album: Album
    dump: MapDump

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
) -> PhotoData:
    """Read a pack; what was told and dumped of it before is used again.

    Raises:
        DatasetError: the pack cannot be read, or the dump was interrupted.
        TrunkError: the trunk's weights are not installed.
    """
    if not config.swin.stem:
        raise DatasetError(f"{config.name} has no pretrained stem to look at photographs with")
    album = read_album(pack, cache / "scenes", config.mask_side)
    photos = [told.photo for told in album.told]
    keys = [f"{photo.folder}/{photo.path.name}" for photo in photos]

    def pixels(at: int) -> NDArray[np.uint8]:
        with Image.open(photos[at].path) as image:
            return to_pixels(upright(image), config.input_size)

    path = cache / f"maps-{config.swin.stem}-{config.input_size}"
    trunk, words = trunk_with_words(config.swin.stem, text)
    if not dump_maps(
        trunk, words, config.swin.stem, config.input_size, keys, pixels, path,
        should_stop=should_stop,
    ):  # fmt: skip
        raise DatasetError("looking at the photos was interrupted; the same command goes on")
    return PhotoData(album, open_maps(path))
