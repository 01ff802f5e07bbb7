"""`referent index` killed at random instants, thirty times and more."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from indexer.settings import Settings
from tests.support.kills import Trial
from tests.support.trials import Record, today
from tests.support.trials import Trial as Row

RANDOM, IN_FINISH = 30, 10


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_thirty_kills_at_random_instants_lose_nothing(settings: Settings, tmp_path: Path) -> None:
    begun = time.monotonic()
    trial = Trial(tmp_path, photos=120, seed=4)
    trial.run(RANDOM + IN_FINISH, in_finish=IN_FINISH)
    trial.end()
    indexed, failed = trial.counts()
    met = trial.met
    assert trial.kills == RANDOM + IN_FINISH
    assert indexed >= 120 and failed == 1
    assert met["encode"] and met["finish"]
    Record().add(
        Row(
            name="SIGKILL of `referent index`",
            done=f"at {RANDOM} random instants and {IN_FINISH} in its last phase: {met['scan']} "
            f"fell into scanning, {met['encode']} into encoding, {met['finish']} into merging or "
            f"FAISS; {met['commit']} into a commit of features",
            photos=indexed + failed,
            faults=trial.kills,
            seconds=time.monotonic() - begun,
            needed="nothing",
            indexed=indexed,
            failed=failed,
            outcome="equal, none left over",
            date=today(),
        )
    )
