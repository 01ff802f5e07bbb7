"""What a file in gRefCOCO's form holds, counted beside the paper's figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from training.data.coco_shapes import BROKEN, FAR, NO_MASK

# Section 3.2 of the paper. The file that was released holds about 6 % fewer expressions
# (259,859 when its users counted), since a part is withheld for challenges.
PAPER = {
    "expressions": 278_232,
    "multi-target": 80_022,
    "no-target": 32_202,
    "instances": 60_287,
    "images": 19_994,
}

NO_PHOTO = "expression dropped: its photo is missing, unreadable or of another size"

QUIRKS = (
    "annotation given as a number, not a list",
    "reference without annotation, read as no-target",
    "no_target flag contradicts the annotations",
    "-1 among real annotations, ignored",
    "annotation listed twice in a reference",
    "annotation not in instances.json, ignored",
    "annotation of another image, ignored",
    "crowd annotation, ignored",
    NO_MASK,
    FAR,
    BROKEN,
    "annotation row without id, image or category, ignored",
    "image row without id, name or size, ignored",
    "id given as text, read as its number",
    "reference dropped: a row of another form",
    "reference dropped: none of its annotations can be used",
    "reference dropped: its image is not in instances.json",
    "reference id used twice",
    "reference repeated word for word, dropped",
    "sentence id used twice",
    "annotation id used twice in instances.json",
    "empty sentence, dropped",
    "sentence without a word that can be read, dropped",
    NO_PHOTO,
    "word that looks misspelled, left as typed",
)


@dataclass(frozen=True)
class Counts:
    """What a file holds, over all splits.

    Attributes:
        found: the keys of PAPER, and "single-target".
        quirks: how often each of QUIRKS occurred; all keys are present.
        splits: expressions of each split.
        where: the first rows of each quirk by which something was left out, by their ids.
    """

    found: Mapping[str, int]
    quirks: Mapping[str, int]
    splits: Mapping[str, int]
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def left_out(self) -> dict[str, int]:
        """The quirks by which something was left out, and how often."""
        return {name: n for name, n in self.quirks.items() if n and _leaves_out(name)}

    def lines(self) -> list[str]:
        """What was left out, a line a quirk, with the first rows of each."""
        return [
            f"{count:>10,}  {name}" + (f": {', '.join(self.where[name])}" * (name in self.where))
            for name, count in self.left_out.items()
        ]

    def table(self) -> str:
        """The counts beside the paper's, and the quirks that occurred."""
        lines = [f"{'':24}{'here':>10}{'paper':>10}"]
        for name, count in self.found.items():
            paper = f"{PAPER[name]:,}" if name in PAPER else "-"
            lines.append(f"{name:24}{count:>10,}{paper:>10}")
        lines += [f"  split {name:16}{count:>10,}" for name, count in self.splits.items()]
        seen = {name: count for name, count in self.quirks.items() if count}
        lines += ["quirks:"] if seen else ["quirks: none"]
        lines += [f"{count:>10,}  {name}" for name, count in seen.items()]
        return "\n".join(lines)


def _leaves_out(quirk: str) -> bool:
    return "dropped" in quirk or "ignored" in quirk
