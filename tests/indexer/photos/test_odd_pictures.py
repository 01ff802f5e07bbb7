"""Odd but honest pictures: decoded to what they mean, or refused with a true reason."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import ExifTags, Image, PngImagePlugin

from indexer.errors import PhotoError, PhotoRefused, PhotoUnreadable
from indexer.photos.decode import limits_of
from indexer.photos.exif import PhotoFacts
from indexer.photos.picture import decode, decode_thumbnail, decode_upright
from indexer.settings import Settings

# From black to white, left to right; the upper half is darker.
RAMP = (
    np.linspace(0, 1, 96)[None].repeat(64, axis=0) * np.where(np.arange(64) < 32, 0.5, 1)[:, None]
)


def opened(data: bytes, settings: Settings) -> tuple[NDArray[np.int64], PhotoFacts]:
    """What the network gets, which a cut-out and a thumbnail must agree with."""
    limits = limits_of(settings)
    pixels, facts = decode(data, 64, limits)
    whole = decode_upright(data, limits)
    assert whole.size == (facts.width, facts.height)
    small = np.asarray(decode_thumbnail(data, 48, limits).resize((64, 64)), int)
    assert np.abs(pixels.astype(int) - np.asarray(whole.resize((64, 64)), int)).max() < 24
    assert np.abs(pixels.astype(int) - small).mean() < 8
    return pixels.astype(int), facts


def is_the_ramp(pixels: NDArray[np.int64]) -> bool:
    wanted = np.asarray(Image.fromarray((RAMP * 255).astype(np.uint8)).resize((64, 64)), int)
    return bool(np.abs(pixels - wanted[..., None]).mean() < 4)


def tiff(values: NDArray, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


def ramp(kind: str) -> NDArray:
    """The ramp over all that a type can hold, or in [0, 1]."""
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        return RAMP.astype(dtype)
    info = np.iinfo(dtype)
    span = float(info.max) - float(info.min)
    return (RAMP * span * 0.999 + float(info.min)).astype(dtype)


INTEGERS = [f"{sign}int{bits}" for sign in ("u", "") for bits in (8, 16, 32, 64)]


@pytest.mark.parametrize("kind", [*INTEGERS, "float16", "float32", "float64"])
def test_tiffs_of_every_type_of_sample_and_number_of_bands_are_seen(
    settings: Settings, kind: str
) -> None:
    one = ramp(kind)
    assert is_the_ramp(opened(tiff(one, photometric="minisblack"), settings)[0])
    for bands in (2, 3, 4, 6):
        photometric = "rgb" if bands in (3, 4) else "minisblack"
        inner = np.stack([one] * bands, axis=-1)
        for values, layout in ((inner, "contig"), (np.moveaxis(inner, -1, 0).copy(), "separate")):
            data = tiff(values, photometric=photometric, planarconfig=layout, compression="zlib")
            if bands != 4:  # the fourth of RGB may be transparency
                assert is_the_ramp(opened(data, settings)[0]), (bands, layout)
            raw = tiff(values, photometric=photometric, planarconfig=layout)
            if bands == 3:
                assert is_the_ramp(opened(raw, settings)[0]), "uncompressed"


def test_heights_of_a_map_are_scaled_over_what_is_there(settings: Settings) -> None:
    heights = (1000 + 2000 * RAMP).astype(np.float32)
    heights[:4, :4] = np.nan
    heights[4:8, :4] = np.inf
    heights[8:12, :4] = -3.4e38  # what maps write for "nothing here"
    pixels, _ = opened(tiff(heights), settings)
    assert pixels[40, 60].min() > 230 and pixels[40, 8].max() < 60
    heights[:12, :4] = -9999
    holes = [(42113, "s", 0, "-9999", True)]
    named, _ = opened(tiff(heights, extratags=holes), settings)
    assert named[40, 60].min() > 230 and named[40, 8].max() < 60


def test_a_picture_without_a_finite_value_fails_with_that_reason(settings: Settings) -> None:
    for bands, kind in (((), "minisblack"), ((3,), "rgb")):
        data = tiff(np.full((32, 32, *bands), np.nan, dtype=np.float32), photometric=kind)
        with pytest.raises(PhotoUnreadable, match="no pixel has a finite value"):
            decode(data, 64, limits_of(settings))


def test_an_unusual_tiff_keeps_its_orientation_camera_and_inverted_greys(
    settings: Settings,
) -> None:
    values = np.stack([RAMP.astype(np.float32)] * 3, axis=-1)
    turned = np.rot90(values)  # needs a quarter turn to the right
    tags = [(ExifTags.Base.Orientation, "H", 1, 6, True), (271, "s", 0, "Microscope", True)]
    pixels, facts = opened(tiff(turned, photometric="rgb", extratags=tags), settings)
    assert is_the_ramp(pixels)
    assert (facts.width, facts.height, facts.orientation) == (96, 64, 6)
    assert (facts.format, facts.camera) == ("TIFF", "Microscope")
    inverted = tiff(1 - RAMP.astype(np.float64), photometric="miniswhite")
    assert is_the_ramp(opened(inverted, settings)[0])


def test_an_unusual_tiff_is_bounded_and_its_refusals_are_true(settings: Settings) -> None:
    limits = limits_of(settings.model_copy(update={"max_pixels_mp": 0.001}))
    with pytest.raises(PhotoRefused, match="claims 0 megapixels"):
        decode(tiff(ramp("float64")), 64, limits)
    many = np.zeros((64, 96, 40), dtype=np.float64)
    limits = limits_of(settings.model_copy(update={"max_pixels_mp": 0.01}))
    with pytest.raises(PhotoRefused, match="40 x 64-bit samples, more than"):
        decode(tiff(many, photometric="minisblack", planarconfig="contig"), 64, limits)
    data = tiff(np.stack([ramp("float32")] * 3, axis=-1), photometric="rgb", compression="zlib")
    packed = data.replace(struct.pack("<HHIH", 259, 3, 1, 8), struct.pack("<HHIH", 259, 3, 1, 5))
    assert packed != data
    with pytest.raises(PhotoUnreadable, match="compressed by LZW, which cannot be decoded: save"):
        decode(packed, 64, limits_of(settings))
    for broken in (data[: len(data) // 2], data[:8], data[:8] + bytes(300)):
        with pytest.raises(PhotoError):
            decode(broken, 64, limits_of(settings))


def test_memory_that_runs_out_is_not_called_a_fault_of_the_compression(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(tifffile.TiffPage, "asarray", out_of_memory)
    with pytest.raises(PhotoRefused, match="needs more memory than one photo may take"):
        decode(tiff(ramp("float64")), 64, limits_of(settings))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunks(png: bytes, *, before: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG with chunks before and behind its pixels."""
    end = png.index(b"IEND") - 4
    return png[:33] + before + png[33:end] + after + png[end:]


