"""Whether an album's own verdicts help: `python -m benchmarks.corrections --pack PACK`.

Searches over kept-out photographs are answered by the shipped model; what is right of the answers
is known. The verdicts on one half of the photos, in the form that `/marks/grefcoco.zip` has (right
ones with the mask that was shown, wrong ones as no-target), train the head for some minutes
(`referent train photo-head`); both heads are then measured on the other half.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model import grefcoco_form
from model.build import load_predictor, weights_of
from model.predictor import Predictor
from training.learning.session import run_recipe
from training.measuring import photo_sets
from training.measuring.evaluate import album_figures
from training.measuring.judging import (
    AlbumScores,
    AlbumSet,
    EncodedAlbum,
    encode_album,
    judge_album,
)
from training.photos.data import CACHE
from training.photos.pack import read_pack
from training.photos.scenes import read_album
from training.recipes.photo import PHOTO_HEAD

ANSWERS = 12  # of a search that somebody looks at


def main() -> None:
    """Print album figures on the other half, before and after."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.corrections", description=__doc__)
    options.add_argument("--pack", type=Path, required=True, help="annotated photographs")
    options.add_argument("--model", default="rela-photo")
    options.add_argument("--out", type=Path, default=Path("runs/corrections"))
    options.add_argument("--steps", type=int, default=PHOTO_HEAD.steps)
    chosen = options.parse_args()
    before = load_predictor(chosen.model)
    album = read_album(read_pack(chosen.pack), CACHE / "scenes", before.config.mask_side)
    asked = photo_sets.nouns_and_expressions(album)
    half = np.arange(len(asked.photos)) % 2 == 0
    records = encode_album(before, asked.photos, name=asked.name)
    scores = judge_album(before, asked, records)
    folder = chosen.out / "verdicts"
    told = write_verdicts(folder, before, asked, records, scores, half)
    print(f"{told[0]} right and {told[1]} wrong answers on {half.sum()} photos")
    start = time.monotonic()
    recipe = replace(PHOTO_HEAD, steps=chosen.steps)
    weights = run_recipe(recipe, chosen.out / "run", folder, weights_of(chosen.model))
    minutes = (time.monotonic() - start) / 60
    after = load_predictor(str(weights))
    again = judge_album(after, asked, encode_album(after, asked.photos, name=asked.name))
    print(f"trained {recipe.steps} steps in {minutes:.1f} minutes")
    print("on the other half                  before    after")
    for name, value in figures_of(before, asked, scores, ~half).items():
        other = figures_of(before, asked, again, ~half)[name]
        print(f"{name:32} {value:8.3f} {other:8.3f}")


def write_verdicts(
    folder: Path,
    predictor: Predictor,
    asked: AlbumSet,
    records: EncodedAlbum,
    scores: AlbumScores,
    half: NDArray[np.bool_],
) -> tuple[int, int]:
    """Write what somebody would say of the first answers; how many are right and wrong."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    images: dict[int, dict[str, object]] = {}
    annotations: list[dict[str, object]] = []
    references: list[grefcoco_form.Reference] = []
    words = predictor.read(list(asked.expressions))
    accepted = predictor.calibration.accepts(scores.no_target_logit) & half
    for e, expression in enumerate(asked.expressions):
        best = np.argsort(scores.no_target_logit[e], kind="stable")
        for n in [int(n) for n in best if accepted[e, n] and asked.truth[e, n] >= 0][:ANSWERS]:
            name = f"{n}.jpg"
            if n not in images:
                picture = asked.photos.image(n)
                Image.fromarray(picture).save(folder / "images" / name, quality=95)
                height, width = picture.shape[:2]
                images[n] = {"id": n, "file_name": name, "width": width, "height": height}
            right = bool(asked.truth[e, n])
            number = len(references) + 1
            if right:
                verdict = predictor.judge(records.tokens[n : n + 1], words[e])
                width, height = int(str(images[n]["width"])), int(str(images[n]["height"]))
                mask = predictor.render(records.masks[n : n + 1], verdict, width, height)
                if mask.box is None:
                    continue
                annotations.append(
                    {"id": number, "image_id": n, "category_id": 1, "segmentation": mask.rle,
                     "bbox": list(mask.box), "area": mask.area, "iscrowd": 0}
                )  # fmt: skip
            ids = (number,) if right else ()
            references.append(
                grefcoco_form.Reference(
                    number, n, name, "train", ids, (1,) * len(ids), ((expression, ""),)
                )
            )
    categories = [{"id": 1, "name": "referent"}]
    grefcoco_form.write(folder, references, list(images.values()), annotations, categories)
    return len(annotations), len(references) - len(annotations)


def figures_of(
    predictor: Predictor, asked: AlbumSet, scores: AlbumScores, rows: NDArray[np.bool_]
) -> dict[str, float]:
    """Main figures over some of the photos, at the calibration that the model has."""
    part = replace(asked, truth=asked.truth[:, rows])
    seen = AlbumScores(scores.no_target_logit[:, rows], None, scores.prefilter[:, rows])
    figures = album_figures(part, seen, predictor.calibration)
    return {key: float(figures[f"album.{key}"]) for key in ("f1", "precision", "recall", "map")}


if __name__ == "__main__":
    main()
