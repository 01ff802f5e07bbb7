"""Whole evaluations: over the synthetic sets of a split, or over a folder in the gRefCOCO form."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.asking import LateFusion
from model.calibration import Calibration
from model.network.preprocess import upright
from training.data import grefcoco
from training.data.coco_shapes import decode
from training.data.grefcoco_batches import sentence_vectors
from training.data.grefcoco_counts import Counts
from training.data.grefcoco_photos import with_photos
from training.errors import DatasetError
from training.measuring import testsets
from training.measuring.evaluate import (
    PAIR_POINT,
    Figures,
    absent_figures,
    album_figures,
    choose_calibration,
    choose_verifier_calibration,
    pair_figures,
    prefilter_figures,
)
from training.measuring.folder_album import album_of
from training.measuring.judging import Pair, PairScores, PairSet, encode_album, judge_album
from training.measuring.photo_figures import calibrate_on_photos, judge_photos, photo_figures
from training.measuring.predicting import answer
from training.measuring.report import Examples
from training.measuring.scoring import counted, judge_pairs, scored
from training.measuring.testsets import FULL, Sizes
from training.photos.scenes import Album

if TYPE_CHECKING:
    from model.asking import Network
    from model.predictor import Predictor


# A single misspelled noun that is taken for a known one may match half an album: a hundred absent
# expressions say too little about a rate of a few in a thousand.
ABSENT_TIMES = 5


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        figures: all keys of `training.measuring.evaluate`, and model, data, calibration, seconds.
        examples: the pairs, for pictures of answers.
    """

    figures: Figures
    examples: Examples


def calibrate(
    predictor: Predictor,
    split: str = "val",
    sizes: Sizes = FULL,
    *,
    precision: float | None = None,
    folder: Path | None = None,
    quiet: bool = False,
) -> Calibration:
    """Choose a model's calibration and operating points on a split's synthetic sets.

    Args:
        predictor: the model; its own calibration is not looked at.
        split: "val", unless you know why not.
        sizes: of the sets.
        precision: the album's threshold has at least this precision, instead of the best F1.
        folder: where sets are kept; `testsets.default_cache()` by default.
        quiet: show no progress.
    """
    pairs = testsets.pairs(split, sizes, folder=folder)
    album = testsets.album(split, sizes, folder=folder)
    many = replace(sizes, absent_expressions=ABSENT_TIMES * sizes.absent_expressions)
    absent = testsets.absent(split, many, folder=folder)  # on the very photos of the album
    encoded = encode_album(predictor, album.photos, name=album.name, quiet=quiet)
    return choose_calibration(
        (pairs, judge_pairs(LateFusion(predictor), pairs, quiet=quiet)),
        (album, judge_album(predictor, album, encoded, quiet=quiet)),
        judge_album(predictor, absent, encoded, quiet=quiet),
        fitted_to=predictor.fingerprints["head"],
        precision=precision,
    )


def calibrate_verifier(
    network: Network,
    data: PairSet,
    *,
    precision: float | None = None,
    quiet: bool = False,
) -> Calibration:
    """Choose a network's calibration on pairs alone, such as `testsets.pairs("val")`.

    Args:
        network: its own calibration is not looked at.
        precision: the threshold has at least this precision, instead of the best F1.
        quiet: show no progress.
    """
    return choose_verifier_calibration(
        data,
        judge_pairs(network, data, quiet=quiet).no_target_logit,
        fitted_to=network.fingerprint,
        precision=precision,
    )


def is_calibrated(predictor: Predictor) -> bool:
    """Tell whether a model's calibration was fitted to its present head, with operating points."""
    own = predictor.calibration
    return own.fitted_to == predictor.fingerprints["head"] and PAIR_POINT in own.points


