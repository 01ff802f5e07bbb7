"""One search: filters, prefilter, verification in batches, decision, ranking.

`search` yields events while it works; `collect` runs it to its end. Nothing here knows HTTP.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.predictor import JUDGE_BATCH, Judgement, Words
from search_api.errors import BadQuery, NotIndexed, SearchError, UnknownRun
from search_api.search import booleans, runs, verifier
from search_api.search.booleans import Question
from search_api.search.coverage import (
    Coverage,
    Note,
    Spread,
    Stopwatch,
    photos,
    reading_notes,
)
from search_api.search.decisions import CONFIDENCE_DIGITS, Decision
from search_api.search.engine import Engine, View, candidates
from search_api.search.fingerprints import of_views
from search_api.search.photos import by_id
from search_api.search.query import NOBODY, WHOLE_SET, Asker, Query
from search_api.search.twins import Twins
from search_api.search.verifier import Verification

BATCH = 2 * JUDGE_BATCH
# The exhaustive mode judges this many of the prefilter's best first, so that hits come at once;
# the rest goes in the order of the store, where reading is fastest, and in larger steps.
HEAD_START = 3 * BATCH
LATER_BATCHES = 2


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


@dataclass(frozen=True)
class _Plan:
    """What is verified in one album: rows of its snapshot in the order of verification."""

    view: View
    words: tuple[Words, ...]
    """Of each part of the question, as `booleans.parts` tells them."""
    rows: np.ndarray
    filtered: int


_Share = tuple[_Plan, np.ndarray]
"""Rows (n,) of one album's snapshot within a batch."""


def _never() -> bool:
    return False


def collect(
    engine: Engine,
    query: Query,
    *,
    asker: Asker = NOBODY,
    time_limit_s: float | None = None,
    stopping: Callable[[], bool] = _never,
) -> Done:
    """Run a search to its end.

    Raises:
        SearchError, IndexerError, ModelError: see `search`.
    """
    for event in search(
        engine,
        query,
        asker=asker,
        time_limit_s=time_limit_s,
        stopping=stopping,
        streaming=False,
    ):
        if isinstance(event, Done):
            return event
    raise AssertionError("a search ends with Done")


def search(
    engine: Engine,
    query: Query,
    *,
    asker: Asker = NOBODY,
    time_limit_s: float | None = None,
    stopping: Callable[[], bool] = _never,
    streaming: bool = True,
) -> Generator[Event]:
    """Search, yielding Started, then Progress and Found as photos are verified, then Done.

    Closing the iterator early ends the run as stopped, with what was verified until then.

    Args:
        asker: whose search it is: over which albums, and in whose history.
        time_limit_s: stop after this long with what was verified, one batch at least.
        stopping: asked before each batch; the search is stopped once the process shall end.
        streaming: keep hits in the catalog as they are found, so that their masks can be asked
            for before the end; False writes them once, at the end.
    Raises:
        UnknownAlbum: no album has this name.
        UnknownRun: the run was removed while it ran.
        NotIndexed: no photo of the albums has features of this model.
        ModelError: the features or the expression cannot be used.
    """
    watch = Stopwatch()
    question = booleans.read(query.expression)
    if query.verifier is not None and not isinstance(question, booleans.Part):
        raise BadQuery(
            "A verifier reads one plain expression; leave AND, OR, NOT and “no ...” out.",
            field="verifier",
        )
    with watch.stage("open"):
        views = engine.views(query.album, asker.albums)
        notes = _notes(views, query, question)
    with watch.stage("text"):
        words = [
            tuple(engine.models.words(view.predictor, part) for part in booleans.parts(question))
            for view in views
        ]
    verification = None
    if query.verifier is not None:
        with watch.stage("verifier"):
            verification = verifier.begin(
                engine.verifiers,
                engine.settings,
                query.verifier,
                query.expression,
                query.threshold,
                catalog=engine.catalog,
                albums=[view.album_id for view in views],
            )
    if query.seconds is not None:
        time_limit_s = min(query.seconds, time_limit_s or query.seconds)
    with watch.stage("filter"):
        subsets = [engine.subset(view, query.filters) for view in views]
    with watch.stage("prefilter"):
        plans = _plan(views, subsets, words, query, question)
    planned = Coverage(
        total=sum(view.total for view in views),
        filtered=sum(plan.filtered for plan in plans),
        prefiltered=sum(len(plan.rows) for plan in plans),
    )
    threshold = min(_threshold(view, query) for view in views)
    fingerprints = of_views(views)
    revisions = {v.calibration.revision for v in views}
    if verification is not None:
        threshold = verification.threshold
        fingerprints = {**fingerprints, "verifier": verification.verifier.fingerprint}
        revisions = {each.revision for each in verification.calibrations}
    with watch.stage("keep"):
        run_id = runs.begin(
            engine.catalog,
            expression=query.expression,
            album_id=views[0].album_id if query.album is not None else None,
            mode=query.mode,
            filters=query.filters,
            fingerprints=fingerprints,
            calibration_revision=",".join(sorted(revisions)),
            threshold=threshold,
            verifier=query.verifier,
            index_version_id=views[0].index_version_id if len(views) == 1 else None,
            coverage=planned,
            key_id=asker.key_id,
        )
    twins = Twins(engine.catalog, views, subsets, _judges(views, verification))
    tally = _Tally(
        engine, query, question, run_id, planned, plans, watch, notes, twins, verification
    )
    batch, later = (BATCH, LATER_BATCHES) if verification is None else (verifier.BATCH, 1)
    try:
        yield Started(run_id, planned, threshold, notes)
        for number, shares in enumerate(_interleaved(plans, batch, later)):
            if stopping():
                tally.stop(
                    f"The search was stopped with its server; it verified {tally.verified:,} of "
                    f"{planned.prefiltered:,} photos."
                )
                break
            if number and time_limit_s is not None and watch.elapsed_s > time_limit_s:
                tally.stop(
                    f"The search was stopped after {time_limit_s:g} s; it verified "
                    f"{tally.verified:,} of {planned.prefiltered:,} photos."
                )
                break
            found = tally.judge(shares, keep=streaming)
            yield from (Found(run_id, decision) for decision in found)
            yield Progress(run_id, tally.coverage)
        yield tally.finish("stopped" if tally.stopped else "done")
    except GeneratorExit:
        if not tally.finished:
            tally.stop("The search was stopped by its client.")
            with contextlib.suppress(UnknownRun):  # removed as well
                tally.finish("stopped")
        raise
    except BaseException:
        if not tally.finished:
            tally.stop("The search failed before its end.")
            with contextlib.suppress(UnknownRun):
                tally.finish("stopped")
        raise


