"""Faults tried on real servers and worker processes, in mid-index of a whole album.

After each, by itself or by one retry, the index equals that of an undisturbed run.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from fake_predictor import SIDE
from servers import OwnPostgres, OwnRedis, free_port, kill_tree, wait_until
from sqlalchemy import func, select
from trial_library import COMMAND, Index, Library
from trials import Record, Trial, today

from indexer import jobs
from indexer.decode import Decoder
from indexer.tables import EncodeClaim, JobSlot
from workers.celery_app import make_app, send_turn

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)


@pytest.fixture
def library(tmp_path: Path, photos: Path) -> Iterator[Library]:
    with servers(tmp_path) as (redis, postgres):
        made = Library(tmp_path, photos, redis=redis, postgres=postgres)
        try:
            yield made
        finally:
            made.close()


@contextmanager
def servers(folder: Path) -> Iterator[tuple[OwnRedis, OwnPostgres]]:
    redis, postgres = OwnRedis(folder / "redis"), OwnPostgres()
    redis.start()
    postgres.create()
    postgres.start()
    try:
        yield redis, postgres
    finally:
        redis.stop()
        postgres.remove()


class Trials:
    """Runs a trial and writes its row."""

    def __init__(self, library: Library, expected: Index, record: Record) -> None:
        self.library = library
        self.expected = expected
        self.record = record

    def run(
        self,
        name: str,
        done: str,
        hurt: Callable[[Library, int], int],
        *,
        workers: int = 2,
        beat: bool = True,
    ) -> None:
        """Index with some workers, hurt them on the way, and compare.

        Args:
            hurt: gets the library and the job; returns how many faults it made.
        """
        library = self.library
        started = time.monotonic()
        if beat:
            library.start_beat()
        for number in range(workers):
            library.start_worker(f"w{number}")
        job = library.job()
        faults = hurt(library, job)
        view = library.wait_for(job)
        needed = "one retry" if library.retried else "nothing"
        if view.state != "done" or library.faults():
            needed = "one retry"
            jobs.retry(library.catalog, job)
            view = library.wait_for(job)
        seconds = time.monotonic() - started
        left_over = settled_faults(library)
        differences = library.index().differences(self.expected)
        counts = view.result or {}
        self.record.add(
            Trial(
                name=name,
                done=done,
                photos=len(self.expected.photos),
                faults=faults,
                seconds=seconds,
                needed=needed,
                indexed=counts.get("indexed", 0),
                failed=counts.get("failed", 0),
                outcome="equal, none left over" if not (left_over or differences) else "DIFFERS",
                date=today(),
            )
        )
        assert view.state == "done", view
        assert left_over == []
        assert differences == []


def settled_faults(library: Library) -> list[str]:
    """Faults that stay; a worker may take a moment to give its place back."""
    for _ in range(40):
        if not library.faults():
            break
        time.sleep(0.5)
    return library.faults()


@pytest.fixture
def trials(library: Library, expected: Index, record: Record) -> Trials:
    return Trials(library, expected, record)


def claimed(library: Library) -> int:
    with library.catalog.reading() as session:
        return session.scalar(select(func.count()).select_from(EncodeClaim)) or 0


def holders(library: Library, job: int) -> list[int]:
    """Processes that hold a place in a job."""
    with library.catalog.reading() as session:
        owners = session.scalars(
            select(JobSlot.lease_owner).where(
                JobSlot.job_id == job, JobSlot.lease_owner.is_not(None)
            )
        )
        return [int(str(owner).split("/")[1]) for owner in owners]


def busy_worker(library: Library, job: int) -> tuple[int, psutil.Process]:
    """A process that holds a place, and the worker that it belongs to."""
    wait_until(lambda: bool(holders(library, job)), timeout_s=120, what="a worker at the job")
    child = holders(library, job)[0]
    worker = psutil.Process(child).parent()
    assert worker is not None
    return child, worker


def in_mid_batch(library: Library, job: int, indexed: int = 0) -> bool:
    """Wait until workers hold contents; False where the job has ended."""

    def ready() -> bool:
        if jobs.get(library.catalog, job).finished:
            return True
        return library.indexed() >= indexed and claimed(library) > 0

    wait_until(ready, timeout_s=600, what="work in flight")
    return not jobs.get(library.catalog, job).finished


def test_sigkill_of_a_worker_in_mid_batch_twenty_times(trials: Trials) -> None:
    trials.library.fleet.environment["TRIAL_DELAY_S"] = "0.1"

    def hurt(library: Library, job: int) -> int:
        chance = random.Random(6)
        kills = 0
        names = {process.pid: f"w{n}" for n, process in enumerate(library.fleet.processes[1:])}
        while kills < 20 and in_mid_batch(library, job):
            time.sleep(chance.uniform(0.0, 0.7))
            pid = chance.choice(list(names))
            if kills % 2:
                # The process that computes: its parent lives and replaces it.
                for child in psutil.Process(pid).children():
                    child.kill()
            else:
                kill_tree(pid)
                name = names.pop(pid)
                names[library.start_worker(name).pid] = name
            kills += 1
            # Let the next one begin, so that each kill meets work in flight.
            wait_until(
                lambda: (
                    jobs.get(library.catalog, job).workers > 0
                    or jobs.get(library.catalog, job).finished
                ),
                timeout_s=120,
                what="a worker at the job",
            )
        return kills

    trials.run("SIGKILL of a worker", "in mid-batch, parent or computing child in turn", hurt)


def test_sigterm_finishes_the_batch_and_leaves_nothing_held(trials: Trials) -> None:
    def hurt(library: Library, job: int) -> int:
        stops = 0
        for number in range(3):
            if not in_mid_batch(library, job, indexed=100 * number):
                break
            child, worker = busy_worker(library, job)
            worker.send_signal(signal.SIGTERM)
            process = next(one for one in library.fleet.processes if one.pid == worker.pid)
            assert process.wait(120) == 0
            assert child not in holders(library, job)
            library.start_worker(f"again{number}")
            stops += 1
        return stops

    trials.run("SIGTERM of a worker", "finishes its batch, exit status 0, another goes on", hurt)


def test_redis_stopped_and_started(trials: Trials) -> None:
    def hurt(library: Library, job: int) -> int:
        assert library.redis is not None
        in_mid_batch(library, job, indexed=50)
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

    trials.run("Redis flushed", "FLUSHALL every 2 s", hurt)


def test_redis_restarted_empty(trials: Trials) -> None:
    def hurt(library: Library, job: int) -> int:
        assert library.redis is not None
        in_mid_batch(library, job, indexed=50)
        library.redis.stop()
        shutil.rmtree(library.redis.folder)
        library.redis.start()
        return 1

    trials.run("Redis restarted", "with its data lost", hurt)


def test_api_killed_and_restarted_while_it_runs_the_job_itself(
    tmp_path: Path, photos: Path, expected: Index, record: Record
) -> None:
    with servers(tmp_path) as (_, postgres):
        library = Library(tmp_path, photos, postgres=postgres)
        library.fleet.environment["TRIAL_DELAY_S"] = "0.05"

        def serve() -> int:
            port = str(free_port())
            process = library.fleet.start("serve", "--port", port, name="serve", command=COMMAND)
            return process.pid

        try:

            def hurt(library: Library, job: int) -> int:
                kills = 0
                pid = serve()
                while kills < 4 and in_mid_batch(library, job, indexed=100 * kills):
                    kill_tree(pid)
                    pid = serve()
                    kills += 1
                return kills

            Trials(library, expected, record).run(
                "API killed and restarted",
                "SIGKILL of `referent serve` that runs the job in its own process",
                hurt,
                workers=0,
                beat=False,
            )
        finally:
            library.close()


def test_postgresql_restarted(trials: Trials) -> None:
    def hurt(library: Library, job: int) -> int:
        assert library.postgres is not None
        in_mid_batch(library, job, indexed=50)
        library.postgres.stop("fast")
        time.sleep(4)
        library.postgres.start()
        return 1

    trials.run("PostgreSQL restarted", "fast shutdown, away for 4 s", hurt)


def test_postgresql_crashed(trials: Trials) -> None:
    def hurt(library: Library, job: int) -> int:
        assert library.postgres is not None
        crashes = 0
        for number in range(3):
            if not in_mid_batch(library, job, indexed=200 * number + 50):
                break
            library.postgres.stop("immediate")
            library.postgres.start()
            crashes += 1
        return crashes

    trials.run("PostgreSQL crashed", "immediate shutdown and recovery", hurt)


def test_same_job_started_twice_and_every_message_doubled(trials: Trials) -> None:
    def hurt(library: Library, job: int) -> int:
        again: list[int] = []
        threads = [threading.Thread(target=lambda: again.append(library.job())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(again) == {job}
        app = make_app(library.settings)
        doubled = 0
        while doubled < 60 and in_mid_batch(library, job):
            for slot in range(4):
                send_turn(app, job, slot, "encode", time.time())
                doubled += 1
            time.sleep(0.2)
        return len(again) + doubled

    trials.run("Same job started twice", "by five callers, and its messages sent again", hurt)


def test_messages_that_redis_delivers_again_in_mid_turn(
    tmp_path: Path, photos: Path, expected: Index, record: Record
) -> None:
    """celery#5935: a visibility timeout below the turn's length, so that all come twice."""
    with servers(tmp_path) as (redis, postgres):
        library = Library(
            tmp_path, photos, redis=redis, postgres=postgres,
            visibility_timeout_s="60", turn_s="90",
        )  # fmt: skip
        try:

            def hurt(library: Library, job: int) -> int:
                in_mid_batch(library, job)
                client = redis.client()
                # What kombu does after the timeout, at once: unacknowledged messages come back.
                restored = 0
                for tag, stored in client.hgetall("unacked").items():  # type: ignore[union-attr]
                    message, _, queue = json.loads(stored)
                    client.lpush(queue, json.dumps(message))
                    restored += 1
                    assert tag
                return restored

            Trials(library, expected, record).run(
                "Redis delivers again", "unacknowledged messages restored in mid-turn", hurt
            )
        finally:
            library.close()


