"""Annotated photographs as scenes: what the grammar executes expressions on.

What nobody marked stays unsure: the colour of a thing of which only the box is known, what a
person wears, whether somebody really holds what lies before them.

Shape legend: I things of a photo, g side of the grid of shares.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from training.errors import DatasetError
from training.language.everyday import ANIMAL_KINDS, STUFF, VEHICLES
from training.photos.colours import Shade, shade_of
from training.photos.kinds import COCO80
from training.photos.pack import Annotation, Photo
from training.scene import PERSONS, PHOTOS, Instance, Scene

VERSION = "1"  # raise it when a photo yields another scene
_FAINT = 0.0010  # of the photo: smaller things may be there and be overlooked
_MOST = 60  # things a photo; more are a crowd
_UNSEEN = ("hat", "bag", "hair", "glasses", "beard", "pose", "dress", "bottom", "top", "colour")
_TOPS = ("t-shirt", "shirt", "blouse", "sweater", "jacket", "coat", "blazer", "top", "sweatshirt",
         "cardigan", "vest", "hoodie", "jumper", "suit", "cape", "bodysuit")  # fmt: skip
_BOTTOMS = ("trousers", "jeans", "leggings", "shorts", "skirt")
_DRESSES = ("dress", "romper")
_WORN_BAGS = ("bag", "purse", "handbag", "backpack")
_WORN_GLASSES = ("glasses", "sunglasses")
_RIDDEN = ("bicycle", "motorcycle", "horse", "elephant")
_BOARDS = ("skateboard", "surfboard", "snowboard", "skis")
_HELD = ("umbrella", "tennis racket", "baseball bat", "cell phone", "frisbee", "remote", "cup",
         "wine glass", "bottle", "teddy bear", "handbag", "book", "hot dog", "donut", "banana",
         "sandwich", "knife", "fork", "spoon", "surfboard", "kite", "suitcase", "apple",
         "toothbrush", "scissors", "laptop", "pizza", "cake")  # fmt: skip
_ON_TABLE = ("cup", "wine glass", "bottle", "bowl", "fork", "knife", "spoon", "pizza", "cake",
             "sandwich", "vase", "laptop", "keyboard", "mouse", "book", "donut", "hot dog",
             "banana", "apple", "orange", "potted plant", "plate", "cell phone")  # fmt: skip
_SEXES = {
    "man": "man men guy gentleman husband father", "woman": "woman women lady wife mother",
    "boy": "boy", "girl": "girl",
}  # fmt: skip


@dataclass(frozen=True)
class Told:
    """One photo as training has it.

    Attributes:
        scene: what the grammar reads.
        stuff: kind -> places in `shares` of what cannot be counted.
        labels: kinds that are somewhere in it, without mask or box.
        shares: (I, g, g) uint8, 255 where a thing covers a whole cell; row k is instance id k + 1,
            then the stuff. A thing of which only the box is known covers its box.
    """

    photo: Photo
    scene: Scene
    stuff: dict[str, tuple[int, ...]]
    labels: tuple[str, ...]
    shares: NDArray[np.uint8]


def marks_of(photo: Photo) -> tuple[list[Annotation], list[Annotation]]:
    """What of a photo can be counted, its place the id in the scene less one, and what cannot."""
    marks = sorted(photo.annotations, key=lambda a: -a.box[2] * a.box[3])
    return [a for a in marks if a.kind not in STUFF], [a for a in marks if a.kind in STUFF]


def tell(photo: Photo, picture: NDArray[np.uint8], side: int) -> Told:
    """The scene of one photo; `picture` (H, W, 3) upright at the size of its annotations."""
    height, width = picture.shape[:2]
    counted, loose = marks_of(photo)
    kept = counted[:_MOST]
    masks = [a.mask(height, width) for a in kept + loose]
    shares = np.zeros((len(masks), side, side), np.uint8)
    for k, mask in enumerate(masks):
        small = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
        shares[k] = np.round(255 * small).astype(np.uint8)
    things = [
        _thing(k + 1, mark, masks[k], picture) for k, mark in enumerate(kept) if masks[k].any()
    ]
    known = _known(photo, crowded={a.kind for a in counted[_MOST:]})
    if photo.folder == "clothing-co-parsing":
        things = _dressed(things)
    things = _sexed(things, photo.captions)
    scene = Scene(0, PHOTOS, "", tuple(things if photo.composed else _linked(things)), known)
    stuff: dict[str, tuple[int, ...]] = {}
    for k, mark in enumerate(loose, len(kept)):
        stuff[mark.kind] = (*stuff.get(mark.kind, ()), k)
    return Told(photo, scene, stuff, photo.labels, shares)


def _known(photo: Photo, crowded: set[str]) -> frozenset[str]:
    known = set(photo.known)
    if known >= COCO80:  # no other animal or vehicle goes unmarked in these but rarely
        known |= {*ANIMAL_KINDS, *VEHICLES, "office chair"}
    if "person" in known:
        known |= set(PERSONS)
    return frozenset(known - crowded)


def _thing(
    number: int, mark: Annotation, mask: NDArray[np.uint8], picture: NDArray[np.uint8]
) -> Instance:
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height)
    boxed = mark.shape is None
    ys, xs = mask.nonzero()
    centre = ((xs.mean() + 0.5) / width, (ys.mean() + 0.5) / height)
    area = float(mask.mean()) * (0.6 if boxed else 1.0)
    unsure: set[str] = {"links"}
    person = mark.kind == "person"
    shade = bottom = None
    if not boxed:
        inner = cv2.erode(mask, np.ones((3, 3), np.uint8)).astype(bool)
        top_rows, bottom_rows = _halves(inner, box) if person else (inner, None)
        shade = shade_of(picture, top_rows)
        if person:
            bottom = shade_of(picture, bottom_rows) if bottom_rows is not None else None
    parts: dict[str, str] = {}
    shade = shade or Shade("", ())
    if person:
        unsure |= {*_UNSEEN} - {"top", "colour", "bottom"}
        if bottom is not None and bottom.sure:
            parts["bottom"] = bottom.sure
        else:
            unsure.add("bottom")
        if not shade.sure:
            unsure.add("top")
        if bottom is not None:  # somebody in white trousers may be "in white"
            shade = Shade(shade.sure, tuple({*shade.perhaps, *bottom.perhaps} - {shade.sure}))
    if boxed or (not shade.sure and not shade.perhaps):
        unsure.add("colour")
        if person:
            unsure |= {"top", "bottom"}
    return Instance(
        id=number,
        category=mark.kind,
        colour=shade.sure,
        parts=parts,
        box=tuple(float(v) for v in box),  # type: ignore[arg-type]
        centre=(float(centre[0]), float(centre[1])),
        area=area,
        depth=0.5,
        perhaps=shade.perhaps,
        unsure=tuple(sorted(unsure)),
        boxed=boxed,
        faint=mark.crowd or area < _FAINT,
    )


def _halves(
    inner: NDArray[np.bool_], box: tuple[float, float, float, float]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
    """Where somebody's upper and lower clothes are; a person who is not upright has no lower."""
    height, width = inner.shape
    top, bottom = box[1] * height, box[3] * height
    tall = (bottom - top) / max(1.0, (box[2] - box[0]) * width)
    upper, lower = inner.copy(), inner.copy()
    if tall < 1.6:  # sitting, lying, or a bust: the middle is the top
        upper[: int(top + 0.35 * (bottom - top))] = False
        return upper, None
    upper[: int(top + 0.2 * (bottom - top))] = False
    upper[int(top + 0.45 * (bottom - top)) :] = False
    lower[: int(top + 0.55 * (bottom - top))] = False
    lower[int(top + 0.85 * (bottom - top)) :] = False
    return upper, lower


