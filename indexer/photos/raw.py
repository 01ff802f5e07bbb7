"""Camera RAW files, by the picture that the camera itself made and put into them.

Read where the extra ``raw`` is installed (LibRaw). Developing the sensor's values would be slower
by far, and another picture than the one that photographers know.
"""

from __future__ import annotations

import io
import warnings
from contextlib import suppress

import numpy as np
from PIL import Image, JpegImagePlugin

from indexer.folders.globs import reads_raw
from indexer.photos import tiff
from indexer.photos.exif import EXIF_IFD, GPS_IFD, MAKE_MODEL_TIME, ORIENTATION

FORMAT = "RAW"
# TIFF's own and its relatives: Olympus, Panasonic; then Fujifilm, Sigma, Minolta, Canon's CR3.
_BEGINNINGS = (b"II", b"MM", b"FUJIFILM", b"FOVb", b"\0MRM")
_CANON = b"ftypcrx "
_DNG, _BELOW, _MEANING, _MOSAIC = 50706, 330, 262, 32803
# EXIF's orientation, by how LibRaw says that the picture is to be turned.
_ORIENTATIONS = {3: 3, 5: 8, 6: 6}


def preview(data: bytes) -> Image.Image | None:
    """The picture in a RAW file, opened and not yet decoded, with what is told of the camera.

    Returns:
        None where it is no RAW file or has none that can be read, or where these are not read.
    """
    if not (data.startswith(_BEGINNINGS) or data[4:12] == _CANON) or not reads_raw():
        return None
    own = _told(data)
    if tiff.is_tiff(data) and not _is_sensors(own, data):
        return None  # LibRaw takes many a plain one for a camera's
    import rawpy  # an extra, and few albums hold such files

    with suppress(rawpy.LibRawError), rawpy.imread(io.BytesIO(data)) as raw:
        found = raw.extract_thumb()
        if found.format == rawpy.ThumbFormat.JPEG:
            assert isinstance(found.data, bytes)
            formats = (JpegImagePlugin.JpegImageFile.format,)
            image: Image.Image = Image.open(io.BytesIO(found.data), formats=formats)
        else:
            image = Image.fromarray(np.asarray(found.data))
        turn = _ORIENTATIONS.get(raw.sizes.flip, 1)
        # Some cameras turn the preview themselves.
        if turn >= 5 and image.height > image.width and raw.sizes.width > raw.sizes.height:
            turn = 1
        _tell(image, own, turn)
        return image
    return None


def _told(data: bytes) -> Image.Exif:
    """What TIFF's relatives tell of themselves, as EXIF does; nothing of the others."""
    exif = Image.Exif()
    with suppress(Exception), warnings.catch_warnings():  # it has anything for an error
        warnings.simplefilter("ignore")
        exif.load(b"Exif\0\0" + data)
    return exif


def _is_sensors(own: Image.Exif, data: bytes) -> bool:
    """Whether a TIFF holds a sensor's values: Canon's, a DNG, some below the preview, a mosaic."""
    return data[8:10] == b"CR" or _DNG in own or _BELOW in own or own.get(_MEANING) == _MOSAIC


def _tell(image: Image.Image, own: Image.Exif, turn: int) -> None:
    """Let a preview tell what its file does, which counts more than what the preview has."""
    exif = image.getexif()
    with suppress(Exception):  # whatever broken EXIF raises: the picture itself may be fine
        exif.update({tag: own[tag] for tag in MAKE_MODEL_TIME if tag in own})
        for group in (EXIF_IFD, GPS_IFD):
            exif.get_ifd(group).update(own.get_ifd(group))
    exif[ORIENTATION] = turn
    image.info.pop("exif", None)  # it would turn what is turned already
    image.format = FORMAT