@pytest.mark.faketime
def test_workers_whose_clocks_jump(trials: Trials, tmp_path: Path) -> None:
    assert FAKETIME is not None
    stamp = tmp_path / "clock"
    stamp.write_text("+0")
    fake = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(stamp),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }

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

    trials.run("Workers' clocks jump", "by a day and an hour, to and fro", hurt, workers=1)


@pytest.mark.faketime
def test_database_whose_clock_jumps(
    tmp_path: Path, photos: Path, expected: Index, record: Record
) -> None:
    assert FAKETIME is not None
    redis, postgres = OwnRedis(tmp_path / "redis"), OwnPostgres()
    stamp = postgres.folder / "clock"
    stamp.write_text("+0")
    postgres.environment = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(stamp),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
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
                    what="the jump of the database's clock",
                )
                jumps += 1
                time.sleep(3)
            return jumps

        Trials(library, expected, record).run(
            "Database's clock jumps", "two hours ahead (every lease runs out) and back", hurt
        )
    finally:
        library.close()
        redis.stop()
        postgres.remove()


@pytest.mark.root
def test_disk_full_in_the_store(
    tmp_path: Path, photos: Path, expected: Index, record: Record
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)]
    subprocess.run(mount, check=True)
    try:
        with servers(tmp_path) as (redis, postgres):
            library = Library(
                tmp_path, photos, redis=redis, postgres=postgres,
                features_dir=str(small / "features"),
            )  # fmt: skip
            try:

                def hurt(library: Library, job: int) -> int:
                    view = library.wait_for(job)
                    assert view.state == "failed"
                    assert "no space left" in (view.message or "")
                    wait_until(lambda: jobs.get(library.catalog, job).workers == 0)
                    subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
                    return 1

                Trials(library, expected, record).run(
                    "Disk full in the store",
                    "1 MiB for features; the job fails with the reason; space is made",
                    hurt,
                )
            finally:
                library.close()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False)


