"""Synthetic albums on disk: photos as cameras write them, with their truth beside them.

An album's folder holds

- `images/IMG_00001.jpg` and so on, with EXIF; pixels are stored turned where the tag says so;
- `instances.json`, in COCO's form, exact masks as RLE. Sizes, boxes and masks are those of the
  upright photo, as it looks once its EXIF orientation is applied;
- `grefs(unc).json`, references in gRefCOCO's form, and `references.jsonl`, the same for people;
- `scenes.jsonl`, each photo's scene graph; `synth.json`, what the album was made from.

The same settings give the same bytes, with any number of workers.
"""

from __future__ import annotations

import dataclasses
import json
import math
import multiprocessing
import os
import re
import signal
from collections.abc import Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from model.grefcoco_form import INSTANCES, REFERENCES, Reference, write_refs
from model.replacing import clear_parts, replacing
from training.data.album_exif import Shot, exif_of, plan_shots, stored
from training.drawing.scenes import aspect_of, make_photo
from training.errors import TrainingError
from training.language.grammar import Expression, execute, expressions, no_target
from training.scene import ANIMALS, CATEGORIES, PEOPLE, SPLITS, Scene

MAX_MEGAPIXELS = 12.0
MIN_SIDE_PX = 64

TRUE_A_PHOTO, FALSE_A_PHOTO, DECEPTIVE_A_PHOTO = 6, 2, 1

# Scene seeds of albums lie far from those of shards and of the evaluation sets, and every photo
# has some to choose from, so that one of a wanted shape is found.
_FIRST_SEED, _SEEDS_AN_ALBUM, _SEEDS_A_PHOTO = 4_000_000_000, 10_000_000, 32


class AlbumError(TrainingError):
    """A synthetic album cannot be written as asked."""


@dataclass(frozen=True, slots=True)
class AlbumPlan:
    """What an album is made from; refused when it cannot be made.

    Attributes:
        photos: how many.
        seed: another seed, another album.
        split: one of SPLITS.
        width, height: of the upright photos in pixels; 0 leaves it to the other one, or to
            `megapixels`, and to the photo's own aspect.
        megapixels: the middle of the sizes where neither width nor height is given.
        quality: of the JPEG files, 1 to 95.
    """

    photos: int
    seed: int = 1
    split: str = "test"
    width: int = 0
    height: int = 0
    megapixels: float = 0.8
    quality: int = 90

    def __post_init__(self) -> None:
        if not 1 <= self.photos <= _SEEDS_AN_ALBUM // _SEEDS_A_PHOTO:
            raise AlbumError(
                f"{self.photos} photos: an album holds 1 to {_SEEDS_AN_ALBUM // _SEEDS_A_PHOTO}"
            )
        if self.seed < 0:
            raise AlbumError(f"seed {self.seed}: give a seed of 0 or more")
        if self.split not in SPLITS:
            raise AlbumError(f"no split is called {self.split!r}: use one of {', '.join(SPLITS)}")
        if not 1 <= self.quality <= 95:
            raise AlbumError(f"quality {self.quality}: JPEG qualities go from 1 to 95")
        for name, side in (("width", self.width), ("height", self.height)):
            if side and side < MIN_SIDE_PX:
                raise AlbumError(f"{name} {side}: give at least {MIN_SIDE_PX} pixels")
        # A side that is given alone makes at most a photo of 16:9 or 2:3.
        pixels = self.width * self.height or max(self.width**2 * 1.5, self.height**2 * 16 / 9)
        if pixels > MAX_MEGAPIXELS * 1.05e6 or self.megapixels > MAX_MEGAPIXELS:
            raise AlbumError(f"photos have at most {MAX_MEGAPIXELS:g} megapixels: ask for smaller")
        if self.megapixels < 0.01:
            raise AlbumError(f"{self.megapixels:g} megapixels: give at least 0.01")


@dataclass(frozen=True, slots=True)
class _Task:
    plan: AlbumPlan
    index: int
    folder: str
    shot: Shot


@dataclass(frozen=True, slots=True)
class _Made:
    """One photo's truth, as the worker that wrote the photo returns it."""

    index: int
    file_name: str
    width: int
    height: int
    scene: Scene
    masks: dict[int, dict[str, Any]]
    true: list[Expression]
    false: list[Expression]


