"""Composites: things cut out of a pack's photos and pasted into others, with exact truth.

They are written in COCO's form like any folder of a pack. What a person hardly ever photographs so
cleanly is common in them: several of a kind in other colours and sizes, one before the other.

Source: Ghiasi et al., Simple Copy-Paste Is a Strong Data Augmentation Method for Instance
Segmentation, CVPR 2021.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask
from tqdm import tqdm

from training.errors import DatasetError
from training.language.everyday import STUFF
from training.photos.kinds import COCO80
from training.photos.pack import Annotation, Photo

FOLDER = "composites"
VERSION = "1"  # raise it when a seed yields another picture
_SIDE = 480  # of the longer side, pixels
_QUIET = 5  # a background holds at most so many things
_SMALLEST = 56  # of a cut-out's shorter side, pixels
_SEEN = 0.45  # no paste hides more of another thing
_TRIES = 12
# What holds or carries other things that its mask does not tell from it.
_CARRIERS = frozenset(
    ("dining table", "bed", "couch", "bench", "train", "boat", "truck", "bus", "car", "sink",
     "oven", "refrigerator", "bowl", "toilet", "book")
)  # fmt: skip


@dataclass(frozen=True)
class _CutOut:
    """One marked thing and what lies so near it that it may be pasted along."""

    photo: Photo
    mark: Annotation
    near: frozenset[str]


def can_compose(photos: Sequence[Photo]) -> bool:
    """Whether a pack has backgrounds and things to cut out, in both of its splits."""
    makers = [_Maker([p for p in photos if p.split == split]) for split in ("train", "val")]
    return all(maker.backgrounds and maker.cut_outs for maker in makers)


def compose(photos: Sequence[Photo], folder: Path, count: int, seed: int = 1) -> Path:
    """Write composites of a pack's photos; what was written of the same before stays.

    A composite belongs to the split of its own name, and so do all photos that it is made of.

    Args:
        photos: of the pack; those in which COCO's 80 kinds are marked are backgrounds, every mask
            of these kinds may be cut out.
        folder: where the folder `composites` is made.
        count: how many composites.
    Returns:
        The folder, in COCO's form.
    Raises:
        DatasetError: the pack has no backgrounds or nothing to cut out, or a photo is unreadable.
    """
    made_of = sha256("\n".join(f"{p.folder}/{p.key}" for p in photos).encode()).hexdigest()[:8]
    out = folder / f"{FOLDER}-{VERSION}-{seed}-{count}-{made_of}" / FOLDER
    if (out / "instances.json").is_file():
        return out
    if not can_compose(photos):
        raise DatasetError(
            "composites need photos with masks in which COCO's 80 kinds are marked wherever "
            "they occur; set the recipe's composites to 0 for a pack without"
        )
    (out / "images").mkdir(parents=True, exist_ok=True)
    makers = {split: _Maker([p for p in photos if p.split == split]) for split in ("train", "val")}
    names = sorted({a.kind for photo in photos for a in photo.annotations})
    content: dict[str, list[dict[str, Any]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": k, "name": name} for k, name in enumerate(names)],
    }
    for number in tqdm(range(count), unit="photo", desc="composing"):
        file = f"{number:06}.jpg"
        placed = Photo(out / "images" / file, FOLDER, f"{FOLDER}/{file}", 0, 0, frozenset())
        picture, marks, known = makers[placed.split].make(Random(f"{seed} {number}"))
        height, width = picture.shape[:2]
        Image.fromarray(picture).save(placed.path, quality=92)
        content["images"].append(
            {"id": number, "file_name": file, "width": width, "height": height,
             "exhaustive": sorted(known), "composed": True}
        )  # fmt: skip
        for kind, mask in marks:
            rle = coco_mask.encode(np.asfortranarray(mask))
            content["annotations"].append(
                {"id": len(content["annotations"]), "image_id": number,
                 "category_id": names.index(kind), "iscrowd": 0,
                 "bbox": [float(v) for v in coco_mask.toBbox(rle)],
                 "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()}}
            )  # fmt: skip
    partial = out / ".instances.part"
    partial.write_text(json.dumps(content), encoding="utf-8")
    partial.replace(out / "instances.json")
    return out


class _Maker:
    """Composites from the photos of one split."""

    def __init__(self, photos: Sequence[Photo]) -> None:
        self.backgrounds = [
            p for p in photos
            if p.known >= COCO80 and len(p.annotations) <= _QUIET
            and not any(a.crowd or a.shape is None for a in p.annotations)
        ]  # fmt: skip
        self.cut_outs: dict[str, list[_CutOut]] = {}
        for photo in photos:
            for mark in photo.annotations:
                if _whole(photo, mark):
                    others = [a for a in photo.annotations if a is not mark]
                    near = frozenset(a.kind for a in others if _meet(a.box, mark.box))
                    # Where not all is marked, anything of these may be part of what is cut out.
                    near = near if photo.known >= COCO80 else near | _CARRIERS
                    self.cut_outs.setdefault(mark.kind, []).append(_CutOut(photo, mark, near))

    def make(
        self, r: Random
    ) -> tuple[NDArray[np.uint8], list[tuple[str, NDArray[np.uint8]]], set[str]]:
        """One picture (H, W, 3), its things (kind, visible mask), what is known of it."""
        background = r.choice(self.backgrounds)
        picture = _opened(background)
        scale = min(1.0, _SIDE / max(picture.shape[:2]))
        before = [(a.kind, a.mask(*picture.shape[:2])) for a in background.annotations]
        picture = _resized(picture, scale)
        height, width = picture.shape[:2]
        things = [(kind, _mask_at(mask, width, height)) for kind, mask in before]
        things = [(kind, mask) for kind, mask in things if mask.any()]
        whole = [0 if kind in STUFF else int(mask.sum()) for kind, mask in things]
        known = set(background.known)
        for kind in self._cast(r):
            cut = r.choice(self.cut_outs[kind])
            pixels, alpha = _cut(cut)
            for _ in range(_TRIES):
                pasted, soft = _placed(pixels, alpha, height, width, r)
                mask = (soft > 0.5).astype(np.uint8)
                left = [int((m & (1 - mask)).sum()) for _, m in things]
                if mask.sum() < 200 or any(v < _SEEN * w for v, w in zip(left, whole, strict=True)):
                    continue
                picture = np.round(
                    picture * (1 - soft[..., None]) + pasted * soft[..., None]
                ).astype(np.uint8)
                things = [(k, m & (1 - mask)) for k, m in things] + [(kind, mask)]
                whole.append(int(mask.sum()))
                known -= cut.near - {kind}
                break
        marks = [(kind, mask) for kind, mask in things if mask.any()]
        return picture, marks, known | {kind for kind, _ in marks}

    def _cast(self, r: Random) -> list[str]:
        """Kinds to paste: mostly several of one, now and then another beside them."""
        kinds = sorted(self.cut_outs)
        weights = [math.sqrt(len(self.cut_outs[kind])) for kind in kinds]
        first, second = r.choices(kinds, weights, k=2)
        cast = [first] * r.choice((1, 2, 2, 3, 3, 4)) + [second] * r.choice((0, 0, 1, 1, 2))
        r.shuffle(cast)
        return cast


def _whole(photo: Photo, mark: Annotation) -> bool:
    """Whether a thing can be cut out: marked by a mask, large, and not cut by the photo's edge."""
    if mark.shape is None or mark.crowd or mark.kind not in COCO80 or mark.kind in _CARRIERS:
        return False
    x, y, w, h = mark.box
    edge = 2.0
    inside = x > edge and y > edge and x + w < photo.width - edge and y + h < photo.height - edge
    return inside and min(w, h) >= _SMALLEST


