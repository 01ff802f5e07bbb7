"""Whether the photos of a split are there, before a run that reads them one by one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from PIL import Image

from training.data.grefcoco import NAMED, Dataset, refuse
from training.data.grefcoco_counts import NO_PHOTO
from training.errors import DatasetError

_ORIENTATION = 274  # EXIF
_TURNED = (5, 6, 7, 8)  # width and height change places


def with_photos(dataset: Dataset, *, strict: bool = False) -> Dataset:
    """The data set without the expressions whose photo cannot be used; their number is counted.

    Only headers are read: some seconds for all of gRefCOCO.

    Raises:
        DatasetError: no photo can be used; or, if `strict`, one cannot.
    """
    flaws = {}
    for image_id in dict.fromkeys(sample.image_id for sample in dataset.samples):
        if flaw := _flaw(dataset, image_id):
            flaws[image_id] = flaw
    if not flaws:
        return dataset
    kept = tuple(sample for sample in dataset.samples if sample.image_id not in flaws)
    if not kept:
        raise DatasetError(next(iter(flaws.values())))
    counts = dataset.counts
    lost = len(dataset.samples) - len(kept)
    quirks = Counter(counts.quirks) + Counter({NO_PHOTO: lost})
    where = {**counts.where, NO_PHOTO: tuple(list(flaws.values())[:NAMED])}
    counts = replace(counts, quirks={name: quirks[name] for name in counts.quirks}, where=where)
    if strict:
        refuse(counts, dataset.folder)
    return replace(dataset, samples=kept, counts=counts)


def _flaw(dataset: Dataset, image_id: int) -> str:
    """Why a photo cannot be used, in a sentence; "" where it can."""
    try:
        path = dataset.photo(image_id)
    except DatasetError as error:
        return str(error)
    try:
        wide, high = _size(path)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        return f"{path} cannot be read ({error}); fetch it again"
    width, height = dataset.size(image_id)
    if (wide, high) != (width, height):
        return (
            f"{path} is {wide} x {high} pixels, its masks are {width} x {height}; the photo is not "
            "the one that was annotated"
        )
    return ""


def _size(path: Path) -> tuple[int, int]:
    """Width and height of a photo held upright."""
    with Image.open(path) as image:
        width, height = image.size
        turned = image.getexif().get(_ORIENTATION) in _TURNED
    return (height, width) if turned else (width, height)
