"""A mask's runs, area and box are those of every pixel of the scaled logits."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from model.masks import Mask, empty, from_logits, pixels
from tests.support.rle import from_rle

SIZES = [(1, 1, 1, 1), (1, 7, 30, 1), (5, 1, 1, 40), (9, 9, 9, 9), (12, 8, 5, 3), (7, 9, 200, 311)]


def scaled(logits: torch.Tensor, width: int, height: int) -> np.ndarray:
    shape = {"size": (height, width), "mode": "bilinear", "align_corners": False}
    return F.interpolate(logits[None, None].double(), **shape)[0, 0].numpy()


def box_of(array: np.ndarray) -> tuple[int, int, int, int] | None:
    y, x = np.nonzero(array)
    if not len(y):
        return None
    return x.min(), y.min(), x.max() - x.min() + 1, y.max() - y.min() + 1


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("h", "w", "height", "width"), SIZES)
def test_mask_is_the_scaled_logits_above_zero(
    h: int, w: int, height: int, width: int, seed: int
) -> None:
    logits = torch.randn(h, w, generator=torch.Generator().manual_seed(seed))
    mask, value = from_logits(logits, width, height), scaled(logits, width, height)
    sure = abs(value) > 1e-6
    assert (mask.array == (value > 0))[sure].all()
    assert mask.array.shape == (height, width) and mask.rle["size"] == [height, width]
    assert (from_rle(mask.rle) == mask.array).all()
    assert mask.area == mask.array.sum() and mask.box == box_of(mask.array)


def test_logits_of_zero_are_outside_and_an_empty_mask_has_no_box() -> None:
    logits = torch.zeros(4, 4)
    assert from_logits(logits, 40, 30).area == 0
    logits[1, 1] = 1.0
    mask = from_logits(logits, 40, 40)
    assert mask.array[15, 15] and not mask.array[25, 15] and mask.box == (5, 5, 20, 20)
    nothing = empty(40, 30, (4, 4))
    assert nothing.area == 0 and nothing.box is None and nothing.probability.max() == 0
    assert not nothing.array.any()


def test_mask_within_a_side_is_the_same_logits_at_another_size() -> None:
    logits = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    whole = from_logits(logits, 400, 300)
    assert whole.within(100).array.tolist() == from_logits(logits, 100, 75).array.tolist()
    assert whole.within(None) is whole and whole.within(400) is whole
    assert Mask(logits.numpy(), 1, 5000).within(16).array.shape == (16, 1)


def test_counted_pixels_are_those_of_the_masks() -> None:
    logits = torch.randn(5, 6, 6, generator=torch.Generator().manual_seed(1))
    counted = pixels(logits, 50)
    assert counted.tolist() == [int(from_logits(each, 50, 50).array.sum()) for each in logits]