def _dressed(things: list[Instance]) -> list[Instance]:
    """Of photos whose garments are all marked: they are what the one person wears."""
    people = [t for t in things if t.category == "person"]
    if len(people) != 1:
        return things
    (person,) = people
    parts: dict[str, str] = {}
    colour, perhaps = "", set(person.perhaps)

    def worn(kinds: Sequence[str]) -> Instance | None:
        found = [t for t in things if t.category in kinds and not t.faint]
        return max(found, key=lambda t: t.area) if found else None

    top, bottom, dress = worn(_TOPS), worn(_BOTTOMS), worn(_DRESSES)
    shown = dress or top
    if shown is not None:
        colour, perhaps = shown.colour, set(shown.perhaps)
    sure = {"glasses", "hat", "bag", "dress"}
    if dress is not None:
        parts["dress"] = "yes"
        if colour:
            parts["bottom"] = colour
    elif bottom is not None and bottom.colour:
        parts["bottom"] = bottom.colour
        sure.add("bottom")
    for part, kinds in (("hat", ("hat",)), ("bag", _WORN_BAGS)):
        found = worn(kinds)
        if found is not None:
            parts[part] = found.colour or "?"
    if worn(_WORN_GLASSES) is not None:
        parts["glasses"] = "yes"
    if colour:
        sure |= {"colour", "top"}
    if bottom is not None:
        perhaps |= {*bottom.perhaps, *((bottom.colour,) if bottom.colour else ())}
    changed = replace(
        person,
        colour=colour,
        parts=parts,
        perhaps=tuple(sorted(perhaps - {colour})),
        unsure=tuple(sorted({*_UNSEEN, "links"} - sure)),
    )
    return [changed if t is person else t for t in things]


def _sexed(things: list[Instance], captions: Sequence[str]) -> list[Instance]:
    """A person is called man, woman, boy or girl where one person and one word agree."""
    people = [t for t in things if t.category == "person" and not t.faint]
    if len(people) != 1 or not captions:
        return things
    said = Counter(
        sex
        for caption in captions
        for sex, words in _SEXES.items()
        if set(re.findall(r"[a-z]+", caption.lower())) & set(words.split())
    )
    if len(said) != 1:
        return things
    ((sex, count),) = said.items()
    if count < min(2, len(captions)):
        return things
    return [replace(t, category=sex) if t is people[0] else t for t in things]


