"""Fault trials are long; what they find is written to docs/reliability.md by the run itself."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from trial_library import Index, make_photos, undisturbed

REPOSITORY = Path(__file__).resolve().parent.parent
TABLE = REPOSITORY / "docs" / "reliability.md"
PHOTOS = int(os.environ.get("REFERENT_TRIAL_PHOTOS", "2000"))
BROKEN = 5
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
        TABLE.parent.mkdir(exist_ok=True)
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
        "tier, byte by byte. A stand-in that takes a moment a batch (means of pixel blocks) is in",
        "the network's place: the machinery is on trial, not the model. *Left over* would be",
        "doubled or missing rows, photos that are neither indexed nor failed, claims and places",
        "that are still held, and files that no segment row names.",
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
        "The seconds include starting the workers and every wait that the trial itself makes.",
        "",
        _DATA + json.dumps([asdict(trial) for trial in trials]) + " -->",
        "",
    ]
    return "\n".join(lines)


@pytest.fixture(scope="session")
def record() -> Record:
    return Record()


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("album") / "photos", PHOTOS, BROKEN)


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Iterator[Index]:
    yield undisturbed(tmp_path_factory.mktemp("undisturbed"), photos)


def today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")
