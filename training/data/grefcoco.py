"""References in gRefCOCO's form: read with its quirks handled and counted, and written alike.

A folder holds ``grefs(unc).json``, a list of references, and ``instances.json``, COCO annotations
with the masks; the photos are COCO's train2014. Synthetic albums are written in the same form, and
RefCOCO, RefCOCO+ and RefCOCOg differ in their references' file alone (`training.data.refer`), so
one code path reads all.

Source: Liu et al., GRES, CVPR 2023, section 3.2; the files of henghuiding/gRefCOCO.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_codec
from pycocotools.coco import COCO

from model.grefcoco_form import (
    INSTANCES,
    NO_TARGET,
    REFERENCES,
)
from training.data import refer
from training.data.grefcoco_counts import QUIRKS, Counts
from training.errors import DatasetError
from training.language.misspellings import misspelled, words_of


@dataclass(frozen=True, slots=True)
class Sample:
    """One expression for one photo.

    Attributes:
        text: the expression as typed, white space tidied.
        image_id: of the photo.
        annotation_ids: of its referents in instances.json, each once; empty for no-target.
        ref_id: of the reference; not unique in the released file.
        sent_id: of the sentence; not unique either.
        split: of the photo: "train", "val", "testA", "testB", or a synthetic one.
        kind: of expression where the writer said so, else "".
    """

    text: str
    image_id: int
    annotation_ids: tuple[int, ...]
    ref_id: int
    sent_id: int
    split: str
    kind: str = ""

    @property
    def no_target(self) -> bool:
        """Whether it refers to nothing in its photo."""
        return not self.annotation_ids


@dataclass(frozen=True)
class Dataset:
    """The samples of one split, with their photos' masks.

    Attributes:
        folder: that it was read from.
        split: its name.
        samples: in the file's order.
        counts: of the whole file.
        coco: the annotations, through pycocotools.
        photo_folders: where photos are looked for, in order.
    """

    folder: Path
    split: str
    samples: tuple[Sample, ...]
    counts: Counts
    coco: COCO = field(repr=False)
    photo_folders: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def size(self, image_id: int) -> tuple[int, int]:
        """Width and height of a photo in pixels."""
        image = self.coco.imgs[image_id]
        return int(image["width"]), int(image["height"])

    def mask(self, sample: Sample) -> NDArray[np.bool_]:
        """(H, W) union of the referents' masks; all False for no-target."""
        width, height = self.size(sample.image_id)
        union = np.zeros((height, width), bool)
        for annotation_id in sample.annotation_ids:
            union |= decode(self.coco.anns[annotation_id], height, width)
        return union

    def photo(self, image_id: int) -> Path:
        """The file of a photo.

        Raises:
            DatasetError: it is in none of the folders.
        """
        name = photo_name(str(self.coco.imgs[image_id]["file_name"]))
        for folder in self.photo_folders:
            if (folder / name).is_file():
                return folder / name
        tried = ", ".join(str(f) for f in self.photo_folders)
        raise DatasetError(f"{name} is in none of {tried}: put COCO's train2014 photos there.")

    def by_photo(self) -> dict[int, list[Sample]]:
        """The samples of each photo, for one vision pass and many expressions."""
        groups: dict[int, list[Sample]] = {}
        for sample in self.samples:
            groups.setdefault(sample.image_id, []).append(sample)
        return groups


_OBJECT_SUFFIX = re.compile(r"^(COCO_\w+?2014_\d{12})_\d+(\.\w+)$")


def photo_name(file_name: str) -> str:
    """A photo's file name; RefCOCO's references append an object number to it."""
    return _OBJECT_SUFFIX.sub(r"\1\2", file_name)


def _polygons(segmentation: Sequence[Any]) -> list[Any]:
    """The polygons of three points or more."""
    return [p for p in segmentation if isinstance(p, list) and len(p) >= 6 and len(p) % 2 == 0]


def usable(annotation: Mapping[str, Any]) -> bool:
    """Whether an annotation has a mask."""
    shape = annotation.get("segmentation")
    if isinstance(shape, Mapping):
        return bool(shape.get("counts")) and bool(shape.get("size"))
    return isinstance(shape, list) and bool(_polygons(shape))


