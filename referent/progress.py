"""How a long command shows what it is at: one line on stderr, the same in all of them."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from indexer.folders.printable import printable
from referent.terminal import duration, say

if TYPE_CHECKING:
    from indexer.jobs.jobs import JobView

# How often a line is written where stderr is no terminal.
LINE_S = 5.0


class ProgressLine:
    """A line on stderr that is kept up to date: what is done, how far it is, rate, time left."""

    def __init__(self, name: str, *, quiet: bool) -> None:
        self.name = name
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            console=Console(stderr=True),
            disable=quiet or not sys.stderr.isatty(),
            transient=True,
        )
        self._plain = not quiet and not sys.stderr.isatty()
        self._task = self._bar.add_task(name, total=None, speed="")
        self._told_at = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def count(self, doing: str, done: int, total: int | None, more: str = "") -> None:
        """Tell how many are done."""
        self._bar.update(
            self._task,
            description=escape(printable(f"{self.name}: {doing}")),
            completed=done,
            total=total,
            speed=more,
        )
        now = time.monotonic()
        if self._plain and done and now - self._told_at >= LINE_S:
            self._told_at = now
            of = "" if total is None else f" of {total:,}"
            say(f"{self.name}: {doing}, {done:,}{of}{', ' * bool(more)}{more}", err=True)

    def job(self, job: JobView) -> None:
        """Tell how far a job is."""
        rate = job.rate or 0.0
        left = job.seconds_left
        doing = job.message or job.phase or job.state
        self.count(doing, job.done + job.failed, job.total, speed_of(rate, left, job.failed))


def speed_of(rate: float, left_s: float | None, failed: int) -> str:
    """Photos a second, the time that is left and how many failed, as far as there is any."""
    parts = [f"{rate:.1f} photos/s"] if rate else []
    if rate and left_s is not None:
        parts.append(f"{duration(left_s)} left")
    if failed:
        parts.append(f"{failed:,} failed")
    return ", ".join(parts)
