"""The catalog on SQLite and on PostgreSQL: transactions, clock, migrations, errors."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, insert, inspect, select, text, update
from sqlalchemy.exc import IntegrityError

import indexer.db.migrate
from indexer.db.catalog import Catalog, album_named, count_by_status, model_version, touch
from indexer.db.clock import clock
from indexer.db.migrate import migrate
from indexer.db.tables import (
    Album,
    Base,
    FeatureRow,
    IndexVersion,
    Job,
    Photo,
    Root,
    SearchRun,
    Segment,
)
from indexer.errors import (
    AlbumExists,
    CatalogDamaged,
    CatalogLocked,
    CatalogReadOnly,
    CatalogTooNew,
    CatalogUnreachable,
    FolderError,
    NoSpaceLeft,
    UnknownAlbum,
    UnknownGlob,
)
from indexer.folders.albums import change_album, delete_album, ensure_album, list_albums
from indexer.settings import Settings


def revisions() -> list[str]:
    config = Config()
    folder = Path(indexer.db.migrate.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    scripts = ScriptDirectory.from_config(config).walk_revisions()
    return [script.revision for script in scripts][::-1]


def test_revisions_are_known_by_the_names_of_their_files() -> None:
    assert indexer.db.migrate.revisions() == revisions()


def an_album(catalog: Catalog, photos: int = 3) -> int:
    with catalog.session() as session:
        album = Album(name="holidays", settings={})
        session.add(album)
        session.flush()
        root = Root(album_id=album.id, path=b"/photos/\xff")
        session.add(root)
        session.flush()
        session.add_all(
            Photo(
                album_id=album.id,
                root_id=root.id,
                path=b"\xe9 %d.jpg" % number,
                content_hash=f"{number:040x}",
                size=10,
                mtime_ns=1_700_000_000_123_456_789,
                inode=-5,
                taken_at=datetime(2024, 2, 29, 23, 59, number),
            )
            for number in range(photos)
        )
        return album.id


def test_any_bytes_survive_as_a_path(catalog: Catalog) -> None:
    album_id = an_album(catalog)
    with catalog.reading() as session:
        photo = session.scalars(select(Photo).order_by(Photo.path)).first()
        assert photo is not None
        assert photo.path == b"\xe9 0.jpg"
        assert photo.mtime_ns == 1_700_000_000_123_456_789
        assert photo.taken_at == datetime(2024, 2, 29, 23, 59, 0)
        assert photo.status == "new" and photo.album_id == album_id


def test_paths_sort_by_their_bytes(catalog: Catalog) -> None:
    album_id = an_album(catalog, photos=0)
    names = [b"b", b"a/z", b"a.z", b"\xff", b"A", "ä".encode()]
    with catalog.session() as session:
        root_id = session.scalars(select(Root.id)).one()
        for name in names:
            place = {"album_id": album_id, "root_id": root_id, "path": name}
            session.add(Photo(**place, size=1, mtime_ns=1, inode=1))
    with catalog.reading() as session:
        assert session.scalars(select(Photo.path).order_by(Photo.path)).all() == sorted(names)


def test_the_clock_is_the_databases_and_usable_in_conditions(catalog: Catalog) -> None:
    assert abs(catalog.now() - time.time()) < 5
    with catalog.session() as session:
        job = Job(kind="index", state="queued", lease_until=None)
        session.add(job)
        session.flush()
        assert abs(job.created_at - time.time()) < 5
        session.execute(update(Job).values(lease_until=clock() + 60))
        live = select(Job.id).where(Job.lease_until > clock())
        assert session.scalars(live).all() == [job.id]
        assert session.scalars(select(Job.id).where(Job.lease_until < clock() + 50)).all() == []


def test_an_exception_rolls_back(catalog: Catalog) -> None:
    with pytest.raises(RuntimeError), catalog.session() as session:
        session.add(Album(name="gone"))
        session.flush()
        raise RuntimeError
    with catalog.reading() as session:
        assert session.scalars(select(Album)).all() == []


def test_readers_see_one_version_while_a_writer_writes(catalog: Catalog) -> None:
    album_id = an_album(catalog)
    with catalog.reading() as reader:
        if not catalog.is_sqlite:
            reader.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        before = reader.scalars(select(Album.revision)).one()
        with catalog.session() as writer:
            touch(writer, album_id)
        reader.expire_all()
        assert reader.scalars(select(Album.revision)).one() == before
    with catalog.reading() as reader:
        assert reader.scalars(select(Album.revision)).one() > before


def test_a_revision_that_a_restored_catalog_counts_again_is_another_one(catalog: Catalog) -> None:
    album_id = an_album(catalog)
    with catalog.reading() as session:
        saved = session.scalars(select(Album.revision)).one()
    seen = []
    for _ in range(2):  # what was cached under the first must not be found by the second
        with catalog.session() as session:
            touch(session, album_id)
            seen.append(session.scalars(select(Album.revision)).one())
            session.execute(update(Album).values(revision=saved))  # the backup is brought back
    assert seen[0] != seen[1]


def test_writers_in_threads_wait_for_each_other(catalog: Catalog) -> None:
    album_id = an_album(catalog)

    def count_up() -> None:
        for _ in range(10):
            with catalog.session() as session:
                album = session.get(Album, album_id, with_for_update=True)
                assert album is not None
                album.revision += 1

    with catalog.reading() as session:
        before = session.scalars(select(Album.revision)).one()
    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with catalog.reading() as session:
        assert session.scalars(select(Album.revision)).one() == before + 40


def test_a_photo_of_one_path_has_one_row(catalog: Catalog) -> None:
    album_id = an_album(catalog, photos=1)
    with pytest.raises(IntegrityError), catalog.session() as session:
        root_id = session.scalars(select(Root.id)).one()
        place = {"album_id": album_id, "root_id": root_id, "path": b"\xe9 0.jpg"}
        session.add(Photo(**place, size=1, mtime_ns=1, inode=1))


def test_a_content_has_one_record_of_a_fingerprint(catalog: Catalog) -> None:
    row = {"fingerprint": "f", "content_hash": "c", "position": 0}
    with catalog.session() as session:
        segment = Segment(tier="tokens", fingerprint="f", path="a", state="live")
        session.add(segment)
        session.flush()
        session.add(FeatureRow(**row, segment_id=segment.id))
    with pytest.raises(IntegrityError), catalog.session() as session:
        session.execute(insert(FeatureRow).values(**row, segment_id=segment.id))


def test_an_album_serves_one_index_version_at_most(catalog: Catalog) -> None:
    album_id = an_album(catalog)
    with catalog.session() as session:
        model = model_version(session, "m", {"tokens": "1"}, {})
        values = {"album_id": album_id, "model_version_id": model.id}
        session.add(IndexVersion(**values, state="serving"))
        session.add(IndexVersion(**values, state="retired"))
        session.add(IndexVersion(**values, state="retired"))
    with pytest.raises(IntegrityError), catalog.session() as session:
        session.add(IndexVersion(**values, state="serving"))


def test_a_model_is_one_row_a_set_of_fingerprints(catalog: Catalog) -> None:
    with catalog.session() as session:
        first = model_version(session, "m", {"a": "1", "b": "2"}, {"size": 1}).id
        again = model_version(session, "m", {"b": "2", "a": "1"}, {"size": 1}).id
        other = model_version(session, "m", {"b": "3", "a": "1"}, {"size": 1}).id
    assert first == again != other


def test_an_unknown_album_is_named_with_those_that_exist(catalog: Catalog) -> None:
    an_album(catalog)
    with catalog.reading() as session:
        assert album_named(session, "holidays").name == "holidays"
        with pytest.raises(UnknownAlbum, match=r"no album is named 'nope'.*holidays"):
            album_named(session, "nope")


def test_photos_are_counted_by_status(catalog: Catalog) -> None:
    album_id = an_album(catalog)
    with catalog.session() as session:
        session.execute(update(Photo).where(Photo.path == b"\xe9 0.jpg").values(status="failed"))
        counts = count_by_status(session, album_id)
    assert counts == {"new": 2, "indexed": 0, "failed": 1, "missing": 0}


def test_paging_photos_by_date_and_id_uses_an_index(settings: Settings) -> None:
    query = "explain query plan select id from photos where album_id = 1 order by "
    with Catalog.open(settings) as catalog:
        for order in ("taken_at, id", "id"):
            with catalog.reading() as session:
                plan = " ".join(str(row) for row in session.execute(text(query + order)))
            assert "ix_photos_album_id" in plan and "TEMP B-TREE" not in plan, plan


def test_statistics_cover_tables_that_no_query_has_read_yet(settings: Settings) -> None:
    with Catalog.open(settings) as catalog:
        an_album(catalog)
    with Catalog.open(settings) as catalog:
        catalog.refresh_statistics()
        with catalog.reading() as session:
            assert session.scalars(text("SELECT 1 FROM sqlite_stat1 WHERE tbl = 'photos'")).first()


def test_albums_are_listed_changed_and_forgotten(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with catalog.session() as session:
        assert ensure_album(session, [tmp_path / "a"]).name == "a"
    with catalog.session() as session:
        assert ensure_album(session, [tmp_path / "a"], exclude=["raw"]).name == "a"
        assert ensure_album(session, [tmp_path / "b"], name="bees").name == "bees"
    with catalog.session() as session, pytest.raises(AlbumExists):
        change_album(session, "a", rename="bees")
    with catalog.session() as session:
        assert change_album(session, "a", add=[tmp_path / "b"], rename="both") == "both"
    with catalog.reading() as session:
        both, bees = sorted(list_albums(session), key=lambda summary: -len(summary.folders))
    assert both.folders == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert both.exclude == ["raw"] and bees.name == "bees"
    with catalog.session() as session:
        change_album(session, "both", include=["*.jpg"], drop_globs=["raw"])
        with pytest.raises(UnknownGlob, match=r"'raw' is no glob of the album 'both' .*\*\.jpg"):
            change_album(session, "both", drop_globs=["raw"])
        assert list_albums(session, "both")[0].exclude == []
    with catalog.session() as session:
        assert delete_album(session, "both") == 0
        with pytest.raises(UnknownAlbum):
            list_albums(session, "both")


def test_a_folder_that_is_none_makes_no_album(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, message in (("nowhere", "no such folder"), ("file", "is a file")):
        with pytest.raises(FolderError, match=message), catalog.session() as session:
            ensure_album(session, [tmp_path / name])


def test_forgetting_an_album_forgets_its_photos_jobs_and_searches(catalog: Catalog) -> None:
    album_id = an_album(catalog)
    with catalog.session() as session:
        session.add(Job(kind="index", album_id=album_id))
        run = {"id": "u", "expression": "dog", "album_id": album_id, "mode": "fast"}
        session.add(SearchRun(**run, state="done"))
    with catalog.session() as session:
        assert delete_album(session, "holidays") == 3
    with catalog.reading() as session:
        for table in (Photo, Root, Job, SearchRun):
            assert session.scalars(select(table)).first() is None


# --- migrations ---


def test_migrations_make_exactly_the_tables_of_the_code(catalog: Catalog) -> None:
    with catalog.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


@pytest.mark.parametrize("revision", revisions())
def test_every_earlier_revision_upgrades_with_its_data(
    database_url: str, settings: Settings, revision: str
) -> None:
    settings.home.mkdir()
    catalog = Catalog(database_url)
    migrate(catalog.url, revision=revision)
    filled = fill_every_table(catalog)
    catalog.close()
    with Catalog.open(database_url) as catalog:
        with catalog.engine.connect() as connection:
            names = set(inspect(connection).get_table_names())
            assert names == {*Base.metadata.tables, "alembic_version"}
            for name in filled & names:
                count = connection.execute(text(f"select count(*) from {name}")).scalar_one()
                assert count == 1, name
        with catalog.session() as session:
            photo = session.scalars(select(Photo)).one()
            assert photo.path == b"\xff.jpg"
            session.delete(session.scalars(select(Album)).one())  # the keys still cascade
        with catalog.reading() as session:
            assert session.scalars(select(Photo)).all() == []


def fill_every_table(catalog: Catalog) -> set[str]:
    """One row in each table as it is at the database's revision, references first."""
    tables = MetaData()
    with catalog.engine.begin() as connection:
        tables.reflect(connection)
        filled = set()
        for table in tables.sorted_tables:
            if table.name == "alembic_version":
                continue
            values: dict[str, object] = {}
            for column in table.columns:
                kind = str(column.type).split("(")[0]
                if column.foreign_keys or column.name == "id":
                    text_key = kind in ("VARCHAR", "TEXT")
                    values[column.name] = "u" if text_key else 1
                elif kind in ("BLOB", "BYTEA"):
                    values[column.name] = b"\xff.jpg"
                elif kind == "JSON":
                    values[column.name] = {}
                elif kind in ("DATETIME", "TIMESTAMP"):
                    values[column.name] = datetime(2024, 1, 1)
                elif kind in ("VARCHAR", "TEXT"):
                    values[column.name] = "x"
                elif kind == "BOOLEAN":
                    values[column.name] = True
                else:
                    values[column.name] = 1
            connection.execute(insert(table).values(**values))
            filled.add(table.name)
    return filled


