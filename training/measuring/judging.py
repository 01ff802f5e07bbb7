"""Evaluation sets, and what a network says of them before any decision is taken.

Pairs are answered in `predicting` and counted in `scoring`. An album's photos are encoded once and
judged by all expressions here. Every metric follows from what is kept, so that thresholds and rules
can be compared without another run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from model.network.preprocess import to_pixels

if TYPE_CHECKING:
    from model.predictor import Judgement, Predictor

BATCH_PHOTOS = 16
BATCH_EXPRESSIONS = 64
TIERS = ("tokens", "masks", "vectors")


class Photos(Protocol):
    """Photos with known instances."""

    def __len__(self) -> int: ...

    def image(self, index: int) -> NDArray[np.uint8]:
        """Give the upright photo, (H, W, 3) RGB."""
        ...

    def mask(self, index: int, targets: Sequence[int]) -> NDArray[np.bool_]:
        """Give the pixels of these instances together, (H, W)."""
        ...


@dataclass(frozen=True)
class Pair:
    """One expression about one photo.

    Attributes:
        photo: its index.
        expression: as typed.
        kind: of expression, such as "relation"; "" where the data does not say.
        targets: ids of what it refers to; none for a no-target pair.
        origin: "target", "false" (related to the photo but untrue) or "deceptive" (drawn from
            another photo); "" where the data does not say.
    """

    photo: int
    expression: str
    kind: str
    targets: tuple[int, ...]
    origin: str = ""


@dataclass(frozen=True)
class PairSet:
    """Pairs with their photos.

    Attributes:
        revision: changes with the content.
        left_out: why rows of the data are no pairs here, and how many.
        ids: (ref_id, sent_id) of each pair; where the data have none, (place, 0).
    """

    name: str
    photos: Photos
    pairs: tuple[Pair, ...]
    revision: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)
    ids: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        """Number the pairs of data that do not."""
        if not self.ids:
            object.__setattr__(self, "ids", tuple((at, 0) for at in range(len(self.pairs))))

    def by_photo(self) -> dict[int, list[int]]:
        """Places of the pairs of each photo that has some, photos in order."""
        groups: dict[int, list[int]] = {}
        for index, pair in enumerate(self.pairs):
            groups.setdefault(pair.photo, []).append(index)
        return dict(sorted(groups.items()))

    def of_every(self, step: int) -> PairSet:
        """The pairs of every so many-th photo."""
        places = [at for at, pair in enumerate(self.pairs) if pair.photo % step == 0]
        return replace(
            self,
            name=f"{self.name}, every {step}th photo",
            pairs=tuple(self.pairs[at] for at in places),
            ids=tuple(self.ids[at] for at in places),
        )


@dataclass(frozen=True)
class AlbumSet:
    """An album and expressions whose truth is known for every photo.

    Attributes:
        expressions: E of them.
        kinds: (E,) kind of each.
        truth: (E, N) int8, 1 holds a referent, 0 does not, -1 ambiguous.
        held_out: (E,) whether the expression names a composition that training never saw.
    """

    name: str
    photos: Photos
    expressions: tuple[str, ...]
    kinds: tuple[str, ...]
    truth: NDArray[np.int8]
    held_out: tuple[bool, ...] = ()
    revision: str = ""


@dataclass(frozen=True)
class PairScores:
    """What the network said about n pairs.

    Attributes:
        no_target_logit: (n,) float64.
        intersection, predicted_area, truth_area: (n,) pixels at the photo's own size; the
            predicted mask is not emptied by the no-target decision.
        input_area: (n,) pixels of that mask at the network's input size, for the 50-pixel rule.
    """

    no_target_logit: NDArray[np.float64]
    intersection: NDArray[np.int64]
    predicted_area: NDArray[np.int64]
    truth_area: NDArray[np.int64]
    input_area: NDArray[np.int64]


@dataclass(frozen=True)
class AlbumScores:
    """What the network said about E expressions on N photos.

    Attributes:
        no_target_logit: (E, N) float64.
        predicted_area: (E, N) pixels of the mask at the network's input size, or None if unasked.
        prefilter: (E, N) the prefilter's score, see `indexer.features.prefilter`.
    """

    no_target_logit: NDArray[np.float64]
    predicted_area: NDArray[np.int64] | None
    prefilter: NDArray[np.float32]


@dataclass(frozen=True)
class EncodedAlbum:
    """N photos of an album, encoded once: records of the tokens, masks and vectors tiers, (N,)."""

    tokens: NDArray[Any]
    masks: NDArray[Any]
    vectors: NDArray[Any]

    def rows(self, which: Sequence[int]) -> EncodedAlbum:
        """Some of its photos."""
        at = list(which)
        return EncodedAlbum(self.tokens[at], self.masks[at], self.vectors[at])


def encode_album(
    predictor: Predictor, photos: Photos, *, name: str = "album", quiet: bool = False
) -> EncodedAlbum:
    """Encode every photo, a batch at a time."""
    chunks = list(_chunks(range(len(photos)), BATCH_PHOTOS))
    batches = []
    for chunk in tqdm(chunks, desc=f"{name}: encoding", disable=quiet or None, leave=False):
        pixels = _stacked([photos.image(index) for index in chunk], predictor.input_size)
        batches.append(predictor.encode(pixels, TIERS))
    return EncodedAlbum(*(np.concatenate([batch[tier] for batch in batches]) for tier in TIERS))


def judge_album(
    predictor: Predictor,
    data: AlbumSet,
    encoded: EncodedAlbum,
    *,
    areas: bool = False,
    quiet: bool = False,
) -> AlbumScores:
    """Judge every expression on every photo.

    Args:
        predictor: made `encoded` from the set's photos.
        areas: count the pixels of every mask as well, for the 50-pixel rule.
        quiet: show no progress.
    """
    photos, expressions = len(encoded.tokens), len(data.expressions)
    vector = predictor.vectors_of(encoded.vectors)  # (N, V, D)
    logit = np.zeros((expressions, photos))
    area = np.zeros((expressions, photos), dtype=np.int64) if areas else None
    prefilter = np.zeros((expressions, photos), dtype=np.float32)
    bar = tqdm(total=expressions, desc=f"{data.name}: judging", disable=quiet or None, leave=False)
    for chunk in _chunks(range(expressions), BATCH_EXPRESSIONS):
        words = predictor.read([data.expressions[index] for index in chunk])
        for at, index in enumerate(chunk):
            judgement = predictor.judge(encoded.tokens, words[at])
            logit[index] = judgement.no_target_logit
            prefilter[index] = (
                predictor.rerank(encoded.vectors, words[at])
                if predictor.reranks
                else (vector @ words.sentence[at]).max(axis=1)  # (N, V, D) x (D,) -> (N, V)
            )
            if area is not None:
                area[index] = [
                    _input_area(predictor, encoded.masks[i], judgement[i]) for i in range(photos)
                ]
            bar.update()
    bar.close()
    return AlbumScores(logit, area, prefilter)


def _input_area(predictor: Predictor, record: NDArray[Any], judgement: Judgement) -> int:
    """Count the pixels of one photo's mask at the network's input size."""
    return predictor.render(record, judgement, predictor.input_size, predictor.input_size).area


def _stacked(images: Sequence[NDArray[np.uint8]], size: int) -> NDArray[np.uint8]:
    return np.stack([to_pixels(Image.fromarray(image), size) for image in images])


def _chunks(items: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
