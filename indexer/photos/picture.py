"""One untrusted image file: bounded, opened, turned upright, shrunk. Pillow only, no torch.

Everything here runs in the decoding processes as well as in servers that show photos, so it
imports neither torch nor the database.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    IcoImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    QoiImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from indexer.errors import PhotoRefused, PhotoUnreadable
from indexer.photos import cut_short, png, raw, tiff
from indexer.photos.exif import ORIENTATION, TURNS, PhotoFacts, facts_of
from model.network.colour import direct, eight_bits, grey
from model.network.preprocess import to_pixels, upright

# Raster formats only: Pillow would hand EPS to Ghostscript, and videos and drawings are no photos.
# Naming the plugins also spares a process the import of all others. MPO comes with JPEG.
FORMATS = (
    JpegImagePlugin.JpegImageFile.format,
    PngImagePlugin.PngImageFile.format,
    "HEIF",
    GifImagePlugin.GifImageFile.format,
    WebPImagePlugin.WebPImageFile.format,
    AvifImagePlugin.AvifImageFile.format,
    TiffImagePlugin.TiffImageFile.format,
    BmpImagePlugin.BmpImageFile.format,
    BmpImagePlugin.DibImageFile.format,
    IcoImagePlugin.IcoImageFile.format,
    PpmImagePlugin.PpmImageFile.format,
    Jpeg2KImagePlugin.Jpeg2KImageFile.format,
    QoiImagePlugin.QoiImageFile.format,
)

# Below this many megapixels a picture may be as empty as it likes; above it, a file that claims
# more than this many pixels a byte is a bomb: the flattest real pictures (white PNG, JPEG, HEIC
# of one colour) hold some 100 to 1,000 pixels a byte.
_SPARSE_MP = 40.0
_SPARSE_PIXELS_PER_BYTE = 10_000

# Samples of unusual TIFFs are decoded whole, and scaled as floats of eight bytes.
_SAMPLE_BYTES_A_PIXEL = 2

_ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")
# An animation that begins blank is judged by its first frame that is not: so far, and no further.
_FRAMES = 60
_FRAMES_PIXELS = 200e6

# A JPEG is shrunk by whole factors while it is decoded, to at least this many times the wanted
# size; the rest is resampled. At 2 a photo of 12 megapixels takes 57 ms, at 1.5 it takes 36, and
# the pixels differ from those of a full decoding by half a level of 255 on average.
_GAP = 1.5

# Ours are the limits (checked right after a header is read, before pixels are made); Pillow's own
# would refuse the large JPEGs that shrink while they are decoded.
Image.MAX_IMAGE_PIXELS = 2**31
# Embedded thumbnails are another picture than the photo; parallelism comes from processes.
pillow_heif.register_heif_opener(
    thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
)
AvifImagePlugin.DEFAULT_MAX_THREADS = 1


@dataclass(frozen=True)
class Limits:
    """What one file may claim or take before it is refused."""

    file_bytes: int
    """A larger file is not read."""
    pixels: int
    """More pixels in the header are not decoded."""
    jpeg_pixels: int
    """The same for sequential JPEGs, which shrink while they are decoded."""


def read_file(path: bytes | str, limits: Limits) -> bytes:
    """Read a regular file whole, within the limit of bytes.

    Raises:
        PhotoRefused: it is no regular file, or larger than the limit.
        PhotoUnreadable: it is gone, empty or cannot be read.
    """
    try:
        # Opening a pipe for reading would wait for its writer, hence O_NONBLOCK.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise PhotoUnreadable(f"cannot be opened: {error.strerror}") from error
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise PhotoRefused("is no regular file")
    with os.fdopen(handle, "rb", buffering=0) as file:
        if status.st_size > limits.file_bytes:
            raise PhotoRefused(
                f"has {status.st_size / 2**20:.0f} MiB, the limit is "
                f"{limits.file_bytes / 2**20:.0f} MiB (REFERENT_MAX_FILE_MIB)"
            )
        try:
            data = file.read(status.st_size)
        except OSError as error:
            raise PhotoUnreadable(f"cannot be read: {error.strerror}") from error
    if not data:
        raise PhotoUnreadable("is empty")
    return data


def decode(data: bytes, side: int, limits: Limits) -> tuple[NDArray[np.uint8], PhotoFacts]:
    """Decode a file's bytes to the network's input and to what the file tells of itself.

    Args:
        data: the whole file.
        side: S, the side of the network's square input in pixels.
        limits: what the file may claim.
    Returns:
        (S, S, 3) uint8 RGB, upright, squashed; the facts, with upright width and height.
    Raises:
        PhotoRefused, PhotoUnreadable: with the reason.
    """

    def whole(data: bytes) -> tuple[NDArray[np.uint8], PhotoFacts]:
        image, facts = open_picture(data, limits)
        with _as_photo_errors(), image:
            return to_pixels(upright(_shrunk(image, side, side)), side), facts

    (pixels, facts), cut = cut_short.read(data, whole, lambda found: found[0])
    return pixels, replace(facts, note=cut_short.NOTE) if cut else facts


def decode_upright(data: bytes, limits: Limits) -> Image.Image:
    """Decode a file's bytes whole: mode "RGB", upright, full size; raises as `decode` does."""

    def whole(data: bytes) -> Image.Image:
        image, _ = open_picture(data, limits, full_size=True)
        with _as_photo_errors(), image:
            _load(image)
            return upright(_turned(_plain(image), _orientation(image)))

    return cut_short.read(data, whole, lambda image: image)[0]


