"""Fault trials: how one is run, what it must leave behind, and the page that tells of it."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from sqlalchemy import func, select

from indexer.db.tables import EncodeClaim, JobSlot
from indexer.jobs import jobs
from tests.support.servers import OwnPostgres, OwnRedis, wait_until
from tests.support.stand_in import QUICK_S
from tests.support.trial_library import Index, Library, make_photos, undisturbed

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = REPOSITORY / "docs" / "reliability.md"
FULL_SIZE = 2000
# Fewer are for trying the trials themselves: nothing is written down then.
PHOTOS = int(os.environ.get("REFERENT_TRIAL_PHOTOS", FULL_SIZE))
BROKEN = 5
# Often enough to hit work in flight, seldom enough not to be work itself.
LOOK_S = 0.2
# On a busy machine a worker may take a minute to import what a turn needs.
SETTLE_S = 180.0
_DATA = "<!-- trials: "


@dataclass(frozen=True)
class Trial:
    """One row of the table."""

    name: str
    done: str
    photos: int
    faults: int
    seconds: float
    needed: str  # "nothing" or "one retry"
    indexed: int
    failed: int
    outcome: str
    date: str


class Record:
    """The trials of this run, merged into those of the table that ran before."""

    def __init__(self) -> None:
        self.trials: dict[str, Trial] = {}
        if TABLE.exists():
            for line in TABLE.read_text().splitlines():
                if line.startswith(_DATA):
                    rows = json.loads(line[len(_DATA) :].removesuffix(" -->"))
                    self.trials = {row["name"]: Trial(**row) for row in rows}

    def add(self, trial: Trial) -> None:
        """Keep a trial and write the table, so that a run that is cut short loses nothing."""
        self.trials[trial.name] = trial
        if PHOTOS >= FULL_SIZE:
            TABLE.write_text(render(list(self.trials.values())))


def render(trials: list[Trial]) -> str:
    """The page; the comment at its end is what the next run reads."""
    lines = [
        "# Reliability: faults, tried for real",
        "",
        "Written by `make test-long` (tests/long), which starts PostgreSQL, Redis, workers and",
        "the sweeper of its own, hurts them while an album of small photos (64x48 pixels, a few",
        "broken on purpose) is indexed by two workers, and compares what comes out with the index",
        "that one undisturbed process makes: every photo's status, and every record of every",
        "tier, byte by byte. In all trials but the one that says so a stand-in that takes a moment",
        "a batch (means of pixel blocks) is in the network's place: the machinery is on trial, not",
        "the model. *Left over* would be doubled or missing rows, photos that are neither indexed",
        "nor failed, claims and places that are still held, and files that no segment row names.",
        "",
        "| trial | what was done | photos | faults | seconds | needed "
        "| indexed + failed | outcome | date |",
        "| --- | --- | ---: | ---: | ---: | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {trial.name} | {trial.done} | {trial.photos:,} | {trial.faults} | "
        f"{trial.seconds:.0f} | {trial.needed} | {trial.indexed:,} + {trial.failed} | "
        f"{trial.outcome} | {trial.date} |"
        for trial in trials
    ]
    lines += [
        "",
        f"Machine of the last run: {platform.system()}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, shared with other work, so that the seconds are upper bounds.",
        "The seconds include starting the workers and every wait that the trial itself makes; the",
        "stand-in is slow until the faults are over, so that the job outlasts them.",
        "",
        _DATA + json.dumps([asdict(trial) for trial in trials]) + " -->",
        "",
    ]
    return "\n".join(lines)


class Trials:
    """Runs trials on one library and writes their rows."""

    def __init__(self, library: Library, expected: Index, record: Record) -> None:
        self.library = library
        self.expected = expected
        self.record = record
        self.retried = False  # by the trial itself, which counts as the one retry
        self.note = ""  # what the trial measured

    def run(
        self,
        name: str,
        done: str,
        hurt: Callable[[Library, int], int],
        *,
        faults: int = 1,
        pace_s: float = 1.0,
        workers: int = 2,
        start: Callable[[str], object] | None = None,
        beat: bool = True,
    ) -> None:
        """Index with some workers, hurt them on the way, and compare.

        Args:
            hurt: gets the library and the job; returns how many faults it made.
            faults: how many a full-size run must make at least.
            pace_s: what the stand-in takes for a batch until the faults are over.
            start: starts a worker by name; default one with the stand-in.
        """
        library = self.library
        library.pace(pace_s)
        started = time.monotonic()
        if beat:
            library.start_beat()
        for number in range(workers):
            (start or library.start_worker)(f"w{number}")
        job = library.job()
        made = hurt(library, job)
        library.pace(QUICK_S)
        view = library.wait_for(job, timeout_s=1800)
        if view.state != "done" or settled_faults(library):
            assert not self.retried, (view, library.faults())
            self.retried = True
            jobs.retry(library.catalog, job)
            view = library.wait_for(job, timeout_s=1800)
        seconds = time.monotonic() - started
        left_over = settled_faults(library)
        differences = library.index().differences(self.expected)
        counts = view.result or {}
        self.record.add(
            Trial(
                name=name,
                done=f"{done}{self.note}",
                photos=len(self.expected.photos),
                faults=made,
                seconds=seconds,
                needed="one retry" if self.retried else "nothing",
                indexed=counts.get("indexed", 0),
                failed=counts.get("failed", 0),
                outcome="equal, none left over" if not (left_over or differences) else "DIFFERS",
                date=today(),
            )
        )
        assert view.state == "done", view
        assert left_over == [], left_over
        assert differences == [], differences
        assert made >= scaled(faults), made


@pytest.fixture(scope="session")
def record() -> Record:
    return Record()


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("album") / "photos", PHOTOS, BROKEN)


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Index:
    return undisturbed(tmp_path_factory.mktemp("undisturbed"), photos)


@pytest.fixture
def library(tmp_path: Path, photos: Path) -> Iterator[Library]:
    with servers(tmp_path) as (redis, postgres):
        made = Library(tmp_path, photos, redis=redis, postgres=postgres)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture
def trials(library: Library, expected: Index, record: Record) -> Trials:
    return Trials(library, expected, record)


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


def scaled(number: int) -> int:
    """How many of so many faults fit into a smaller album."""
    return min(number, max(1, number * PHOTOS // FULL_SIZE))


def today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")


# -- looking on --------------------------------------------------------------------------------


def settled_faults(library: Library) -> list[str]:
    """Faults that stay; a worker that has just begun a turn gives its place back at its end."""
    found = library.faults()
    until = time.monotonic() + SETTLE_S
    while found and time.monotonic() < until:
        time.sleep(1)
        found = library.faults()
    return found


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
    wait_until(
        lambda: bool(holders(library, job)), timeout_s=120, every_s=LOOK_S, what="a worker at it"
    )
    child = holders(library, job)[0]
    worker = psutil.Process(child).parent()
    assert worker is not None
    return child, worker


def in_mid_batch(library: Library, job: int, indexed: float = 0.0) -> bool:
    """Wait until workers hold contents and a part of the album is done; False at the job's end.

    Args:
        indexed: the part, 0 to 1.
    """

    def ready() -> bool:
        if jobs.get(library.catalog, job).finished:
            return True
        return claimed(library) > 0 and library.indexed() >= indexed * PHOTOS

    wait_until(ready, timeout_s=600, every_s=LOOK_S, what="work in flight")
    return not jobs.get(library.catalog, job).finished
