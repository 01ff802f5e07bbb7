"""The `referent` command with a stand-in for the network: ``python stand_in.py worker ...``.

Fault trials try the machinery round the network. The stand-in's features are means of the pixels'
blocks, so that they can be compared bit by bit, and a worker that was killed is back in a second
instead of importing PyTorch again. A batch takes it as many seconds as the file TRIAL_PACE says, so
that faults meet work and the work that is left after them is done quickly.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from indexer.settings import Settings
from tests.support.fake_predictor import FakePredictor
from workers.held import Held

QUICK_S = 0.02


class SlowPredictor(FakePredictor):
    """Takes its time, and dies of the photo that TRIAL_POISON_PIXEL tells (its first three)."""

    def encode(
        self, pixels: np.ndarray, tiers: Sequence[str] = ("tokens", "masks", "vectors")
    ) -> dict[str, np.ndarray]:
        pace = os.environ.get("TRIAL_PACE")
        time.sleep(QUICK_S if pace is None else float(Path(pace).read_text() or QUICK_S))
        poison = os.environ.get("TRIAL_POISON_PIXEL")
        if poison is not None:
            wanted = np.array([int(value) for value in poison.split(",")], np.uint8)
            if (pixels[:, 16, 16] == wanted).all(axis=1).any():
                os._exit(137)  # as if the kernel had killed it for its memory
        return super().encode(pixels, tiers)


def stand_in(name: str) -> FakePredictor:
    """What `Held` loads in trials, whatever the name."""
    return SlowPredictor(name=name)


def sleep(seconds: float) -> None:
    """`time.sleep` by another system call; libfaketime 0.9.10 breaks Python 3.11's (its #426)."""
    threading.Event().wait(seconds)


def main() -> None:
    if "FAKETIME_TIMESTAMP_FILE" in os.environ:
        time.sleep = sleep
    original = Held.__init__

    def with_stand_in(self: Held, settings: Settings, **options: object) -> None:
        original(self, settings, load=stand_in)  # type: ignore[arg-type]

    Held.__init__ = with_stand_in  # type: ignore[method-assign,assignment]
    from referent.main import main as command

    command()


if __name__ == "__main__":
    main()