class _Tally:
    """The decisions of one run so far."""

    def __init__(
        self,
        engine: Engine,
        query: Query,
        question: Question,
        run_id: str,
        planned: Coverage,
        plans: Sequence[_Plan],
        watch: Stopwatch,
        notes: tuple[Note, ...],
        twins: Twins,
        verification: Verification | None = None,
    ) -> None:
        self.twins, self.verification = twins, verification
        self.engine, self.query, self.question, self.run_id = engine, query, question, run_id
        self.planned, self.watch, self.notes = planned, watch, notes
        self.plans = {plan.view.album_id: plan for plan in plans}
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
        return Coverage(
            self.planned.total,
            self.planned.filtered,
            self.planned.prefiltered,
            self.verified,
            len(self.matched),
        )

    def stop(self, text: str) -> None:
        self.stopped = True
        self.notes = (*self.notes, Note("stopped", text))

    def judge(self, shares: Sequence[_Share], *, keep: bool) -> list[Decision]:
        """Judge some photos of one network and return the matching ones, most confident first."""
        if self.verification is not None:
            decisions = [each for plan, rows in shares for each in self._verify(plan, rows)]
            self.verified += len(decisions)
            self.spread.count([each.confidence for each in decisions if not each.accepted])
            return self._take(decisions, keep=keep)
        with self.watch.stage("gather"):
            read = [plan.view.snapshot.gather_readable("tokens", rows) for plan, rows in shares]
            blocks = [tokens for tokens, rows in read if len(rows)]
            asked, whole = (sum(len(rows) for _, rows in each) for each in (shares, read))
            self.damaged += asked - whole
            if not blocks:
                return []
            tokens = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        plan = shares[0][0]
        with self.watch.stage("judge"):
            judged = [plan.view.predictor.judge(tokens, words) for words in plan.words]
        decisions = []
        with self.watch.stage("decide"):
            end = 0
            for (plan, _), (_, rows) in zip(shares, read, strict=True):
                start, end = end, end + len(rows)
                here = [each[start:end] for each in judged]
                decisions += self._decide(plan.view, rows, here, self.spread)
        self.verified += len(tokens)
        return self._take(decisions, keep=keep)

    def _decide(
        self, view: View, rows: np.ndarray, judged: Sequence[Judgement], spread: Spread
    ) -> list[Decision]:
        """One album's decisions that are kept: what matches, and the nearest others."""
        if not isinstance(self.question, booleans.Part):
            return self._put_together(view, rows, judged, spread)
        (judgement,) = judged
        confidence = np.round(
            view.calibration.confidence(judgement.no_target_logit), CONFIDENCE_DIGITS
        )
        accepted = confidence >= _threshold(view, self.query)
        spread.count(confidence[~accepted])
        wanted = accepted.copy()
        if self.query.rejected:
            wanted[:] = True
        ids = view.snapshot.photo_ids[rows]
        return [
            Decision(
                photo_id=int(ids[i]),
                confidence=float(confidence[i]),
                accepted=bool(accepted[i]),
                no_target_logit=float(judgement.no_target_logit[i]),
                minimap=np.array(judgement.minimap[i], np.float32),
                coefficients=np.array(judgement.coefficients[i], np.float32),
            )
            for i in np.flatnonzero(wanted)
        ]

    def _put_together(
        self, view: View, rows: np.ndarray, judged: Sequence[Judgement], spread: Spread
    ) -> list[Decision]:
        """As `_decide`, of a question of several parts or of what is absent."""
        threshold, question = _threshold(view, self.query), self.question
        texts = booleans.parts(question)
        of_parts = {
            text: np.round(view.calibration.confidence(each.no_target_logit), CONFIDENCE_DIGITS)
            for text, each in zip(texts, judged, strict=True)
        }
        confidence = booleans.confidence(question, of_parts, threshold)
        accepted = confidence >= threshold
        spread.count(confidence[~accepted])
        wanted = accepted if not self.query.rejected else np.ones_like(accepted)
        there = booleans.shown(question)
        ids = view.snapshot.photo_ids[rows]
        # A part with halves has theirs side by side; repeated, they say the same.
        channels = max(each.coefficients.shape[1] for each in judged)
        decisions = []
        for i in np.flatnonzero(wanted):
            seen = [
                each
                for text, each in zip(texts, judged, strict=True)
                if text in there and (of_parts[text][i] >= threshold or not accepted[i])
            ]
            minimaps = np.array([each.minimap[i] for each in seen], np.float32)
            regions = judged[0].minimap.shape[1]
            decisions.append(
                Decision(
                    photo_id=int(ids[i]),
                    confidence=float(confidence[i]),
                    accepted=bool(accepted[i]),
                    no_target_logit=float(judged[0].no_target_logit[i]),
                    minimap=minimaps.max(0) if seen else np.zeros(regions, np.float32),
                    coefficients=np.array(
                        [np.resize(each.coefficients[i], channels) for each in seen], np.float32
                    ).reshape(-1, channels),  # (K, C_m)
                )
            )
        return decisions

    def _verify(self, plan: _Plan, rows: np.ndarray) -> list[Decision]:
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
        return self._decide(plan.view, rows, judged, Spread())

    def _take(self, decisions: list[Decision], *, keep: bool) -> list[Decision]:
        """Add decisions to the run's; return the matching ones, most confident first."""
        found = self.twins.matched((d for d in decisions if d.accepted), self._decide_now)
        found.sort(key=lambda d: d.order)
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
        self.finished = True
        if self.verification is not None and (missed := self.verification.unreadable):
            text = f"{photos(missed)} could be neither read nor verified."
            self.notes = (*self.notes, Note("unreadable", text))
        if self.damaged:
            self.notes = (*self.notes, _damaged(self.damaged, "could not be judged"))
        self.matched.sort(key=lambda d: d.order)
        self.rejected = self.twins.rejected(self.rejected)
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


