"""A run's curve of quality on held-out data, and the best weights on it, kept beside the last."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from model.replacing import replacing

BY = "giou"
CURVE, BEST, LAST = "val.jsonl", "best.safetensors", "checkpoints"


class Validation:
    """Measures a run's averaged weights every so many steps.

    `val.jsonl` holds the curve, `best.safetensors` the weights with the highest gIoU,
    `checkpoints/` the last ones measured.

    Args:
        folder: of the run.
        measure: figures of a weights file, fractions; `giou` among them.
        every: steps between two measurements; the last step is measured too.
        keep: how many of the last ones are kept.
    """

    def __init__(
        self,
        folder: Path,
        measure: Callable[[Path], Mapping[str, float | None]],
        every: int,
        keep: int = 3,
    ) -> None:
        self.folder, self._measure, self.every, self.keep = folder, measure, every, max(1, keep)

    def due(self, step: int, steps: int) -> bool:
        """Whether a step is one to measure after."""
        return step % self.every == 0 or step == steps

    def go_on(self, step: int) -> None:
        """Drop what was measured after a step: a run that was killed measures it again."""
        kept = [row for row in self.rows() if row["step"] <= step]
        if (self.folder / CURVE).exists():
            self._write(kept)

    def rows(self) -> list[dict[str, Any]]:
        """The curve so far."""
        try:
            lines = (self.folder / CURVE).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines]

    def measure(self, write: Callable[[Path], None], name: str, step: int) -> None:
        """Keep the weights of a step, measure what was kept, and keep it as the best if it is.

        Args:
            write: puts the weights into a file. name: of the network.
        """
        path = self.folder / LAST / f"{name}-{step:08d}.safetensors"
        write(path)
        figures = self._measure(path)
        before = self.rows()
        value = figures.get(BY)
        best = max((row[BY] for row in before if row.get(BY) is not None), default=-1.0)
        is_best = value is not None and value > best
        if is_best:
            with replacing(self.folder / BEST) as part:
                shutil.copyfile(path, part)
        self._write([*before, {"step": step, **figures, "best": is_best}])
        for old in sorted((self.folder / LAST).glob(f"{name}-*.safetensors"))[: -self.keep]:
            old.unlink()

    def _write(self, rows: list[dict[str, Any]]) -> None:
        with replacing(self.folder / CURVE) as part:
            part.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
