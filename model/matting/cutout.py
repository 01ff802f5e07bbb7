"""A matte made into a picture: transparent, over a colour, a picture or the blurred photo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageColor, ImageFilter

from model.errors import ReferentError
from model.matting.matte import Matte

BLUR = "blur"
BLUR_SHARE = 0.02  # of the photo's longer side


class BackgroundError(ReferentError):
    """A background cannot be used; the message says which can."""


@dataclass(frozen=True)
class Look:
    """How a cut-out looks.

    Attributes:
        background: None (transparent), "blur" (the photo, blurred), or a colour ("#ff8000").
        picture: stands behind instead, filled to the photo's size.
        crop: only the referents' box instead of the whole photo's area.
        mask_only: alpha as a grey picture.
    """

    background: str | None = None
    picture: Image.Image | None = None
    crop: bool = False
    mask_only: bool = False

    def __post_init__(self) -> None:
        if self.background not in (None, BLUR):
            colour_of(str(self.background))


def colour_of(name: str) -> tuple[int, int, int]:
    """A colour's red, green and blue.

    Raises:
        BackgroundError: there is none of this name.
    """
    try:
        return ImageColor.getrgb(name)[:3]
    except ValueError as error:
        raise BackgroundError(
            f"{name!r} is no background: give a colour (white, #ff8000), a picture's file, or blur"
        ) from error


def draw(photo: Image.Image, matte: Matte, look: Look) -> Image.Image:
    """Make the picture: RGBA where nothing stands behind, else RGB; L for the mask alone."""
    x, y, width, height = matte.box
    corner = (x, y)
    alpha = Image.fromarray(matte.alpha)
    if look.mask_only:
        whole = Image.new("L", photo.size, 0)
        whole.paste(alpha, corner)
    elif look.background is None and look.picture is None:
        whole = Image.new("RGBA", photo.size, (0, 0, 0, 0))
        cut = Image.fromarray(matte.colours).convert("RGBA")
        cut.putalpha(alpha)
        whole.paste(cut, corner)
    else:
        whole = _behind(photo, look)
        whole.paste(Image.fromarray(matte.colours), corner, alpha)
    if not look.crop:
        return whole
    tight = alpha.point(lambda v: 255 if v > 8 else 0).getbbox()
    if tight is None:
        return whole.crop((x, y, x + width, y + height))
    return whole.crop((x + tight[0], y + tight[1], x + tight[2], y + tight[3]))


def _behind(photo: Image.Image, look: Look) -> Image.Image:
    if look.picture is not None:
        scale = max(photo.width / look.picture.width, photo.height / look.picture.height)
        wide, high = photo.width / scale, photo.height / scale
        left, top = (look.picture.width - wide) / 2, (look.picture.height - high) / 2
        box = (left, top, left + wide, top + high)
        return look.picture.convert("RGB").resize(photo.size, Image.Resampling.BICUBIC, box=box)
    if look.background == BLUR:
        # Blurred small and scaled up: the same to the eye, at a fraction of the time.
        shrink = max(1, max(photo.size) // 800)
        small = photo.reduce(shrink)
        soft = small.filter(ImageFilter.GaussianBlur(BLUR_SHARE * max(small.size)))
        return soft.resize(photo.size, Image.Resampling.BICUBIC)
    assert look.background is not None
    return Image.new("RGB", photo.size, colour_of(look.background))


def over(matte: Matte, size: tuple[int, int], colour: tuple[int, int, int]) -> np.ndarray:
    """The cut-out over one colour, (H, W, 3) uint8; for comparisons."""
    whole = Image.new("RGB", size, colour)
    whole.paste(Image.fromarray(matte.colours), matte.box[:2], Image.fromarray(matte.alpha))
    return np.asarray(whole)