def scene_seed(plan: AlbumPlan, index: int) -> int:
    """The seed of an album's photo: the first of its own that has about the wanted aspect."""
    first = _FIRST_SEED + plan.seed * _SEEDS_AN_ALBUM + index * _SEEDS_A_PHOTO
    if not (plan.width and plan.height):
        return first
    wanted = math.log(plan.width / plan.height)
    best, least = first, math.inf
    for seed in range(first, first + _SEEDS_A_PHOTO):
        off = abs(math.log(aspect_of(seed, plan.split)) - wanted)
        if off < least - 1e-9:
            best, least = seed, off
        if off < 0.07:
            break
    return best


def photo_size(plan: AlbumPlan, index: int, aspect: float) -> tuple[int, int]:
    """Width and height in pixels of an album's upright photo."""
    if plan.width and plan.height:
        return plan.width, plan.height
    if plan.width:
        return plan.width, max(MIN_SIDE_PX, round(plan.width / aspect))
    if plan.height:
        return max(MIN_SIDE_PX, round(plan.height * aspect)), plan.height
    spread = Random(f"size|{plan.seed}|{index}").uniform(0.6, 1.4)
    pixels = min(plan.megapixels * spread, MAX_MEGAPIXELS) * 1e6
    height = math.sqrt(pixels / aspect)
    return max(MIN_SIDE_PX, round(height * aspect)), max(MIN_SIDE_PX, round(height))


def _write(path: Path, text: str) -> None:
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def _make(task: _Task) -> _Made:
    """Draw and write one photo, and state its truth."""
    plan = task.plan
    seed = scene_seed(plan, task.index)
    width, height = photo_size(plan, task.index, aspect_of(seed, plan.split))
    pixels, ids, scene = make_photo(seed, plan.split, width, height)
    name = f"IMG_{task.index + 1:05d}.jpg"
    image = stored(pixels, task.shot.orientation)
    with replacing(Path(task.folder) / "images" / name) as part:
        image.save(part, "JPEG", quality=plan.quality, exif=exif_of(task.shot))
    masks: dict[int, dict[str, Any]] = {}
    for instance in scene.instances:
        rle = coco_mask.encode(np.asfortranarray(ids == instance.id, dtype=np.uint8))
        masks[instance.id] = {
            "segmentation": {"size": [height, width], "counts": rle["counts"].decode("ascii")},
            "bbox": [float(v) for v in coco_mask.toBbox(rle)],
            "area": int(coco_mask.area(rle)),
        }
    rng = np.random.default_rng([plan.seed, SPLITS.index(plan.split), task.index])
    return _Made(
        task.index, name, width, height, scene, masks,
        expressions(scene, rng, TRUE_A_PHOTO), no_target(scene, rng, FALSE_A_PHOTO),
    )  # fmt: skip


def _ignore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def write_album(plan: AlbumPlan, folder: Path, workers: int = 1) -> Generator[int]:
    """Write an album; yields the number of photos done after each.

    The JSON files appear when every photo is there. An interrupted run leaves whole photos only;
    calling again makes the album anew.

    Args:
        plan: what to make.
        folder: made if missing; must be empty or hold an earlier synthetic album.
        workers: processes; 1 works in this one.

    Raises:
        AlbumError: the folder holds something else, or cannot be written.
    """
    _prepare(plan, folder)
    shots = plan_shots(plan.photos, Random(f"shots|{plan.seed}|{plan.split}"))
    tasks = [_Task(plan, k, str(folder), shot) for k, shot in enumerate(shots)]
    made: list[_Made] = []
    try:
        if workers <= 1 or plan.photos == 1:
            for task in tasks:
                made.append(_make(task))
                yield len(made)
        else:
            # Spawned: a fork of a process that has run torch or FAISS may hang.
            context = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(
                min(workers, plan.photos), mp_context=context, initializer=_ignore_interrupt
            )
            try:
                for result in pool.map(_make, tasks):
                    made.append(result)
                    yield len(made)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        _write_truth(plan, folder, made)
    except OSError as error:
        raise AlbumError(
            f"{folder}: {error.strerror or error}; free space or choose another --out"
        ) from error
    finally:
        clear_parts(folder)