def test_two_processes_may_migrate_at_once(database_url: str) -> None:
    code = f"from indexer.db.catalog import Catalog; Catalog.open({database_url!r}).close()"
    started = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait(60) for process in started] == [0, 0]
    with Catalog.open(database_url) as catalog, catalog.reading() as session:
        assert session.scalars(select(Album)).all() == []


def test_a_database_of_a_newer_version_is_refused(database_url: str) -> None:
    with Catalog.open(database_url) as catalog, catalog.engine.begin() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(CatalogTooNew, match=r"newer Referent.*9999.*update Referent"):
        Catalog.open(database_url)


# --- errors of SQLite and of PostgreSQL ---


def test_a_locked_database_is_said_to_be_locked(settings: Settings) -> None:
    with Catalog.open(settings, timeout_s=0.1) as catalog:
        other = sqlite3.connect(str(catalog.url.database), isolation_level=None)
        other.execute("begin immediate")
        with (
            pytest.raises(CatalogLocked, match="locked by another process"),
            catalog.session() as session,
        ):
            session.add(Album(name="now"))
        other.execute("rollback")
        other.close()
        with catalog.session() as session:
            session.add(Album(name="later"))


def test_a_file_that_is_no_database_is_said_to_be_none(settings: Settings) -> None:
    settings.home.mkdir()
    (settings.home / "catalog.sqlite").write_bytes(b"no database at all, really not" * 100)
    with pytest.raises(CatalogDamaged, match="not a usable database"):
        Catalog.open(settings)


