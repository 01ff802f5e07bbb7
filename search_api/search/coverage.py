"""What a search looked at, how long it took, and what its user should know."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.text import Unread

Value = int | float | str


@dataclass(frozen=True)
class Coverage:
    """How far a search looked; every number counts photos.

    Attributes:
        total: in the albums, searchable or not.
        filtered: pass the filters and have features of the model.
        prefiltered: chosen for verification (all of `filtered` when exhaustive).
        verified: judged by the ReLA head.
        matched: judged to show the referent.
    """

    total: int = 0
    filtered: int = 0
    prefiltered: int = 0
    verified: int = 0
    matched: int = 0

    def as_json(self) -> dict[str, int]:
        """As plain values."""
        return asdict(self)

    def sentence(self) -> str:
        """One honest sentence about this coverage, for people."""
        verb = "was" if self.total == 1 else "were"
        verified = f"{self.verified:,} of {photos(self.total)} {verb} verified"
        if self.matched:
            match = "1 photo matches" if self.matched == 1 else f"{self.matched:,} match"
            return f"{match}; {verified}."
        if self.filtered == 0:
            return f"Nothing to search: none of {self.total:,} photos is indexed and passes."
        if self.verified < self.prefiltered:
            return f"Nothing in the photos that were looked at matches; {verified}."
        if self.verified < self.filtered:
            return (
                f"Nothing in the {self.verified:,} likeliest of {self.filtered:,} photos matches; "
                f"{verified}. Search exhaustively to look at all of them."
            )
        if self.filtered < self.total:
            return f"Nothing in {photos(self.filtered)} matches; {verified}."
        return f"Nothing in {photos(self.total)} matches; every one was verified."


def photos(count: int) -> str:
    """A number of photos, in words for people."""
    return "1 photo" if count == 1 else f"{count:,} photos"


@dataclass(frozen=True)
class Note:
    """Something about an answer that its user should know, in English.

    ``code`` and the ``values`` that the text holds are for programs, such as a page that says it in
    another language; where a code has several texts, the value ``why`` tells which it is.
    """

    code: str
    text: str
    values: Mapping[str, Value] = field(default_factory=dict, hash=False)

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def reading_notes(unread: Unread) -> list[Note]:
    """What of an expression was not read, in words for people."""
    found = []
    if unread.words:
        words = ", ".join(f"“{word}”" for word in unread.words)
        found.append(
            Note(
                "unknown-words",
                f"The model cannot read {words}, so they did not count; it reads English.",
                {"words": words},
            )
        )
    if unread.tail:
        found.append(
            Note(
                "cut-expression",
                f"The expression is too long: “{unread.tail}” at its end was not read and did not "
                "count.",
                {"tail": unread.tail},
            )
        )
    return found


class Spread:
    """How many photos would match from other thresholds on, so that nobody has to try them out."""

    STEPS = tuple(round(0.05 * step, 2) for step in range(1, 20))

    def __init__(self) -> None:
        self._rejected = np.zeros(len(self.STEPS), np.int64)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Photos that did not match, by the steps that they reach."""
        return self._rejected

    def add(self, counts: NDArray[np.int64]) -> None:
        """Take in what another one counted."""
        self._rejected = self._rejected + counts

    def count(self, rejected: ArrayLike) -> None:
        """Take in confidences (n,) of photos that did not match."""
        self._rejected += _at_least(rejected)

    def matched_at(self, matched: ArrayLike) -> dict[str, int]:
        """Photos that match from each step on, given the confidences of those that do.

        A file with copies counts once among the matches, and for each copy otherwise.
        """
        numbers = self._rejected + _at_least(matched)
        return {f"{step:g}": int(n) for step, n in zip(self.STEPS, numbers, strict=True)}


def _at_least(confidences: ArrayLike) -> NDArray[np.int64]:
    ordered = np.sort(np.asarray(confidences, np.float64))
    return len(ordered) - np.searchsorted(ordered, Spread.STEPS, side="left")


@dataclass
class Stopwatch:
    """Sums the seconds of named stages; `as_json` gives milliseconds."""

    started: float = field(default_factory=time.perf_counter)
    stages: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of a block to a stage."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + time.perf_counter() - begun

    @property
    def elapsed_s(self) -> float:
        """Seconds since it was made."""
        return time.perf_counter() - self.started

    def as_json(self) -> dict[str, Any]:
        """Milliseconds by stage, and ``total``."""
        milliseconds = {name: round(s * 1000, 2) for name, s in self.stages.items()}
        return {**milliseconds, "total": round(self.elapsed_s * 1000, 2)}
