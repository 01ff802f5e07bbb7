"""Faults of workers and of messages, in mid-index of a whole album.

After each, by itself or by one retry, the index equals that of an undisturbed run. Faults of the
servers are in test_server_faults.py.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

from indexer.jobs import jobs
from indexer.jobs.failures import failures_of
from indexer.photos.decode import Decoder
from tests.support.fake_predictor import SIDE
from tests.support.servers import kill_tree, wait_until
from tests.support.stand_in import QUICK_S
from tests.support.trial_library import Index, Library, undisturbed
from tests.support.trials import (
    LOOK_S,
    Record,
    Trial,
    Trials,
    busy_worker,
    holders,
    in_mid_batch,
    scaled,
    servers,
    settled_faults,
    today,
)
from workers.celery_app import make_app, send_turn

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]
NETWORK = "rela-mini:random-7"


def kill_workers(library: Library, job: int, times: int, command: object = None) -> int:
    """SIGKILL a worker with all its processes, or only the one that computes, in turn."""
    chance = random.Random(6)
    start = command or library.start_worker
    names = {process.pid: f"w{n}" for n, process in enumerate(library.fleet.processes[1:])}
    kills = 0
    while kills < times and in_mid_batch(library, job):
        time.sleep(chance.uniform(0.0, 0.7))
        pid = chance.choice(list(names))
        if kills % 2:
            for child in psutil.Process(pid).children():
                child.kill()  # its parent lives and replaces it
        else:
            kill_tree(pid)
            name = names.pop(pid)
            names[start(name).pid] = name  # type: ignore[operator]
        kills += 1

        def at_work() -> bool:
            view = jobs.get(library.catalog, job)
            return view.workers > 0 or view.finished

        # Let the next one begin, so that each kill meets work in flight.
        wait_until(at_work, timeout_s=120, every_s=LOOK_S, what="a worker at the job")
    return kills


def test_sigkill_of_a_worker_in_mid_batch_twenty_times(trials: Trials) -> None:
    trials.run(
        "SIGKILL of a worker",
        "in mid-batch, the whole worker or its computing process in turn",
        lambda library, job: kill_workers(library, job, scaled(20)),
        faults=20,
        pace_s=2.5,
    )


def test_sigkill_of_a_worker_with_the_real_network(
    tmp_path: Path, photos: Path, record: Record
) -> None:
    expected = undisturbed(tmp_path / "undisturbed", photos, NETWORK)
    with servers(tmp_path) as (redis, postgres):
        library = Library(tmp_path, photos, NETWORK, redis=redis, postgres=postgres)

        def start(name: str) -> object:
            return library.fleet.start("worker", "--name", name, name=name)

        try:
            Trials(library, expected, record).run(
                "SIGKILL of a worker, real network",
                f"as above, with {NETWORK} instead of the stand-in",
                lambda library, job: kill_workers(library, job, scaled(6), start),
                faults=6,
                start=start,
            )
        finally:
            library.close()


def test_sigterm_finishes_the_batch_and_leaves_nothing_held(trials: Trials) -> None:
    def hurt(library: Library, job: int) -> int:
        stops = 0
        for number in range(3):
            if not in_mid_batch(library, job, indexed=0.2 * number):
                break
            child, worker = busy_worker(library, job)
            worker.send_signal(signal.SIGTERM)
            process = next(one for one in library.fleet.processes if one.pid == worker.pid)
            assert process.wait(120) == 0
            assert child not in holders(library, job)
            library.start_worker(f"again{number}")
            stops += 1
        return stops

    trials.run(
        "SIGTERM of a worker", "finishes its batch, exit status 0, another goes on", hurt, faults=3
    )


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

    trials.run(
        "Same job started twice", "by five callers, and its messages sent again", hurt, faults=64
    )


def test_messages_that_redis_delivers_again_in_mid_turn(
    tmp_path: Path, photos: Path, expected: Index, record: Record
) -> None:
    """celery#5935: after its visibility timeout Redis delivers what is being worked on again."""
    with servers(tmp_path) as (redis, postgres):
        library = Library(tmp_path, photos, redis=redis, postgres=postgres, turn_s="90")
        try:

            def hurt(library: Library, job: int) -> int:
                in_mid_batch(library, job)
                client = redis.client()
                # What kombu does after the timeout, at once.
                restored = 0
                for stored in client.hgetall("unacked").values():  # type: ignore[union-attr]
                    message, _, queue = json.loads(stored)
                    client.lpush(queue, json.dumps(message))
                    restored += 1
                return restored

            Trials(library, expected, record).run(
                "Redis delivers again", "unacknowledged messages restored in mid-turn", hurt
            )
        finally:
            library.close()


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
        library.wait_for(job, timeout_s=1200)
        failed = [
            one for one in failures_of(library.catalog, job) if (one.path or "").endswith(name)
        ]
        assert len(failed) == 1, failures_of(library.catalog, job)
        assert "took its worker down" in failed[0].reason
        library.fleet.kill_all()
        del library.fleet.environment["TRIAL_POISON_PIXEL"]
        library.start_beat()
        library.start_worker("mended")
        jobs.retry(library.catalog, job)
        trials.retried = True
        return 6

    trials.run(
        "Poison photo",
        "kills each worker that encodes it; given up, then retried when mended",
        hurt,
        pace_s=QUICK_S,
    )


def test_pause_resume_and_cancel_are_heard(
    tmp_path: Path, photos: Path, expected: Index, record: Record
) -> None:
    with servers(tmp_path) as (redis, postgres):
        # The sweeper as slow as it is by default.
        library = Library(
            tmp_path, photos, redis=redis, postgres=postgres, sweep_s="5", turn_s="20"
        )
        trials = Trials(library, expected, record)
        try:

            def after(act: str, job: int) -> float:
                getattr(jobs, act)(library.catalog, job)

                def heard() -> bool:
                    view = jobs.get(library.catalog, job)
                    if act in ("pause", "cancel"):
                        return view.workers == 0 and view.state in ("paused", "cancelled")
                    return view.workers > 0

                return wait_until(heard, every_s=LOOK_S, what=f"the effect of {act}")

            def hurt(library: Library, job: int) -> int:
                took: dict[str, float] = {}
                for act in ("pause", "pause", "cancel"):
                    in_mid_batch(library, job)
                    took[act] = max(took.get(act, 0.0), after(act, job))
                    again = "resume" if act == "pause" else "retry"
                    took[again] = max(took.get(again, 0.0), after(again, job))
                heard = ", ".join(f"{act} {seconds:.1f} s" for act, seconds in took.items())
                trials.note = f"; heard within: {heard}"
                trials.retried = True  # a job that was cancelled goes on by a retry
                return 6

            trials.run("Paused, resumed, cancelled, retried", "in mid-batch", hurt, faults=6)
        finally:
            library.close()


def test_two_workers_race_for_one_photo(tmp_path: Path, photos: Path, record: Record) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    with servers(tmp_path) as (redis, postgres):
        library = Library(tmp_path, folder, redis=redis, postgres=postgres)
        started = time.monotonic()
        try:
            library.start_beat()
            for name in ("a", "b"):
                library.start_worker(name)
            rounds = 8
            for number in range(1, rounds + 1):
                shutil.copy(photos / f"{number:05d}.jpg", folder)
                view = library.wait_for(library.job())
                assert view.state == "done"
                assert view.result is not None
                assert view.result["indexed"] == number
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
