"""Annotated photos in COCO's form, whose instances are what an expression may refer to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from model.grefcoco_form import INSTANCES
from model.network.preprocess import upright
from search_api.show.overlay import outlines
from training.data import coco_shapes
from training.errors import DatasetError

FOLDERS = ("", "images", "train2014")


@dataclass(frozen=True)
class Thing:
    """An instance: its row in instances.json, and the name of its kind."""

    row: Mapping[str, Any]
    kind: str

    @property
    def id(self) -> int:
        """Of the annotation."""
        return int(self.row["id"])


@dataclass(frozen=True)
class Photo:
    """A photo with its instances, the largest first, so that what lies before another is on top."""

    row: Mapping[str, Any]
    path: Path
    things: tuple[Thing, ...]

    @property
    def id(self) -> int:
        """Of the image."""
        return int(self.row["id"])

    def image(self) -> Image.Image:
        """Upright, RGB.

        Raises:
            DatasetError: it cannot be read, or is of another size than its masks.
        """
        try:
            with Image.open(self.path) as opened:
                picture = upright(opened)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{self.path.name} cannot be read ({error})") from error
        wanted = (int(self.row["width"]), int(self.row["height"]))
        if picture.size != wanted:
            raise DatasetError(f"{self.path.name} is {picture.size}, its masks are {wanted}")
        return picture

    def shapes(self) -> list[dict[str, Any]]:
        """Each thing's outline in pixels of the photo, as polygons of x, y."""
        height, width = int(self.row["height"]), int(self.row["width"])
        return [
            {
                "id": thing.id,
                "kind": thing.kind,
                "outline": [
                    np.reshape(line, (-1, 2)).tolist()
                    for line in outlines(
                        coco_shapes.decode(thing.row["segmentation"], height, width)
                    )
                ],
            }
            for thing in self.things
        ]


@dataclass(frozen=True)
class Collection:
    """Photos to be annotated, and the categories of their instances."""

    name: str
    photos: tuple[Photo, ...]
    categories: tuple[Mapping[str, Any], ...]

    def photo(self, image_id: int) -> Photo | None:
        """A photo by its number."""
        return next((photo for photo in self.photos if photo.id == image_id), None)


def read(folder: Path, limit: int | None = None) -> Collection:
    """Read instances.json and find its photos; crowds and masks that cannot be used are no things.

    Args:
        limit: at most so many photos; those with two things or more come first.
    Raises:
        DatasetError: it is missing or of another form, or none of its photos is there.
    """
    path = folder / INSTANCES
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        kinds = {row["id"]: str(row["name"]) for row in content["categories"]}
        images = {row["id"]: row for row in content["images"]}
        of_image: dict[int, list[Thing]] = {number: [] for number in images}
        for row in content["annotations"]:
            image = images.get(row["image_id"])
            if image is None or row.get("iscrowd") or row["category_id"] not in kinds:
                continue
            if not coco_shapes.flaw(row.get("segmentation"), image["height"], image["width"]):
                of_image[row["image_id"]].append(Thing(row, kinds[row["category_id"]]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} is no COCO file with instances ({error})") from error
    photos = []
    for number, row in images.items():
        places = [folder / part / str(row["file_name"]) for part in FOLDERS]
        found = next((place for place in places if place.is_file()), None)
        if found is not None:
            things = sorted(of_image[number], key=lambda t: -float(t.row.get("area", 0)))
            photos.append(Photo(row, found, tuple(things)))
    if not photos:
        raise DatasetError(f"{folder}: none of the photos of {INSTANCES} is there, or in images/")
    photos.sort(key=lambda photo: len(photo.things) < 2)
    return Collection(folder.name, tuple(photos[:limit]), tuple(content["categories"]))


def link(photos: Collection, out: Path) -> None:
    """Let a folder of references find the photos: OUT/images leads to where they lie."""
    first = photos.photos[0]
    base = first.path.parents[len(Path(str(first.row["file_name"])).parts) - 1]
    images = out / "images"
    if not images.exists():
        images.symlink_to(base.resolve(), target_is_directory=True)
