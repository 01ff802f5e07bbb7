"""Faults of Redis, PostgreSQL, the API, the disk and the clocks, in mid-index of a whole album.

After each, by itself or by one retry, the index equals that of an undisturbed run.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from indexer.jobs import jobs
from tests.support.servers import OwnPostgres, OwnRedis, free_port, kill_tree, wait_until
from tests.support.stand_in import QUICK_S
from tests.support.trial_library import COMMAND, Index, Library
from tests.support.trials import LOOK_S, PHOTOS, Record, Trials, in_mid_batch, servers

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]
FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)


def fake_clock(stamp: Path) -> dict[str, str]:
    """An environment whose wall clock is off by what a file says."""
    assert FAKETIME is not None
    stamp.write_text("+0")
    return {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(stamp),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def test_redis_stopped_and_started(trials: Trials) -> None:
    def hurt(library: Library, job: int) -> int:
        assert library.redis is not None
        in_mid_batch(library, job, indexed=0.05)
        library.redis.stop()
        time.sleep(8)
        library.redis.start()
        return 1

    trials.run("Redis stopped", "for 8 s, then started with its data", hurt)


def test_redis_flushed(trials: Trials) -> None:
    def hurt(library: Library, job: int) -> int:
        assert library.redis is not None
        flushes = 0
        while flushes < 5 and in_mid_batch(library, job):
            library.redis.client().flushall()
            flushes += 1
            time.sleep(2)
        return flushes

    trials.run("Redis flushed", "FLUSHALL every 2 s", hurt, faults=5)


def test_redis_restarted_empty(trials: Trials) -> None:
    def hurt(library: Library, job: int) -> int:
        assert library.redis is not None
        in_mid_batch(library, job, indexed=0.05)
        library.redis.stop()
        shutil.rmtree(library.redis.folder)
        library.redis.start()
        return 1

    trials.run("Redis restarted", "with its data lost", hurt)


def test_postgresql_restarted(trials: Trials) -> None:
    def hurt(library: Library, job: int) -> int:
        assert library.postgres is not None
        in_mid_batch(library, job, indexed=0.05)
        library.postgres.stop("fast")
        time.sleep(4)
        library.postgres.start()
        return 1

    trials.run("PostgreSQL restarted", "fast shutdown, away for 4 s", hurt)


def test_postgresql_crashed(trials: Trials) -> None:
    def hurt(library: Library, job: int) -> int:
        assert library.postgres is not None
        crashes = 0
        for number in range(5):
            if not in_mid_batch(library, job, indexed=0.1 * number):
                break
            library.postgres.stop("immediate")
            library.postgres.start()
            crashes += 1
        return crashes

    trials.run("PostgreSQL crashed", "immediate shutdown and recovery", hurt, faults=5)


def test_api_killed_and_restarted_while_it_runs_the_job_itself(
    tmp_path: Path, photos: Path, expected: Index, record: Record
) -> None:
    with servers(tmp_path) as (_, postgres):
        library = Library(tmp_path, photos, postgres=postgres)

        def serve() -> int:
            port = str(free_port())
            process = library.fleet.start("serve", "--port", port, name="serve", command=COMMAND)
            return process.pid

        try:

            def hurt(library: Library, job: int) -> int:
                kills = 0
                pid = serve()
                while kills < 4 and in_mid_batch(library, job, indexed=0.1 * kills):
                    kill_tree(pid)
                    pid = serve()
                    kills += 1
                return kills

            Trials(library, expected, record).run(
                "API killed and restarted",
                "SIGKILL of `referent serve` that runs the job in its own process",
                hurt,
                faults=4,
                workers=0,
                beat=False,
            )
        finally:
            library.close()


@pytest.mark.root
def test_disk_full_in_the_store(
    tmp_path: Path, photos: Path, expected: Index, record: Record
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    half = f"size={PHOTOS // 2}k"  # about half of what the features take
    mount = ["mount", "-t", "tmpfs", "-o", half, "tmpfs", str(small)]
    subprocess.run(mount, check=True)
    try:
        with servers(tmp_path) as (redis, postgres):
            library = Library(
                tmp_path, photos, redis=redis, postgres=postgres,
                features_dir=str(small / "features"),
            )  # fmt: skip
            trials = Trials(library, expected, record)

            def hurt(library: Library, job: int) -> int:
                view = library.wait_for(job)
                assert view.state == "failed"
                assert "no space left" in (view.message or "")
                wait_until(
                    lambda: jobs.get(library.catalog, job).workers == 0,
                    every_s=LOOK_S,
                    what="the end of the other worker's turn",
                )
                subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
                return 1

            try:
                trials.run(
                    "Disk full in the store",
                    "in mid-job, which fails with the reason; space is made",
                    hurt,
                    pace_s=QUICK_S,
                )
            finally:
                library.close()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False)


@pytest.mark.faketime
def test_workers_whose_clocks_jump(trials: Trials, tmp_path: Path) -> None:
    stamp = tmp_path / "clock"
    fake = fake_clock(stamp)

    def hurt(library: Library, job: int) -> int:
        library.start_worker("jumping", extra=fake)
        jumps = 0
        for offset in ("+1d", "-1d", "+3600", "-3600", "+0"):
            if not in_mid_batch(library, job):
                break
            stamp.write_text(offset)
            jumps += 1
            time.sleep(2)
        return jumps

    trials.run(
        "Workers' clocks jump", "by a day and an hour, to and fro", hurt, faults=5, workers=1
    )


@pytest.mark.faketime
def test_database_whose_clock_jumps(
    tmp_path: Path, photos: Path, expected: Index, record: Record
) -> None:
    redis, postgres = OwnRedis(tmp_path / "redis"), OwnPostgres()
    stamp = postgres.folder / "clock"
    postgres.environment = fake_clock(stamp)
    redis.start()
    postgres.create()
    postgres.start()
    library = Library(tmp_path, photos, redis=redis, postgres=postgres)
    try:

        def hurt(library: Library, job: int) -> int:
            jumps = 0
            for offset in ("+7200", "+0"):
                if not in_mid_batch(library, job):
                    break
                before = library.catalog.now()
                stamp.write_text(offset)
                wait_until(
                    lambda before=before: abs(library.catalog.now() - before) > 3600,  # type: ignore[misc]
                    timeout_s=20,
                    every_s=LOOK_S,
                    what="the jump of the database's clock",
                )
                jumps += 1
                time.sleep(3)
            return jumps

        Trials(library, expected, record).run(
            "Database's clock jumps",
            "two hours ahead (every lease runs out) and back",
            hurt,
            faults=2,
        )
    finally:
        library.close()
        redis.stop()
        postgres.remove()
