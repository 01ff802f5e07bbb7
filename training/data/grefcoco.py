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
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO

from model.errors import ExpressionError
from model.grefcoco_form import (
    INSTANCES,
    NO_TARGET,
    REFERENCES,
)
from model.text import MAX_CHARACTERS, MAX_TOKENS, minilm_word_pieces
from training.data import refer
from training.data.coco_shapes import decode, flaw
from training.data.grefcoco_counts import QUIRKS, Counts
from training.errors import DatasetError
from training.language.misspellings import misspelled, words_of

NAMED = 3  # rows that are named for a quirk
MAX_SIDE = 1 << 16  # pixels
# One that every BERT vocabulary spells with its pieces; anything else is asked of the tokenizer.
_PLAIN_WORD = re.compile(r"(?<![^\W_])[A-Za-z0-9]{1,90}(?![^\W_])")


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
            union |= decode(self.coco.anns[annotation_id]["segmentation"], height, width)
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


class _Quirks(Counter[str]):
    """How often each quirk occurred, and the first rows of each."""

    def __init__(self) -> None:
        super().__init__()
        self.where: dict[str, list[str]] = {}

    def note(self, quirk: str, row: str) -> None:
        """One occurrence, in a row that is named by its id."""
        self[quirk] += 1
        if len(kept := self.where.setdefault(quirk, [])) < NAMED:
            kept.append(row)

    def number(self, value: Any) -> int | None:
        """An id, None where it is none; one that is given as text is read as its number."""
        if isinstance(value, str) and value.strip().lstrip("-").isdecimal():
            self["id given as text, read as its number"] += 1
            return int(value)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        return value if type(value) is int else None


def _coco(path: Path, quirks: _Quirks) -> COCO:
    content = _load(path)
    if not isinstance(content, dict):
        raise DatasetError(f"{path} is not COCO's form: it is a list.")
    missing = {"images", "annotations", "categories"} - set(content)
    if missing:
        raise DatasetError(f"{path} has no {', '.join(sorted(missing))}: it is not COCO's form.")
    images = [row for row in content["images"] if _is_image(row, quirks)]
    annotations = [row for row in content["annotations"] if _is_annotation(row, quirks)]
    ids = Counter(a["id"] for a in annotations)
    quirks["annotation id used twice in instances.json"] += sum(n - 1 for n in ids.values())
    coco = COCO()
    coco.dataset = {**content, "images": images, "annotations": annotations}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _is_image(row: Any, quirks: _Quirks) -> bool:
    if isinstance(row, dict):
        row["id"] = quirks.number(row.get("id"))
        size = [row.get(name) for name in ("width", "height")]
        if row["id"] is not None and row.get("file_name") and all(_is_side(n) for n in size):
            return True
    quirks.note("image row without id, name or size, ignored", _named("image", row, "id"))
    return False


def _is_side(value: Any) -> bool:
    return type(value) is int and 0 < value <= MAX_SIDE


def _is_annotation(row: Any, quirks: _Quirks) -> bool:
    if isinstance(row, dict):
        numbers = ("id", "image_id", "category_id")
        row.update({name: quirks.number(row.get(name)) for name in numbers})
        if all(row[name] is not None for name in numbers):
            return True
    quirk = "annotation row without id, image or category, ignored"
    quirks.note(quirk, _named("annotation", row, "id"))
    return False


def _named(kind: str, row: Any, key: str) -> str:
    """A row by its id, as it stands in the file."""
    return f"{kind} {row.get(key) if isinstance(row, dict) else repr(row)[:20]}"


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def _annotations(ref: Mapping[str, Any], coco: COCO, quirks: _Quirks) -> list[int] | None:
    """The usable annotations of a reference, [] for no-target, None where all are unusable."""
    given = ref.get("ann_id")
    if given is not None and not isinstance(given, list):
        quirks["annotation given as a number, not a list"] += 1
    listed = _listed(given)
    real = [a for a in listed if a is not None and a != NO_TARGET and a != str(NO_TARGET)]
    if not real:
        if NO_TARGET not in listed:
            quirks["reference without annotation, read as no-target"] += 1
        if ref.get("no_target") is False:
            quirks["no_target flag contradicts the annotations"] += 1
        return []
    if ref.get("no_target"):
        quirks["no_target flag contradicts the annotations"] += 1
    row = f"reference {ref['ref_id']}"
    if len(real) < len(listed):
        quirks.note("-1 among real annotations, ignored", row)
    image = coco.imgs[ref["image_id"]]
    kept: list[int] = []
    for value in real:
        annotation_id = quirks.number(value)
        annotation = coco.anns.get(annotation_id)
        if annotation_id is not None and annotation_id in kept:
            quirks["annotation listed twice in a reference"] += 1
        elif annotation_id is None or annotation is None:
            quirks.note("annotation not in instances.json, ignored", f"{row}, annotation {value}")
        elif annotation["image_id"] != ref["image_id"]:
            quirks.note("annotation of another image, ignored", f"{row}, annotation {value}")
        elif annotation.get("iscrowd"):
            quirks.note("crowd annotation, ignored", f"{row}, annotation {value}")
        elif found := flaw(annotation.get("segmentation"), image["height"], image["width"]):
            quirks.note(found, f"{row}, annotation {value}")
        else:
            kept.append(annotation_id)
    return kept or None


