"""What people wrote and marked, a line an act, never changed; references are made of it.

An expression becomes a reference once a second person, shown photo and expression alone, marked the
very targets of the one who wrote it. Others wait, or are in dispute.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model import grefcoco_form
from model.grefcoco_form import REFERENCES, Reference
from model.replacing import replacing
from model.text import clean
from referent.annotating.photos import Collection
from training.errors import DatasetError

JOURNAL = "annotations.jsonl"
DECEPTIVE = "deceptive"  # the kind of an expression that was drawn from another photo


@dataclass(frozen=True)
class Written:
    """An expression.

    Attributes:
        targets: annotation ids; none where it refers to nothing in the photo.
        drawn_from: the photo that it was written for, of a deceptive one; else None.
    """

    id: int
    by: str
    image_id: int
    targets: tuple[int, ...]
    text: str
    drawn_from: int | None = None


@dataclass(frozen=True)
class Verified:
    """What a second person marked for an expression."""

    id: int
    by: str
    targets: tuple[int, ...]


class Journal:
    """The acts of one collection, in a folder that `evaluate` and `train` read.

    Args:
        folder: is made; gets annotations.jsonl, grefs(unc).json and instances.json.
        split: of the references.
    Raises:
        DatasetError: the folder's journal is damaged, or of other photos.
    """

    def __init__(self, folder: Path, photos: Collection, split: str) -> None:
        self.folder, self.photos, self.split = folder, photos, split
        self.written: dict[int, Written] = {}
        self.verified: dict[int, Verified] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._read()
        self._write_references()

    def write(
        self, by: str, image_id: int, targets: list[int], text: str, drawn_from: int | None = None
    ) -> Written:
        """Take an expression.

        Raises:
            DatasetError: nobody signs, the photo is unknown, a target is not in it, or the photo
                has this expression already.
            ExpressionError: it is empty, too long or holds nothing to read.
        """
        text = clean(text)
        self._check(by, image_id, targets)
        if any(w.image_id == image_id and w.text.lower() == text.lower() for w in self.all()):
            raise DatasetError("This photo has that expression already.")
        act = Written(
            len(self.written) + 1, by.strip(), image_id, tuple(sorted(targets)), text, drawn_from
        )
        self._append("written", act)
        self.written[act.id] = act
        return act

    def verify(self, number: int, by: str, targets: list[int]) -> bool:
        """Take what a second person marked; whether it is what the first meant.

        Raises:
            DatasetError: it is unknown or verified, the same person wrote it, or a target is not
                in its photo.
        """
        act = self.written.get(number)
        if act is None or number in self.verified:
            raise DatasetError("Somebody verified this expression already.")
        self._check(by, act.image_id, targets)
        if by.strip().lower() == act.by.lower():
            raise DatasetError("Who wrote an expression does not verify it.")
        mark = Verified(number, by.strip(), tuple(sorted(targets)))
        self._append("verified", mark)
        self.verified[number] = mark
        self._write_references()
        return self.agrees(number)

    def all(self) -> list[Written]:
        """Every expression, in the order of writing."""
        return list(self.written.values())

    def to_verify(self, by: str) -> Written | None:
        """The next expression that somebody else wrote and nobody verified."""
        for act in self.all():
            if act.id not in self.verified and act.by.lower() != by.strip().lower():
                return act
        return None

    def agrees(self, number: int) -> bool:
        """Whether the second person marked what the first meant."""
        return self.written[number].targets == self.verified[number].targets

    def agreement(self) -> dict[str, float | int | None]:
        """How far two people mean the same.

        Returns:
            written, verified, agreed (numbers); exact, the share of verified expressions whose
            targets are the same; iou, the mean of |A and B| / |A or B| of the targets, 1 where both
            mark none; no_target, the share of no-target expressions that the second person, too,
            found to be none.
        """
        overlaps, none = [], []
        for number, mark in self.verified.items():
            a, b = set(self.written[number].targets), set(mark.targets)
            overlaps.append(len(a & b) / len(a | b) if a | b else 1.0)
            if not a:
                none.append(float(not b))
        agreed = sum(map(self.agrees, self.verified))
        return {
            "written": len(self.written),
            "verified": len(self.verified),
            "agreed": agreed,
            "exact": agreed / len(self.verified) if self.verified else None,
            "iou": sum(overlaps) / len(overlaps) if overlaps else None,
            "no_target": sum(none) / len(none) if none else None,
        }

    def _check(self, by: str, image_id: int, targets: list[int]) -> None:
        if not by.strip():
            raise DatasetError("Say who you are first.")
        photo = self.photos.photo(image_id)
        if photo is None:
            raise DatasetError("There is no such photo.")
        if not set(targets) <= {thing.id for thing in photo.things}:
            raise DatasetError("A target is not in this photo.")

    def _append(self, act: str, what: Written | Verified) -> None:
        line = json.dumps({"act": act, **asdict(what)}) + "\n"
        with (self.folder / JOURNAL).open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def _read(self) -> None:
        path = self.folder / JOURNAL
        if not path.exists():
            return
        lines = path.read_bytes().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):  # a kill in mid-line: that act was not told
            lines.pop()
            with replacing(path) as part:
                part.write_bytes(b"".join(lines))
        for number, line in enumerate(lines, 1):
            try:
                row: dict[str, Any] = json.loads(line)
                act, targets = row.pop("act"), tuple(row.pop("targets"))
                if act == "written":
                    written = Written(targets=targets, **row)
                    self._check(written.by, written.image_id, list(targets))
                    self.written[written.id] = written
                else:
                    self.verified[row["id"]] = Verified(targets=targets, **row)
            except (ValueError, KeyError, TypeError, DatasetError) as error:
                raise DatasetError(
                    f"{path}, line {number}: of other photos, or damaged ({error}); name another "
                    "--out"
                ) from error

    def _write_references(self) -> None:
        """The agreed expressions, with the photos and instances that they are about."""
        agreed = [self.written[number] for number in self.verified if self.agrees(number)]
        kinds = {
            thing.id: int(thing.row["category_id"])
            for photo in self.photos.photos
            for thing in photo.things
        }
        references = []
        for act in sorted(agreed, key=lambda act: act.id):
            photo = self.photos.photo(act.image_id)
            assert photo is not None
            kind = "" if act.drawn_from is None else DECEPTIVE
            references.append(
                Reference(
                    act.id, act.image_id, str(photo.row["file_name"]), self.split, act.targets,
                    tuple(kinds[target] for target in act.targets), ((act.text, kind),),
                )
            )  # fmt: skip
        photos = self.photos.photos
        with replacing(self.folder / REFERENCES) as part:
            grefcoco_form.write_refs(part, references)
        with replacing(self.folder / grefcoco_form.INSTANCES) as part:
            content = {
                "images": [photo.row for photo in photos],
                "annotations": [thing.row for photo in photos for thing in photo.things],
                "categories": list(self.photos.categories),
            }
            part.write_text(json.dumps(content), encoding="utf-8")