def _judges(views: Sequence[View], verification: Verification | None) -> dict[int, object]:
    """Of each album, what decides about its photos: equal where two decide alike."""
    if verification is not None:
        return {v.album_id: verification.albums[v.album_id].revision for v in views}
    return {v.album_id: (v.predictor.fingerprints, v.calibration.revision) for v in views}


def _threshold(view: View, query: Query) -> float:
    """Confidence from which a photo of this album matches, on the grid of confidences."""
    chosen = view.calibration.threshold if query.threshold is None else query.threshold
    return round(chosen, CONFIDENCE_DIGITS)


def _plan(
    views: list[View],
    subsets: list[np.ndarray | None],
    words: list[tuple[Words, ...]],
    query: Query,
    question: Question,
) -> list[_Plan]:
    """Choose what is verified, in each album, best first."""
    narrowing = booleans.narrowing(question)
    texts = booleans.parts(question)
    led_by = [texts.index(text) for text in narrowing or texts[:1]]
    counts = [
        len(view.snapshot.photo_ids) if subset is None else len(subset)
        for view, subset in zip(views, subsets, strict=True)
    ]
    # A verifier takes seconds a photo, so it never looks at more than was asked for.
    small = query.candidates if query.verifier else max(query.candidates, WHOLE_SET)
    whole = query.mode == "exhaustive" or sum(counts) <= small or narrowing is None
    ks = [min(count, HEAD_START if whole else query.candidates) for count in counts]
    ranked = [(np.empty(0, np.int64), np.empty(0, np.float32))] * len(views)
    for members in _by_network(views):
        found = [
            candidates(
                [views[i] for i in members],
                words[members[0]][part],
                [ks[i] for i in members],
                [subsets[i] for i in members],
            )
            for part in led_by
        ]
        for i, *each in zip(members, *found, strict=True):
            ranked[i] = _in_turn(each)
    prints = [view.predictor.fingerprints for view in views]
    if len({(each["vectors"], each["head"]) for each in prints}) > 1:
        # Scores of different networks say nothing about each other; ranks do.
        ranked = [(rows, -np.arange(len(rows), dtype=np.float32)) for rows, _ in ranked]
    if not whole and len(views) > 1:
        ranked = _best_of_all(ranked, query.candidates * len(led_by))
    plans = []
    for view, subset, count, read, (rows, _) in zip(
        views, subsets, counts, words, ranked, strict=True
    ):
        if whole and len(rows) < count:
            every = np.arange(count) if subset is None else subset
            rows = np.concatenate([rows, np.setdiff1d(every, rows, assume_unique=True)])
        plans.append(_Plan(view, read, rows, count))
    return plans


