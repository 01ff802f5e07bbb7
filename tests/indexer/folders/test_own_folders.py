"""What the library made for an album or a job: it goes with it, and no number leads to it again."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from sqlalchemy import String, insert, select, text, update

from indexer.db.catalog import Catalog
from indexer.db.tables import Base, Hit, OwnFolder, Photo, SearchRun
from indexer.folders import own_folders
from indexer.folders.albums import delete_album, uploaded_photos
from indexer.folders.own_folders import made_folder, sweep
from indexer.folders.scan import scan_album
from indexer.jobs import jobs
from indexer.settings import Settings
from tests.support.albums import album, folder_of, photo


def forget(catalog: Catalog, settings: Settings, name: str) -> None:
    with catalog.session() as session:
        delete_album(session, name)
    sweep(catalog, settings)


def numbers(catalog: Catalog, name: str, folder: Path) -> dict[str, int]:
    """Make an album with photos and a job; the number of each."""
    album_id = album(catalog, name, folder)
    scan_album(catalog, name)
    with catalog.reading() as session:
        newest = max(session.scalars(select(Photo.id).where(Photo.album_id == album_id)))
    job = jobs.create(catalog, "index", album_id=album_id)
    return {"album": album_id, "photo": newest, "job": job.id}


def test_numbers_of_a_deleted_album_never_come_back(
    catalog: Catalog, settings: Settings, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "photos", 3)
    before = numbers(catalog, "first", folder)
    forget(catalog, settings, "first")
    after = numbers(catalog, "second", folder)
    assert all(after[what] > before[what] for what in before), (before, after)


def test_every_numbered_table_gives_each_number_once(catalog: Catalog) -> None:
    if not catalog.is_sqlite:
        return  # PostgreSQL's sequences never go back
    with catalog.reading() as session:
        made = dict(
            session.execute(text("select name, sql from sqlite_master where type = 'table'")).all()
        )
    for table in Base.metadata.tables.values():
        numbered = table.primary_key.columns.keys() == ["id"]
        if numbered and not isinstance(table.c.id.type, String):
            assert "AUTOINCREMENT" in made[table.name], table.name


def test_a_new_album_sees_nothing_that_was_uploaded_to_a_deleted_one(
    catalog: Catalog, settings: Settings
) -> None:
    first = album(catalog, "first")
    uploads = made_folder(catalog, settings, "uploads", first)
    photo(uploads / "private.jpg", 1)
    with catalog.session() as session:
        delete_album(session, "first")
    # Killed here, before the folder was removed: the next album must not find it all the same.
    second = album(catalog, "second")
    own = made_folder(catalog, settings, "uploads", second)
    assert own != uploads and list(own.iterdir()) == []
    assert sweep(catalog, settings) == 1
    assert not uploads.exists() and own.is_dir()


def test_a_folder_of_the_same_number_in_another_catalog_has_another_name(
    catalog: Catalog, settings: Settings, tmp_path: Path
) -> None:
    here = made_folder(catalog, settings, "matte", 7)
    with Catalog.open(f"sqlite:///{tmp_path / 'other.sqlite'}") as other:
        there = made_folder(other, settings, "matte", 7)
        assert here != there
        assert sweep(other, settings) == 1  # its own, whose job is gone; never what it did not make
    assert here.is_dir()


def test_uploads_cut_outs_and_exports_go_with_their_album(
    catalog: Catalog, settings: Settings
) -> None:
    gone, kept = album(catalog, "gone"), album(catalog, "kept")
    folders = {}
    for each in (gone, kept):
        folders[each] = [made_folder(catalog, settings, "uploads", each)]
        for kind in ("matte", "export"):
            job = jobs.create(catalog, kind, album_id=each, parameters={"run": "r"})
            folders[each].append(made_folder(catalog, settings, kind, job.id))  # type: ignore[arg-type]
    for folder in folders[gone] + folders[kept]:
        (folder / "picture.png").write_bytes(b"pixels")
    forget(catalog, settings, "gone")
    assert not any(folder.exists() for folder in folders[gone])
    assert all((folder / "picture.png").is_file() for folder in folders[kept])


def test_cut_outs_over_every_album_go_with_an_album_that_they_show(
    catalog: Catalog, settings: Settings, tmp_path: Path
) -> None:
    shown = album(catalog, "shown", folder_of(tmp_path / "a", 1))
    album(catalog, "other", folder_of(tmp_path / "b", 1, first=5))
    for name in ("shown", "other"):
        scan_album(catalog, name)
    folders = {}
    with catalog.reading() as session:
        of_album = {row.album_id: row.id for row in session.scalars(select(Photo))}
    for album_id, photo_id in of_album.items():
        run = f"run-{album_id}"
        with catalog.session() as session:
            values = {"id": run, "expression": "dog", "mode": "fast", "state": "done"}
            session.add(SearchRun(**values))
            session.flush()
            hit = {"run_id": run, "photo_id": photo_id, "rank": 0, "confidence": 1.0}
            session.execute(insert(Hit).values(**hit, accepted=True))
        job = jobs.create(catalog, "matte", parameters={"run": run})
        folders[album_id] = made_folder(catalog, settings, "matte", job.id)
    forget(catalog, settings, "shown")
    assert not folders.pop(shown).exists()
    assert [folder.is_dir() for folder in folders.values()] == [True]


def test_a_folder_that_a_late_worker_makes_again_is_swept_once_more(
    catalog: Catalog, settings: Settings
) -> None:
    folder = made_folder(catalog, settings, "matte", 99)
    assert sweep(catalog, settings) == 1
    (folder / "album").mkdir(parents=True)
    assert sweep(catalog, settings) == 1 and not folder.exists()
    with catalog.session() as session:
        session.execute(update(OwnFolder).values(swept_at=OwnFolder.swept_at - 7200))
    assert sweep(catalog, settings) == 0
    with catalog.reading() as session:
        assert session.scalars(select(OwnFolder)).all() == []


def test_only_incoming_files_that_nobody_writes_any_more_are_swept(
    catalog: Catalog, settings: Settings
) -> None:
    folder = own_folders.incoming(settings)
    (folder / "old").write_bytes(b"x")
    (folder / "new").write_bytes(b"x")
    long_ago = time.time() - 2 * own_folders.STALE_S
    os.utime(folder / "old", (long_ago, long_ago))
    assert sweep(catalog, settings) == 1
    assert [file.name for file in folder.iterdir()] == ["new"]


def test_forgetting_an_album_says_how_many_uploads_go(catalog: Catalog, settings: Settings) -> None:
    album_id = album(catalog, "mixed")
    uploads = folder_of(made_folder(catalog, settings, "uploads", album_id), 2)
    album(catalog, "mixed", folder_of(settings.home / "mine", 3, first=10), uploads)
    scan_album(catalog, "mixed")
    with catalog.reading() as session:
        assert uploaded_photos(session, "mixed") == 2


@pytest.mark.parametrize("path", ["uploads", "elsewhere/uploads"])
def test_uploads_from_before_keep_their_folder(settings: Settings, path: str) -> None:
    from indexer.db.migrate import migrate

    settings.home.mkdir()
    catalog = Catalog(settings)
    migrate(catalog.url, revision="0006")
    old = settings.home / path / "1"
    with catalog.engine.begin() as connection:
        connection.execute(
            text("insert into albums (id, name, created_at, settings) values (1, 'a', 0, '{}')")
        )
        connection.execute(
            text("insert into roots (id, album_id, path, mounts) values (1, 1, :path, '[]')"),
            {"path": os.fsencode(old)},
        )
        connection.execute(
            text(
                "insert into jobs (id, kind, parameters, state, done, failed, attempts, created_at)"
                " values (4, 'matte', '{}', 'done', 0, 0, 0, 0)"
            )
        )
    catalog.close()
    with Catalog.open(settings) as catalog:
        assert made_folder(catalog, settings, "uploads", 1) == settings.home / "uploads" / "1"
        assert made_folder(catalog, settings, "matte", 4) == settings.exports_dir / "matte-4"
