"""A library on servers of its own, with workers as real processes: the ground for fault trials."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sqlalchemy import func, select

from indexer.db.catalog import Catalog, count_by_status
from indexer.db.tables import EncodeClaim, FeatureRow, JobSlot, Photo, Root, Segment
from indexer.features import maintenance, versions
from indexer.features.store import FeatureStore
from indexer.jobs import jobs
from indexer.settings import Settings
from tests.support import albums
from tests.support.servers import Fleet, OwnPostgres, OwnRedis, wait_until
from tests.support.stand_in import QUICK_S, stand_in

COMMAND = (sys.executable, str(Path(__file__).resolve().parent / "stand_in.py"))


def make_photos(folder: Path, number: int, broken: int = 0) -> Path:
    """Small photos (64x48), each of its own content, some of them broken."""
    folder.mkdir(parents=True, exist_ok=True)
    for at in range(number):
        small = np.random.default_rng(at).integers(0, 255, (6, 8, 3), np.uint8)
        Image.fromarray(small).resize((64, 48)).save(folder / f"{at:05d}.jpg", quality=85)
    for at in range(broken):
        (folder / f"{at * (number // max(1, broken)):05d}.jpg").write_bytes(b"broken %d" % at)
    return folder


@dataclass(frozen=True)
class Index:
    """What an index holds, comparable between libraries: path → status and digests by tier."""

    photos: Mapping[str, tuple[str, tuple[str, ...]]]

    def differences(self, other: Index) -> list[str]:
        """Paths that are not the same in both; the first few, for a message."""
        paths = sorted(set(self.photos) | set(other.photos))
        return [
            f"{path}: {self.photos.get(path)} != {other.photos.get(path)}"
            for path in paths
            if self.photos.get(path) != other.photos.get(path)
        ][:5]


def read_index(catalog: Catalog, settings: Settings, album: int) -> Index:
    """Every photo's status and the digest of each of its records, from the files themselves."""
    version = versions.serving(catalog, album)
    assert version is not None
    wanted = versions.wanted_tiers(version.fingerprints, keep_pyramid=settings.keep_pyramid)
    store = FeatureStore.open(settings, catalog)
    with catalog.reading() as session:
        photos = session.execute(
            select(Photo.path, Photo.content_hash, Photo.status, Photo.error)
            .join(Root, Root.id == Photo.root_id)
            .where(Photo.album_id == album, Photo.deleted_at.is_(None))
        ).all()
    places = {
        tier: store.places(fingerprint, [row.content_hash for row in photos])
        for tier, fingerprint in wanted.items()
    }
    found = {}
    for row in photos:
        digests = []
        for tier in sorted(wanted):
            place = places[tier].get(row.content_hash)
            if place is not None:
                record = store.rows(place[0])[place[1]].tobytes()
                digests.append(f"{tier} {blake2b(record, digest_size=8).hexdigest()}")
        if row.status == "failed":
            digests.append(str(row.error))
        found[os.fsdecode(row.path)] = (row.status, tuple(digests))
    return Index(found)


