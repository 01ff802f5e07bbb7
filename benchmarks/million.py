"""A catalog of a million photos: how long a scan, a page and a claim take, and by which plans.

Run: python -m benchmarks.million [--photos 1000000] [--database URL] [--json]

The files are real (sparse, so that they take no space), the rows are synthetic and match them, so
that the scan has to look at every file and at every row and change nothing. The plans are those of
the statements that the pages and the workers really send.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

from sqlalchemy import event, func, insert, literal, select, text

from indexer.db.catalog import Catalog, count_by_status
from indexer.db.tables import Album, FeatureRow, Job, JobFailure, JobSlot, Photo, Root, Segment
from indexer.encoding import claims, statuses
from indexer.features import versions
from indexer.folders import scan
from indexer.jobs import jobs, slots
from indexer.jobs.failures import failures_of
from indexer.settings import Settings
from search_api.search import photos as pages

FILES_A_FOLDER = 1000
FINGERPRINTS = {"tokens": "t" * 40, "masks": "m" * 40, "vectors": "v" * 40}
# Ceilings that the issue sets; a figure above one ends the benchmark with status 1.
SCAN_S, SCAN_MIB, PAGE_S = 60.0, 1024.0, 1.0
# A step of a plan must not read one of these from end to end.
LARGE = ("photos", "feature_rows", "job_failures", "jobs", "job_slots")


def make_files(folder: Path, number: int) -> None:
    """Sparse files of 1,000 bytes, a thousand a folder."""
    for start in range(0, number, FILES_A_FOLDER):
        below = folder / f"{start // FILES_A_FOLDER:05d}"
        below.mkdir(parents=True)
        for at in range(start, min(number, start + FILES_A_FOLDER)):
            descriptor = os.open(below / f"{at:07d}.jpg", os.O_CREAT | os.O_WRONLY)
            os.ftruncate(descriptor, 1000)
            os.close(descriptor)


def content_hash(number: int) -> str:
    """Hashes in no order, like those of real photos."""
    return blake2b(number.to_bytes(8), digest_size=20).hexdigest()


def rows_of(folder: Path, album: int, root: int) -> Iterator[list[dict[str, Any]]]:
    """Rows that match the files, a folder at a time: 98 % indexed, 1 % failed, 1 % new."""
    for below in sorted(folder.iterdir()):
        rows = []
        for file in os.scandir(below):
            status = file.stat()
            number = int(Path(file.name).stem)
            state = {98: "failed", 99: "new"}.get(number % 100, "indexed")
            rows.append(
                {
                    "album_id": album, "root_id": root,
                    "path": f"{below.name}/{file.name}".encode(),
                    "content_hash": content_hash(number), "size": status.st_size,
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
    for rows in rows_of(folder, numbers[0], numbers[1]):
        with catalog.session() as session:
            session.execute(insert(Photo), rows)
    position = func.row_number().over(order_by=Photo.id) - 1
    for fingerprint, segment in numbers[2].items():
        records = select(literal(fingerprint), Photo.content_hash, literal(segment), position)
        records = records.where(Photo.status == "indexed").order_by(Photo.content_hash)
        with catalog.session() as session:
            session.execute(
                insert(FeatureRow).from_select(
                    ["fingerprint", "content_hash", "segment_id", "position"], records
                )
            )
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
        numbers_of_jobs = session.scalars(select(Job.id).order_by(Job.id)).all()
        last = numbers_of_jobs[-1]
        session.execute(
            insert(JobSlot),
            [{"job_id": job, "slot": slot} for job in numbers_of_jobs for slot in range(8)],
        )
        failed = session.scalars(select(Photo.id).where(Photo.status == "failed"))
        session.execute(
            insert(JobFailure),
            [
                {"job_id": last, "photo_id": photo, "reason": "no image", "attempts": 3}
                for photo in failed
            ],
        )
    with catalog.session() as session:
        session.execute(text("ANALYZE"))
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


def peak_mib() -> float:
    """This program's largest resident memory; `getrusage` also counts its parent's at the fork."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status does not tell the peak")


def child() -> None:
    """What `scan_in_child` runs."""
    with Catalog.open(Settings()) as catalog:
        started, used = time.perf_counter(), time.process_time()
        report = scan.scan_album(catalog, "million")
        seconds, cpu_s = time.perf_counter() - started, time.process_time() - used
    peak = peak_mib()
    figures = {"seconds": seconds, "cpu_s": cpu_s, "peak_mib": peak, "unchanged": report.unchanged}
    print(json.dumps(figures))