def _text(sentence: Mapping[str, Any]) -> str:
    """As typed ("raw", what the reference implementation reads too), else cleaned or tokens."""
    for value in (sentence.get("raw"), sentence.get("sent"), sentence.get("tokens")):
        text = " ".join(value if isinstance(value, list) else str(value or "").split())
        if text:
            return text
    return ""


def _readable(text: str) -> bool:
    """Whether the text encoders, which share one vocabulary, know a word of an expression."""
    if _PLAIN_WORD.search(text) and len(text) <= MAX_CHARACTERS:
        return True
    try:
        minilm_word_pieces(MAX_TOKENS)([text])
    except ExpressionError:
        return False
    return True


def _is_reference(ref: Any, quirks: _Quirks) -> bool:
    """Whether a row has what a reference needs; its ids are numbers afterwards."""
    if isinstance(ref, dict):
        ref.update({name: quirks.number(ref.get(name)) for name in ("ref_id", "image_id")})
        sentences = ref.get("sentences")
        if (
            ref["ref_id"] is not None
            and ref["image_id"] is not None
            and ref.get("split") is not None
            and isinstance(sentences, list)
            and all(isinstance(sentence, dict) for sentence in sentences)
        ):
            return True
    quirks.note("reference dropped: a row of another form", _named("reference", ref, "ref_id"))
    return False


def _samples(refs: Sequence[Any], coco: COCO, quirks: _Quirks) -> Iterator[Sample]:
    ref_ids: set[int] = set()
    sent_ids: set[int] = set()
    whole: set[str] = set()
    for ref in refs:
        if not _is_reference(ref, quirks):
            continue
        row = f"reference {ref['ref_id']}"
        content = json.dumps([ref.get(k) for k in ("ref_id", "image_id", "ann_id", "sentences")])
        if content in whole:
            quirks.note("reference repeated word for word, dropped", row)
            continue
        whole.add(content)
        quirks["reference id used twice"] += ref["ref_id"] in ref_ids
        ref_ids.add(ref["ref_id"])
        if ref["image_id"] not in coco.imgs:
            quirks.note("reference dropped: its image is not in instances.json", row)
            continue
        annotations = _annotations(ref, coco, quirks)
        if annotations is None:
            quirks.note("reference dropped: none of its annotations can be used", row)
            continue
        for number, sentence in enumerate(ref["sentences"]):
            text = _text(sentence)
            given = quirks.number(sentence.get("sent_id"))
            sent_id = number if given is None else given
            if not text:
                quirks.note("empty sentence, dropped", f"{row}, sentence {sent_id}")
                continue
            if not _readable(text):
                quirk = "sentence without a word that can be read, dropped"
                quirks.note(quirk, f"{row}, sentence {sent_id}")
                continue
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


def _count(samples: Sequence[Sample], quirks: _Quirks) -> Counts:
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
    where = {name: tuple(rows) for name, rows in quirks.where.items()}
    return Counts(found, {name: quirks[name] for name in QUIRKS}, dict(splits), where)


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
    rows = [r for r in _references(references_file(Path(folder))) if isinstance(r, dict)]
    return sorted({str(row["split"]) for row in rows if "split" in row})


def _read_all(place: Path) -> tuple[list[Sample], COCO, Counts]:
    quirks = _Quirks()
    path = references_file(place)
    refs = _references(path)
    coco = _coco(path.parent / INSTANCES, quirks)
    samples = list(_samples(refs, coco, quirks))
    counts = _count(samples, quirks)
    if not samples:
        raise DatasetError(
            f"{path} holds no reference that can be used: it is not gRefCOCO's form, or all are "
            "left out:\n" + "\n".join(counts.lines())
        )
    return samples, coco, counts


def refuse(counts: Counts, folder: Path) -> None:
    """Refuse a folder of which anything was left out.

    Raises:
        DatasetError: names the rows.
    """
    if counts.left_out:
        raise DatasetError(
            f"{folder / REFERENCES} and {INSTANCES} are not read strictly, for something would be "
            "left out (without --strict it is, and counted):\n" + "\n".join(counts.lines())
        )


def read(
    folder: Path | str, split: str, photos: Path | str | None = None, *, strict: bool = False
) -> Dataset:
    """Read one split of a folder in gRefCOCO's form.

    Args:
        folder: holds ``grefs(unc).json`` and ``instances.json``; or RefCOCO's ``refs(unc).p``, or
            the path of such a file where a folder has several partitions.
        split: such as "train", "val", "testA"; "" for all of them.
        photos: the folder of the photos; without it, the usual places beside the files.
        strict: refuse the folder where a row cannot be used, instead of leaving that out.
    Raises:
        DatasetError: a file is missing or not of the form, or the split is not in it.
    """
    folder = Path(folder)
    samples, coco, counts = _read_all(folder)
    if split and split not in counts.splits:
        raise DatasetError(
            f"{references_file(folder)} has no split {split!r}, only {', '.join(counts.splits)}."
        )
    if strict:
        refuse(counts, folder)
    folder = references_file(folder).parent
    places = [Path(photos)] if photos is not None else _usual_places(folder)
    chosen = tuple(s for s in samples if split in ("", s.split))
    return Dataset(folder, split, chosen, counts, coco, tuple(places))


def _usual_places(folder: Path) -> list[Path]:
    inside = [folder / "images", folder / "train2014", folder / "images" / "train2014", folder]
    beside = [folder.parent / "images" / "train2014", folder.parent / "train2014"]
    beside += [folder.parent / "images" / "mscoco" / "images" / "train2014"]  # RefCOCO's layout
    return inside + beside
