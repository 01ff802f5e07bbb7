"""Scanning folders into an album's rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import select

from indexer.albums import ensure_album
from indexer.catalog import Catalog
from indexer.scan import ScanReport, scan_album
from indexer.tables import Photo


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of photos of different colours: a.png, b.png, sub/c.png, sub/d.png."""
    root = tmp_path / "photos"
    for number, name in enumerate(("a.png", "b.png", "sub/c.png", "sub/d.png")):
        photo(root / name, number)
    return root


def photo(path: Path, colour: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (colour, colour // 256, 7)).save(path, format="PNG")
    return path


def scan(catalog: Catalog, *folders: Path, **options: object) -> ScanReport:
    with catalog.session() as session:
        name = ensure_album(session, folders, name="test").name
    return scan_album(catalog, name, **options)  # type: ignore[arg-type]


def rows(catalog: Catalog) -> dict[bytes, Photo]:
    with catalog.reading() as session:
        photos = session.scalars(select(Photo).where(Photo.deleted_at.is_(None))).all()
        return {row.path: row for row in photos}


def mark_all(catalog: Catalog, status: str) -> None:
    with catalog.session() as session:
        for row in session.scalars(select(Photo)):
            row.status = status


def test_new_photos_wait_for_the_index(catalog: Catalog, folder: Path) -> None:
    report = scan(catalog, folder)
    assert (report.new, report.files, report.errors) == (4, 4, [])
    found = rows(catalog)
    assert sorted(found) == [b"a.png", b"b.png", b"sub/c.png", b"sub/d.png"]
    row = found[b"sub/c.png"]
    assert row.status == "new"
    assert row.size == (folder / "sub/c.png").stat().st_size
    assert row.content_hash and len(row.content_hash) == 40


def test_unchanged_photos_are_not_read_again(catalog: Catalog, folder: Path) -> None:
    scan(catalog, folder)
    mark_all(catalog, "indexed")
    report = scan(catalog, folder)
    assert (report.unchanged, report.read_bytes) == (4, 0)
    assert {row.status for row in rows(catalog).values()} == {"indexed"}


def test_renamed_and_moved_photos_keep_their_row(catalog: Catalog, folder: Path) -> None:
    scan(catalog, folder)
    mark_all(catalog, "indexed")
    before = rows(catalog)
    (folder / "a.png").rename(folder / "zebra.png")
    (folder / "deep").mkdir()
    (folder / "sub/c.png").rename(folder / "deep/c.png")
    report = scan(catalog, folder)
    assert (report.moved, report.new, report.missing, report.unchanged) == (2, 0, 0, 2)
    after = rows(catalog)
    assert after[b"zebra.png"].id == before[b"a.png"].id
    assert after[b"deep/c.png"].id == before[b"sub/c.png"].id
    assert {row.status for row in after.values()} == {"indexed"}
