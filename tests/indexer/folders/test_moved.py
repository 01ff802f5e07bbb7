"""Photos are followed by content from one folder of an album to another, with their marks."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from indexer.db.catalog import Catalog, album_named
from indexer.db.tables import Mark, Photo, Root
from indexer.folders.albums import change_album, drop_folder, ensure_album
from indexer.folders.scan import ScanReport, scan_album
from referent.main import app
from tests.support.albums import folder_of


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "old", 6)


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return tmp_path / "new"


def scan(catalog: Catalog, *folders: Path) -> ScanReport:
    with catalog.session() as session:
        ensure_album(session, folders, name="pics")
    return scan_album(catalog, "pics")


def mark(catalog: Catalog, folder: Path, *names: str, verdict: str = "right") -> None:
    with catalog.session() as session:
        for photo in session.scalars(
            select(Photo).join(Root).where(Root.path == os.fsencode(folder))
        ):
            if photo.path.decode() in names:
                session.add(Mark(photo_id=photo.id, expression="dog", verdict=verdict))


def photos(catalog: Catalog) -> dict[str, int]:
    """Full path → id of the photos that are there."""
    query = select(Root.path, Photo.path, Photo.id).join(Root, Root.id == Photo.root_id)
    with catalog.reading() as session:
        rows = session.execute(query.where(Photo.deleted_at.is_(None))).all()
        return {os.fsdecode(root + b"/" + path): number for root, path, number in rows}


def marks(catalog: Catalog) -> dict[str, str]:
    """Full path of the marked photos → verdict."""
    names = {number: path for path, number in photos(catalog).items()}
    with catalog.reading() as session:
        return {names[each.photo_id]: each.verdict for each in session.scalars(select(Mark))}


MARKED = ("0000.jpg", "0003.jpg", "0005.jpg")


def moved(folder: Path) -> dict[str, str]:
    return {str(folder / name): "right" for name in MARKED}


def drop(catalog: Catalog, folder: Path) -> None:
    with catalog.session() as session:
        drop_folder(session, album_named(session, "pics"), folder)


def test_photos_of_a_folder_that_was_moved_and_added_keep_their_rows_and_marks(
    catalog: Catalog, old: Path, new: Path
) -> None:
    scan(catalog, old)
    mark(catalog, old, *MARKED)
    before = photos(catalog)
    old.rename(new)
    report = scan(catalog, new)
    assert (report.moved, report.new, report.missing) == (6, 0, 0)
    assert photos(catalog) == {
        path.replace(str(old), str(new)): number for path, number in before.items()
    }
    assert marks(catalog) == moved(new)
    drop(catalog, old)
    assert marks(catalog) == moved(new)


def test_marks_go_over_to_a_copy_that_was_indexed_before_the_folder_is_dropped(
    catalog: Catalog, old: Path, new: Path
) -> None:
    scan(catalog, old)
    mark(catalog, old, *MARKED)
    shutil.copytree(old, new)
    assert scan(catalog, new).new == 6
    shutil.rmtree(old)
    scan(catalog)
    assert len(photos(catalog)) == 12  # the old folder may be offline
    drop(catalog, old)
    assert marks(catalog) == moved(new)


def test_copy_that_was_there_all_along_keeps_its_row_when_the_other_vanishes(
    catalog: Catalog, old: Path, new: Path
) -> None:
    shutil.copytree(old, new)
    scan(catalog, old, new)
    mark(catalog, new, *MARKED)
    before = photos(catalog)
    (old / "0000.jpg").unlink()
    third = folder_of(old.parent / "third", 1, first=50)
    report = scan(catalog, third)
    assert (report.moved, report.missing) == (0, 1)
    assert marks(catalog) == moved(new)
    assert photos(catalog)[str(new / "0000.jpg")] == before[str(new / "0000.jpg")]


@pytest.mark.parametrize("scanned_first", [False, True])
def test_a_person_says_that_a_folder_was_moved(
    catalog: Catalog, old: Path, new: Path, scanned_first: bool
) -> None:
    scan(catalog, old)
    mark(catalog, old, *MARKED)
    before = photos(catalog)
    if scanned_first:  # and what was said of the new rows meanwhile is the later word
        shutil.copytree(old, new)
        scan(catalog, new)
        mark(catalog, new, "0000.jpg", verdict="wrong")
        shutil.rmtree(old)
    else:
        old.rename(new)
    with catalog.session() as session:
        change_album(session, "pics", moved=[(old, new)])
    report = scan(catalog)
    assert (report.new, report.missing, report.offline) == (0, 0, [])
    assert photos(catalog) == {
        path.replace(str(old), str(new)): number for path, number in before.items()
    }
    latest = {str(new / "0000.jpg"): "wrong"} if scanned_first else {}
    assert marks(catalog) == moved(new) | latest
    with catalog.reading() as session:
        assert session.scalars(select(Root.path)).all() == [os.fsencode(new)]


def test_dropping_a_folder_says_what_goes_with_it_and_asks(
    catalog: Catalog, old: Path, new: Path
) -> None:
    scan(catalog, old)
    mark(catalog, old, *MARKED)
    shutil.copytree(old, new)
    (new / "0005.jpg").unlink()
    scan(catalog, new)
    asked = CliRunner().invoke(app, ["albums", "pics", "--drop", str(old)], input="n\n")
    assert asked.exit_code == 1
    assert "takes 6 photos and 1 marks with it" in asked.output.replace("\n", " ")
    assert len(photos(catalog)) == 11
    done = CliRunner().invoke(app, ["albums", "pics", "--moved", str(old), str(new)])
    assert done.exit_code == 0, done.output
    assert set(marks(catalog)) == {str(new / name) for name in MARKED}