def _linked(things: list[Instance]) -> list[Instance]:
    """Who surely rides, stands on or holds what, from where they are."""
    people = [t for t in things if t.category in PERSONS and not t.faint]
    holds: dict[int, list[int]] = {}
    rides: dict[int, int] = {}
    stands: dict[int, int] = {}
    tables = [t for t in things if t.category == "dining table" and not t.faint]
    for thing in things:
        if thing.faint:
            continue
        if thing.category in _RIDDEN + _BOARDS:
            on = _on_board if thing.category in _BOARDS else _astride
            riders = [p for p in people if on(p, thing)]
            if len(riders) == 1 and riders[0].id not in rides:
                rides[riders[0].id] = thing.id
        if thing.category in _HELD and thing.id not in rides.values():
            holders = [p for p in people if _within(thing.centre, p.box, 0.03)]
            if len(holders) == 1 and thing.area < 0.5 * holders[0].area:
                holds.setdefault(holders[0].id, []).append(thing.id)
        if thing.category in _ON_TABLE:
            under = [t for t in tables if _lies_on(thing, t)]
            if len(under) == 1:
                stands[thing.id] = under[0].id
    return [
        replace(
            t,
            holds=tuple(holds.get(t.id, ())),
            rides=rides.get(t.id, 0),
            stands_on=stands.get(t.id, 0),
        )
        for t in things
    ]


def _within(point: tuple[float, float], box: tuple[float, float, float, float], by: float) -> bool:
    x, y = point
    return box[0] - by < x < box[2] + by and box[1] - by < y < box[3] + by


def _overlap(a: Instance, b: Instance) -> float:
    """Of a's width that lies over b's."""
    shared = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
    return shared / max(1e-6, a.box[2] - a.box[0])


def _astride(person: Instance, thing: Instance) -> bool:
    top, bottom = thing.box[1], thing.box[3]
    seated = top + 0.15 * (bottom - top) < person.box[3] <= bottom + 0.02
    return seated and person.box[1] < top + 0.1 and _overlap(person, thing) > 0.6


def _on_board(person: Instance, thing: Instance) -> bool:
    tall = person.box[3] - person.box[1]
    near = abs(thing.centre[1] - person.box[3]) < 0.15 * tall
    return near and _overlap(thing, person) > 0.4


def _lies_on(thing: Instance, table: Instance) -> bool:
    top, bottom = table.box[1], table.box[3]
    foot = thing.box[3]
    level = top + 0.03 < foot < bottom - 0.1 * (bottom - top)
    return level and _overlap(thing, table) > 0.95 and thing.area < 0.5 * table.area


@dataclass(frozen=True)
class Album:
    """All photos of a pack, told.

    Attributes:
        told: in the pack's order.
        side: g, of the grids of shares.
    """

    told: tuple[Told, ...]
    side: int

    def __len__(self) -> int:
        return len(self.told)


def read_album(
    photos: Sequence[Photo],
    cache: Path,
    side: int,
) -> Album:
    """Tell every photo of a pack, or read what was told of the same files before.

    Raises:
        DatasetError: a photo cannot be read.
    """
    print_of = sha256(VERSION.encode() + str(side).encode())
    for photo in photos:
        print_of.update(repr((photo.path.name, photo.folder, photo.annotations)).encode())
    folder = cache / print_of.hexdigest()[:16]
    if not (folder / "scenes.jsonl").is_file():
        _write_album(photos, folder, side)
    shares = np.load(folder / "shares.npy", mmap_mode="r")
    told, at = [], 0
    lines = (folder / "scenes.jsonl").read_text(encoding="utf-8").splitlines()
    for photo, line in zip(photos, lines, strict=True):
        row = json.loads(line)
        scene = Scene(
            0, PHOTOS, "", tuple(_instance(t) for t in row["things"]), frozenset(row["known"])
        )
        stuff = {kind: tuple(places) for kind, places in row["stuff"].items()}
        told.append(Told(photo, scene, stuff, photo.labels, shares[at : at + row["rows"]]))
        at += row["rows"]
    return Album(tuple(told), side)


def _instance(values: dict[str, Any]) -> Instance:
    tuples: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return Instance(**tuples)


def _write_album(photos: Sequence[Photo], folder: Path, side: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines, rows = [], []
    for photo in tqdm(photos, unit="photo", desc="telling photos"):
        try:
            with Image.open(photo.path) as image:
                picture = np.asarray(image.convert("RGB"))
        except OSError as error:
            raise DatasetError(
                f"{photo.path} cannot be read ({error}); copy the pack again"
            ) from error
        if picture.shape[:2] != (photo.height, photo.width):
            raise DatasetError(
                f"{photo.path} has {picture.shape[1]} x {picture.shape[0]} pixels, its entry says "
                f"{photo.width} x {photo.height}"
            )
        told = tell(photo, picture, side)
        things = [asdict(t) for t in told.scene.instances]
        lines.append(
            json.dumps({"things": things, "known": sorted(told.scene.known or ()),
                        "stuff": told.stuff, "rows": len(told.shares)})
        )  # fmt: skip
        rows.append(told.shares)
    np.save(folder / "shares.npy", np.concatenate(rows))
    partial = folder / ".scenes.part"
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    partial.replace(folder / "scenes.jsonl")
