"""Figures of a model on real photographs; keys as in `training.measuring.evaluate`.

Beside those: ``nouns.map`` (one search a COCO kind over the whole album), ``nouns.flooding``
(nouns that return over twice what is there and 2 % of the album), ``iou.people``, ``iou.things``,
``pointing`` (the mask's peak lies on the one thing meant), ``complements.overlap`` (of the smaller
mask that an expression and what it leaves out share), ``unnamed.map``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.asking import LateFusion, LateSeen
from model.calibration import Calibration
from model.predictor import Predictor
from training.measuring import photo_sets
from training.measuring.evaluate import (
    Figures,
    absent_figures,
    album_figures,
    choose_calibration,
    pair_figures,
    prefilter_figures,
)
from training.measuring.judging import (
    AlbumScores,
    AlbumSet,
    EncodedAlbum,
    PairScores,
    PairSet,
    encode_album,
    judge_album,
)
from training.measuring.retrieval import mean_average_precision
from training.measuring.scoring import judge_pairs
from training.photos.scenes import Album


@dataclass(frozen=True)
class PhotoScores:
    """What a model said of the held-out photos."""

    pairs: tuple[PairSet, PairScores]
    album: tuple[AlbumSet, AlbumScores]
    absent: tuple[AlbumSet, AlbumScores]
    unnamed: tuple[AlbumSet, AlbumScores]
    pointed: NDArray[np.bool_]
    shared: NDArray[np.float64]


def judge_photos(predictor: Predictor, album: Album, *, quiet: bool = False) -> PhotoScores:
    """Encode the held-out fifth of a pack, each photo once, and judge it by all that is asked."""
    pairs = photo_sets.pairs(album)
    encoded = encode_album(predictor, pairs.photos, name=pairs.name, quiet=quiet)
    seen = LateSeen(predictor, encoded.tokens, encoded.masks)
    place = {told.photo.path: at for at, told in enumerate(photo_sets.held_out(album))}

    def judged(asked: AlbumSet) -> tuple[AlbumSet, AlbumScores]:
        assert isinstance(asked.photos, photo_sets.PhotoImages)
        rows = encoded.rows([place[told.photo.path] for told in asked.photos.told])
        return asked, judge_album(predictor, asked, rows, quiet=quiet)

    return PhotoScores(
        (pairs, judge_pairs(LateFusion(predictor), pairs, seen=seen, quiet=quiet)),
        judged(photo_sets.nouns_and_expressions(album)),
        judged(photo_sets.absent(album)),
        judged(photo_sets.unnamed(album)),
        pointing(predictor, pairs, encoded),
        overlaps(predictor, photo_sets.rests(album), encoded),
    )


def calibrate_on_photos(
    predictor: Predictor, scores: PhotoScores, *, precision: float | None = None
) -> Calibration:
    """Temperature, bias, prior and threshold from real photographs."""
    return choose_calibration(
        scores.pairs,
        scores.album,
        scores.absent[1],
        fitted_to=predictor.fingerprints["head"],
        precision=precision,
    )


def photo_figures(scores: PhotoScores, calibrated: Calibration) -> Figures:
    """All figures, from scores that were collected once."""
    start = time.monotonic()
    pairs, of_pairs = scores.pairs
    album, of_album = scores.album
    figures = pair_figures(pairs, of_pairs, calibrated)
    figures |= album_figures(album, of_album, calibrated)
    figures |= prefilter_figures(album, of_album, calibrated)
    figures |= absent_figures(*scores.absent, calibrated)
    nouns = np.array([kind == "category" for kind in album.kinds])
    figures["nouns.map"], figures["nouns.searches"] = mean_average_precision(
        -of_album.no_target_logit[nouns], album.truth[nouns]
    )
    accepted = calibrated.returned(of_album.no_target_logit)
    there = (album.truth == 1).sum(1)
    floods = accepted.sum(1) > 2 * there + 0.02 * album.truth.shape[1]
    figures["nouns.flooding"] = [album.expressions[k] for k in np.nonzero(floods & nouns)[0]]
    for name in ("people", "things"):
        rows = np.array([pair.kind == name for pair in pairs.pairs])
        figures[f"iou.{name}"] = _mean_iou(of_pairs, rows)
        figures[f"iou.{name}_pairs"] = int(rows.sum())
    figures["pointing"] = float(scores.pointed.mean()) if len(scores.pointed) else None
    figures["pointing_pairs"] = len(scores.pointed)
    figures["complements.overlap"] = float(scores.shared.mean()) if len(scores.shared) else None
    figures["complements.pairs"] = len(scores.shared)
    other, of_other = scores.unnamed
    figures["unnamed.map"], figures["unnamed.searches"] = mean_average_precision(
        -of_other.no_target_logit, other.truth
    )
    figures["seconds_counting"] = round(time.monotonic() - start, 1)
    return figures


def _mean_iou(scores: PairScores, rows: NDArray[np.bool_]) -> float | None:
    """Mean IoU of masks that the no-target decision does not empty."""
    union = scores.predicted_area + scores.truth_area - scores.intersection
    each = scores.intersection[rows] / np.maximum(union[rows], 1)
    return float(each.mean()) if rows.any() else None


def pointing(predictor: Predictor, data: PairSet, encoded: EncodedAlbum) -> NDArray[np.bool_]:
    """For each pair of kind "pointing", whether the largest mask logit lies on the one thing."""
    hits = []
    for pair in data.pairs:
        if pair.kind != "pointing":
            continue
        record = encoded.rows([pair.photo])
        verdict = predictor.judge(record.tokens, predictor.read([pair.expression])[0])
        logits = predictor.mask_logits(record.masks, verdict)[0]
        y, x = divmod(int(logits.argmax()), logits.shape[1])
        truth = data.photos.mask(pair.photo, pair.targets)
        height, width = truth.shape
        row = min(height - 1, int((y + 0.5) * height / logits.shape[0]))
        column = min(width - 1, int((x + 0.5) * width / logits.shape[1]))
        hits.append(bool(truth[row, column]))
    return np.array(hits, bool)


def overlaps(
    predictor: Predictor, rests: Sequence[photo_sets.Rest], encoded: EncodedAlbum
) -> NDArray[np.float64]:
    """How much of the smaller mask an expression and what it leaves out share, 0 to 1, each.

    Pairs of which the network shows no two masks are left out.
    """
    shares = []
    for rest in rests:
        record = encoded.rows([rest.photo])
        words = predictor.read([rest.expression, rest.left_out])
        verdicts = [predictor.judge(record.tokens, words[at]) for at in range(2)]
        if any(verdict.no_target_logit[0] > 0 for verdict in verdicts):
            continue
        one, other = (predictor.mask_logits(record.masks, v)[0] > 0 for v in verdicts)
        if smaller := min(int(one.sum()), int(other.sum())):
            shares.append(float((one & other).sum()) / smaller)
    return np.array(shares)
