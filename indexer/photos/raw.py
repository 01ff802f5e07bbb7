"""Camera RAW files, by the picture that the camera itself made and put into them.

Read where the extra ``raw`` is installed (LibRaw). Developing the sensor's values would be slower
by far, and another picture than the one that photographers know.
"""

from __future__ import annotations

import io
from contextlib import suppress

from PIL import Image, JpegImagePlugin

from indexer.errors import PhotoUnreadable
from indexer.folders.globs import reads_raw
from indexer.photos.exif import EXIF_IFD, GPS_IFD, MAKE_MODEL_TIME, ORIENTATION

FORMAT = "RAW"
# TIFF's own and its relatives: Olympus, Panasonic; then Fujifilm, Sigma, Minolta, Canon's CR3.
_BEGINNINGS = (b"II", b"MM", b"FUJIFILM", b"FOVb", b"\0MRM")
_CANON = b"ftypcrx "
# EXIF's orientation, by how LibRaw says that the picture is to be turned.
_ORIENTATIONS = {3: 3, 5: 8, 6: 6}


def preview(data: bytes) -> Image.Image | None:
    """The picture in a RAW file, opened and not yet decoded, with what is told of the camera.

    Returns:
        None where it is no RAW file, or where these are not read.
    Raises:
        PhotoUnreadable: it holds no picture that can be read.
    """
    if not (data.startswith(_BEGINNINGS) or data[4:12] == _CANON) or not reads_raw():
        return None
    import rawpy  # an extra, and few albums hold such files

    try:
        opened = rawpy.imread(io.BytesIO(data))
    except rawpy.LibRawError:
        return None
    with opened as raw:
        try:
            found = raw.extract_thumb()
        except rawpy.LibRawError as error:
            raise PhotoUnreadable("is a RAW file without a preview that can be read") from error
        if found.format == rawpy.ThumbFormat.JPEG:
            assert isinstance(found.data, bytes)
            formats = (JpegImagePlugin.JpegImageFile.format,)
            image = Image.open(io.BytesIO(found.data), formats=formats)
        else:
            image = Image.fromarray(found.data)
        turn = _ORIENTATIONS.get(raw.sizes.flip, 1)
        # Some cameras turn the preview themselves.
        if turn >= 5 and image.height > image.width and raw.sizes.width > raw.sizes.height:
            turn = 1
    _tell(image, data, turn)
    return image


def _tell(image: Image.Image, data: bytes, turn: int) -> None:
    """Let a preview tell what its file does: in TIFF's relatives the file's own EXIF counts."""
    exif = image.getexif()
    with suppress(Exception):  # whatever broken EXIF raises: the picture itself may be fine
        own = Image.Exif()
        own.load(b"Exif\0\0" + data)
        exif.update({tag: own[tag] for tag in MAKE_MODEL_TIME if tag in own})
        for group in (EXIF_IFD, GPS_IFD):
            exif.get_ifd(group).update(own.get_ifd(group))
    exif[ORIENTATION] = turn
    image.info.pop("exif", None)  # it would turn what is turned already
    image.format = FORMAT
