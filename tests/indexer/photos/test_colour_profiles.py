"""Photos with colour profiles: network, thumbnails and cut-outs see what a screen shows."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from indexer.photos.decode import limits_of
from indexer.photos.picture import decode, decode_thumbnail, decode_upright
from indexer.settings import Settings
from tests.support.icc import (
    ADOBE_RGB,
    DISPLAY_P3,
    SRGB,
    cmyk_profile,
    grey_profile,
    rgb_profile,
    srgb_curve,
)

Rgb = tuple[int, int, int]
P3 = rgb_profile(DISPLAY_P3, srgb_curve)
ADOBE = rgb_profile(ADOBE_RGB, lambda value: value ** (563 / 256))
COLLECTION = Path(__file__).parents[4] / "shared" / "photos"


def press(c: float, m: float, y: float, k: float) -> tuple[float, float, float]:
    """Colours of inks as L*, a*, b*: cyan, magenta and yellow darken and tint, black hides."""
    paper = (1 - 0.45 * c) * (1 - 0.5 * m) * (1 - 0.1 * y)
    return 100 * (1 - k) * paper, (60 * m - 35 * c) * (1 - k), (80 * y - 45 * c) * (1 - k)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format=format, **options)
    return file.getvalue()


def seen(data: bytes, settings: Settings) -> list[Rgb]:
    """One colour as the network, a thumbnail and a cut-out get it."""
    limits = limits_of(settings)
    pictures = (
        decode(data, 32, limits)[0],
        np.asarray(decode_thumbnail(data, 24, limits)),
        np.asarray(decode_upright(data, limits)),
    )
    return [tuple(int(v) for v in each[8, 8]) for each in pictures]


def near(colours: list[Rgb], wanted: Rgb, far: int = 2) -> bool:
    return all(np.abs(np.subtract(colour, wanted)).max() <= far for colour in colours)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "HEIF", "AVIF"])
def test_wide_gamuts_come_out_as_a_managed_screen_shows_them(
    settings: Settings, format: str
) -> None:
    image = Image.new("RGB", (48, 48), (200, 60, 50))
    exact = {} if format in ("PNG", "TIFF") else {"quality": 95}
    far = 1 if not exact else 5
    for profile, wanted in ((P3, (217, 42, 39)), (ADOBE, (231, 57, 46))):
        data = saved(image, format, icc_profile=profile, **exact)
        assert near(seen(data, settings), wanted, far), seen(data, settings)


def test_a_press_s_inks_come_out_as_they_look_on_its_paper(settings: Settings) -> None:
    inks = Image.new("CMYK", (48, 48), (0, 255, 255, 0))
    red = (200, 43, 0)  # sRGB of L* 45, a* 60, b* 80, by the formulas of the standards
    profile = cmyk_profile(press)
    for format in ("TIFF", "JPEG"):
        found = seen(saved(inks, format, icc_profile=profile), settings)
        assert near(found, red, 3), found
        assert near(seen(saved(inks, format), settings), (255, 0, 0)), "untagged: as before"
    paper = Image.new("CMYK", (48, 48))
    assert near(seen(saved(paper, "TIFF", icc_profile=profile), settings), (255, 255, 255))


def test_a_grey_scale_s_own_curve_counts_also_beside_transparency(settings: Settings) -> None:
    profile = grey_profile(lambda value: value**1.8)
    for mode, colour in (("L", 100), ("LA", (100, 255))):
        data = saved(Image.new(mode, (48, 48), colour), "PNG", icc_profile=profile)
        assert near(seen(data, settings), (119, 119, 119), 1), mode
    half = saved(Image.new("RGBA", (48, 48), (200, 60, 50, 0)), "PNG", icc_profile=P3)
    assert near(seen(half, settings), (255, 255, 255))


def test_srgb_broken_and_foreign_profiles_change_no_pixel(settings: Settings) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (48, 48, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    built_in = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    others = (built_in, rgb_profile(SRGB, srgb_curve), b"no profile", P3[:200], cmyk_profile(press))
    plain = decode(saved(image, "PNG"), 32, limits_of(settings))[0]
    for profile in others:
        tagged = decode(saved(image, "PNG", icc_profile=profile), 32, limits_of(settings))[0]
        np.testing.assert_array_equal(tagged, plain)


@pytest.mark.skipif(not COLLECTION.is_dir(), reason="the collection of photos is not here")
def test_profiles_of_real_photos_are_converted_as_pillow_converts_them_whole(
    settings: Settings,
) -> None:
    limits = limits_of(settings)
    names = ("000000000061.jpg", "000000008193.jpg", "000000372938.jpg", "000000072258.jpg")
    for name in names:
        data = (COLLECTION / "coco" / "images" / name).read_bytes()
        image = Image.open(io.BytesIO(data))
        source = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        whole = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"))
        assert whole is not None
        np.testing.assert_array_equal(np.asarray(decode_upright(data, limits)), np.asarray(whole))
        wanted = np.asarray(whole.resize((64, 64), Image.Resampling.BICUBIC), int)
        assert np.abs(decode(data, 64, limits)[0].astype(int) - wanted).mean() < 2.5, name