def evaluate_synthetic(
    predictor: Predictor,
    split: str = "test",
    sizes: Sizes = FULL,
    *,
    folder: Path | None = None,
    quiet: bool = False,
) -> Evaluation:
    """Measure everything on a split's synthetic sets, at operating points chosen on validation.

    A model that carries no calibration of its own head is calibrated on `synthetic:val` first, in
    memory. With "test" comes the album of unseen compositions, `album_b.*`.
    """
    start = time.monotonic()
    calibrated, chosen_on = predictor.calibration, "beside the weights"
    if not is_calibrated(predictor):
        calibrated = calibrate(predictor, "val", sizes, folder=folder, quiet=quiet)
        chosen_on = "synthetic:val, now"
    pairs = testsets.pairs(split, sizes, folder=folder)
    network = LateFusion(predictor)
    network.calibration = calibrated
    figures = _about(network, f"synthetic:{split}", calibrated, chosen_on)
    scores, of_pairs = _of_pairs(network, pairs, quiet=quiet)
    figures |= of_pairs
    album = testsets.album(split, sizes, folder=folder)
    encoded = encode_album(predictor, album.photos, name=album.name, quiet=quiet)
    of_album = judge_album(predictor, album, encoded, areas=True, quiet=quiet)
    figures |= album_figures(album, of_album, calibrated)
    figures |= prefilter_figures(album, of_album, calibrated)
    absent = testsets.absent(split, sizes, folder=folder)
    of_absent = judge_album(predictor, absent, encoded, quiet=quiet)
    figures |= absent_figures(absent, of_absent, calibrated)
    revisions = [pairs.revision, album.revision]
    if split == "test":
        other = testsets.album("test-b", sizes, folder=folder)
        encoded = encode_album(predictor, other.photos, name=other.name, quiet=quiet)
        of_other = judge_album(predictor, other, encoded, quiet=quiet)
        figures |= album_figures(other, of_other, calibrated, prefix="album_b")
        revisions.append(other.revision)
    figures["data_revisions"] = revisions
    figures["data_sizes"] = asdict(sizes)
    figures["seconds"] = round(time.monotonic() - start, 1)
    return Evaluation(figures, Examples(pairs, scores, calibrated))


def evaluate_photos(predictor: Predictor, album: Album, *, quiet: bool = False) -> Evaluation:
    """Measure everything on the kept-out fifth of a pack of photographs.

    A model that carries no calibration of its own head is calibrated on that fifth first, in
    memory: then thresholds were chosen on the photos that they are measured on.
    """
    start = time.monotonic()
    scores = judge_photos(predictor, album, quiet=quiet)
    calibrated, chosen_on = predictor.calibration, "beside the weights"
    if not is_calibrated(predictor):
        calibrated = calibrate_on_photos(predictor, scores)
        chosen_on = "photos:val, now"
    figures = _about(LateFusion(predictor), "photos:val", calibrated, chosen_on)
    figures |= photo_figures(scores, calibrated)
    figures["seconds"] = round(time.monotonic() - start, 1)
    return Evaluation(figures, Examples(*scores.pairs, calibrated))


def calibrate_photos(
    predictor: Predictor, album: Album, *, precision: float | None = None, quiet: bool = False
) -> Calibration:
    """Choose a model's calibration on the kept-out fifth of a pack of photographs."""
    scores = judge_photos(predictor, album, quiet=quiet)
    return calibrate_on_photos(predictor, scores, precision=precision)


def calibrate_folder(
    predictor: Predictor,
    folder: Path,
    split: str = "",
    *,
    precision: float | None = None,
    strict: bool = False,
    quiet: bool = False,
) -> Calibration:
    """Choose a model's calibration on a folder in the gRefCOCO form.

    Temperature, bias and the pairs' point come from its pairs; prior and threshold from an album
    of its photos, see `folder_album`.

    Raises:
        DatasetError: as `folder_pairs`.
        CalibrationError: every expression refers to something, or none does.
    """
    pairs = folder_pairs(folder, split, strict=strict)
    photos = pairs.photos
    assert isinstance(photos, FolderPhotos)

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        return sentence_vectors(*predictor.text(list(texts)))

    album = album_of(photos.data, photos, photos.image_ids, embed, f"{pairs.name} album")
    encoded = encode_album(predictor, album.photos, name=album.name, quiet=quiet)
    return choose_calibration(
        (pairs, judge_pairs(LateFusion(predictor), pairs, quiet=quiet)),
        (album, judge_album(predictor, album, encoded, quiet=quiet)),
        None,
        fitted_to=predictor.fingerprints["head"],
        precision=precision,
    )


def evaluate_pairs(network: Network, data: PairSet, *, quiet: bool = False) -> Evaluation:
    """Measure any network on any pairs, with its own calibration: predicted, then scored.

    The figures are ``pairs.*`` and ``protocols``, which is `scoring.scored`.
    """
    start = time.monotonic()
    calibrated = network.calibration
    figures = _about(network, data.name, calibrated, "beside the weights")
    scores, of_pairs = _of_pairs(network, data, quiet=quiet)
    figures |= of_pairs
    figures["data_revisions"] = [data.revision]
    figures["left_out"] = dict(data.left_out)
    figures["seconds"] = round(time.monotonic() - start, 1)
    return Evaluation(figures, Examples(data, scores, calibrated))


