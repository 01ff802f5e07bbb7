"""The backup and the restore of docs/operations.md, from each database into each."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from indexer.backup import archive as archives
from indexer.backup.archive import Archive
from indexer.backup.backup import back_up
from indexer.backup.files import PLACES, base_of
from indexer.backup.restore import restore
from indexer.db.catalog import Catalog
from indexer.db.tables import Album, Base, Job, Photo, Root, Segment
from indexer.errors import BackupUnusable, FolderError, LibraryNotEmpty
from indexer.features.store import FeatureStore
from indexer.features.verify import verify
from indexer.folders import own_folders
from indexer.jobs import jobs
from indexer.settings import Settings
from tests.support import albums
from tests.support.fake_predictor import FakePredictor
from tests.support.trial_library import read_index
from workers.held import Held
from workers.inprocess import run_job


@pytest.fixture
def models(settings: Settings) -> Iterator[Held]:
    held = Held(settings, load=lambda name: FakePredictor(name=name))  # type: ignore[arg-type,return-value]
    yield held
    held.close()


class Full:
    """A library with photos, features, an upload, an export, a secret and a model of its own."""

    def __init__(self, catalog: Catalog, settings: Settings, models: Held, photos: Path) -> None:
        self.catalog, self.settings, self.models = catalog, settings, models
        self.album = albums.album(catalog, "family", albums.folder_of(photos, 6))
        uploads = own_folders.made_folder(catalog, settings, "uploads", self.album)
        albums.photo(uploads / "sent.jpg", 99)
        albums.album(catalog, "family", uploads.resolve())
        done = run_job(settings, catalog, self.job(), models)
        assert (done.result or {})["indexed"] == 7
        self.export = own_folders.made_folder(catalog, settings, "export", done.id)
        (self.export / "hits.csv").write_text("rank\n0\n")
        (self.export / "half.csv.part").write_text("never whole")
        settings.session_secret_file.write_text("s" * 64)
        settings.models_dir.mkdir()
        (settings.models_dir / "rela-x.safetensors").write_bytes(b"weights")

    def job(self) -> int:
        return jobs.create(self.catalog, "index", album_id=self.album).id

    def files(self) -> dict[str, bytes]:
        return files_of(self.settings)


def files_of(settings: Settings) -> dict[str, bytes]:
    """Every file that a backup is for, by place and path."""
    found = {}
    for place in PLACES:
        base = base_of(settings, place)
        only = [base / "session-secret"] if place == "secrets" else base.rglob("*")
        for file in only:
            below = file.relative_to(base)
            if file.is_file() and not below.name.startswith(".") and file.suffix != ".part":
                found[f"{place}/{below}"] = file.read_bytes()
    return {name: data for name, data in found.items() if not name.startswith("features/readers")}


@pytest.fixture
def full(
    catalog: Catalog,
    settings: Settings,
    models: Held,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Full:
    monkeypatch.setenv("REFERENT_DECODE_WORKERS", "1")
    monkeypatch.setenv("REFERENT_DECODE_TIMEOUT_S", "60")
    return Full(catalog, Settings(), models, tmp_path / "photos")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Settings:
    """An empty library on SQLite in another place."""
    home = tmp_path / "elsewhere"
    return Settings(
        home=home,
        database_url=f"sqlite:///{home / 'catalog.sqlite'}",  # type: ignore[arg-type]
        features_dir=home / "features",
        exports_dir=home / "exports",
    )


@pytest.mark.parametrize("features", [True, False], ids=["with features", "without"])
def test_library_is_the_same_in_another_place(
    full: Full, elsewhere: Settings, tmp_path: Path, features: bool
) -> None:
    before = read_index(full.catalog, full.settings, full.album)
    back_up(full.catalog, full.settings, tmp_path / "backup", features=features)
    with Catalog.open(elsewhere) as restored:
        told = restore(restored, elsewhere, tmp_path / "backup")
        assert (told.damaged, told.offline) == ([], [])
        with restored.reading() as session:
            counts = dict(
                session.execute(select(Photo.status, func.count()).group_by(Photo.status)).all()
            )  # type: ignore[arg-type]
        assert counts == ({"indexed": 7} if features else {"new": 7})
        kept = {n: d for n, d in full.files().items() if features or "features/" not in n}
        kept = {n: d for n, d in kept.items() if not n.startswith("features/faiss")}
        assert files_of(elsewhere) == kept
        encoded = full.models.network("rela-mini").encoded  # type: ignore[attr-defined]
        job = jobs.create(restored, "index", album_id=full.album).id
        again = run_job(elsewhere, restored, job, full.models)
        assert (again.result or {})["indexed"] == 7
        assert read_index(restored, elsewhere, full.album) == before
        same = full.models.network("rela-mini").encoded == encoded  # type: ignore[attr-defined]
        assert same == features
        assert verify(restored, FeatureStore.open(elsewhere, restored)).damaged == []


def test_every_row_but_leases_is_carried(full: Full, elsewhere: Settings, tmp_path: Path) -> None:
    with full.catalog.session() as session:
        session.execute(update(Job).values(lease_owner="somebody", lease_until=9e12))
    back_up(full.catalog, full.settings, tmp_path / "backup")
    with Catalog.open(elsewhere) as restored:
        restore(restored, elsewhere, tmp_path / "backup")
        with restored.reading() as new, full.catalog.reading() as old:
            for table in Base.metadata.sorted_tables:
                left_out = {"revision", "lease_owner", "lease_until"}
                if table.name == "roots":
                    left_out.add("path")
                columns = [column for column in table.c if column.name not in left_out]
                query = select(*columns).order_by(*table.primary_key)
                here, there = new.execute(query).all(), old.execute(query).all()
                assert here == there, table.name
            assert new.scalars(select(Job.lease_owner)).all() == [None]
            assert new.scalars(select(Album.revision)).one() > 0


def test_numbers_that_were_given_out_do_not_come_back(
    full: Full, elsewhere: Settings, tmp_path: Path
) -> None:
    with full.catalog.session() as session:
        session.add(gone := Album(name="gone", settings={}))
        session.flush()
        last = gone.id
        session.delete(gone)
    back_up(full.catalog, full.settings, tmp_path / "backup")
    with Catalog.open(elsewhere) as restored:
        restore(restored, elsewhere, tmp_path / "backup")
        assert albums.album(restored, "next") > last


def test_roots_of_uploads_follow_the_library(
    full: Full, elsewhere: Settings, tmp_path: Path
) -> None:
    back_up(full.catalog, full.settings, tmp_path / "backup")
    shutil.move(tmp_path / "photos", tmp_path / "moved" / "photos")
    shutil.rmtree(full.settings.uploads_dir)
    with Catalog.open(elsewhere) as restored:
        with pytest.raises(FolderError, match="no album has its folder"):
            restore(restored, elsewhere, tmp_path / "backup", moved=[(Path("/nowhere"), tmp_path)])
        restore(
            restored,
            elsewhere,
            tmp_path / "backup",
            moved=[(tmp_path / "photos", tmp_path / "moved" / "photos")],
        )
        with restored.reading() as session:
            folders = {Path(os.fsdecode(path)) for path in session.scalars(select(Root.path))}
    assert tmp_path / "moved" / "photos" in folders
    (uploads,) = folders - {tmp_path / "moved" / "photos"}
    assert uploads.parent == elsewhere.uploads_dir.resolve()
    assert (uploads / "sent.jpg").is_file()


def test_second_backup_copies_what_is_new_and_forgets_what_is_gone(
    full: Full, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    first = back_up(full.catalog, full.settings, folder)
    assert first.copied_files == first.files
    again = back_up(full.catalog, full.settings, folder)
    assert (again.copied_files, again.files) == (0, first.files)
    (full.export / "hits.csv").write_text("rank\n0\n1\n")
    (full.settings.models_dir / "rela-x.safetensors").unlink()
    third = back_up(full.catalog, full.settings, folder)
    assert (third.copied_files, third.files) == (1, first.files - 1)
    manifest = Archive(folder).manifest()
    assert list(Archive(folder).faults(manifest, Archive(folder).files(manifest))) == []
    assert not list((folder / "models").glob("*"))
    assert len(list(folder.glob("catalog-*"))) == 1


def test_backup_that_was_cut_off_goes_on(
    full: Full, elsewhere: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backup"
    copied: list[Path] = []
    copy = archives.copy

    def fails_at_the_fourth(source: Path, target: Path) -> str:
        if len(copied) == 3:
            raise OSError(28, "No space left on device")
        copied.append(source)
        return copy(source, target)

    monkeypatch.setattr(archives, "copy", fails_at_the_fourth)
    with pytest.raises(OSError, match="No space"):
        back_up(full.catalog, full.settings, folder)
    with Catalog.open(elsewhere) as restored, pytest.raises(BackupUnusable, match="cut off"):
        restore(restored, elsewhere, folder)
    monkeypatch.setattr(archives, "copy", copy)
    done = back_up(full.catalog, full.settings, folder)
    assert done.copied_files == done.files - 3
    with Catalog.open(elsewhere) as restored:
        assert restore(restored, elsewhere, folder).files == done.files


def test_restore_that_was_cut_off_goes_on_and_a_full_library_is_left_alone(
    full: Full, elsewhere: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    back_up(full.catalog, full.settings, folder)

    def stop(what: str, done: int, total: int | None) -> None:
        if what == "rows":
            raise KeyboardInterrupt

    with Catalog.open(elsewhere) as restored:
        with pytest.raises(KeyboardInterrupt):
            restore(restored, elsewhere, folder, progress=stop)
        with restored.reading() as session:
            assert session.scalar(select(func.count()).select_from(Album)) == 0
        restore(restored, elsewhere, folder)
        assert read_index(restored, elsewhere, full.album) == read_index(
            full.catalog, full.settings, full.album
        )
        with pytest.raises(LibraryNotEmpty, match="holds albums already"):
            restore(restored, elsewhere, folder)


def test_damage_is_found_and_told(full: Full, elsewhere: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    back_up(full.catalog, full.settings, folder)
    archive = Archive(folder)
    manifest = archive.manifest()
    files = {each.place: folder / each.stored for each in archive.files(manifest)}

    def flip(file: Path) -> None:
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)

    flip(files["features"])
    flip(files["uploads"])
    faults = [fault for _, fault in archive.faults(manifest, archive.files(manifest))]
    assert len(faults) == 2
    with Catalog.open(elsewhere) as restored:
        with pytest.raises(BackupUnusable, match=r"uploads-\d+-\w+/sent.jpg"):
            restore(restored, elsewhere, folder)
        told = restore(restored, elsewhere, folder, accept_damage=True)
        assert len(told.damaged) == 2
        with restored.reading() as session:
            known = set(session.scalars(select(Segment.path)))
            assert session.scalar(select(func.count()).where(Photo.status == "new")) == 7
        assert all((elsewhere.features_dir / path).is_file() for path in known)
        flip(folder / manifest.catalog)
    other = elsewhere.model_copy(update={"home": tmp_path / "third"})
    with (
        Catalog.open(f"sqlite:///{tmp_path / 'third.sqlite'}") as third,
        pytest.raises(BackupUnusable, match=r"catalog-\w+.sqlite has changed"),
    ):
        restore(third, other, folder)


def test_folder_of_something_else_is_no_backup(
    full: Full, elsewhere: Settings, tmp_path: Path
) -> None:
    albums.folder_of(tmp_path / "mine", 1)
    with pytest.raises(BackupUnusable, match="holds other things"):
        back_up(full.catalog, full.settings, tmp_path / "mine")
    with Catalog.open(elsewhere) as empty, pytest.raises(BackupUnusable, match="is no backup"):
        restore(empty, elsewhere, tmp_path / "mine")
    listed = tmp_path / "outside"
    back_up(full.catalog, full.settings, listed)
    manifest = json.loads((listed / "backup.json").read_text())
    line = json.loads((listed / manifest["files"]).read_text().splitlines()[0])
    line["path"] = "../../etc/passwd"
    (listed / manifest["files"]).write_text(json.dumps(line))
    manifest["files_digest"] = archives.digest_of(listed / manifest["files"])
    (listed / "backup.json").write_text(json.dumps(manifest))
    with pytest.raises(BackupUnusable, match="outside"):
        Archive(listed).files(Archive(listed).manifest())


def test_backup_is_of_one_moment_while_photos_come_and_go(
    full: Full, elsewhere: Settings, tmp_path: Path
) -> None:
    """An album is uploaded to and another deleted while the files are copied."""
    other = albums.album(full.catalog, "other", albums.folder_of(tmp_path / "others", 2, first=50))
    run_job(
        full.settings, full.catalog, jobs.create(full.catalog, "index", album_id=other).id,
        full.models,
    )  # fmt: skip
    begun, go_on = threading.Event(), threading.Event()

    def wait(what: str, done: int, total: int | None) -> None:
        if what == "bytes" and not begun.is_set():
            begun.set()
            assert go_on.wait(60)

    made: list[object] = []
    thread = threading.Thread(
        target=lambda: made.append(
            back_up(full.catalog, full.settings, tmp_path / "backup", progress=wait)
        )
    )
    thread.start()
    assert begun.wait(60)
    with full.catalog.session() as session:
        session.execute(update(Album).where(Album.id == other).values(name="renamed"))
    albums.folder_of(tmp_path / "photos", 2, first=20)
    run_job(full.settings, full.catalog, full.job(), full.models)
    compacted = jobs.create(full.catalog, "compact").id
    assert run_job(full.settings, full.catalog, compacted, full.models).state == "done"
    go_on.set()
    thread.join(60)
    assert made
    with Catalog.open(elsewhere) as restored:
        restore(restored, elsewhere, tmp_path / "backup")
        with restored.reading() as session:
            assert set(session.scalars(select(Album.name))) == {"family", "other"}
        indexed = read_index(restored, elsewhere, full.album).photos
        assert len(indexed) == 7
        assert all(status == "indexed" and tiers for status, tiers in indexed.values())
        assert verify(restored, FeatureStore.open(elsewhere, restored)).damaged == []


@pytest.mark.postgres
def test_home_of_a_library_on_sqlite_moves_into_another_database(
    postgres_library: tuple[Settings, Full], tmp_path: Path
) -> None:
    settings, full = postgres_library
    with full.catalog.session() as session:
        session.execute(update(Photo).values(camera="with\0zero"))  # PostgreSQL takes no NUL
    before = read_index(full.catalog, full.settings, full.album)
    files = full.files()
    with Catalog.open(settings) as server:
        told = restore(server, settings, full.settings.home)
        assert told.files == 0  # they stay where they are
        assert read_index(server, settings, full.album) == before
        with server.reading() as session:
            assert set(session.scalars(select(Photo.camera))) == {"with\ufffdzero"}
        assert albums.album(server, "next") > full.album
        job = jobs.create(server, "index", album_id=full.album).id
        assert (run_job(settings, server, job, full.models).result or {})["indexed"] == 7
    assert {n: d for n, d in full.files().items() if n in files} == files


@pytest.fixture
def postgres_library(
    postgres_url: str,
    settings: Settings,
    models: Held,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[Settings, Full]]:
    """A full library on SQLite, and the same home's settings with an empty PostgreSQL database."""
    monkeypatch.setenv("REFERENT_DECODE_WORKERS", "1")
    monkeypatch.setenv("REFERENT_DECODE_TIMEOUT_S", "60")
    with Catalog.open(settings) as catalog:
        full = Full(catalog, Settings(), models, tmp_path / "photos")
        monkeypatch.setenv("REFERENT_DATABASE_URL", postgres_url)
        yield Settings(), full
