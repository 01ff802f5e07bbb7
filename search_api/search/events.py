"""What a search tells while it works, and when it is done."""

from __future__ import annotations

from dataclasses import dataclass

from search_api.search import runs
from search_api.search.coverage import Coverage, Note
from search_api.search.decisions import Decision


@dataclass(frozen=True)
class Started:
    """The search run exists and its coverage is planned."""

    run_id: str
    coverage: Coverage
    threshold: float
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class Progress:
    """More photos were verified."""

    run_id: str
    coverage: Coverage


@dataclass(frozen=True)
class Found:
    """A photo matches; its mask can be asked for from now on."""

    run_id: str
    decision: Decision


@dataclass(frozen=True)
class Done:
    """The search ended: its run as kept, ``matched`` and ``rejected`` ranked, best first."""

    run: runs.Run
    matched: tuple[Decision, ...]
    rejected: tuple[Decision, ...]

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.run.id

    @property
    def coverage(self) -> Coverage:
        """How far it looked."""
        return self.run.coverage

    def matched_pairs(self) -> list[tuple[int, float]]:
        """(photo id, confidence) of each match, best first."""
        return [(decision.photo_id, decision.confidence) for decision in self.matched]


Event = Started | Progress | Found | Done