def test_poison_photo_that_takes_every_worker_down(trials: Trials, photos: Path) -> None:
    """It is given up after some attempts, and costs no other photo; the rest is as ever."""
    library = trials.library
    name = "00077.jpg"
    with Decoder(library.settings, SIDE) as decoder:
        pixels = decoder.decode_one(photos / name).pixels
    assert pixels is not None
    colour = ",".join(str(value) for value in pixels[16, 16])
    library.fleet.environment["TRIAL_POISON_PIXEL"] = colour

    def hurt(library: Library, job: int) -> int:
        library.wait_for(job)
        failed = [
            one for one in jobs.failures(library.catalog, job) if (one.path or "").endswith(name)
        ]
        assert len(failed) == 1, jobs.failures(library.catalog, job)
        assert "took its worker down" in failed[0].reason
        library.fleet.kill_all()
        del library.fleet.environment["TRIAL_POISON_PIXEL"]
        library.start_beat()
        library.start_worker("mended")
        jobs.retry(library.catalog, job)
        library.retried = True
        return 6

    trials.run(
        "Poison photo",
        "kills each worker that encodes it; given up, then retried when mended",
        hurt,
    )


def test_two_workers_race_for_one_photo(tmp_path: Path, photos: Path, record: Record) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    with servers(tmp_path) as (redis, postgres):
        library = Library(tmp_path, folder, redis=redis, postgres=postgres)
        started = time.monotonic()
        try:
            for name in ("beat", "a", "b"):
                library.start_beat() if name == "beat" else library.start_worker(name)
            rounds = 8
            for number in range(rounds):
                shutil.copy(photos / f"{number + 401:05d}.jpg", folder)
                view = library.wait_for(library.job())
                assert view.state == "done"
                assert view.result is not None
                assert view.result["indexed"] == number + 1
            faults = settled_faults(library)
            record.add(
                Trial(
                    name="Two workers race for one photo",
                    done="one new photo a job, four messages for two workers",
                    photos=rounds,
                    faults=rounds,
                    seconds=time.monotonic() - started,
                    needed="nothing",
                    indexed=rounds,
                    failed=0,
                    outcome="equal, none left over" if not faults else "DIFFERS",
                    date=today(),
                )
            )
            assert faults == []
        finally:
            library.close()
