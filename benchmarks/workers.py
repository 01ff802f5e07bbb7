"""Photos a second with one and two worker processes against in-process, and what messages cost.

Run: python benchmarks/workers.py [--photos 200] [--model rela-mini:random-7] [--json]

Starts a Redis and a PostgreSQL of its own. Every runner indexes the same photos into a library of
its own with the real network, one thread a process; the clock runs from the job's start to its end,
with the network loaded before (a first, small album). Overhead is the time a photo beyond the
in-process runner's; queue latency is what workers measured from a message's sending to its turn.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from indexer.jobs import jobs  # noqa: E402
from tests.support import albums  # noqa: E402
from tests.support.servers import OwnPostgres, OwnRedis, free_port  # noqa: E402
from tests.support.trial_library import Library, make_photos  # noqa: E402
from workers.held import Held  # noqa: E402
from workers.inprocess import run_job  # noqa: E402


@contextmanager
def servers(folder: Path) -> Iterator[tuple[OwnRedis, OwnPostgres]]:
    """A Redis and a PostgreSQL, gone at the end."""
    redis, postgres = OwnRedis(folder / "redis"), OwnPostgres()
    redis.start()
    postgres.create()
    postgres.start()
    try:
        yield redis, postgres
    finally:
        redis.stop()
        postgres.remove()


def seconds_of(job: jobs.JobView) -> float:
    """From a job's start to its end on the database's clock."""
    assert job.state == "done", job
    assert job.started_at is not None
    assert job.finished_at is not None
    return job.finished_at - job.started_at


def in_process(folder: Path, warm: Path, photos: Path, model: str) -> float:
    """Seconds of the in-process runner."""
    with servers(folder) as (_, postgres):
        library = Library(folder, warm, model, database_url=postgres.url)
        models = Held(library.settings)
        try:
            run_job(library.settings, library.catalog, library.job(), models)
            album = albums.album(library.catalog, "measured", photos)
            job = jobs.create(library.catalog, "index", album_id=album).id
            return seconds_of(run_job(library.settings, library.catalog, job, models))
        finally:
            models.close()
            library.close()


def with_workers(
    folder: Path, warm: Path, photos: Path, model: str, number: int
) -> tuple[float, float]:
    """Seconds with some workers, and the mean latency of a message in seconds."""
    with servers(folder) as (redis, postgres):
        library = Library(folder, warm, model, redis=redis, postgres=postgres)
        ports = [free_port() for _ in range(number)]
        try:
            library.fleet.start("worker", "--beat", name="beat")
            for at, port in enumerate(ports):
                library.fleet.start(
                    "worker", "--name", f"w{at}", "--metrics-port", str(port), name=f"w{at}"
                )
            library.wait_for(library.job())
            album = albums.album(library.catalog, "measured", photos)
            job = jobs.create(library.catalog, "index", album_id=album, width=number).id
            seconds = seconds_of(library.wait_for(job, timeout_s=3600))
            return seconds, latency(ports)
        finally:
            library.close()


def latency(ports: list[int]) -> float:
    """Mean seconds between a message's sending and the start of its turn, over the workers."""
    total = count = 0.0
    for port in ports:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        for what, value in re.findall(
            r"^referent_message_wait_seconds_(sum|count)\{[^}]*\} (\S+)$", text, re.MULTILINE
        ):
            if what == "sum":
                total += float(value)
            else:
                count += float(value)
    return total / max(count, 1.0)


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--model", default="rela-mini:random-7")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    figures: dict[str, Any] = {"photos": arguments.photos, "model": arguments.model}
    with tempfile.TemporaryDirectory(prefix="referent-workers-") as name:
        folder = Path(name)
        warm = make_photos(folder / "warm", 16)
        photos = make_photos(folder / "photos", arguments.photos + 16)
        for at in range(16):  # the warm-up's contents are encoded already
            (photos / f"{at:05d}.jpg").unlink()
        alone = in_process(folder / "inprocess", warm, photos, arguments.model)
        figures["in_process_photos_a_second"] = arguments.photos / alone
        for number in (1, 2):
            seconds, waited = with_workers(
                folder / f"workers{number}", warm, photos, arguments.model, number
            )
            figures[f"workers_{number}_photos_a_second"] = arguments.photos / seconds
            figures[f"workers_{number}_queue_latency_s"] = waited
            if number == 1:
                figures["overhead_ms_a_photo"] = 1000 * (seconds - alone) / arguments.photos
    if arguments.json:
        print(json.dumps(figures))
    else:
        for key, value in figures.items():
            print(f"{key:32} {value:.3f}" if isinstance(value, float) else f"{key:32} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