def decode_thumbnail(data: bytes, side: int, limits: Limits) -> Image.Image:
    """Decode to mode "RGB", upright, longer side at most ``side``, aspect ratio kept."""
    return cut_short.read(data, lambda whole: _thumbnail(whole, side, limits), lambda image: image)[
        0
    ]


def _thumbnail(data: bytes, side: int, limits: Limits) -> Image.Image:
    image, facts = open_picture(data, limits)
    scale = min(1.0, side / max(facts.width, facts.height))
    width = max(1, round(facts.width * scale))
    height = max(1, round(facts.height * scale))
    # Some decoders turn a picture while they decode it and announce its upright size, others keep
    # it as it is stored: what they announce tells how the sides are to be named to them.
    turned = image.size == (facts.width, facts.height)
    across, down = (width, height) if turned else (height, width)
    with _as_photo_errors(), image:
        shrunk = upright(_shrunk(image, across, down))
        return shrunk.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)


def open_picture(
    data: bytes, limits: Limits, *, full_size: bool = False
) -> tuple[Image.Image, PhotoFacts]:
    """Read the header only, and refuse what breaks a limit before any pixel is made.

    Args:
        full_size: the caller will not shrink it, so that a JPEG's own limit does not hold.
    """
    with _as_photo_errors():
        image = _identified(data, limits)
        width, height = image.size
        shrinks = (
            image.format in ("JPEG", "MPO")
            and not full_size
            and not image.info.get("progressive", image.info.get("progression", 0))
        )
        _check_pixels(width, height, len(data), limits.jpeg_pixels if shrinks else limits.pixels)
        return image, facts_of(image)


def _identified(data: bytes, limits: Limits) -> Image.Image:
    """The picture by its header; by tifffile, whole, where Pillow would not read it rightly.

    Of a RAW file, which Pillow takes for a small TIFF, the preview.
    """
    if (preview := raw.preview(data)) is not None:
        return preview
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(png.without_oversized(data)), formats=FORMATS)
        if not tiff.is_misread(image):
            return image
    except UnidentifiedImageError:
        if not tiff.is_tiff(data):
            raise
    return tiff.read(
        data,
        _SAMPLE_BYTES_A_PIXEL * limits.pixels,
        lambda width, height: _check_pixels(width, height, len(data), limits.pixels),
    )


def _check_pixels(width: int, height: int, size: int, limit: int) -> None:
    if width < 1 or height < 1:
        raise PhotoUnreadable("has no pixels")
    pixels = width * height
    if pixels > limit:
        raise PhotoRefused(
            f"claims {pixels / 1e6:.0f} megapixels ({width} x {height}), the limit is "
            f"{limit / 1e6:.0f} (REFERENT_MAX_PIXELS_MP)"
        )
    if pixels > _SPARSE_MP * 1e6 and pixels > size * _SPARSE_PIXELS_PER_BYTE:
        raise PhotoRefused(f"claims {pixels / 1e6:.0f} megapixels in {size} bytes")


def _shrunk(image: Image.Image, across: int, down: int) -> Image.Image:
    """Decode and resample to a stored size, then turn; the full size is never copied.

    Turning after resampling is the same as before it, and cheaper; so are colours.
    """
    drafted = image.draft(None, (round(across * _GAP), round(down * _GAP)))
    _load(image)
    # A draft's sides are rounded up: the box tells how much of the last pixels is picture.
    box = None if drafted is None else drafted[1]
    small = _plain(image).resize(
        (across, down), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0
    )
    return _turned(small, _orientation(image))


def _load(image: Image.Image) -> None:
    """Decode a picture; of an animation the first frame that shows anything, if one does soon."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tiff.load(image)
        return
    image.load()
    if image.format not in _ANIMATED or not getattr(image, "is_animated", False):
        return
    frames = min(_FRAMES, int(_FRAMES_PIXELS / (image.width * image.height)))
    with suppress(Exception):  # frames that cannot be read are the animation's end
        for frame in range(frames):
            image.seek(frame)
            image.load()
            if not cut_short.is_blank(np.asarray(upright(direct(image)))):
                return
    image.seek(0)
    image.load()


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    """Turned as EXIF says, once: the copy forgets the EXIF that would turn it again."""
    turn = TURNS.get(orientation)
    if turn is None:
        return image
    turned = image.transpose(turn)
    for name in ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"):
        turned.info.pop(name, None)
    return turned


def _plain(image: Image.Image) -> Image.Image:
    """In a mode that can be resampled."""
    values = tiff.samples(image) if isinstance(image, TiffImagePlugin.TiffImageFile) else None
    return direct(image) if values is None else grey(eight_bits(values), image)


def _orientation(image: Image.Image) -> int:
    """What is left to turn: HEIF, AVIF and TIFF pictures are turned while they are decoded."""
    with suppress(Exception):
        return int(image.getexif().get(ORIENTATION, 1))
    return 1


class _as_photo_errors:  # noqa: N801 - used like a function
    """Whatever a decoder raises about a file becomes a PhotoError with a short reason."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if error is None or isinstance(error, (PhotoRefused, PhotoUnreadable)):
            return
        if isinstance(error, MemoryError):
            raise PhotoRefused(
                "needs more memory than one photo may take (REFERENT_DECODE_MEMORY_MIB)"
            ) from error
        if isinstance(error, UnidentifiedImageError):
            raise PhotoUnreadable("is in no known image format, or its header is broken") from error
        # Decoders raise nearly anything on broken files: OSError, SyntaxError, struct.error ...
        if isinstance(error, Exception):
            what = " ".join(str(error).split())[:200] or type(error).__name__
            raise PhotoUnreadable(f"is broken: {what}") from error