class Library:
    """Settings, servers, one album and the processes that work on it."""

    def __init__(
        self,
        folder: Path,
        photos: Path,
        model: str = "stand-in",
        *,
        redis: OwnRedis | None = None,
        postgres: OwnPostgres | None = None,
        **settings: str,
    ) -> None:
        self.folder = folder
        self.redis = redis
        self.postgres = postgres
        self.environment = {
            "REFERENT_HOME": str(folder / "home"),
            "REFERENT_MODEL": model,
            "REFERENT_DECODE_WORKERS": "1",
            "REFERENT_DECODE_TIMEOUT_S": "60",
            "REFERENT_TURN_S": "4",
            "REFERENT_SWEEP_S": "1",
            "REFERENT_JOB_LEASE_S": "20",
            "REFERENT_DATABASE_TIMEOUT_S": "20",
            **{f"REFERENT_{name.upper()}": value for name, value in settings.items()},
        }
        if redis is not None:
            self.environment["REFERENT_REDIS_URL"] = redis.url
            self.environment["REFERENT_RUNNER"] = "celery"
        if postgres is not None:
            self.environment["REFERENT_DATABASE_URL"] = postgres.url
        self.settings = self._settings()
        self.catalog = Catalog.open(self.settings)
        self.album = albums.album(self.catalog, "trial", photos)
        self._pace = folder / "pace"
        self.fleet = Fleet(folder / "logs", {**self.environment, "TRIAL_PACE": str(self._pace)})
        self.pace(QUICK_S)

    def _settings(self) -> Settings:
        kept = {name: os.environ.get(name) for name in self.environment}
        os.environ.update(self.environment)
        try:
            return Settings()
        finally:
            for name, value in kept.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    def pace(self, seconds: float) -> None:
        """How long the stand-in takes for a batch from now on."""
        self._pace.write_text(str(seconds))

    def start_worker(self, name: str, **options: Any) -> Any:
        return self.fleet.start("worker", "--name", name, name=name, command=COMMAND, **options)

    def start_beat(self, **options: Any) -> Any:
        return self.fleet.start("worker", "--beat", name="beat", command=COMMAND, **options)

    def job(self, kind: str = "index", **parameters: Any) -> int:
        return jobs.create(
            self.catalog, kind, album_id=self.album, parameters=parameters, width=4
        ).id

    def indexed(self) -> int:
        with self.catalog.reading() as session:
            return count_by_status(session, self.album)["indexed"]

    def wait_for(self, job: int, timeout_s: float = 600) -> jobs.JobView:
        """Wait for the end of a job; a catalog that is away for a while is asked again."""

        def is_over() -> bool:
            try:
                return jobs.get(self.catalog, job).finished
            except Exception:  # the trial may have stopped the database
                return False

        wait_until(is_over, timeout_s=timeout_s, every_s=0.2, what=f"the end of job {job}")
        return jobs.get(self.catalog, job)

    def faults(self) -> list[str]:
        """What must not be after a run: unfinished work, doubled rows, files nobody knows."""
        found = []
        store = FeatureStore.open(self.settings, self.catalog)
        maintenance.collect(self.catalog, store)
        with self.catalog.reading() as session:
            held = session.scalar(
                select(func.count()).select_from(JobSlot).where(JobSlot.lease_owner.is_not(None))
            )
            claimed = session.scalar(
                select(func.count()).select_from(EncodeClaim).where(EncodeClaim.error.is_(None))
            )
            rows = dict(
                session.execute(
                    select(FeatureRow.fingerprint, func.count()).group_by(FeatureRow.fingerprint)
                ).all()
            )  # type: ignore[arg-type]
            counts = count_by_status(session, self.album)
            live = set(session.scalars(select(Segment.path).where(Segment.state == "live")))
            lost = session.scalar(
                select(func.count())
                .select_from(FeatureRow)
                .join(Segment, Segment.id == FeatureRow.segment_id)
                .where(Segment.state != "live")
            )
        if held:
            found.append(f"{held} places are still held")
        if claimed:
            found.append(f"{claimed} contents are still claimed")
        if counts["new"]:
            found.append(f"{counts['new']} photos are neither indexed nor failed")
        if any(number != counts["indexed"] for number in rows.values()):
            found.append(f"feature rows {rows} for {counts['indexed']} indexed photos")
        if lost:
            found.append(f"{lost} rows lie in segments that are not live")
        files = {
            file.relative_to(store.folder).as_posix() for file in store.folder.glob("*/*/*.seg*")
        }
        if files != live:
            found.append(
                f"{len(files - live)} files nobody knows, {len(live - files)} segments lost"
            )
        return found

    def index(self) -> Index:
        return read_index(self.catalog, self.settings, self.album)

    def close(self) -> None:
        self.fleet.kill_all()
        self.catalog.close()


def undisturbed(folder: Path, photos: Path, model: str = "stand-in") -> Index:
    """The index that one process makes of an album when nothing happens to it."""
    from workers.held import Held
    from workers.inprocess import run_job

    library = Library(folder, photos, model)
    load = stand_in if model == "stand-in" else None
    models = Held(library.settings, load=load)  # type: ignore[arg-type]
    try:
        done = run_job(library.settings, library.catalog, library.job(), models)
        assert done.state == "done", done
        assert library.faults() == []
        return library.index()
    finally:
        models.close()
        library.close()
