"""Which expressions of other photographs are surely false of one.

COCO names 80 kinds of things and marks them all, but an expression may speak of anything. It is
taken as false of a photo only if it names a kind that COCO marks, neither that kind nor those of
its referents are in the photo, and it is unlike everything that is said of the photo.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from training.data.grefcoco import Dataset, Sample

# What people call COCO's kinds, beside their names; all that may mean a person means every kind
# of person, as synthetic albums tell men, women, boys and girls apart.
_PEOPLE_WORDS = """
person people man men woman women boy boys girl girls kid kids child children baby babies guy
guys lady ladies gentleman dude player players batter catcher pitcher umpire skier surfer rider
driver chef dad mom father mother son daughter bride groom toddler someone everyone everybody
he she him her his they them crowd couple mans womans persons adult
"""
_PEOPLE = frozenset(_PEOPLE_WORDS.split())
_KINDS_OF_PEOPLE = frozenset(("person", "man", "woman", "boy", "girl"))
_ALSO: dict[str, str] = {
    "bike": "bicycle", "motorbike": "motorcycle", "plane": "airplane", "jet": "airplane",
    "sofa": "couch", "loveseat": "couch", "sheep": "sheep", "lamb": "sheep", "calf": "cow",
    "bull": "cow", "cattle": "cow", "puppy": "dog", "kitten": "cat", "pony": "horse",
    "television": "tv", "monitor": "tv", "screen": "tv", "computer": "laptop",
    "phone": "cell phone", "cellphone": "cell phone",
    "mug": "cup", "glass": "wine glass", "plant": "potted plant",
    "table": "dining table", "luggage": "suitcase", "purse": "handbag", "bag": "handbag",
    "racket": "tennis racket", "racquet": "tennis racket", "bat": "baseball bat",
    "glove": "baseball glove", "mitt": "baseball glove", "ball": "sports ball", "doughnut": "donut",
    "burger": "sandwich", "hotdog": "hot dog", "fridge": "refrigerator", "van": "car", "suv": "car",
    "taxi": "car", "cab": "car", "lorry": "truck", "pickup": "truck", "boats": "boat",
    "ship": "boat", "teddy": "teddy bear", "carrots": "carrot", "vehicle": "car",
}  # fmt: skip
# Words for more than one kind.
_WIDE: dict[str, tuple[str, ...]] = {
    "bear": ("bear", "teddy bear"), "glass": ("wine glass", "cup"), "dish": ("bowl",),
    "animal": (
        "dog", "cat", "horse", "cow", "sheep", "elephant", "zebra", "giraffe", "bear", "bird",
    ),
    "vehicle": ("car", "truck", "bus"), "bag": ("handbag", "backpack", "suitcase"),
    "laptop": ("laptop", "tv"), "screen": ("tv", "laptop", "cell phone"),
    "computer": ("laptop", "tv"), "monitor": ("tv", "laptop"), "chair": ("chair", "couch", "bench"),
    "seat": ("chair", "couch", "bench"), "food": ("sandwich", "pizza", "hot dog", "donut", "cake"),
    "bike": ("bicycle", "motorcycle"), "truck": ("truck", "car"), "car": ("car", "truck"),
    "couch": ("couch", "chair", "bed"), "cup": ("cup", "wine glass"), "cow": ("cow", "sheep"),
    "knife": ("knife", "fork", "spoon"), "cake": ("cake", "donut", "sandwich"),
}  # fmt: skip

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
_CENTRE_TEXTS = 256


def _singular(word: str) -> tuple[str, ...]:
    """A word and what it may be the plural of."""
    forms = [word]
    if word.endswith("ies"):
        forms.append(word[:-3] + "y")
    if word.endswith("ves"):
        forms.append(word[:-3] + "fe")
    if word.endswith("es"):
        forms.append(word[:-2])
    if word.endswith("s") and not word.endswith("ss"):
        forms.append(word[:-1])
    return tuple(forms)


class TruthGuard:
    """Tells which expressions are surely false of a photo.

    Args:
        dataset: whose photos and categories are meant.
        embed: texts -> (E, D) vectors; those of the data's texts are centred before they are
            compared, since plain BERT's are all alike.
        similar: cosine from which two expressions count as alike.
    """

    def __init__(self, dataset: Dataset, embed: Embed, similar: float) -> None:
        self.similar = similar
        self._embed, self._vectors = embed, dict[str, NDArray[np.float16]]()
        self._coco = dataset.coco
        names = {int(key): str(row["name"]).lower() for key, row in self._coco.cats.items()}
        self._names = names
        self._known = frozenset(names.values())
        texts = list(dict.fromkeys(s.text for s in dataset.samples))
        rng = np.random.default_rng(0)
        chosen = rng.choice(len(texts), min(_CENTRE_TEXTS, len(texts)), replace=False)
        self._centre = embed([texts[int(k)] for k in chosen]).mean(0)

    def shown(self, image_id: int) -> frozenset[str]:
        """Names of the categories that are in a photo, crowds included."""
        rows = self._coco.imgToAnns[image_id]
        return self._widened(self._names[int(row["category_id"])] for row in rows)

    def named(self, text: str) -> frozenset[str]:
        """Names of the categories that an expression speaks of, or may."""
        words = re.findall(r"[a-z]+", text.lower())
        found: set[str] = set()
        for k, word in enumerate(words):
            for form in _singular(word):
                if word in _PEOPLE or form in _PEOPLE:
                    found.update(_KINDS_OF_PEOPLE)
                found.update(_WIDE.get(form, ()))
                found.update({_ALSO[form]} if form in _ALSO else ())
                if k and f"{words[k - 1]} {form}" in self._known:
                    found.add(f"{words[k - 1]} {form}")
                if form in self._known:
                    found.add(form)
                # "dining table" is seldom called more than its last word.
                found.update(n for n in self._known if n.split()[-1] == form)
        return frozenset(found & (self._known | _KINDS_OF_PEOPLE))

    def of_referents(self, sample: Sample) -> frozenset[str]:
        """Names of the categories of what an expression refers to."""
        rows = (self._coco.anns[a] for a in sample.annotation_ids)
        return self._widened(self._names[int(row["category_id"])] for row in rows)

    @staticmethod
    def _widened(names: Iterable[str]) -> frozenset[str]:
        found = frozenset(names)
        return found | _KINDS_OF_PEOPLE if found & _KINDS_OF_PEOPLE else found

    def surely_false(
        self, samples: Sequence[Sample], image_id: int, own: Sequence[Sample], count: int
    ) -> list[Sample]:
        """The first `count` of other photos' samples that are surely false of a photo.

        Args:
            own: what is said of the photo and refers to something in it.
        """
        if not count:
            return []
        shown = self.shown(image_id)
        told: set[str] = set()
        fitting = []
        for sample in samples:
            named = self.named(sample.text)
            if named and not (named | self.of_referents(sample)) & shown:
                key = sample.text.lower()
                if key not in told:
                    told.add(key)
                    fitting.append(sample)
        # Few are too similar once their kinds differ; some spare ones make up for them.
        fitting = fitting[: 2 * count]
        if not fitting:
            return []
        near = self._unit([s.text for s in fitting]) @ self._unit([s.text for s in own]).T
        return [s for s, row in zip(fitting, near, strict=True) if row.max() < self.similar][:count]

    def _unit(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Centred unit vectors (E, D); each text is embedded once."""
        missing = list(dict.fromkeys(t for t in texts if t not in self._vectors))
        if missing:
            vectors = self._embed(missing) - self._centre
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-6)
            self._vectors.update(zip(missing, vectors.astype(np.float16), strict=True))
        return np.stack([self._vectors[t] for t in texts]).astype(np.float32)
