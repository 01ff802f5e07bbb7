"""Runs a network over an evaluation set: scores and pixel counts, before any decision is taken.

Photos are encoded once and judged by all their expressions, as in an album. Every metric follows
from what is kept here, so that thresholds and rules can be compared without another run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from model.network.preprocess import to_pixels

if TYPE_CHECKING:
    from model.official.verifier import OfficialVerifier
    from model.predictor import Judgement, Predictor

BATCH_PHOTOS = 16
BATCH_EXPRESSIONS = 64
BATCH_PAIRS = 128
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
    """

    name: str
    photos: Photos
    pairs: tuple[Pair, ...]
    revision: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)


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


def judge_pairs(
    predictor: Predictor,
    data: PairSet,
    encoded: EncodedAlbum | None = None,
    *,
    quiet: bool = False,
) -> PairScores:
    """Judge every pair and compare its mask with the truth.

    Without `encoded`, all photos of the set, only a batch of them is in memory at a time, so that a
    data set may be of any size.
    """
    count = len(data.pairs)
    logit = np.zeros(count)
    pixels = np.zeros((count, 4), dtype=np.int64)
    by_photo: dict[int, list[int]] = {}
    for index, pair in enumerate(data.pairs):
        by_photo.setdefault(pair.photo, []).append(index)
    bar = tqdm(
        total=count, desc=f"{data.name}: pairs", disable=quiet or None, unit="pair", leave=False
    )
    for photos in _chunks(sorted(by_photo), BATCH_PHOTOS):
        images = [data.photos.image(photo) for photo in photos]
        if encoded is None:
            found = predictor.encode(_stacked(images, predictor.input_size), ("tokens", "masks"))
            tokens, features = found["tokens"], found["masks"]
        else:
            tokens, features = encoded.tokens[photos], encoded.masks[photos]
        place = {photo: at for at, photo in enumerate(photos)}
        rows = [index for photo in photos for index in by_photo[photo]]
        for chunk in _chunks(rows, BATCH_PAIRS):
            at = [place[data.pairs[index].photo] for index in chunk]
            words = predictor.read([data.pairs[index].expression for index in chunk])
            judgement = predictor.judge_pairs(tokens[at], words)
            logit[chunk] = judgement.no_target_logit
            for row, index in enumerate(chunk):
                photo, pair = at[row], data.pairs[index]
                height, width = images[photo].shape[:2]
                mask = predictor.render(features[photo], judgement[row], width, height)
                truth = data.photos.mask(pair.photo, pair.targets)
                pixels[index] = (
                    np.count_nonzero(mask.array & truth),
                    np.count_nonzero(mask.array),
                    np.count_nonzero(truth),
                    _input_area(predictor, features[photo], judgement[row]),
                )
                bar.update()
    bar.close()
    return PairScores(logit, *pixels.T)


def verifier_logits(
    verifier: OfficialVerifier, data: PairSet, *, quiet: bool = False
) -> NDArray[np.float64]:
    """Judge every pair by a released network, which sees the photo anew for each: (n,) logits."""
    logit = np.zeros(len(data.pairs))
    for index, pair in enumerate(
        tqdm(data.pairs, desc=f"{data.name}: verifying", disable=quiet or None, leave=False)
    ):
        image = Image.fromarray(data.photos.image(pair.photo))
        verdict = verifier.judge(verifier.pixels_of(image)[None], verifier.read(pair.expression))
        logit[index] = verdict.no_target_logit[0]
    return logit


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