def decode(annotation: Mapping[str, Any], height: int, width: int) -> NDArray[np.bool_]:
    """(H, W) mask of an annotation: polygons, or run lengths compressed or not."""
    shape = annotation["segmentation"]
    if isinstance(shape, Mapping):
        plain = isinstance(shape["counts"], list)
        rle = rle_codec.frPyObjects(shape, height, width) if plain else shape
    else:
        rle = rle_codec.merge(rle_codec.frPyObjects(_polygons(shape), height, width))
    decoded: NDArray[np.bool_] = rle_codec.decode(rle).astype(bool)
    return decoded


def _load(path: Path) -> Any:
    try:
        with path.open(encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        raise DatasetError(
            f"{path} does not exist: put gRefCOCO's {REFERENCES} and {INSTANCES} in {path.parent}."
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is not JSON ({error}): download it again.") from None


def _coco(path: Path, quirks: Counter[str]) -> COCO:
    content = _load(path)
    missing = {"images", "annotations", "categories"} - set(content)
    if missing:
        raise DatasetError(f"{path} has no {', '.join(sorted(missing))}: it is not COCO's form.")
    ids = Counter(a["id"] for a in content["annotations"])
    quirks["annotation id used twice in instances.json"] += sum(n - 1 for n in ids.values())
    coco = COCO()
    coco.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def _annotations(ref: Mapping[str, Any], coco: COCO, quirks: Counter[str]) -> list[int] | None:
    """The usable annotations of a reference, [] for no-target, None where all are unusable."""
    given = ref.get("ann_id")
    if given is not None and not isinstance(given, list):
        quirks["annotation given as a number, not a list"] += 1
    listed = _listed(given)
    real = [a for a in listed if a is not None and a != NO_TARGET]
    if not real:
        if NO_TARGET not in listed:
            quirks["reference without annotation, read as no-target"] += 1
        if ref.get("no_target") is False:
            quirks["no_target flag contradicts the annotations"] += 1
        return []
    if ref.get("no_target"):
        quirks["no_target flag contradicts the annotations"] += 1
    if len(real) < len(listed):
        quirks["-1 among real annotations, ignored"] += 1
    kept: list[int] = []
    for annotation_id in real:
        annotation = coco.anns.get(annotation_id)
        if annotation_id in kept:
            quirks["annotation listed twice in a reference"] += 1
        elif annotation is None:
            quirks["annotation not in instances.json, ignored"] += 1
        elif annotation["image_id"] != ref["image_id"]:
            quirks["annotation of another image, ignored"] += 1
        elif annotation.get("iscrowd"):
            quirks["crowd annotation, ignored"] += 1
        elif not usable(annotation):
            quirks["annotation without a usable mask, ignored"] += 1
        else:
            kept.append(int(annotation_id))
    return kept or None


def _text(sentence: Mapping[str, Any]) -> str:
    """As typed ("raw", what the reference implementation reads too), else cleaned or tokens."""
    for value in (sentence.get("raw"), sentence.get("sent"), sentence.get("tokens")):
        text = " ".join(value if isinstance(value, list) else str(value or "").split())
        if text:
            return text
    return ""


def _samples(refs: Sequence[Any], coco: COCO, quirks: Counter[str]) -> Iterator[Sample]:
    ref_ids: set[int] = set()
    sent_ids: set[int] = set()
    whole: set[str] = set()
    for ref in refs:
        content = json.dumps([ref.get(k) for k in ("ref_id", "image_id", "ann_id", "sentences")])
        if content in whole:
            quirks["reference repeated word for word, dropped"] += 1
            continue
        whole.add(content)
        quirks["reference id used twice"] += ref["ref_id"] in ref_ids
        ref_ids.add(ref["ref_id"])
        if ref["image_id"] not in coco.imgs:
            quirks["reference dropped: its image is not in instances.json"] += 1
            continue
        annotations = _annotations(ref, coco, quirks)
        if annotations is None:
            quirks["reference dropped: none of its annotations can be used"] += 1
            continue
        for number, sentence in enumerate(ref["sentences"]):
            text = _text(sentence)
            if not text:
                quirks["empty sentence, dropped"] += 1
                continue
            sent_id = sentence.get("sent_id", number)
            quirks["sentence id used twice"] += sent_id in sent_ids
            sent_ids.add(sent_id)
            yield Sample(
                text,
                ref["image_id"],
                tuple(annotations),
                ref["ref_id"],
                sent_id,
                str(ref["split"]),
                str(sentence.get("kind", ref.get("kind", ""))),
            )


def _count(samples: Sequence[Sample], quirks: Counter[str]) -> Counts:
    targets = Counter(min(len(s.annotation_ids), 2) for s in samples)
    found = {
        "expressions": len(samples),
        "multi-target": targets[2],
        "single-target": targets[1],
        "no-target": targets[0],
        "instances": len({a for s in samples for a in s.annotation_ids}),
        "images": len({s.image_id for s in samples}),
    }
    slips = misspelled(s.text for s in samples)
    uses = Counter(w for s in samples for w in words_of(s.text))
    quirks["word that looks misspelled, left as typed"] = sum(uses[w] for w in slips)
    splits = Counter(s.split for s in samples)
    return Counts(found, {name: quirks[name] for name in QUIRKS}, dict(splits))


def references_file(place: Path) -> Path:
    """The references in a folder, or the very file that is named.

    Raises:
        DatasetError: there are several, so that one has to be named.
    """
    if place.is_file():
        return place
    published = [place / name for name in refer.FILES if (place / name).is_file()]
    if (place / REFERENCES).exists() or not published:
        return place / REFERENCES
    if len(published) > 1:
        names = ", ".join(path.name for path in published)
        raise DatasetError(f"{place} holds {names}: name one, as in '{published[0]}'")
    return published[0]


def _references(path: Path) -> list[Any]:
    refs = refer.load(path) if path.suffix == ".p" else _load(path)
    if not isinstance(refs, list):
        raise DatasetError(f"{path} is not a list of references.")
    return refs


def splits(folder: Path | str) -> list[str]:
    """The splits that a folder's references have, sorted.

    Raises:
        DatasetError: they cannot be read.
    """
    path = references_file(Path(folder))
    try:
        return sorted({str(ref["split"]) for ref in _references(path)})
    except (KeyError, TypeError) as error:
        raise DatasetError(f"{path} holds a reference that lacks {error}.") from error


def _read_all(place: Path) -> tuple[list[Sample], COCO, Counts]:
    quirks: Counter[str] = Counter()
    path = references_file(place)
    refs = _references(path)
    coco = _coco(path.parent / INSTANCES, quirks)
    try:
        samples = list(_samples(refs, coco, quirks))
    except (KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{path} holds a reference that lacks {error}: it is not gRefCOCO's form; download "
            "it again."
        ) from error
    return samples, coco, _count(samples, quirks)


def survey(folder: Path | str) -> Counts:
    """What a folder in gRefCOCO's form holds, over all splits.

    Raises:
        DatasetError: a file is missing or not of the form.
    """
    return _read_all(Path(folder))[2]


def read(folder: Path | str, split: str, photos: Path | str | None = None) -> Dataset:
    """Read one split of a folder in gRefCOCO's form.

    Args:
        folder: holds ``grefs(unc).json`` and ``instances.json``; or RefCOCO's ``refs(unc).p``, or
            the path of such a file where a folder has several partitions.
        split: such as "train", "val", "testA".
        photos: the folder of the photos; without it, the usual places beside the files.
    Raises:
        DatasetError: a file is missing or not of the form, or the split is not in it.
    """
    folder = Path(folder)
    samples, coco, counts = _read_all(folder)
    if split not in counts.splits:
        raise DatasetError(
            f"{references_file(folder)} has no split {split!r}, only {', '.join(counts.splits)}."
        )
    folder = references_file(folder).parent
    places = [Path(photos)] if photos is not None else _usual_places(folder)
    chosen = tuple(s for s in samples if s.split == split)
    return Dataset(folder, split, chosen, counts, coco, tuple(places))


def _usual_places(folder: Path) -> list[Path]:
    inside = [folder / "images", folder / "train2014", folder / "images" / "train2014", folder]
    beside = [folder.parent / "images" / "train2014", folder.parent / "train2014"]
    beside += [folder.parent / "images" / "mscoco" / "images" / "train2014"]  # RefCOCO's layout
    return inside + beside


def main(arguments: Sequence[str]) -> None:
    """Print what a folder holds beside the paper's figures (``python -m`` this module)."""
    if len(arguments) != 1:
        raise SystemExit("usage: python -m training.data.grefcoco DIR")
    try:
        print(survey(arguments[0]).table())
    except DatasetError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
