"""A catalog of a million photos: how long a scan, a job page and a claim take, and by which plans.

Run: python benchmarks/million.py [--photos 1000000] [--database URL] [--json]

The files are real (sparse, so that they take no space), the rows are synthetic and match them, so
that the scan has to look at every file and at every row and change nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select, text

from indexer import claims, jobs, scan
from indexer.catalog import Catalog, count_by_status
from indexer.settings import Settings
from indexer.tables import Album, FeatureRow, Job, JobFailure, JobSlot, Photo, Root, Segment
from search_api import photos as pages

FILES_A_FOLDER = 1000
FINGERPRINTS = {"tokens": "t" * 40, "masks": "m" * 40, "vectors": "v" * 40}
# Ceilings that the issue sets; a figure above one ends the benchmark with status 1.
SCAN_S, SCAN_MIB, PAGE_S = 60.0, 1024.0, 1.0


def make_files(folder: Path, number: int) -> None:
    """Sparse files of 1,000 bytes, a thousand a folder."""
    for start in range(0, number, FILES_A_FOLDER):
        below = folder / f"{start // FILES_A_FOLDER:05d}"
        below.mkdir(parents=True)
        for at in range(start, min(number, start + FILES_A_FOLDER)):
            descriptor = os.open(below / f"{at:07d}.jpg", os.O_CREAT | os.O_WRONLY)
            os.ftruncate(descriptor, 1000)
            os.close(descriptor)


def rows_of(folder: Path, album: int, root: int) -> Iterator[list[dict[str, Any]]]:
    """Rows that match the files, a folder at a time: 98 % indexed, 1 % failed, 1 % new."""
    for below in sorted(folder.iterdir()):
        rows = []
        for file in sorted(below.iterdir()):
            status = file.stat()
            number = int(file.stem)
            state = {98: "failed", 99: "new"}.get(number % 100, "indexed")
            rows.append(
                {
                    "album_id": album, "root_id": root,
                    "path": f"{below.name}/{file.name}".encode(),
                    "content_hash": f"{number:040x}", "size": status.st_size,
                    "mtime_ns": status.st_mtime_ns, "inode": status.st_ino, "format": "JPEG",
                    "width": 4000, "height": 3000, "status": state, "attempts": 0,
                    "seen_at": 0.0, "added_at": 0.0,
                }
            )  # fmt: skip
        yield rows


def fill(catalog: Catalog, folder: Path) -> int:
    """Write the album, its photos, the feature rows of the indexed ones, and 10,000 old jobs."""
    with catalog.session() as session:
        album = Album(name="million", settings={}, created_at=0.0)
        session.add(album)
        session.flush()
        root = Root(album_id=album.id, path=os.fsencode(folder), mounts=[])
        session.add(root)
        segments = [
            Segment(
                tier=tier, fingerprint=fingerprint, path=f"{tier}.seg", rows=0, bytes=0,
                state="live",
            )
            for tier, fingerprint in FINGERPRINTS.items()
        ]  # fmt: skip
        session.add_all(segments)
        session.flush()
        numbers = (album.id, root.id, {one.fingerprint: one.id for one in segments})
    position = 0
    for rows in rows_of(folder, numbers[0], numbers[1]):
        with catalog.session() as session:
            session.execute(insert(Photo), rows)
            indexed = [row["content_hash"] for row in rows if row["status"] == "indexed"]
            features = [
                {
                    "fingerprint": fingerprint, "content_hash": digest,
                    "segment_id": segment, "position": position + at,
                }
                for fingerprint, segment in numbers[2].items()
                for at, digest in enumerate(indexed)
            ]  # fmt: skip
            session.execute(insert(FeatureRow), features)
            position += len(indexed)
    with catalog.session() as session:
        session.execute(
            insert(Job),
            [
                {
                    "kind": "index", "album_id": numbers[0], "parameters": {"n": n},
                    "state": "done", "done": 1, "failed": 0, "attempts": 0, "created_at": 0.0,
                }
                for n in range(10_000)
            ],
        )  # fmt: skip
        last = session.scalars(select(Job.id).order_by(Job.id.desc()).limit(1)).one()
        session.execute(insert(JobSlot), [{"job_id": last, "slot": slot} for slot in range(8)])
        failed = session.scalars(select(Photo.id).where(Photo.status == "failed"))
        session.execute(
            insert(JobFailure),
            [
                {"job_id": last, "photo_id": photo, "reason": "no image", "attempts": 3}
                for photo in failed
            ],
        )
    with catalog.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    return numbers[0]


def timed(act: Callable[[], object], repeats: int = 3) -> float:
    """Seconds of the slowest of some runs."""
    slowest = 0.0
    for _ in range(repeats):
        started = time.perf_counter()
        act()
        slowest = max(slowest, time.perf_counter() - started)
    return slowest


def scan_in_child(database: str) -> dict[str, float]:
    """Scan in a process of its own, so that its peak memory is its own."""
    code = "import benchmarks.million as m; m.child()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "REFERENT_DATABASE_URL": database},
        cwd=Path(__file__).resolve().parent.parent,
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def child() -> None:
    """What `scan_in_child` runs."""
    with Catalog.open(Settings()) as catalog:
        started = time.perf_counter()
        report = scan.scan_album(catalog, "million")
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mib": peak, "unchanged": report.unchanged}))


def table_scans(catalog: Catalog, album: int) -> list[str]:
    """Steps of the paged queries' plans that read a whole large table; there should be none."""
    with catalog.reading() as session:
        last_job = session.scalars(select(Job.id).order_by(Job.id.desc()).limit(1)).one()
    statements = {
        "photo page": select(Photo)
        .where(Photo.id > 500_000, Photo.album_id == album, Photo.deleted_at.is_(None))
        .order_by(Photo.id)
        .limit(50),
        "failed page": select(Photo)
        .where(Photo.album_id == album, Photo.status == "failed", Photo.id > 1000)
        .order_by(Photo.id)
        .limit(50),
        "job page": select(Job).order_by(Job.id.desc()).limit(50),
        "running jobs": select(Job).where(Job.state.in_(jobs.UNFINISHED)).order_by(Job.id),
        "job failures": select(JobFailure)
        .where(JobFailure.job_id == last_job, JobFailure.id > 100)
        .order_by(JobFailure.id)
        .limit(50),
        "same content": select(Photo).where(Photo.content_hash == f"{7:040x}"),
    }
    found = []
    prefix = "EXPLAIN QUERY PLAN " if catalog.is_sqlite else "EXPLAIN "
    with catalog.engine.connect() as connection:
        for name, statement in statements.items():
            compiled = statement.compile(
                catalog.engine, compile_kwargs={"literal_binds": True, "render_postcompile": True}
            )
            for row in connection.exec_driver_sql(prefix + str(compiled).replace("%", "%%")):
                step = str(row[-1])
                whole = step.startswith("SCAN") and "USING" not in step and step != "SCAN jobs"
                if whole or ("Seq Scan on photos" in step or "Seq Scan on job_failures" in step):
                    found.append(f"{name}: {step}")
                if "TEMP B-TREE" in step or step.strip().startswith("Sort "):
                    found.append(f"{name}: {step}")
    return found


