"""Masks drawn on photos: also those that are hardly there."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from search_api.show.overlay import ACCENT, draw_mask, outlines


@pytest.mark.parametrize(
    "shape", [(slice(7, 8), slice(3, 15)), (slice(2, 14), slice(9, 10)), (slice(5, 6), slice(5, 6))]
)
def test_a_thread_or_a_dot_has_a_line(shape: tuple[slice, slice]) -> None:
    mask = np.zeros((20, 20), bool)
    mask[shape] = True
    (border,) = outlines(mask)
    assert border.shape == (3, 2)
    rows, columns = np.nonzero(mask)
    for x, y in border:
        assert columns.min() <= x <= columns.max() + 1 and rows.min() <= y <= rows.max() + 1
    drawn = np.asarray(draw_mask(Image.new("RGB", (20, 20), (90, 90, 90)), mask)).astype(int)
    assert (np.abs(drawn[mask] - ACCENT).sum(1) < 120).any()


def test_specks_beside_a_thing_have_none_and_holes_do() -> None:
    mask = np.zeros((40, 40), bool)
    mask[5:35, 5:35] = True
    mask[15:25, 15:25] = False
    mask[0, 38] = True
    assert len(outlines(mask)) == 2
    assert outlines(np.zeros((4, 4), bool)) == []
