"""Dates in file names: what phones and programs write, and what only looks like it."""

from __future__ import annotations

from datetime import datetime

import pytest

from indexer.photos.name_dates import date_in_name

NOON = datetime(2024, 1, 31, 12, 34, 56)
DAY = datetime(2024, 1, 31)


@pytest.mark.parametrize(
    "name",
    [
        "IMG_20240131_123456.jpg",
        "IMG20240131123456.jpg",
        "20240131_123456.heic",
        "20240131123456.jpg",
        "VID_20240131_123456_HSR.jpg",
        "Screenshot_20240131-123456.png",
        "Screenshot_20240131-123456_Chrome.jpg",
        "Screenshot from 2024-01-31 12-34-56.png",
        "Screenshot 2024-01-31 at 12.34.56.png",
        "Screenshot 2024-01-31 123456.png",
        "Screen Shot 2024-01-31 at 12.34.56 PM.png",
        "Bildschirmfoto 2024-01-31 um 12.34.56.png",
        "WhatsApp Image 2024-01-31 at 12.34.56.jpeg",
        "WhatsApp Image 2024-01-31 at 12.34.56 (1).jpeg",
        "photo_2024-01-31_12-34-56.jpg",
        "signal-2024-01-31-123456.jpg",
        "2024-01-31 12.34.56.jpg",
        "2024-01-31T12:34:56.jpg",
    ],
)
def test_clock_time_is_read(name: str) -> None:
    found = date_in_name(name)
    assert found is not None
    assert (found.taken_at, found.day_only, found.offset_min) == (NOON, False, None)


@pytest.mark.parametrize(
    "name",
    [
        "IMG-20240131-WA0012.jpg",
        "2024-01-31 beach.jpg",
        "2024_01_31_DSC01234.jpg",
        "trip 2024.01.31 (3).png",
        "20240131.jpg",
        "2024-01-31 99.99.99.jpg",
    ],
)
def test_day_alone_is_marked_as_such(name: str) -> None:
    found = date_in_name(name)
    assert found is not None and (found.taken_at, found.day_only) == (DAY, True)


def test_halves_of_the_day_fractions_and_the_phones_that_write_utc() -> None:
    late = date_in_name("WhatsApp Image 2024-01-31 at 1.02.03 PM.jpeg")
    assert late is not None and late.taken_at == datetime(2024, 1, 31, 13, 2, 3)
    night = date_in_name("Screen Shot 2024-01-31 at 12.02.03 AM.png")
    assert night is not None and night.taken_at == datetime(2024, 1, 31, 0, 2, 3)
    pixel = date_in_name("PXL_20240131_123456789.MP.jpg")
    assert pixel is not None and pixel.taken_at == NOON.replace(microsecond=789_000)
    assert pixel.offset_min == 0


@pytest.mark.parametrize(
    "name",
    [
        "DSC01234.jpg",
        "IMG_1234.jpg",
        "20241331.jpg",
        "2024-02-30.jpg",
        "120240131.jpg",
        "2024013112.jpg",
        "2024-01_31.jpg",
        "00000131-0000.jpg",
        "",
    ],
)
def test_what_only_looks_like_a_date_is_none(name: str) -> None:
    assert date_in_name(name) is None
