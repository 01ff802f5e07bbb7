"""What a photo tells of itself: format, upright size, when, where and with what it was taken."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from PIL import Image

ORIENTATION = 274
# What turns a stored picture upright, by its EXIF orientation.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_MAKE, _MODEL, _CHANGED_AT = MAKE_MODEL_TIME = 271, 272, 306
EXIF_IFD, GPS_IFD = 0x8769, 0x8825
# (time, its offset from UTC, its fraction of a second): when it was taken, when it was digitised,
# when the file was changed
_TIMES = ((36867, 36881, 37521), (36868, 36882, 37522), (_CHANGED_AT, 36880, 37520))
_TIME = re.compile(
    r"(\d{4})[:\-/.](\d{2})[:\-/.](\d{2})(?:[ T]+(\d{2}):(\d{2}):(\d{2})|(?=[ T:]*$))"
)
CAMERA, CAMERA_DAY = "camera", "camera-day"
_OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})$")


@dataclass(frozen=True)
class PhotoFacts:
    """The columns of `indexer.db.tables.Photo` that come from the file itself."""

    format: str
    """Pillow's name of the format by content, whatever the file is called."""
    width: int
    """Upright pixels."""
    height: int
    """Upright pixels."""
    orientation: int
    """EXIF orientation as stored, 1 to 8; width and height already respect it."""
    taken_at: datetime | None = None
    """Naive local time, as the camera wrote it."""
    taken_source: str | None = None
    """`camera`, or `camera-day` where it wrote no time of day; None where it wrote nothing."""
    taken_offset_min: int | None = None
    """Minutes that the camera's clock was ahead of UTC, where it wrote them."""
    camera: str | None = None
    lat: float | None = None
    """Degrees, north positive."""
    lon: float | None = None
    """Degrees, east positive."""
    note: str | None = None
    """What should be known of a picture that could be decoded all the same."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `from_json` reads it back."""
        values = asdict(self)
        values["taken_at"] = self.taken_at.isoformat() if self.taken_at else None
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PhotoFacts:
        """The inverse of `to_json`."""
        taken = values["taken_at"]
        return cls(**{**values, "taken_at": datetime.fromisoformat(taken) if taken else None})


def facts_of(image: Image.Image) -> PhotoFacts:
    """Read an opened, not yet decoded picture; broken or absent metadata is left out."""
    width, height = image.size
    exif: Mapping[int, Any] = {}
    taken: Mapping[int, Any] = {}
    place: Mapping[int, Any] = {}
    with suppress(Exception):  # whatever broken EXIF raises: the picture itself may be fine
        found = image.getexif()
        exif = found
        taken = found.get_ifd(EXIF_IFD)
        place = found.get_ifd(GPS_IFD)
    stored = image.info.get("original_orientation") or exif.get(ORIENTATION, 1)
    orientation = stored if isinstance(stored, int) and 1 <= stored <= 8 else 1
    # HEIF decoders turn the picture themselves and say so; Pillow swaps a TIFF's size on opening.
    if orientation >= 5 and image.format not in ("HEIF", "TIFF"):
        width, height = height, width
    taken_at, source, offset = _taken_at(exif, taken)
    lat, lon = _place(place)
    return PhotoFacts(
        format=str(image.format),
        width=width,
        height=height,
        orientation=orientation,
        taken_at=taken_at,
        taken_source=source,
        taken_offset_min=offset,
        camera=_camera(exif),
        lat=lat,
        lon=lon,
    )


def _text(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return ""
    # NUL, control characters and lone surrogates cannot be stored everywhere.
    kept = "".join(c for c in value if c.isprintable())
    return " ".join(kept.split())


def _taken_at(
    exif: Mapping[int, Any], taken: Mapping[int, Any]
) -> tuple[datetime | None, str | None, int | None]:
    for when_tag, offset_tag, fraction_tag in _TIMES:
        source = exif if when_tag == _CHANGED_AT else taken
        match = _TIME.match(_text(source.get(when_tag)))
        if match is None:
            continue
        with suppress(ValueError):  # 0000:00:00, the 31st of February, second 60
            year, month, day, hour, minute, second = (int(each or 0) for each in match.groups())
            when = datetime(year, month, day, hour, minute, second)
            if match[4] is None:
                return when, CAMERA_DAY, None
            when = when.replace(microsecond=_microseconds(taken.get(fraction_tag)))
            return when, CAMERA, _offset(taken.get(offset_tag))
    return None, None, None


def _microseconds(value: object) -> int:
    """The digits behind the point of a second: "5" is half of one."""
    digits = _text(value)
    return int(digits[:6].ljust(6, "0")) if digits.isascii() and digits.isdigit() else 0


def _offset(value: object) -> int | None:
    text = _text(value)
    if text == "Z":
        return 0
    match = _OFFSET.match(text)
    if match is None:
        return None
    minutes = int(match[2]) * 60 + int(match[3])
    if minutes > 14 * 60:  # no clock on Earth is further from UTC
        return None
    return -minutes if match[1] == "-" else minutes


def _camera(exif: Mapping[int, Any]) -> str | None:
    make, model = _text(exif.get(_MAKE)), _text(exif.get(_MODEL))
    if make and model.lower().startswith(make.lower()):
        make = ""
    return f"{make} {model}".strip()[:255] or None


def _place(place: Mapping[int, Any]) -> tuple[float | None, float | None]:
    lat = _degrees(place.get(2), place.get(1), "S", 90)
    lon = _degrees(place.get(4), place.get(3), "W", 180)
    # Both or nothing; exactly (0, 0) is what cameras write when they know nothing.
    if lat is None or lon is None or (lat == 0 and lon == 0):
        return None, None
    return lat, lon


def _degrees(value: object, reference: object, negative: str, limit: int) -> float | None:
    with suppress(Exception):  # rationals over zero, too few parts, no numbers
        parts = [float(part) for part in value]  # type: ignore[attr-defined]
        degrees = parts[0] + parts[1] / 60 + (parts[2] / 3600 if len(parts) > 2 else 0.0)
        if math.isfinite(degrees) and 0 <= degrees <= limit:
            return -degrees if _text(reference).upper().startswith(negative) else degrees
    return None
