"""A very small set in gRefCOCO's form: squares to be told by their colours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from training.data.grefcoco import Dataset, read

SQUARES = [(4, 4, 20, 20), (40, 20, 16, 16)]


def small_set(folder: Path) -> Dataset:
    """Two photos with two squares each; expressions for one, both and none of them."""
    folder.mkdir()
    images, annotations, refs = [], [], []
    texts = {"red square": [0], "both squares": [0, 1], "green dog": []}
    for photo in (1, 2):
        pixels = np.full((48, 64, 3), 60 * photo, np.uint8)
        for number, (x, y, w, h) in enumerate(SQUARES):
            pixels[y : y + h, x : x + w] = (255, 0, 0) if number == 0 else (0, 0, 255)
            annotations.append(
                {
                    "id": 10 * photo + number, "image_id": photo, "category_id": 1, "iscrowd": 0,
                    "area": w * h, "bbox": [x, y, w, h],
                    "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                }
            )  # fmt: skip
        Image.fromarray(pixels).save(folder / f"{photo}.png")
        images.append({"id": photo, "file_name": f"{photo}.png", "width": 64, "height": 48})
        for text, numbers in texts.items():
            ids = [10 * photo + number for number in numbers] or [-1]
            refs.append(
                {
                    "ref_id": len(refs), "image_id": photo, "split": "train", "ann_id": ids,
                    "category_id": [1], "file_name": f"{photo}.png", "no_target": ids == [-1],
                    "sentences": [
                        {"sent_id": len(refs), "raw": text, "sent": text, "tokens": text.split()}
                    ],
                }
            )  # fmt: skip
    categories = [{"id": 1, "name": "square"}]
    instances = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(instances))
    (folder / "grefs(unc).json").write_text(json.dumps(refs))
    return read(folder, "train", folder)
