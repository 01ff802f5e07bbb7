"""When a photo was taken: what the camera wrote, else what the file's name says, marked as such."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import select, update

from indexer.db.tables import Photo
from tests.support.library import Library, make_library, paint

TAKEN, OFFSET, FRACTION = 36867, 36881, 37521


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """One small album, so that there is a model and a catalog."""
    made = make_library(tmp_path_factory.mktemp("dates"), 2)
    yield made
    made.engine.close()


def write(path: Path, seed: int, exif: dict[int, str] | None = None) -> None:
    paint(path, seed)
    if exif:
        tags = Image.Exif()
        tags.get_ifd(0x8769).update(exif)
        with Image.open(path) as image:
            image.save(path, exif=tags)


def dates(library: Library) -> dict[str, tuple[Any, ...]]:
    columns = (Photo.path, Photo.taken_at, Photo.taken_source, Photo.taken_offset_min)
    with library.engine.catalog.reading() as session:
        rows = session.execute(select(*columns).where(Photo.deleted_at.is_(None))).all()
    return {row[0].decode(): tuple(row[1:]) for row in rows}


def test_the_name_dates_what_the_camera_did_not(library: Library, tmp_path: Path) -> None:
    noon = datetime(2024, 1, 31, 12, 34, 56)
    write(tmp_path / "IMG_20240131_123456.jpg", 1)
    write(tmp_path / "IMG-20240131-WA0001.jpg", 2)
    write(tmp_path / "beach.jpg", 3)
    write(tmp_path / "2020-02-02.jpg", 4, {TAKEN: "2024:01:31 12:34:56", OFFSET: "+02:00"})
    write(tmp_path / "burst.jpg", 5, {TAKEN: "2024:01:31 12:34:56", FRACTION: "25"})
    write(tmp_path / "scan.jpg", 6, {TAKEN: "2024:01:31"})
    library.add_album(tmp_path, "dates")
    found = dates(library)
    assert found["IMG_20240131_123456.jpg"] == (noon, "name", None)
    assert found["IMG-20240131-WA0001.jpg"] == (datetime(2024, 1, 31), "name-day", None)
    assert found["beach.jpg"] == (None, None, None)
    assert found["2020-02-02.jpg"] == (noon, "camera", 120)
    assert found["burst.jpg"] == (noon.replace(microsecond=250_000), "camera", None)
    assert found["scan.jpg"] == (datetime(2024, 1, 31), "camera-day", None)


def test_name_counts_for_each_place_of_the_bytes_and_after_a_renaming(
    library: Library, tmp_path: Path
) -> None:
    for name in ("2021-05-01.jpg", "2022-06-02.jpg", "plain.jpg"):
        write(tmp_path / name, 11)
    library.add_album(tmp_path, "places")
    found = dates(library)
    assert found["2021-05-01.jpg"][0] == datetime(2021, 5, 1)
    assert found["2022-06-02.jpg"][0] == datetime(2022, 6, 2)
    assert found["plain.jpg"] == (None, None, None)
    (tmp_path / "2021-05-01.jpg").rename(tmp_path / "2023-07-03.jpg")
    (tmp_path / "2022-06-02.jpg").rename(tmp_path / "undated.jpg")
    library.index("places")
    found = dates(library)
    assert found["2023-07-03.jpg"][0] == datetime(2023, 7, 3)
    assert found["undated.jpg"] == (None, None, None)


def test_photos_indexed_long_ago_are_dated_by_the_next_index(
    library: Library, tmp_path: Path
) -> None:
    write(tmp_path / "2019-09-09 old.jpg", 21)
    library.add_album(tmp_path, "old")
    with library.engine.catalog.session() as session:
        session.execute(update(Photo).values(taken_at=None, taken_source=None))
    library.index("old")
    assert dates(library)["2019-09-09 old.jpg"] == (datetime(2019, 9, 9), "name-day", None)
