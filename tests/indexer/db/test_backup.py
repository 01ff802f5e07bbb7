"""The backup and the restore of docs/operations.md, done."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from indexer.db.catalog import Catalog
from indexer.features.store import FeatureStore
from indexer.features.verify import verify
from indexer.jobs import jobs
from indexer.settings import Settings
from tests.support import albums
from tests.support.fake_predictor import FakePredictor
from tests.support.trial_library import Index, read_index
from workers.inprocess import run_job
from workers.models import Models


@pytest.fixture
def models() -> Iterator[Models]:
    held = Models(load=lambda name: FakePredictor(name=name))  # type: ignore[arg-type,return-value]
    yield held
    held.close()


def back_up(catalog: Catalog, settings: Settings, folder: Path) -> None:
    folder.mkdir()
    if catalog.is_sqlite:
        connection = sqlite3.connect(str(catalog.url.database))
        connection.execute("vacuum into ?", (str(folder / "catalog.sqlite"),))
        connection.close()
    else:
        subprocess.run(
            ["pg_dump", "--format=custom", f"--file={folder / 'catalog.dump'}", plain(catalog)],
            check=True,
        )
    shutil.copytree(settings.features_dir, folder / "features")


def plain(catalog: Catalog) -> str:
    return catalog.url.set(drivername="postgresql").render_as_string(hide_password=False)


def lose_everything(catalog: Catalog, settings: Settings) -> None:
    if catalog.is_sqlite:
        catalog.close()
        for file in settings.home.glob("catalog.sqlite*"):
            file.unlink()
    else:
        with catalog.session() as session:
            session.execute(text("drop schema public cascade"))
            session.execute(text("create schema public"))
        catalog.close()
    shutil.rmtree(settings.features_dir)


def restore(catalog: Catalog, settings: Settings, folder: Path, *, features: bool) -> None:
    if catalog.is_sqlite:
        shutil.copy(folder / "catalog.sqlite", str(catalog.url.database))
    else:
        subprocess.run(
            ["pg_restore", "--clean", "--if-exists", "--no-owner", f"--dbname={plain(catalog)}",
             str(folder / "catalog.dump")],
            check=True,
        )  # fmt: skip
    if features:
        shutil.copytree(folder / "features", settings.features_dir)


@pytest.mark.parametrize("features", [True, False], ids=["with features", "catalog alone"])
def test_library_is_restored_from_its_backup(
    catalog: Catalog,
    settings: Settings,
    models: Models,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    features: bool,
) -> None:
    monkeypatch.setenv("REFERENT_DECODE_WORKERS", "1")
    monkeypatch.setenv("REFERENT_DECODE_TIMEOUT_S", "60")
    now = Settings()
    album = albums.album(catalog, "family", albums.folder_of(tmp_path / "photos", 8))
    done = run_job(now, catalog, jobs.create(catalog, "index", album_id=album).id, models)
    before: Index = read_index(catalog, now, album)
    back_up(catalog, now, tmp_path / "backup")
    lose_everything(catalog, now)
    restore(catalog, now, tmp_path / "backup", features=features)
    with Catalog.open(now) as restored:
        report = verify(restored, FeatureStore.open(now, restored))
        assert bool(report.lost_rows) == (not features)
        predictor = models.get("rela-mini")
        encoded = predictor.encoded  # type: ignore[attr-defined]
        again = run_job(now, restored, jobs.create(restored, "index", album_id=album).id, models)
        assert again.result is not None
        assert again.result["indexed"] == (done.result or {})["indexed"] == 8
        assert read_index(restored, now, album) == before
        assert (predictor.encoded == encoded) == features  # type: ignore[attr-defined]
