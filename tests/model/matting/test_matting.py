"""Cut-outs: alpha, colours and pictures, on drawn photos whose true alpha is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from benchmarks import _soft_photos as soft_photos
from benchmarks._soft_photos import KINDS, Kind, SoftPhoto, errors, predicted
from model.matting import closed_form
from model.matting import matte as matte_module
from model.matting.cutout import BackgroundError, Look, draw, over
from model.matting.matte import (
    SOLVE_SIDE_PX,
    UNKNOWN_MAX,
    Matte,
    matte,
    resampled,
    solved_on,
)
from model.matting.trimap import BACKGROUND, FOREGROUND, UNKNOWN, make_trimap

SIDE = 192
CELLS = 56


def cut(photo: SoftPhoto, solve_side_px: int = 512) -> Matte:
    probability = predicted(photo.alpha, CELLS, 1)
    made = matte(Image.fromarray(photo.pixels), probability, solve_side_px=solve_side_px)
    assert made is not None
    return made


def whole(made: Matte, side: int) -> np.ndarray:
    x, y, width, height = made.box
    alpha = np.zeros((side, side), np.float32)
    alpha[y : y + height, x : x + width] = made.alpha / 255
    return alpha


def hard_and_feathered(photo: SoftPhoto) -> list[np.ndarray]:
    """The predicted mask as it is, and blurred by several widths."""
    side = len(photo.alpha)
    large = cv2.resize(predicted(photo.alpha, CELLS, 1), (side, side))
    hard = (large >= 0.5).astype(np.float32)
    return [hard, *(cv2.GaussianBlur(hard, (0, 0), width * side / 192) for width in (1, 2, 4))]


def of_plain(photo: SoftPhoto, alpha: np.ndarray) -> dict[str, float]:
    """SAD, MSE and gradient error, each as a share of the least that a plain mask has."""
    ours = errors(alpha, photo.alpha)
    plain = [errors(other, photo.alpha) for other in hard_and_feathered(photo)]
    return {name: value / min(each[name] for each in plain) for name, value in ours.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_alpha_is_clearly_nearer_the_truth_than_hard_and_feathered_masks(kind: Kind) -> None:
    photo = soft_photos.draw(kind, SIDE, 1)
    assert max(of_plain(photo, whole(cut(photo), SIDE)).values()) < 0.7


def test_alpha_solved_small_and_carried_up_still_beats_feathering() -> None:
    photo = soft_photos.draw("hair", 2 * SIDE, 2)
    alpha = whole(cut(photo, solve_side_px=SIDE), 2 * SIDE)
    assert max(of_plain(photo, alpha).values()) < 0.7


def solved_pixels(side: int) -> tuple[int, int]:
    """Pixels of the copy that a cut-out of a large blob is solved on, and the unknown of them."""
    photo = soft_photos.draw("blur", SIDE, 1)
    everywhere = (0, 0, side, side)
    _, trimap = solved_on(predicted(photo.alpha, CELLS, 1), everywhere, everywhere, SOLVE_SIDE_PX)
    return trimap.size, int((trimap == UNKNOWN).sum())


def test_larger_photos_are_solved_with_no_more_unknown_pixels() -> None:
    of_half_a_megapixel, of_twelve = solved_pixels(640), solved_pixels(3464)
    assert of_twelve == of_half_a_megapixel
    assert 0.8 * UNKNOWN_MAX < of_twelve[1] < 1.1 * UNKNOWN_MAX
    whole_size, _ = solved_pixels(SIDE)
    assert whole_size == SIDE * SIDE  # few pixels are unknown anyway


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_unknown_pixels_leave_the_alpha_as_near_the_truth(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = soft_photos.draw(kind, 384, 1)
    bounded = errors(whole(cut(photo), 384), photo.alpha)
    monkeypatch.setattr(matte_module, "UNKNOWN_MAX", 10**9)
    assert bounded["sad"] < 1.02 * errors(whole(cut(photo), 384), photo.alpha)["sad"]


def test_no_halo_of_the_old_background_stays() -> None:
    photo = soft_photos.draw("hair", SIDE, 3)
    made = cut(photo)
    x, y, width, height = made.box
    soft = (made.alpha > 40) & (made.alpha < 215)
    true = photo.foreground[y : y + height, x : x + width].astype(float)
    kept = photo.pixels[y : y + height, x : x + width].astype(float)
    ours = np.abs(made.colours - true)[soft].mean()
    assert ours < 0.5 * np.abs(kept - true)[soft].mean()


def test_solid_pixels_keep_the_photos_own_colours() -> None:
    photo = soft_photos.draw("blur", SIDE, 4)
    made = cut(photo)
    x, y, width, height = made.box
    solid = made.alpha == 255
    assert solid.any()
    assert np.array_equal(made.colours[solid], photo.pixels[y : y + height, x : x + width][solid])


def test_solver_finds_the_mixture_of_two_flat_colours() -> None:
    ramp = np.clip((np.arange(64) - 20) / 24, 0, 1).astype(np.float32)
    truth = np.repeat(ramp[None], 32, 0)
    red, blue = np.array([0.9, 0.1, 0.1]), np.array([0.1, 0.2, 0.8])
    image = (truth[..., None] * red + (1 - truth[..., None]) * blue).astype(np.float32)
    trimap = np.full(truth.shape, UNKNOWN)
    trimap[:, :8], trimap[:, -8:] = BACKGROUND, FOREGROUND
    assert np.abs(closed_form.solve(image, trimap) - truth).max() < 0.02


def test_band_grows_with_the_thing_and_with_the_masks_cells() -> None:
    def band(radius: int, cell_px: float) -> float:
        rows, columns = np.mgrid[:256, :256]
        disc = (np.hypot(rows - 128, columns - 128) < radius).astype(np.float32)
        unknown = (make_trimap(disc, cell_px) == UNKNOWN).sum()
        return float(unknown / (2 * np.pi * radius))

    assert band(80, 1) > 1.5 * band(30, 1)
    assert band(30, 12) > 1.5 * band(30, 1)


def test_thin_parts_keep_a_sure_core() -> None:
    mask = np.zeros((96, 96), np.float32)
    mask[:, 46:52] = 1
    assert (make_trimap(mask, 1.0) == FOREGROUND).any()


def test_empty_mask_gives_no_cut_out() -> None:
    photo = Image.new("RGB", (64, 48))
    assert matte(photo, np.zeros((14, 14), np.float32)) is None


def test_pictures_are_transparent_coloured_blurred_cropped_or_masks() -> None:
    photo = soft_photos.draw("blur", 128, 5)
    made, picture = cut(photo), Image.fromarray(photo.pixels)
    clear = draw(picture, made, Look())
    assert clear.mode == "RGBA"
    assert clear.size == picture.size
    assert clear.getpixel((0, 0)) == (0, 0, 0, 0)
    white = draw(picture, made, Look(background="white"))
    assert white.getpixel((0, 0)) == (255, 255, 255)
    assert np.array_equal(np.asarray(white), over(made, picture.size, (255, 255, 255)))
    assert draw(picture, made, Look(background="blur")).mode == "RGB"
    behind = draw(picture, made, Look(picture=Image.new("RGB", (10, 40), (1, 2, 3))))
    assert behind.getpixel((0, 0)) == (1, 2, 3)
    assert draw(picture, made, Look(mask_only=True)).mode == "L"
    small = draw(picture, made, Look(crop=True))
    assert max(small.size) < 128
    with pytest.raises(BackgroundError, match="colour"):
        Look(background="no colour")


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KINDS)
def test_solver_agrees_with_pymatting_on_the_same_trimap(kind: Kind) -> None:
    from pymatting import estimate_alpha_cf

    photo = soft_photos.draw(kind, SIDE, 6)
    everywhere = (0, 0, SIDE, SIDE)
    probability = predicted(photo.alpha, CELLS, 1)
    large = resampled(probability, everywhere, everywhere, (SIDE, SIDE))
    trimap = make_trimap(large, SIDE / CELLS)
    image = photo.pixels.astype(np.float32) / 255
    theirs = estimate_alpha_cf(image.astype(np.float64), trimap / 255)
    ours = errors(whole(cut(photo), SIDE), photo.alpha)
    for name, error in errors(theirs.astype(np.float32), photo.alpha).items():
        assert ours[name] < 1.1 * error, name