def _of_pairs(network: Network, data: PairSet, *, quiet: bool) -> tuple[PairScores, Figures]:
    predictions = answer(network, data, quiet=quiet)
    scores, _ = counted(predictions, data)
    figures = pair_figures(data, scores, network.calibration)
    return scores, {**figures, "protocols": scored([predictions], data)}


def folder_pairs(folder: Path, split: str = "", *, strict: bool = False) -> PairSet:
    """Read a folder in the gRefCOCO form: grefs(unc).json, instances.json and the photos.

    Args:
        folder: as `referent synth` writes it, or the released data beside COCO's photos; see
            `training.data.grefcoco.read`.
        split: such as "val", "testA"; may be left out where the folder holds only one.
        strict: refuse a folder in which a row or photo cannot be used, instead of leaving it out.
    Raises:
        DatasetError: files are missing or damaged, or the split has to be named.
    """
    data = grefcoco.read(folder, split or _only_split(folder), strict=strict)
    data = with_photos(data, strict=strict)
    ids = sorted({sample.image_id for sample in data.samples})
    place = {image_id: index for index, image_id in enumerate(ids)}
    rows = (Pair(place[s.image_id], s.text, s.kind, tuple(s.annotation_ids)) for s in data.samples)
    photos = FolderPhotos(data, tuple(ids))
    name = f"{folder.name}:{data.split}"
    keys = tuple((s.ref_id, s.sent_id) for s in data.samples)
    return PairSet(name, photos, tuple(rows), left_out=data.counts.left_out, ids=keys)


def check_folder(folder: Path) -> Counts:
    """Judge every row and photo of a folder in the gRefCOCO form.

    Raises:
        DatasetError: nothing of it can be used.
    """
    return with_photos(grefcoco.read(folder, "")).counts


def curve_figures(network: Network, data: PairSet) -> dict[str, float | None]:
    """The figures that a training run's curve shows, by the paper's rule and E's own border."""
    scores = judge_pairs(network, data, quiet=True)
    figures = pair_figures(data, scores, Calibration())
    names = ("giou", "ciou", "n_acc", "t_acc", "target_iou")
    return {name: figures[f"pairs.{name}"] for name in names}


def _only_split(folder: Path) -> str:
    splits = grefcoco.splits(folder)
    if len(splits) > 1:
        raise DatasetError(f"{folder} holds {', '.join(splits)}: name one, as in {folder}:val")
    return splits[0] if splits else "val"


@dataclass(frozen=True)
class FolderPhotos:
    """The photos of a folder in the gRefCOCO form; targets are annotation ids."""

    data: grefcoco.Dataset
    image_ids: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.image_ids)

    def image(self, index: int) -> NDArray[np.uint8]:
        """Give the upright photo, (H, W, 3) RGB.

        Raises:
            DatasetError: it is missing, damaged, or of another size than its masks.
        """
        path = self.data.photo(self.image_ids[index])
        try:
            with Image.open(path) as picture:
                pixels = np.asarray(upright(picture))
        except OSError as error:
            raise DatasetError(f"{path} cannot be read ({error}); fetch it again") from error
        width, height = self.data.size(self.image_ids[index])
        if pixels.shape[:2] != (height, width):
            raise DatasetError(
                f"{path} is {pixels.shape[1]} x {pixels.shape[0]} pixels, its masks are {width} x "
                f"{height}; the photo is not the one that was annotated"
            )
        return pixels

    def mask(self, index: int, targets: Sequence[int]) -> NDArray[np.bool_]:
        """Give the pixels of these annotations together, (H, W)."""
        width, height = self.data.size(self.image_ids[index])
        union = np.zeros((height, width), dtype=np.bool_)
        for shape in self.shapes(targets):
            union |= decode(shape, height, width)
        return union

    def shapes(self, targets: Sequence[int]) -> list[Any]:
        """Give the segmentations of these annotations, polygons or run lengths."""
        return [self.data.coco.anns[target]["segmentation"] for target in targets]


def _about(network: Network, data: str, calibrated: Calibration, chosen_on: str) -> Figures:
    return {
        "model": network.name,
        "fingerprints": dict(network.predictor.fingerprints)
        if isinstance(network, LateFusion)
        else {"network": network.fingerprint},
        "data": data,
        "calibration": calibrated.revision,
        "calibrated_on": chosen_on,
        "threshold": calibrated.threshold,
    }
