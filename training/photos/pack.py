"""Annotated photographs on disk: folders in COCO's form, read and checked.

A pack is a folder of such folders, or one of them: `images/` and `instances.json`. Beyond COCO's
fields a photo may have `exhaustive` ("coco80", "own", a list of kinds, or null), `labels`,
`captions`, `original_id` and `composed`, an annotation `box_only`; a plain COCO file is taken as
exhaustive for its own categories.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from training.data import coco_shapes
from training.errors import DatasetError
from training.photos.kinds import COCO80, kind_of

Split = Literal["train", "val"]


@dataclass(frozen=True)
class Annotation:
    """One thing that somebody marked.

    Attributes:
        kind: its everyday name, see `training.photos.kinds`.
        box: x, y, width, height in pixels.
        shape: COCO's segmentation (polygons or RLE); None where only the box is known.
        crowd: many of the kind in one mark, not to be counted.
    """

    kind: str
    box: tuple[float, float, float, float]
    shape: Any
    crowd: bool

    def mask(self, height: int, width: int) -> NDArray[np.uint8]:
        """(height, width) of 0 and 1; the box's inside where only that is known."""
        if self.shape is None:
            filled = np.zeros((height, width), np.uint8)
            x, y, w, h = self.box
            filled[int(y) : math.ceil(y + h), int(x) : math.ceil(x + w)] = 1
            return filled
        shape = self.shape
        if isinstance(shape, list):
            shape = coco_mask.merge(coco_mask.frPyObjects(shape, height, width))
        elif isinstance(shape["counts"], list):
            shape = coco_mask.frPyObjects(shape, height, width)
        decoded: NDArray[np.uint8] = coco_mask.decode(shape)
        return decoded


@dataclass(frozen=True)
class Photo:
    """One photo and what is known of it.

    Attributes:
        path: of its file.
        key: its source's own name for it; decides its split.
        known: kinds that are marked wherever they occur, so that an unmarked one is absent.
        labels: kinds that it shows somewhere.
        captions: what people wrote about it.
        composed: made by pasting, so that nobody holds or rides what lies near them.
    """

    path: Path
    folder: str
    key: str
    width: int
    height: int
    known: frozenset[str]
    labels: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()
    annotations: tuple[Annotation, ...] = field(default=(), repr=False)
    composed: bool = False

    @property
    def split(self) -> Split:
        """A fixed fifth is kept out of training, by a hash of the source's name for the photo."""
        return "val" if int(sha256(self.key.encode()).hexdigest()[:8], 16) % 5 == 0 else "train"


def read_pack(path: Path) -> list[Photo]:
    """Every photo of a pack, in a fixed order.

    Raises:
        DatasetError: there is none, or a folder cannot be used; it names file and entry.
    """
    if (path / "instances.json").is_file():
        return _read_folder(path)
    folders = sorted(p.parent for p in path.glob("*/instances.json"))
    if not folders:
        raise DatasetError(
            f"{path} holds no annotated photos: a folder with images/ and instances.json (COCO's "
            "form) is wanted, or a folder of such folders; name it with --data"
        )
    return [photo for folder in folders for photo in _read_folder(folder)]


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); copy it again") from error
    if not isinstance(content, dict) or not all(
        isinstance(content.get(name), list) for name in ("images", "annotations", "categories")
    ):
        raise DatasetError(f"{path} is not in COCO's form: it lacks images, annotations, or "
                           "categories")  # fmt: skip
    return content


def _read_folder(folder: Path) -> list[Photo]:
    path = folder / "instances.json"
    content = _load(path)
    if content["annotations"] and not content["categories"]:
        raise DatasetError(f"{path} has no categories, so its annotations name nothing")
    kinds: dict[Any, str] = {}
    for row in content["categories"]:
        if row.get("id") in kinds:
            raise DatasetError(f"{path}: category id {row['id']} is there twice")
        kinds[row["id"]] = kind_of(str(row["name"]))
    own = frozenset(kinds.values())
    marked: dict[Any, list[dict[str, Any]]] = {}
    ids = set()
    for row in content["annotations"]:
        if row.get("id") in ids:
            raise DatasetError(f"{path}: annotation id {row['id']} is there twice")
        ids.add(row.get("id"))
        marked.setdefault(row.get("image_id"), []).append(row)
    photos, seen = [], set()
    for row in content["images"]:
        if row.get("id") in seen:
            raise DatasetError(f"{path}: image id {row['id']} is there twice")
        seen.add(row.get("id"))
        photos.append(_photo(folder, path, row, marked.get(row["id"], ()), kinds, own))
    if lost := set(marked) - seen:
        raise DatasetError(f"{path}: annotations belong to image {min(lost)!r}, which is not there")
    return photos


def _photo(
    folder: Path,
    path: Path,
    row: dict[str, Any],
    marked: Sequence[dict[str, Any]],
    kinds: dict[Any, str],
    own: frozenset[str],
) -> Photo:
    width, height = int(row["width"]), int(row["height"])
    exhaustive = row.get("exhaustive", "own")
    if exhaustive == "coco80":
        known = COCO80
    elif exhaustive == "own":
        known = own
    else:
        known = frozenset(kind_of(name) for name in exhaustive or ())
    annotations = []
    for mark in marked:
        where = f"{path}: annotation {mark.get('id')}"
        if mark.get("category_id") not in kinds:
            raise DatasetError(f"{where} has the unknown category {mark.get('category_id')}")
        shape = None if mark.get("box_only") else mark.get("segmentation")
        if isinstance(shape, dict) and tuple(shape.get("size", ())) != (height, width):
            raise DatasetError(
                f"{where} has a mask of {shape.get('size')}, its photo {row['file_name']} has "
                f"{[height, width]}"
            )
        if shape and coco_shapes.flaw(shape, height, width) in (
            coco_shapes.FAR,
            coco_shapes.BROKEN,
        ):
            raise DatasetError(f"{where} has a mask with points far outside its photo, or broken")
        box = tuple(float(v) for v in mark.get("bbox") or ())
        if len(box) != 4 or not all(math.isfinite(v) for v in box):
            raise DatasetError(f"{where} has no box of four numbers")
        annotations.append(
            Annotation(kinds[mark["category_id"]], box, shape, bool(mark.get("iscrowd")))
        )
    file = str(row["file_name"])
    original = row.get("original_id")
    return Photo(
        path=folder / "images" / file,
        folder=folder.name,
        key=str(original) if original not in (None, "") else f"{folder.name}/{file}",
        width=width,
        height=height,
        known=known,
        labels=tuple(dict.fromkeys(kind_of(str(name)) for name in row.get("labels") or ())),
        captions=tuple(str(c) for c in row.get("captions") or ()),
        annotations=tuple(annotations),
        composed=bool(row.get("composed")),
    )