def test_a_png_with_much_text_or_profile_is_shown_without_it(settings: Settings) -> None:
    file = io.BytesIO()
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "somebody")
    Image.fromarray((RAMP * 255).astype(np.uint8)).save(file, "PNG", pnginfo=text)
    png = file.getvalue()
    profile = chunk(b"iCCP", b"big\0\0" + zlib.compress(bytes(1_600_000)))
    packed = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 2_000_000))
    labelled = chunk(b"iTXt", b"XML\0\1\0\0\0" + zlib.compress(b"x" * 2_000_000))
    plain = chunk(b"tEXt", b"Comment\0" + b"x" * 1_500_000)
    for data in (
        with_chunks(png, before=profile),
        with_chunks(png, before=packed),
        with_chunks(png, after=packed),
        with_chunks(png, before=labelled, after=packed),
        with_chunks(png, after=plain * 50),  # 75 MB together
        with_chunks(png, before=profile + packed + labelled),
    ):
        assert is_the_ramp(opened(data, settings)[0])
    with pytest.raises(PhotoUnreadable):
        decode(with_chunks(png, before=profile)[:60], 64, limits_of(settings))


def frames(format: str, pictures: list[Image.Image]) -> bytes:
    file = io.BytesIO()
    pictures[0].save(file, format, save_all=True, append_images=pictures[1:], duration=40)
    return file.getvalue()


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
@pytest.mark.parametrize("blank", ["white", "black", "clear"])
def test_an_animation_that_begins_blank_is_judged_by_what_it_shows(
    settings: Settings, format: str, blank: str
) -> None:
    ramped = Image.fromarray((RAMP * 255).astype(np.uint8)).convert("RGBA")
    colour = {"white": (255,) * 4, "black": (0, 0, 0, 255), "clear": (0, 0, 0, 0)}[blank]
    empty = Image.new("RGBA", ramped.size, colour)
    nearly = Image.new("RGBA", ramped.size, colour)
    nearly.putpixel((0, 0), (200, 0, 0, 0))  # another frame for the writer, blank for the viewer
    options = [empty, nearly, ramped] if blank == "clear" else [empty, ramped]
    limits = limits_of(settings)
    data = frames(format, [each.convert("RGB") if blank != "clear" else each for each in options])
    pixels, _ = decode(data, 64, limits)
    wanted = np.asarray(Image.fromarray((RAMP * 255).astype(np.uint8)).resize((64, 64)), int)
    assert np.abs(pixels.astype(int) - wanted[..., None]).mean() < 6
    thumbnail = np.asarray(decode_thumbnail(data, 96, limits).resize((64, 64)), int)
    assert np.abs(thumbnail - wanted[..., None]).mean() < 6
    whole = np.asarray(decode_upright(data, limits).resize((64, 64)), int)
    assert np.abs(whole - wanted[..., None]).mean() < 6


def test_an_animation_is_judged_by_its_first_frame_that_shows_anything(settings: Settings) -> None:
    ramped = Image.fromarray((RAMP * 255).astype(np.uint8)).convert("RGB")
    limits = limits_of(settings)
    first = decode(frames("GIF", [ramped, Image.new("RGB", ramped.size)]), 64, limits)[0]
    assert is_the_ramp(first.astype(int))
    blank = [Image.new("RGB", ramped.size, (n, n, n)) for n in range(0, 250, 50)]
    assert decode(frames("GIF", blank), 64, limits)[0].max() == 0  # the first where all are
    data = frames("GIF", [blank[0], blank[1], ramped])
    cut = decode(data[: len(data) * 3 // 4], 64, limits)  # the third frame is broken
    assert cut[0].shape == (64, 64, 3)
