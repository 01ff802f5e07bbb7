"""docs/operations.md: its sizing says what the record types say."""

from __future__ import annotations

import re

import pytest

from model import build, packing
from tests.support.servers import REPOSITORY

TABLE = (REPOSITORY / "docs" / "operations.md").read_text()


def cells(row: str) -> list[str]:
    """The cells of the table row that begins so."""
    found = re.search(rf"^\| {re.escape(row)} \|(.+)\|$", TABLE, re.MULTILINE)
    assert found is not None, row
    return [cell.strip() for cell in found.group(1).split("|")]


@pytest.mark.parametrize(
    ("row", "tier"),
    [
        ("region tokens", "tokens"),
        ("mask features", "masks"),
        ("prefilter vectors (4,096) and the rough head's tokens", "vectors"),
    ],
)
def test_bytes_a_photo_are_those_of_the_record_types(row: str, tier: str) -> None:
    for model, cell in zip(("rela-mini", "rela-base"), cells(row), strict=True):
        size = packing.record_types(build.SIZES[model])[tier].itemsize
        assert cell == f"{size:,}", (row, model)


def test_a_million_photos_take_a_million_times_one() -> None:
    said = cells("1 M")[0]
    taken = []
    for model in ("rela-mini", "rela-base"):
        types = packing.record_types(build.SIZES[model])
        one = sum(types[tier].itemsize for tier in ("tokens", "masks", "vectors"))
        taken.append(f"{one * 1_000_000 / 1e9:.0f} GB")
    assert said == " / ".join(taken)