def test_a_library_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CatalogReadOnly, match="cannot make the library folder"):
        Catalog.open(Settings(home=tmp_path / "file" / "library"))


def test_a_read_only_database_is_said_to_be_read_only(settings: Settings) -> None:
    Catalog.open(settings).close()
    url = f"sqlite:///file:{settings.home / 'catalog.sqlite'}?mode=ro&uri=true"
    with Catalog(url) as catalog:
        with catalog.reading() as session:
            assert session.scalars(select(Album)).all() == []
        with (
            pytest.raises(CatalogReadOnly, match="cannot write the database"),
            catalog.session() as session,
        ):
            session.add(Album(name="a"))


def test_a_full_disk_is_said_to_be_full_and_nothing_is_lost(settings: Settings) -> None:
    with Catalog.open(settings) as catalog:
        with catalog.session() as session:
            session.add(Album(name="before"))
            pages = session.execute(text("pragma page_count")).scalar_one()
        with pytest.raises(NoSpaceLeft, match="no space left"), catalog.session() as session:
            # What a full disk does, SQLite does at this bound.
            session.execute(text(f"pragma max_page_count = {pages}"))
            session.add(Album(name="big", settings={"include": ["x" * 1_000_000]}))
        with catalog.reading() as session:
            assert session.scalars(select(Album.name)).all() == ["before"]


def test_a_server_that_is_not_there_is_said_not_to_answer() -> None:
    with pytest.raises(CatalogUnreachable, match=r"127\.0\.0\.1:1/"):
        Catalog.open("postgresql://nobody:secret@127.0.0.1:1/none")


@pytest.mark.postgres
def test_a_wrong_database_is_named_without_its_password(postgres_url: str) -> None:
    wrong = postgres_url.replace("postgres@", "postgres:hunter2@") + "_absent"
    with pytest.raises(CatalogUnreachable, match="_absent") as error:
        Catalog.open(wrong)
    assert "hunter2" not in str(error.value)


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_settings_come_from_the_environment_and_home_moves_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REFERENT_DATABASE_URL", raising=False)
    monkeypatch.setenv("REFERENT_HOME", str(tmp_path))
    monkeypatch.setenv("REFERENT_DECODE_WORKERS", "3")
    settings = Settings()
    assert settings.database_url.get_secret_value() == f"sqlite:///{tmp_path}/catalog.sqlite"
    assert settings.features_dir == tmp_path / "features"
    assert settings.decode_workers == 3
    with pytest.raises(ValueError, match="decode_workers"):
        Settings(decode_workers=0)