def _meet(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def _opened(photo: Photo) -> NDArray[np.uint8]:
    try:
        with Image.open(photo.path) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise DatasetError(f"{photo.path} cannot be read ({error}); copy the pack again") from error


def _resized(picture: NDArray[Any], scale: float) -> NDArray[Any]:
    if scale == 1.0:
        return picture
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=way))


def _mask_at(mask: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    small = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return (small > 0.5).astype(np.uint8)


def _cut(cut: _CutOut) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A thing's pixels and its mask, cropped."""
    picture = _opened(cut.photo)
    mask = cut.mark.mask(*picture.shape[:2])
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return picture[box], mask[box].astype(np.float32)


def _placed(
    pixels: NDArray[np.uint8], alpha: NDArray[np.float32], height: int, width: int, r: Random
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The cut-out somewhere on an empty picture, now and then mirrored: (H, W, 3) and (H, W)."""
    side = max(pixels.shape[:2])
    wanted = min(height, width) * r.uniform(0.16, 0.55)
    scale = min(wanted / side, 1.5)
    turn = slice(None, None, -1 if r.random() < 0.5 else 1)
    small = _resized(np.ascontiguousarray(pixels[:, turn]).astype(np.float32), scale)
    mask = _resized(np.ascontiguousarray(alpha[:, turn]), scale)
    mask = cv2.GaussianBlur(np.pad(mask, 1), (3, 3), 0)[1:-1, 1:-1]
    h, w = mask.shape
    y = round((height - h) * r.betavariate(2.0, 1.3))
    x = round((width - w) * r.random())
    pasted = np.zeros((height, width, 3), np.float32)
    soft = np.zeros((height, width), np.float32)
    pasted[y : y + h, x : x + w] = small
    soft[y : y + h, x : x + w] = mask
    return pasted, soft