def measure(number: int, database: str, folder: Path) -> dict[str, Any]:
    """Make the library, take every figure."""
    figures: dict[str, Any] = {"photos": number}
    started = time.perf_counter()
    make_files(folder / "photos", number)
    figures["files_made_s"] = time.perf_counter() - started
    with Catalog.open(database) as catalog:
        started = time.perf_counter()
        album = fill(catalog, folder / "photos")
        figures["rows_written_s"] = time.perf_counter() - started
        with catalog.reading() as session:
            newest = session.scalars(select(Job.id).order_by(Job.id.desc()).limit(1)).one()
        figures["job_page_s"] = timed(lambda: jobs.list_jobs(catalog, limit=50))
        figures["job_failures_page_s"] = timed(
            lambda: jobs.failures(catalog, newest, after=100, limit=100)
        )
        figures["photo_page_s"] = timed(
            lambda: pages.list_photos(catalog, album_id=album, after=number // 2)
        )
        figures["failed_photo_page_s"] = timed(
            lambda: pages.list_photos(catalog, album_id=album, status="failed", after=number // 2)
        )
        with catalog.reading() as session:
            figures["count_by_status_s"] = timed(lambda: count_by_status(session, album))
            figures["remaining_s"] = timed(
                lambda: claims.remaining(session, album, FINGERPRINTS), 1
            )
        figures["claim_s"] = timed(
            lambda: claims.claim(catalog, album, FINGERPRINTS, "bench", limit=32), 1
        )
        figures["table_scans"] = table_scans(catalog, album)
    figures["scan"] = scan_in_child(database)
    return figures


def main() -> int:
    """Print the figures; 1 where one is above its ceiling."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=1_000_000)
    parser.add_argument("--database", default="", help="an empty PostgreSQL database; else SQLite")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="referent-million-"))
    try:
        database = arguments.database or f"sqlite:///{folder / 'catalog.sqlite'}"
        figures = measure(arguments.photos, database, folder)
    finally:
        shutil.rmtree(folder)
    slow = [
        f"{name} {figures[name]:.2f} s (ceiling {PAGE_S} s)"
        for name in ("job_page_s", "job_failures_page_s", "photo_page_s", "failed_photo_page_s")
        if figures[name] > PAGE_S
    ]
    if figures["scan"]["seconds"] > SCAN_S or figures["scan"]["peak_mib"] > SCAN_MIB:
        slow.append(f"scan {figures['scan']} (ceilings {SCAN_S} s, {SCAN_MIB} MiB)")
    slow += figures["table_scans"]
    figures["above_ceiling"] = slow
    if arguments.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:24} {value:.4f}" if isinstance(value, float) else f"{name:24} {value}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
