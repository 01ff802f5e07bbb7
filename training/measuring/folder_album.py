"""An album with known truth out of pairs in gRefCOCO's form, to fit an album's prior and threshold.

A pair's truth is given; that an expression of another photo refers to nothing in this one is known
only where `TruthGuard` is sure of it. What is left is ambiguous and counts for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.data.grefcoco import Dataset, Sample
from training.data.truth_guard import Embed, TruthGuard
from training.measuring.judging import AlbumSet, Photos

PHOTOS, EXPRESSIONS = 300, 300
SIMILAR = 0.6  # cosine from which two expressions count as alike, as in training


def album_of(
    data: Dataset, photos: Photos, image_ids: Sequence[int], embed: Embed, name: str
) -> AlbumSet:
    """Up to 300 photos and 300 of the expressions that refer to something in one of them.

    Args:
        photos: of the data set, in the order of `image_ids`.
        embed: sentences as vectors, for the guard.
    """
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.permutation(len(image_ids))[:PHOTOS])
    column = {image_ids[at]: k for k, at in enumerate(chosen)}
    here = [sample for sample in data.samples if sample.image_id in column]
    asked: dict[str, Sample] = {}
    for at in rng.permutation(len(here)):
        if not here[at].no_target and len(asked) < EXPRESSIONS:
            asked.setdefault(here[at].text, here[at])
    row = {text: k for k, text in enumerate(asked)}
    truth = np.full((len(asked), len(chosen)), -1, np.int8)
    guard = TruthGuard(data, embed, SIMILAR)
    own: dict[int, list[Sample]] = {image_id: [] for image_id in column}
    for sample in here:
        own[sample.image_id].append(sample)
    for image_id, samples in own.items():
        others = [sample for sample in asked.values() if sample.image_id != image_id]
        for sample in guard.surely_false(others, image_id, samples, len(others)):
            truth[row[sample.text], column[image_id]] = 0
    for sample in here:  # last, for what is told outweighs what is inferred
        if sample.text in row:
            truth[row[sample.text], column[sample.image_id]] = not sample.no_target
    kinds = tuple(sample.kind for sample in asked.values())
    return AlbumSet(name, Chosen(photos, chosen), tuple(asked), kinds, truth)


class Chosen:
    """Some of a data set's photos."""

    def __init__(self, photos: Photos, rows: NDArray[np.int64]) -> None:
        self._photos, self._rows = photos, rows

    def __len__(self) -> int:
        return len(self._rows)

    def image(self, index: int) -> NDArray[np.uint8]:
        """Give the upright photo, (H, W, 3) RGB."""
        return self._photos.image(int(self._rows[index]))

    def mask(self, index: int, targets: Sequence[int]) -> NDArray[np.bool_]:
        """Give the pixels of these instances together, (H, W)."""
        return self._photos.mask(int(self._rows[index]), targets)
