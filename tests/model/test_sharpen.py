"""A second look at a match: the photo decides what is meant, the crop where exactly it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from benchmarks._soft_photos import predicted
from model import packing
from model.matting.matte import resampled, surroundings
from model.packing import Records
from model.sharpen import read_out, sharpen

CELLS = 32  # of a network's mask features
COARSE = 24  # of a photo's mask
SIZE = (480, 320)


class ColourFeatures:
    """A network whose mask features are a picture's own colours, at a quarter of its input."""

    input_size = 4 * CELLS
    device = torch.device("cpu")

    def encode(self, pixels: np.ndarray, tiers: Sequence[str]) -> dict[str, Records]:
        assert tuple(tiers) == ("masks",)
        colours = torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float() / 255
        small = torch.nn.functional.avg_pool2d(colours, 4)
        dtype = np.dtype([("features", "<f2", (3, CELLS, CELLS))])
        return {"masks": packing.pack_masks(small, dtype)}


def disc(radius: float) -> tuple[Image.Image, np.ndarray]:
    """A red disc on green, and where it is."""
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    truth = np.hypot(rows - 140, columns - 180) < radius
    pixels = np.where(truth[..., None], (220, 30, 20), (20, 160, 60)).astype(np.uint8)
    return Image.fromarray(pixels), truth


def coarse(truth: np.ndarray) -> np.ndarray:
    """What a photo's own grid of cells makes of a mask: coarse, and off by a cell or so."""
    return predicted(truth.astype(np.float32), COARSE, seed=1)


def overlap(mask: np.ndarray, region: tuple[int, int, int, int], truth: np.ndarray) -> float:
    found = resampled(mask, region, (0, 0, *SIZE), SIZE) >= 0.5
    return float((found & truth).sum() / (found | truth).sum())


def test_small_match_is_drawn_along_its_own_edge() -> None:
    photo, truth = disc(36)
    first = coarse(truth)
    whole = (0, 0, *SIZE)
    again, region = sharpen(ColourFeatures(), photo, first)  # type: ignore[arg-type]
    assert region == surroundings(first, whole, SIZE)
    assert overlap(again, region, truth) > max(0.95, overlap(first, whole, truth))


def test_match_that_fills_the_photo_is_not_looked_at_again() -> None:
    photo, truth = disc(130)
    first = coarse(truth)
    again, region = sharpen(ColourFeatures(), photo, first)  # type: ignore[arg-type]
    assert again is first
    assert region == (0, 0, *SIZE)


def test_second_look_that_tells_of_something_else_is_not_believed() -> None:
    _, truth = disc(36)
    dice = np.random.default_rng(1)
    noise = Image.fromarray(dice.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8))
    first = coarse(truth)
    again, region = sharpen(ColourFeatures(), noise, first)  # type: ignore[arg-type]
    assert again is first
    assert region == (0, 0, *SIZE)


def test_empty_mask_stays_empty() -> None:
    photo, truth = disc(36)
    first = coarse(np.zeros_like(truth))
    assert sharpen(ColourFeatures(), photo, first)[0] is first  # type: ignore[arg-type]


def test_read_out_is_one_weight_a_channel_whatever_their_scales() -> None:
    dice = np.random.default_rng(2)
    truth = np.zeros((CELLS, CELLS), bool)
    truth[4:11, 5:12] = True
    features = dice.normal(size=(6, CELLS, CELLS))
    features[3] = 50 * truth - 7
    features[5] *= 1e-3
    blurred = np.clip(0.1 + 0.8 * truth + dice.normal(0, 0.2, truth.shape), 0, 1)
    found = read_out(features.astype(np.float32), blurred.astype(np.float32)) >= 0.5
    assert np.array_equal(found, truth)
