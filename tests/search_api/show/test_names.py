"""Names of what is written for photos: their own, no two the same on any file system."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from search_api.search.photos import PhotoInfo
from search_api.show.file_names import FileNames
from search_api.show.names import name_files


def photo(number: int, path: str) -> PhotoInfo:
    """A photo of which only the name counts."""
    fields = dict.fromkeys(PhotoInfo.__dataclass_fields__)
    given = {"id": number, "album": "pics", "path": path, "root": Path("/"), "relative": Path(path)}
    return PhotoInfo(**{**fields, **given})  # type: ignore[arg-type]


EQUAL = [
    ("é.jpg", unicodedata.normalize("NFD", "é.jpg"), "É.JPG"),  # one file on a Mac
    ("a.jpg", "a.jpg", "a-2.jpg"),  # of two folders; the third has the name that tells them apart
    ("a-2.jpg", "a.jpg", "a.jpg", "A-1.JPG"),
]


@pytest.mark.parametrize("paths", EQUAL)
@pytest.mark.parametrize("suffix", ["png", "jpg", None])
def test_files_that_a_file_system_takes_for_one_are_told_apart(
    paths: tuple[str, ...], suffix: str | None
) -> None:
    photos = [photo(number, path) for number, path in enumerate(paths)]
    named = name_files(photos, suffix)
    assert len({one_name(str(name)) for name in named.values()}) == len(paths)
    names = FileNames()
    assert len({one_name(names.of(each)) for each in photos}) == len(paths)


def one_name(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


@pytest.mark.parametrize("suffix", ["png", None])
def test_names_that_are_too_long_are_cut_and_keep_their_suffix(suffix: str | None) -> None:
    long = ["ü" * 125 + ".jpg", "ü" * 124 + "x.jpg", "short.jpg"]
    named = name_files([photo(number, path) for number, path in enumerate(long)], suffix)
    assert all(len(name.name.encode()) <= 250 for name in named.values())  # room for ".xmp"
    assert {name.suffix for name in named.values()} == {f".{suffix or 'jpg'}"}
    assert named[2].name == ("short.jpg.png" if suffix else "short.jpg")
