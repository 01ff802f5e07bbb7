"""The two rules for no-target expressions, with what a network thinks of each.

1. The expression cannot be totally irrelevant to the photo: something that it names is here.
2. Where that is hard to come up with, a deceptive one may be drawn from another photo of the split,
   of which it is true.

Source: Liu et al., GRES, CVPR 2023, section 3.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from model.asking import Network, Seen
from model.errors import ExpressionError
from referent.annotating.photos import Collection

MAX_WORDS = 6
_SMALL_WORDS = """
a an the of in on at to with without and or but not no nor except for from by is are was were be his
her its their that this these those who which left right middle top bottom front back far near next
first second third last one two three four all both each any other
"""
_SMALL = frozenset(_SMALL_WORDS.split())


@dataclass(frozen=True)
class Advice:
    """What a network thinks of an expression about a photo; p is calibrated p(it is here).

    Attributes:
        here: p of the whole expression.
        words: p of each word that may name something, alone.
        elsewhere: (image id, p) of the other photos where it seems true, the surest first.
    """

    here: float
    words: tuple[tuple[str, float], ...]
    elsewhere: tuple[tuple[int, float], ...]

    @property
    def irrelevant(self) -> bool:
        """Rule 1: whether nothing that it names seems to be in the photo."""
        return all(p < 0.5 for _, p in self.words)


class Adviser:
    """Asks a network; photos are encoded when the first question comes, and kept."""

    def __init__(self, network: Network, photos: Collection) -> None:
        self.network, self.photos = network, photos
        self._seen: Seen | None = None

    def ask(self, image_id: int, text: str) -> Advice:
        """What the network thinks.

        Raises:
            ExpressionError: it is empty, too long or holds no known word.
            DatasetError: a photo cannot be read.
        """
        if self._seen is None:
            self._seen = self.network.encode([photo.image() for photo in self.photos.photos])
        places = {photo.id: place for place, photo in enumerate(self.photos.photos)}
        own = places[image_id]
        everywhere = self._confidence([(place, text) for place in places.values()])
        others = sorted(
            ((number, everywhere[place]) for number, place in places.items() if place != own),
            key=lambda each: -each[1],
        )
        words: list[tuple[str, float]] = []
        for word in dict.fromkeys(re.findall(r"[a-z]{3,}", text.lower())):
            if word in _SMALL or len(words) == MAX_WORDS:
                continue
            try:
                words.append((word, self._confidence([(own, word)])[0]))
            except ExpressionError:  # alone it is no known word
                continue
        return Advice(
            everywhere[own], tuple(words), tuple(each for each in others if each[1] >= 0.5)
        )

    def _confidence(self, pairs: list[tuple[int, str]]) -> list[float]:
        assert self._seen is not None
        read = self.network.calibration.confidence
        said = self._seen.judge(pairs)
        return [float(read(one.no_target_logit, shifted=False)) for one in said]
