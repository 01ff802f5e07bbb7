"""Writing references in gRefCOCO's form, which training reads; exports write it too."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REFERENCES = "grefs(unc).json"
INSTANCES = "instances.json"
NO_TARGET = -1  # instead of an annotation id


@dataclass(frozen=True, slots=True)
class Reference:
    """Some wordings for the same referents in one photo, to be written.

    Attributes:
        ref_id: its number, unique in the file.
        image_id: of the photo in instances.json.
        file_name: of the photo.
        split: of the photo.
        annotation_ids: of the referents in instances.json; empty for no-target.
        category_ids: of the referents, in the same order.
        sentences: (text, kind) of each wording; kind may be "".
    """

    ref_id: int
    image_id: int
    file_name: str
    split: str
    annotation_ids: tuple[int, ...]
    category_ids: tuple[int, ...]
    sentences: tuple[tuple[str, str], ...]


def write_refs(path: Path, references: Iterable[Reference]) -> None:
    """Write references as ``grefs(unc).json`` has them; sentences are numbered in order."""
    rows: list[dict[str, Any]] = []
    sent_id = 0
    for reference in references:
        sentences = []
        for text, kind in reference.sentences:
            cleaned = re.sub(r"[^\w\s'-]", "", text.lower())
            row = {"tokens": cleaned.split(), "raw": text, "sent_id": sent_id, "sent": cleaned}
            sentences.append(row | ({"kind": kind} if kind else {}))
            sent_id += 1
        rows.append(
            {
                "image_id": reference.image_id,
                "split": reference.split,
                "sentences": sentences,
                "file_name": reference.file_name,
                "category_id": list(reference.category_ids) or [NO_TARGET],
                "ann_id": list(reference.annotation_ids) or [NO_TARGET],
                "sent_ids": [s["sent_id"] for s in sentences],
                "ref_id": reference.ref_id,
                "no_target": not reference.annotation_ids,
            }
        )
    with path.open("w", encoding="utf-8") as file:
        json.dump(rows, file)


def write(
    folder: Path,
    references: Iterable[Reference],
    images: Sequence[Mapping[str, Any]],
    annotations: Sequence[Mapping[str, Any]],
    categories: Sequence[Mapping[str, Any]],
) -> None:
    """Write a folder that ``read`` reads.

    Args:
        folder: made where it is missing.
        references: for ``grefs(unc).json``.
        images: COCO rows: id, file_name, width, height.
        annotations: COCO rows: id, image_id, category_id, segmentation, bbox, area, iscrowd.
        categories: COCO rows: id, name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "images": list(images),
        "annotations": list(annotations),
        "categories": list(categories),
    }
    with (folder / INSTANCES).open("w", encoding="utf-8") as file:
        json.dump(content, file)
    write_refs(folder / REFERENCES, references)
