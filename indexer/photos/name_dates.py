"""The date in a photo's file name, for photos that carry none: what phones and programs write.

`IMG_20240131_123456.jpg`, `PXL_20240131_123456789.jpg`, `IMG-20240131-WA0001.jpg`,
`2024-01-31 12.34.56.png`, `WhatsApp Image 2024-01-31 at 1.02.03 PM.jpeg`,
`Screenshot from 2024-01-31 12-34-56`, `Bildschirmfoto 2024-01-31 um 12.34.56` and their kin.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

# The same separator twice; without one, a longer number is no date unless a time of day follows.
_DAY = re.compile(
    r"(?<!\d)(?P<year>19[89]\d|20\d\d)(?P<between>[-_.]?)(?P<month>0[1-9]|1[0-2])(?P=between)"
    r"(?P<day>0[1-9]|[12]\d|3[01])(?=\D|$|\d{6}(?!\d))"
)
_TIME = re.compile(
    r"(?:[-_ T]{0,3}|,? (?:at|um|à|kl\.|from|om|alle) )"
    r"(?P<hour>\d{1,2})(?P<between>[-_.:h]?)(?P<minute>[0-5]\d)(?P=between)(?P<second>[0-5]\d)"
    r"(?P<fraction>\d{3})?(?!\d)[\s\u202f]?(?P<half>[AaPp][Mm]\b)?"
)


@dataclass(frozen=True)
class NamedDate:
    """What a name says: naive clock time, or midnight where it says the day alone."""

    taken_at: datetime
    day_only: bool
    offset_min: int | None
    """Minutes ahead of UTC, where the program that wrote the name is known to use a fixed zone."""


def date_in_name(name: str) -> NamedDate | None:
    """The date in a file name without its folders; None where it holds none."""
    for day in _DAY.finditer(name):
        try:
            date = datetime(int(day["year"]), int(day["month"]), int(day["day"]))
        except ValueError:  # the 31st of February
            continue
        offset = 0 if name.startswith("PXL_") else None  # Pixel phones write UTC
        time = _clock(name[day.end() :])
        if time is None:
            return NamedDate(date, True, None)
        hour, minute, second, millisecond = time
        at = date.replace(hour=hour, minute=minute, second=second, microsecond=millisecond * 1000)
        return NamedDate(at, False, offset)
    return None


def _clock(rest: str) -> tuple[int, int, int, int] | None:
    time = _TIME.match(rest)
    if time is None:
        return None
    hour, half = int(time["hour"]), (time["half"] or "").lower()
    if (half and not 1 <= hour <= 12) or hour > 23:
        return None
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    return hour, int(time["minute"]), int(time["second"]), int(time["fraction"] or 0)
