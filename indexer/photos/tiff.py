"""TIFFs whose samples Pillow does not know, or takes for others: signed, floats, wide, many bands.

Scientific cameras, scanners and maps write them. Greys that Pillow decodes are read anew from its
values (`samples`), the others are decoded by tifffile (`read`).
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from indexer.errors import PhotoRefused, PhotoUnreadable
from indexer.photos.exif import MAKE_MODEL_TIME, ORIENTATION, TURNS
from model.network.colour import eight_bits

_BITS, _COMPRESSION, _PLANAR, _SAMPLE_FORMAT = 258, 259, 284, 339
_PROFILE, _NOTHING_HERE = 34675, 42113  # the latter is GDAL's
_UNSIGNED, _SIGNED = 1, 2
_READ = ("MINISBLACK", "MINISWHITE", "RGB")
_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what is wrong is said by exceptions


def is_tiff(data: bytes) -> bool:
    """Whether a file begins as a TIFF does."""
    return data[:4] in _MAGICS


def length(data: bytes) -> int:
    """How many bytes a TIFF must have for its samples, or for what tells where they are."""
    import tifffile

    try:
        page: Any = tifffile.TiffFile(io.BytesIO(data)).pages.first
        return max(map(sum, zip(page.dataoffsets, page.databytecounts, strict=True)))
    except Exception:  # it has anything for an error
        return int.from_bytes(data[4:8], "little" if data.startswith(b"II") else "big") + 2


def is_misread(image: Image.Image) -> bool:
    """Whether Pillow has opened a TIFF that it decodes to noise: planes of 16 bits, stored raw."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    tags = image.tag_v2
    raw_planes = tags.get(_PLANAR) == 2 and tags.get(_COMPRESSION, 1) == 1
    return raw_planes and max(tags.get(_BITS, (1,))) == 16 and len(tags[_BITS]) > 1


def load(image: TiffImagePlugin.TiffImageFile) -> None:
    """Decode a TIFF's pixels; of one that is cut short those strips and tiles that are there.

    Raises:
        OSError: as Pillow does with one that is cut short, unless it is to load such files
            (`PIL.ImageFile.LOAD_TRUNCATED_IMAGES`), which it does with all formats but this.
    """
    try:
        image.load()
    except OSError:
        if image.tile or not ImageFile.LOAD_TRUNCATED_IMAGES:
            raise
        image.load()  # libtiff has decoded until its error; what is missing is black


def samples(image: TiffImagePlugin.TiffImageFile) -> NDArray | None:
    """The values of a decoded grey TIFF as it means them; None where Pillow means the same.

    Returns:
        (H, W): signed ones signed, 32 bits unsigned, those of 9 to 15 bits filling 16; NaN where
        the file says that there is nothing.
    """
    tags = image.tag_v2
    bits, kind = tags.get(_BITS, (1,))[0], tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))[0]
    if image.mode in ("I;16", "I;16B") and 8 < bits < 16:
        return np.asarray(image).astype(np.uint16) << np.uint16(16 - bits)
    if image.mode == "L" and kind == _SIGNED and bits == 8:
        values: NDArray = np.asarray(image).view(np.int8)
    elif image.mode == "I":
        unsigned = bits == 32 and kind != _SIGNED
        values = np.asarray(image).view(np.uint32) if unsigned else np.asarray(image)
    elif image.mode == "F":
        values = np.asarray(image)
    else:
        return None
    return _with_holes(values, tags.get(_NOTHING_HERE))


def read(data: bytes, most_bytes: int, check: Callable[[int, int], None]) -> Image.Image:
    """Decode a TIFF that Pillow does not.

    Args:
        most_bytes: that its samples may take, which are decoded whole.
        check: called with width and height before any sample is decoded; raises what it will.
    Returns:
        mode "L" or "RGB" (of more bands the first three), scaled to eight bits by
        `model.network.colour.eight_bits`, upright, with its profile and what tells of the camera.
    Raises:
        UnidentifiedImageError: it is no TIFF after all.
        PhotoRefused, PhotoUnreadable: its samples are too many, or of a kind that is not read.
    """
    import tifffile  # few albums hold such a file, and decoding processes should start quickly

    try:
        page: Any = tifffile.TiffFile(io.BytesIO(data)).pages.first
    except Exception as error:
        raise UnidentifiedImageError("no TIFF") from error
    check(page.imagewidth, page.imagelength)
    what = f"a TIFF of {page.samplesperpixel} x {page.bitspersample}-bit samples"
    meaning = tifffile.PHOTOMETRIC(page.photometric).name
    if page.dtype is None or page.imagedepth != 1 or meaning not in _READ:
        raise PhotoUnreadable(f"is {what} ({meaning.lower()}), which is not read")
    if page.size * page.dtype.itemsize > most_bytes:
        raise PhotoRefused(
            f"is {what}, more than {most_bytes / 2**20:.0f} MiB of them (REFERENT_MAX_PIXELS_MP)"
        )
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        _leave_out(page, len(data))
    try:
        values = page.asarray(maxworkers=1)
    except MemoryError:
        raise  # which is no fault of its compression
    except Exception as error:
        compression = getattr(page.compression, "name", page.compression)
        raise PhotoUnreadable(
            f"is {what}, compressed by {compression}, which cannot be decoded: save it "
            "uncompressed or by Deflate"
        ) from error
    image = Image.fromarray(_picture(page, values))
    return _dressed(image, page)


def _leave_out(page: Any, size: int) -> None:
    """Have a page's strips and tiles left black that end behind a file's so many bytes."""
    parts = zip(page.dataoffsets, page.databytecounts, strict=True)
    page.databytecounts = tuple(count if at + count <= size else 0 for at, count in parts)


def _picture(page: Any, values: NDArray) -> NDArray[np.uint8]:
    """(H, W) or (H, W, 3) of a page's samples, which come as (..., H, W) or (..., H, W, bands)."""
    planes = (
        values.reshape(-1, page.imagelength, page.imagewidth)
        if "S" not in page.axes
        else (
            np.moveaxis(values, page.axes.index("S"), 0).reshape(
                -1, page.imagelength, page.imagewidth
            )
        )
    )
    bands = planes[:3] if len(planes) >= 3 else planes[:1]
    tag = page.tags.get(_NOTHING_HERE)
    shown = eight_bits(_with_holes(bands, tag.value if tag is not None else None))
    if page.photometric.name == "MINISWHITE":
        shown = 255 - shown
    return np.ascontiguousarray(shown[0] if len(shown) == 1 else np.moveaxis(shown, 0, -1))


def _dressed(image: Image.Image, page: Any) -> Image.Image:
    """Turned upright, with what Pillow would have told of the file."""
    tags = {
        tag: page.tags[tag].value for tag in (ORIENTATION, *MAKE_MODEL_TIME) if tag in page.tags
    }
    turn = tags.pop(ORIENTATION, 1)
    if turn in TURNS:
        image = image.transpose(TURNS[turn])
    exif = Image.Exif()
    for tag, value in tags.items():
        exif[tag] = str(value)
    image.info["exif"] = exif.tobytes()
    image.info["original_orientation"] = turn
    if _PROFILE in page.tags:
        image.info["icc_profile"] = page.tags[_PROFILE].value
    image.format = TiffImagePlugin.TiffImageFile.format
    return image


def _with_holes(values: NDArray, nothing: object) -> NDArray:
    """Values that stand for "nothing here", as GDAL's tag names one, become NaN."""
    try:
        hole = float(str(nothing).strip("\0 "))
    except ValueError:
        return values
    return np.where(values == hole, np.nan, values.astype(np.float64))
