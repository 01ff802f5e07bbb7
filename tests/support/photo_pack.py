"""A small pack of photographs in COCO's form: coloured things on grey, marked by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 96, 64
KINDS = {1: "person", 2: "dog", 3: "dining table", 4: "sky"}
COLOURS = {"red": (210, 20, 20), "blue": (20, 40, 210), "green": (20, 160, 40)}

# (category id, colour, x, y, width, height, what is known of it)
Thing = tuple[int, str, int, int, int, int, str]
PHOTOS: tuple[tuple[Thing, ...], ...] = (
    ((2, "red", 6, 20, 24, 30, ""), (2, "blue", 60, 20, 24, 30, "")),
    ((2, "red", 6, 20, 24, 30, "box"), (1, "green", 60, 10, 14, 50, "")),
    ((1, "red", 4, 6, 40, 50, "crowd"),),
    ((3, "green", 10, 30, 70, 30, ""), (4, "blue", 0, 0, 96, 20, "")),
    (
        (1, "blue", 10, 10, 14, 50, ""),
        (1, "red", 40, 10, 14, 50, ""),
        (1, "green", 70, 10, 14, 50, ""),
    ),
    ((2, "green", 30, 20, 30, 30, ""),),
)  # fmt: skip


def content(exhaustive: Any = "own") -> dict[str, Any]:
    """What instances.json holds."""
    images, annotations = [], []
    for number, things in enumerate(PHOTOS, 1):
        images.append(
            {"id": number, "file_name": f"{number}.jpg", "width": WIDTH, "height": HEIGHT,
             "exhaustive": exhaustive, "original_id": f"photo-{number}"}
        )  # fmt: skip
        for kind, _, x, y, w, h, known in things:
            shape = [[x, y, x + w, y, x + w, y + h, x, y + h]]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": kind,
                 "bbox": [x, y, w, h], "area": w * h, "iscrowd": int(known == "crowd"),
                 "segmentation": None if known == "box" else shape, "box_only": int(known == "box")}
            )  # fmt: skip
    categories = [{"id": number, "name": name} for number, name in KINDS.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_pack(folder: Path, rows: dict[str, Any] | None = None) -> Path:
    """Write the pack; `rows` stands in place of `content`."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for number, things in enumerate(PHOTOS, 1):
        pixels = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
        for _, colour, x, y, w, h, _ in things:
            pixels[y : y + h, x : x + w] = COLOURS[colour]
        Image.fromarray(pixels).save(folder / "images" / f"{number}.jpg", quality=95)
    (folder / "instances.json").write_text(json.dumps(rows or content()), encoding="utf-8")
    return folder
