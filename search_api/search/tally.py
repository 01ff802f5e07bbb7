"""The decisions of one run so far, kept as they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from search_api.search import booleans, runs
from search_api.search.booleans import Question
from search_api.search.coverage import Coverage, Note, Spread, Stopwatch, photos
from search_api.search.deciding import decide
from search_api.search.decisions import Decision
from search_api.search.engine import Engine
from search_api.search.events import Done
from search_api.search.judging import Judged, judge
from search_api.search.notes import damaged, unsure_of
from search_api.search.photos import by_id
from search_api.search.planning import Plan, Share
from search_api.search.query import Query
from search_api.search.twins import Twins
from search_api.search.verifier import Verification


class Tally:
    """The decisions of one run so far."""

    def __init__(
        self,
        engine: Engine,
        query: Query,
        question: Question,
        run_id: str,
        planned: Coverage,
        plans: Sequence[Plan],
        watch: Stopwatch,
        notes: tuple[Note, ...],
        twins: Twins,
        verification: Verification | None = None,
        expected: float = 0.0,
    ) -> None:
        """Begin with nothing.

        Args:
            expected: matches are held back until so many of them can be expected to be right,
                and are none where that never is.
        """
        self.twins, self.verification = twins, verification
        self.engine, self.query, self.question, self.run_id = engine, query, question, run_id
        self.planned, self.watch, self.notes = planned, watch, notes
        self.plans = {plan.view.album_id: plan for plan in plans}
        self.expected = expected
        self.held: list[Decision] = []
        self.matched: list[Decision] = []
        self.rejected: list[Decision] = []
        self.verified = 0
        self.spread = Spread()
        self.kept = 0
        self.damaged = 0
        self.stopped = False
        self.finished = False

    @property
    def coverage(self) -> Coverage:
        """How far the run looked until now."""
        return Coverage(
            self.planned.total,
            self.planned.filtered,
            self.planned.prefiltered,
            self.verified,
            len(self.matched),
        )

    def stop(self, why: str, text: str, **values: float) -> None:
        """End the run before its plan; the note says why."""
        self.stopped = True
        self.notes = (*self.notes, Note("stopped", text, {"why": why, **values}))

    def judge(self, shares: Sequence[Share]) -> Judged:
        """Judge some photos of one network in this process."""
        if self.verification is None:
            return judge(shares, self.query, self.question, self.watch)
        decisions = [each for plan, rows in shares for each in self._verify(plan, rows)]
        spread = Spread()
        spread.count([each.confidence for each in decisions if not each.accepted])
        return Judged(decisions, len(decisions), 0, spread.counts)

    def take(self, judged: Judged, *, keep: bool) -> list[Decision]:
        """Add what was judged to the run; return what matches, most confident first."""
        self.verified += judged.verified
        self.damaged += judged.damaged
        self.spread.add(judged.spread)
        return self._take(judged.decisions, keep=keep)

    def _verify(self, plan: Plan, rows: np.ndarray) -> list[Decision]:
        """Let the verifier look at the photos themselves."""
        assert self.verification is not None
        ids = [int(each) for each in plan.view.snapshot.photo_ids[rows]]
        with self.watch.stage("verify"):
            found = by_id(self.engine.catalog, ids)
            return self.verification.judge([found[each] for each in ids if each in found])

    def _decide_now(self, album_id: int, photo_ids: Sequence[int]) -> list[Decision]:
        """Decide about copies of matches, before their turn and beside what the coverage counts."""
        plan = self.plans[album_id]
        rows = plan.view.rows_of(np.array(photo_ids))
        if self.verification is not None:
            return self._verify(plan, rows)
        tokens, rows = plan.view.snapshot.gather_readable("tokens", rows)
        if not len(rows):
            return []
        judged = [plan.view.predictor.judge(tokens, words) for words in plan.words]
        return decide(plan.view, rows, judged, self.query, self.question, Spread())

    def _take(self, decisions: list[Decision], *, keep: bool) -> list[Decision]:
        """Add decisions to the run's; return what matches from now on, most confident first."""
        self.held += self.twins.matched((d for d in decisions if d.accepted), self._decide_now)
        found: list[Decision] = []
        if self.matched or sum(d.confidence for d in self.held) >= self.expected:
            found, self.held = sorted(self.held, key=lambda d: d.order), []
        self.rejected += [d for d in decisions if not d.accepted]
        self.rejected.sort(key=lambda d: d.order)
        del self.rejected[self.query.rejected :]
        first = len(self.matched)
        self.matched += found
        if keep and found:
            with self.watch.stage("keep"):
                runs.add_hits(self.engine.catalog, self.run_id, found, first, self.coverage)
            self.kept += len(found)
        return found

    def finish(self, state: str) -> Done:
        """Rank what was found and keep the run.

        Raises:
            UnknownRun: it was removed while it ran.
        """
        self.finished = True
        if self.verification is not None and (missed := self.verification.unreadable):
            text = f"{photos(missed)} could be neither read nor verified."
            self.notes = (*self.notes, Note("unreadable", text, {"n": missed}))
        if self.damaged:
            self.notes = (*self.notes, damaged(self.damaged, "unjudged"))
        self.matched.sort(key=lambda d: d.order)
        self.rejected = self.twins.rejected(self.rejected)
        if self.held:
            self.spread.count([d.confidence for d in self.held])
            unsure = sorted(self.held, key=lambda d: d.order)
            self.notes = (*self.notes, unsure_of(unsure, self.coverage.filtered))
            nearest = [*(replace(each, accepted=False) for each in unsure), *self.rejected]
            self.rejected = nearest[: self.query.rejected]
        # What is absent at one threshold says nothing of what is at another.
        at_threshold = (
            {}
            if booleans.says_not(self.question)
            else self.spread.matched_at([d.confidence for d in self.matched])
        )
        with self.watch.stage("keep"):
            run = runs.finish(
                self.engine.catalog,
                self.run_id,
                state=state,
                coverage=self.coverage,
                timings=self.watch.as_json(),
                notes=self.notes,
                matched=self.matched,
                rejected=self.rejected,
                kept_matched=self.kept,
                at_threshold=at_threshold,
            )
        run = replace(run, timings=self.watch.as_json())
        return Done(run, tuple(self.matched), tuple(self.rejected))