def _prepare(plan: AlbumPlan, folder: Path) -> None:
    """Make the folder, or empty an earlier synthetic album in it."""
    mark = folder / "synth.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not mark.is_file():
            raise AlbumError(
                f"{folder} holds files that are no synthetic album: name an empty or new folder"
            )
        for old in (INSTANCES, REFERENCES, "references.jsonl", "scenes.jsonl"):
            (folder / old).unlink(missing_ok=True)
        (folder / "images").mkdir(exist_ok=True)
        clear_parts(folder)
        for photo in (folder / "images").iterdir():
            if re.fullmatch(r"IMG_\d+\.jpg", photo.name):
                photo.unlink()
        _write(mark, json.dumps(dataclasses.asdict(plan), indent=1) + "\n")
    except OSError as error:
        raise AlbumError(
            f"{folder}: {error.strerror or error}; name a folder that can be written"
        ) from error


def _write_truth(plan: AlbumPlan, folder: Path, made: list[_Made]) -> None:
    category_ids = {name: k + 1 for k, name in enumerate(CATEGORIES)}
    above = dict.fromkeys(PEOPLE, "person") | dict.fromkeys(ANIMALS, "animal")
    annotations: list[dict[str, Any]] = []
    annotation_ids: list[dict[int, int]] = []
    for photo in made:
        of_photo: dict[int, int] = {}
        for instance in sorted(photo.scene.instances, key=lambda i: i.id):
            mask = photo.masks[instance.id]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": photo.index + 1,
                    "category_id": category_ids[instance.category],
                    "iscrowd": 0,
                    **mask,
                    "colour": instance.colour,
                }
            )
            of_photo[instance.id] = len(annotations)
        annotation_ids.append(of_photo)
    instances = {
        "info": {
            "description": f"Referent synthetic album, split {plan.split}, seed {plan.seed}",
            "orientation": "sizes and masks are those of the photo after EXIF orientation",
        },
        "licenses": [],
        "images": [
            {
                "id": p.index + 1, "file_name": p.file_name, "width": p.width, "height": p.height,
            }
            for p in made
        ],
        "categories": [
            {"id": key, "name": name, "supercategory": above.get(name, "thing")}
            for name, key in category_ids.items()
        ],
        "annotations": annotations,
    }  # fmt: skip
    references = list(_references(plan, made, annotation_ids, category_ids))
    _write(folder / "scenes.jsonl", "".join(
        json.dumps({"file_name": p.file_name, **dataclasses.asdict(p.scene)}) + "\n" for p in made
    ))  # fmt: skip
    _write(
        folder / "references.jsonl",
        "".join(
            json.dumps(
                {
                    "file_name": r.file_name,
                    "expression": r.sentences[0][0],
                    "kind": r.sentences[0][1],
                    "annotations": r.annotation_ids,
                }
            )
            + "\n"
            for r in references
        ),
    )
    with replacing(folder / REFERENCES) as part:
        write_refs(part, references)
    _write(folder / INSTANCES, json.dumps(instances))


def _references(
    plan: AlbumPlan,
    made: list[_Made],
    annotation_ids: list[dict[int, int]],
    category_ids: dict[str, int],
) -> Iterator[Reference]:
    """References of every photo: true ones, false ones, and deceptive ones of other photos."""
    rng = Random(f"deceptive|{plan.seed}|{plan.split}")
    number = 0
    for photo, ids in zip(made, annotation_ids, strict=True):
        said: list[tuple[Expression, list[int]]] = []
        for expression in photo.true:
            targets = execute(expression.program, photo.scene)
            assert targets
            said.append((expression, sorted(targets)))
        said += [(expression, []) for expression in photo.false]
        said += [(expression, []) for expression in _deceptive(photo, made, rng)]
        categories = {i.id: category_ids[i.category] for i in photo.scene.instances}
        for expression, found in said:
            number += 1
            yield Reference(
                number,
                photo.index + 1,
                photo.file_name,
                plan.split,
                tuple(ids[k] for k in found),
                tuple(categories[k] for k in found),
                ((expression.text, expression.kind),),
            )


def _deceptive(photo: _Made, made: list[_Made], rng: Random) -> list[Expression]:
    """Expressions of other photos that are certainly false of this one."""
    found: list[Expression] = []
    for _ in range(20 * DECEPTIVE_A_PHOTO):
        if len(found) == DECEPTIVE_A_PHOTO or len(made) < 2:
            break
        other = made[rng.randrange(len(made))]
        if other.index == photo.index or not other.true:
            continue
        expression = rng.choice(other.true)
        if execute(expression.program, photo.scene) == frozenset():
            found.append(expression)
    return found


def default_workers() -> int:
    """As many processes as this one may use processors, at most eight."""
    return max(1, min(8, len(os.sched_getaffinity(0))))