def _in_turn(
    ranked: Sequence[tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and scores of several parts' candidates as one ranking, by the best rank of each row."""
    if len(ranked) == 1:
        return ranked[0]
    rows = np.concatenate([rows for rows, _ in ranked])
    ranks = np.concatenate([np.arange(len(rows)) for rows, _ in ranked])
    order = np.argsort(ranks, kind="stable")
    _, first = np.unique(rows[order], return_index=True)
    kept = order[np.sort(first)]
    return rows[kept], -ranks[kept].astype(np.float32)


def _by_network(views: Sequence[View]) -> list[list[int]]:
    """Places of the views, those of one network together."""
    groups: dict[int, list[int]] = {}
    for place, view in enumerate(views):
        groups.setdefault(id(view.predictor), []).append(place)
    return list(groups.values())


def _best_of_all(
    ranked: list[tuple[np.ndarray, np.ndarray]], k: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The k best over all albums, still apart."""
    scores = np.concatenate([scores for _, scores in ranked])
    if len(scores) <= k:
        return ranked
    cut = np.sort(scores)[::-1][k - 1]
    return [(rows[scores >= cut], scores[scores >= cut]) for rows, scores in ranked]


def _interleaved(plans: list[_Plan], batch: int, later: int) -> Iterator[list[_Share]]:
    """Batches of one network's photos, every album's best early; then ``later`` times as large.

    Albums share them, so that three hundred small ones take no more batches than one large.
    """
    longest = max((len(plan.rows) for plan in plans), default=0)
    groups = [[plans[i] for i in members] for members in _by_network([p.view for p in plans])]
    start = 0
    while start < longest:
        size = batch if start < HEAD_START else batch * later
        for group in groups:
            filling: list[_Share] = []
            room = size
            for plan in group:
                rows = plan.rows[start : start + size]
                while len(rows):
                    filling.append((plan, rows[:room]))
                    room, rows = room - len(rows[:room]), rows[room:]
                    if not room:
                        yield filling
                        filling, room = [], size
            if filling:
                yield filling
        start += size


def _notes(views: list[View], query: Query, question: Question) -> tuple[Note, ...]:
    """What the user should know about the albums before reading the answer."""
    if not views:
        raise SearchError("There is no album yet; index a folder: referent index FOLDER")
    if not any(len(view.snapshot.photo_ids) for view in views):
        waiting = sum(view.by_status.get("new", 0) for view in views)
        name = query.album or "any album"
        raise NotIndexed(
            f"No photo of {name} has features of this model yet ({waiting:,} wait); "
            "run: referent index FOLDER",
            field="album",
        )
    text = views[0].predictor.text
    notes = [each for part in booleans.parts(question) for each in reading_notes(text.unread(part))]
    if not isinstance(question, booleans.Part):
        notes.append(_understood(question, query))
    notes += [note for view in views for note in view.notes]
    if waiting := sum(view.by_status.get("new", 0) for view in views):
        notes.append(
            Note("indexing", f"Not indexed yet: {photos(waiting)}, so this answer is partial.")
        )
    if failed := sum(view.by_status.get("failed", 0) for view in views):
        notes.append(Note("failed", f"{photos(failed)} could not be read and cannot be found."))
    if unread := sum(view.prefilter.unread for view in views):
        notes.append(_damaged(unread, "are looked at last"))
    return tuple(notes)


def _understood(question: Question, query: Query) -> Note:
    read = booleans.told(question)
    text = f"Read as {read.removeprefix('(').removesuffix(')') if read[0] == '(' else read}"
    if booleans.says_not(question):
        text += "; NOT means that it is judged absent"
    if booleans.narrowing(question) is None and query.mode == "fast":
        text += ", which only a look at every photo can tell"
    return Note("read-as", f"{text}.")


def _damaged(count: int, so: str) -> Note:
    text = f"Features of {photos(count)} are damaged, so they {so}; the next index makes them anew."
    return Note("damaged-features", text)
