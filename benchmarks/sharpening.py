"""What a second look at a match is worth: masks and cut-outs with and without `model.sharpen`.

Run: python -m benchmarks.sharpening [--model rela-mini] [--photos 40] [--first 0] [--json]

Photos of the grammar's scenes, drawn twice too large and averaged down, so that their alpha is
known softly; expressions that are true of them and that the model accepts. IoU is that of masks at
the photo's size, SAD (in thousands of pixels) that of the cut-out's alpha. A match whose mask has
nothing to do with the truth cannot be sharpened, so figures stand for all matches and for those
that hit (IoU of at least a half).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from model.build import load_predictor
from model.matting.matte import Box, matte, resampled
from model.network.preprocess import to_pixels
from model.predictor import Predictor
from model.sharpen import sharpen
from training.drawing.render import render
from training.drawing.scenes import sample_photo
from training.language import grammar

SEEDS = 5_100_000  # far from those of every other set
SIDE_PX = 1000
EXPRESSIONS = 8


def matches(predictor: Predictor, seed: int) -> Iterator[tuple[Image.Image, Any, Any]]:
    """Photo, true alpha (H, W) and predicted mask (h, w) of what the model accepts in one scene."""
    drawn = sample_photo(seed, "test")
    aspect = drawn.plan.aspect
    width, height = round(SIDE_PX * min(1, aspect)), round(SIDE_PX / max(1, aspect))
    pixels, ids = render(drawn.plan, 2 * width, 2 * height)
    photo = Image.fromarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA))
    records = predictor.encode(to_pixels(photo, predictor.input_size)[None], ("tokens", "masks"))
    for said in grammar.expressions(drawn.scene, np.random.default_rng(seed), EXPRESSIONS):
        targets = grammar.execute(said.program, drawn.scene)
        judgement = predictor.judge(records["tokens"], predictor.read([said.text]))
        found = predictor.calibration.confidence(judgement.no_target_logit, shifted=False)[0] >= 0.5
        if not targets or not found:
            continue
        alpha = np.isin(ids, list(targets)).astype(np.float32)
        alpha = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_AREA)
        yield photo, alpha, predictor.render(records["masks"], judgement, 1, 1).probability


def measured(photo: Image.Image, truth: Any, mask: Any, region: Box) -> tuple[float, float]:
    """IoU of the mask and SAD of the cut-out, in thousands."""
    whole = (0, 0, photo.width, photo.height)
    found, true = resampled(mask, region, whole, photo.size) >= 0.5, truth >= 0.5
    alpha = np.zeros(truth.shape, np.float32)
    if (made := matte(photo, mask, region=region)) is not None:
        x, y, width, height = made.box
        alpha[y : y + height, x : x + width] = made.alpha / 255
    overlap = np.count_nonzero(found & true) / max(1, np.count_nonzero(found | true))
    return float(overlap), float(np.abs(alpha - truth).sum() / 1000)


def compare(predictor: Predictor, first: int, photos: int) -> list[dict[str, float]]:
    """One row a match that is looked at again: IoU and SAD before and after."""
    rows = []
    for seed in tqdm(range(first, first + photos), disable=None, leave=False):
        for photo, truth, mask in matches(predictor, SEEDS + seed):
            whole = (0, 0, photo.width, photo.height)
            again, region = sharpen(predictor, photo, mask)
            if region == whole:
                continue
            before, after = (
                measured(photo, truth, mask, whole),
                measured(photo, truth, again, region),
            )
            rows.append(
                {"iou": before[0], "iou_sharpened": after[0],
                 "sad": before[1], "sad_sharpened": after[1]}
            )  # fmt: skip
    return rows


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", default="rela-mini")
    options.add_argument("--photos", type=int, default=40)
    options.add_argument("--first", type=int, default=0)
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    rows = compare(load_predictor(chosen.model), chosen.first, chosen.photos)
    figures = {}
    for name, part in (("all", rows), ("hits", [row for row in rows if row["iou"] >= 0.5])):
        means = {key: float(np.mean([row[key] for row in part])) for key in part[0]} if part else {}
        better = [row["iou_sharpened"] - row["iou"] for row in part]
        figures[name] = {
            "matches": len(part), **means,
            "better": float(np.mean([d > 0.01 for d in better])) if part else None,
            "worse": float(np.mean([d < -0.01 for d in better])) if part else None,
        }  # fmt: skip
    if chosen.json:
        print(json.dumps(figures, indent=2))
        return
    for name, row in figures.items():
        if not row["matches"]:
            print(f"{name}: nothing was sharpened")
            continue
        print(
            f"{name}: {row['matches']} matches, IoU {row['iou']:.3f} -> {row['iou_sharpened']:.3f} "
            f"(better {row['better']:.0%}, worse {row['worse']:.0%}), "
            f"SAD {row['sad']:.2f} -> {row['sad_sharpened']:.2f}"
        )


if __name__ == "__main__":
    main()
