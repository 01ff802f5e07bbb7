"""Files whose end is missing: what can be decoded is shown, or the reason says what is missing."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from indexer.errors import PhotoUnreadable
from indexer.photos.cut_short import NOTE
from indexer.photos.decode import limits_of
from indexer.photos.picture import decode, decode_thumbnail, decode_upright
from indexer.settings import Settings

SIDE = 48


def noisy() -> np.ndarray:
    """A ramp with some noise, (H, W, 3): it compresses as photos do."""
    y, x = np.mgrid[:240, :320]
    ramp = np.stack([x * 220 // 320, y * 220 // 240, (x + y) * 220 // 560], axis=-1)
    return (ramp + np.random.default_rng(0).integers(0, 30, ramp.shape)).astype(np.uint8)


def pillow(format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(noisy()).save(file, format, **options)
    return file.getvalue()


def strips(kind: type = np.uint8, **options: Any) -> bytes:
    """A TIFF that begins with its directory, as cameras and Photoshop write it."""
    file = io.BytesIO()
    tifffile.imwrite(file, noisy().astype(kind), photometric="rgb", rowsperstrip=16, **options)
    return file.getvalue()


def one_strip() -> bytes:
    """A TIFF whose only strip is compressed: nothing of it can be decoded without its end."""
    file = io.BytesIO()
    values = noisy()
    tifffile.imwrite(file, values, photometric="rgb", rowsperstrip=len(values), compression="zlib")
    return file.getvalue()


SHOWN = {
    "GIF": pillow("GIF"),
    "BMP": pillow("BMP"),
    "PPM": pillow("PPM"),
    "TIFF": pillow("TIFF"),
    "TIFF in strips": strips(),
    "TIFF in compressed strips": strips(compression="zlib"),
    "TIFF in compressed tiles": strips(tile=(48, 48), compression="zlib"),
    "TIFF of floats in compressed strips": strips(np.float32, compression="zlib"),
    "TIFF of floats in strips": strips(np.float32),
    "JPEG 2000": pillow("JPEG2000"),
    "JPEG 2000, lossy, in layers": pillow("JPEG2000", irreversible=True, quality_layers=[20, 4]),
    "JPEG 2000 in tiles": pillow("JPEG2000", tile_size=(64, 64)),
    "JPEG 2000, bare": pillow("JPEG2000", no_jp2=True),
    "PNG": pillow("PNG"),
    "JPEG": pillow("JPEG"),
}
FAILED = {
    "WebP": pillow("WEBP"),
    "WebP, lossless": pillow("WEBP", lossless=True),
    "HEIC": pillow("HEIF"),
    "AVIF": pillow("AVIF", speed=9),
    "TIFF, directory last": pillow("TIFF", compression="tiff_lzw"),
    "TIFF in one compressed strip": one_strip(),
}


@pytest.mark.parametrize("kind", SHOWN)
@pytest.mark.parametrize("share", [0.99, 0.7])
def test_what_can_be_decoded_is_shown_with_a_note(
    settings: Settings, kind: str, share: float
) -> None:
    data, limits = SHOWN[kind], limits_of(settings)
    whole, facts = decode(data, SIDE, limits)
    assert facts.note is None
    cut = data[: int(len(data) * share)]
    pixels, facts = decode(cut, SIDE, limits)
    assert facts.note == NOTE and (facts.width, facts.height) == (320, 240)
    there = (np.abs(pixels.astype(int) - whole).max(axis=(1, 2)) < 16).mean()
    assert there > share - 0.4  # GIF's dictionary grows: its last rows take the fewest bytes
    assert decode_upright(cut, limits).size == (320, 240)
    assert decode_thumbnail(cut, 32, limits).size == (32, 24)


@pytest.mark.parametrize("kind", FAILED)
@pytest.mark.parametrize("share", [0.99, 0.7, 0.2])
def test_what_cannot_be_decoded_in_parts_fails_and_says_what_is_missing(
    settings: Settings, kind: str, share: float
) -> None:
    data, limits = FAILED[kind], limits_of(settings)
    _, facts = decode(data, SIDE, limits)
    assert facts.note is None
    cut = data[: int(len(data) * share)]
    for decoding in (decode_upright, lambda cut, limits: decode(cut, SIDE, limits)):
        with pytest.raises(PhotoUnreadable, match=f"is cut short: {len(cut):,} of its ") as failed:
            decoding(cut, limits)
    assert int(str(failed.value).split()[6].replace(",", "")) <= len(data)


@pytest.mark.parametrize("kind", [*SHOWN, *FAILED])
def test_garbage_after_a_header_still_fails(settings: Settings, kind: str) -> None:
    data = (SHOWN | FAILED)[kind]
    for garbage in (data[:16], data[:16] + b"\0" * 500):
        with pytest.raises(PhotoUnreadable):
            decode(garbage, SIDE, limits_of(settings))
