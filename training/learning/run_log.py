"""What a run writes of its progress: `log.jsonl`, and TensorBoard files where it is installed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from model.replacing import replacing


class RunLog:
    """The log of one run's folder; a resumed run goes on with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._board: Any = None

    def cut(self, step: int) -> None:
        """Drop the rows of later steps: a run that was killed makes those again."""
        path = self.folder / "log.jsonl"
        if not path.exists():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                known = json.loads(line)["step"] <= step
            except (ValueError, KeyError, TypeError):
                continue  # the kill fell into its writing
            if known:
                kept.append(line + "\n")
        with replacing(path) as part:
            part.write_text("".join(kept), encoding="utf-8")

    def write(self, step: int, values: dict[str, float]) -> None:
        """One row: losses, rate and time of a step."""
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps({"step": step, **values}) + "\n")
        if self._board is None and importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            # purge_step hides what was logged after the checkpoint that a run goes on from.
            self._board = SummaryWriter(self.folder / "tensorboard", purge_step=step)
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Write out what TensorBoard holds back."""
        if self._board is not None:
            self._board.close()
            self._board = None
