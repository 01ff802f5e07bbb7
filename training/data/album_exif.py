"""What a camera would have written into a synthetic photo: date, camera, place, orientation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

# (make, model, hours from UTC of its clock or None where it writes no offset)
_CAMERAS = (
    ("Canon", "Canon EOS 80D", None),
    ("NIKON CORPORATION", "NIKON D5600", None),
    ("FUJIFILM", "X-T30", None),
    ("SONY", "ILCE-6400", 1),
    ("Apple", "iPhone 13", 2),
    ("Google", "Pixel 7", -5),
)
# Latitude and longitude of places where photos of one outing are taken.
_PLACES = (
    (59.334, 18.063), (48.857, 2.352), (-33.869, 151.209), (40.713, -74.006),
    (35.681, 139.767), (-22.907, -43.173), (45.440, 12.316), (64.147, -21.940),
)  # fmt: skip

_ORIENTATION, _MAKE, _MODEL, _CHANGED_AT = 0x0112, 0x010F, 0x0110, 0x0132
_EXIF_IFD, _TAKEN_AT, _OFFSET = 0x8769, 0x9003, 0x9011
_GPS_IFD = 0x8825

# How stored pixels come from upright ones: the inverse of what a viewer does for the tag.
_STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@dataclass(frozen=True, slots=True)
class Shot:
    """When, where and how a photo was taken.

    Attributes:
        taken_at: local time. offset_h: of the camera's clock from UTC, None where not written.
        make, model: of the camera, "" where not written.
        lat, lon: degrees, None where not written.
        orientation: EXIF value 1 to 8.
    """

    taken_at: datetime
    offset_h: int | None
    make: str
    model: str
    lat: float | None
    lon: float | None
    orientation: int


def plan_shots(photos: int, rng: Random) -> list[Shot]:
    """Photos of several outings in the order in which they were taken.

    Every block of 24 photos holds each of the eight orientations.
    """
    shots: list[Shot] = []
    when = datetime(2021, 3, 1) + timedelta(days=rng.randrange(200))
    while len(shots) < photos:
        when += timedelta(days=rng.randint(1, 40))
        when = when.replace(hour=rng.randint(8, 17), minute=rng.randrange(60))
        make, model, offset_h = rng.choice(_CAMERAS)
        place = rng.choice(_PLACES) if rng.random() < 0.6 else None
        for _ in range(rng.randint(4, 24)):
            when += timedelta(seconds=rng.choice((2, 9, 45, 300, 1100)) + rng.randrange(60))
            named = rng.random() > 0.06
            lat, lon = (
                (round(place[0] + rng.gauss(0, 0.01), 6), round(place[1] + rng.gauss(0, 0.01), 6))
                if place
                else (None, None)
            )
            shots.append(
                Shot(when, offset_h, make if named else "", model if named else "", lat, lon, 1)
            )
    turned: list[int] = []
    while len(turned) < photos:
        block = [2, 3, 4, 5, 6, 7, 8, 6, 8] + [1] * 15
        rng.shuffle(block)
        turned += block
    return [
        Shot(s.taken_at, s.offset_h, s.make, s.model, s.lat, s.lon, o)
        for s, o in zip(shots[:photos], turned, strict=False)
    ]


def _degrees(value: float) -> tuple[IFDRational, IFDRational, IFDRational]:
    seconds = round(abs(value) * 360000)
    return (
        IFDRational(seconds // 360000, 1),
        IFDRational(seconds // 6000 % 60, 1),
        IFDRational(seconds % 6000, 100),
    )


def exif_of(shot: Shot) -> Image.Exif:
    """The EXIF block of a shot."""
    exif = Image.Exif()
    exif[_ORIENTATION] = shot.orientation
    if shot.model:
        exif[_MAKE], exif[_MODEL] = shot.make, shot.model
    stamp = shot.taken_at.strftime("%Y:%m:%d %H:%M:%S")
    exif[_CHANGED_AT] = stamp
    taken = exif.get_ifd(_EXIF_IFD)
    taken[_TAKEN_AT] = stamp
    if shot.offset_h is not None:
        taken[_OFFSET] = f"{shot.offset_h:+03d}:00"
    if shot.lat is not None and shot.lon is not None:
        place = exif.get_ifd(_GPS_IFD)
        place[0] = b"\x02\x03\x00\x00"
        place[1], place[2] = "N" if shot.lat >= 0 else "S", _degrees(shot.lat)
        place[3], place[4] = "E" if shot.lon >= 0 else "W", _degrees(shot.lon)
    return exif


def stored(pixels: NDArray[np.uint8], orientation: int) -> Image.Image:
    """The picture as a turned camera stores it: a viewer that obeys the tag sees `pixels`."""
    image = Image.fromarray(pixels)
    return image.transpose(_STORED[orientation]) if orientation in _STORED else image