@contextmanager
def sent(catalog: Catalog) -> Iterator[list[tuple[str, Any]]]:
    """The statements, with their parameters, that the block sends."""
    statements: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if statement.lstrip().upper().startswith("SELECT"):
            statements.append((statement, parameters))

    event.listen(catalog.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(catalog.engine, "before_cursor_execute", note)


def bad_steps(catalog: Catalog, statement: str, parameters: Any) -> list[str]:
    """Steps of a statement's plan that read a whole large table or sort much of one."""
    found = []
    prefix = "EXPLAIN QUERY PLAN " if catalog.is_sqlite else "EXPLAIN "
    with catalog.engine.connect() as connection:
        for row in connection.exec_driver_sql(prefix + statement, parameters):
            step = str(row[-1]).strip()
            # In the order of the rows themselves up to a limit: SQLite calls that a scan as well.
            whole = any(step.startswith(f"SCAN {table}") for table in LARGE)
            whole = whole and "USING" not in step and "LIMIT" not in statement
            whole = whole or any(f"Seq Scan on {table} " in step for table in LARGE)
            # Statements with a list of ids sort no more than that list.
            sorts = "TEMP B-TREE" in step or step.removeprefix("->  ").startswith("Sort ")
            if whole or (sorts and " IN (" not in statement):
                found.append(step)
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
        middle = number // 2
        paged: dict[str, Callable[[], object]] = {
            "job_page_s": lambda: jobs.list_jobs(catalog, limit=50),
            "album_job_page_s": lambda: jobs.list_jobs(catalog, album_id=album, limit=50),
            "unfinished_jobs_s": lambda: jobs.list_jobs(catalog, states=jobs.UNFINISHED),
            "job_failures_page_s": lambda: failures_of(catalog, newest, after=100),
            "photo_page_s": lambda: pages.list_photos(catalog, album_id=album, after=middle),
            "failed_photo_page_s": lambda: pages.list_photos(
                catalog, album_id=album, status="failed", after=middle
            ),
            "sweep_s": lambda: slots.forgotten(catalog, after_s=5),
            "claim_s": lambda: claims.claim(catalog, album, FINGERPRINTS, "bench", limit=32),
        }
        figures["bad_plans"] = []
        for name, act in paged.items():
            with sent(catalog) as statements:
                figures[name] = timed(act)
            for statement, parameters in {
                text: (text, given) for text, given in statements
            }.values():
                steps = bad_steps(catalog, statement, parameters)
                figures["bad_plans"] += [f"{name}: {step}" for step in steps]
        figures.update(counted(catalog, album))
    figures["scan"] = scan_in_child(database)
    return figures


def counted(catalog: Catalog, album: int) -> dict[str, float]:
    """Seconds of what has to look at every row: done once a job, or as often as 5 % of the time."""
    version = versions.prepare(catalog, album, "bench", FINGERPRINTS, {})

    def settle() -> None:
        with catalog.session() as session:
            claims.reopen(session, claims.claim_key(FINGERPRINTS), album)
            statuses.settle(session, version, FINGERPRINTS)

    def count() -> None:
        with catalog.reading() as session:
            count_by_status(session, album)

    def remaining() -> None:
        with catalog.reading() as session:
            claims.remaining(session, album, FINGERPRINTS)

    return {
        "count_by_status_s": timed(count, 1),
        "remaining_s": timed(remaining, 1),
        "settle_s": timed(settle, 1),
    }


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
        f"{name} {seconds:.2f} s (ceiling {PAGE_S} s)"
        for name, seconds in figures.items()
        if name.endswith("_page_s") and seconds > PAGE_S
    ]
    if figures["scan"]["seconds"] > SCAN_S or figures["scan"]["peak_mib"] > SCAN_MIB:
        slow.append(f"scan {figures['scan']} (ceilings {SCAN_S} s, {SCAN_MIB} MiB)")
    figures["above_ceiling"] = slow + figures["bad_plans"]
    if arguments.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:24} {value:.4f}" if isinstance(value, float) else f"{name:24} {value}")
    return 1 if figures["above_ceiling"] else 0


if __name__ == "__main__":
    sys.exit(main())
