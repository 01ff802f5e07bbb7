"""What people say of a search's decisions, and an album's calibration fitted to it.

A verdict belongs to a photo and an expression, so it outlives the search run that it was given on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from indexer.db import audit
from indexer.db.audit import Actor
from indexer.db.catalog import Catalog
from indexer.db.clock import clock
from indexer.db.tables import Hit, Mark, Photo, SearchRun
from model import calibration
from model.calibration import Calibration
from search_api.errors import BadQuery, NotIndexed, SearchError
from search_api.search import booleans, runs
from search_api.search.engine import Engine, View
from search_api.search.photos import by_id
from search_api.search.runs import Run
from search_api.search.verifier import BATCH, begin

Verdict = Literal["right", "wrong", "wrong_mask", "missed"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
# The thing is in the photo, as far as a verdict tells.
HAS_TARGET: dict[str, bool] = {"right": True, "wrong_mask": True, "missed": True, "wrong": False}
LEAST_MARKS = 8
# Marks are few and of photos near the threshold, so they pull from the model's own calibration.
STRENGTH = 10.0
FOLDS = 5


class TooFewMarks(SearchError):
    """An album's decision cannot be fitted to so few verdicts, or to verdicts of one kind."""


@dataclass(frozen=True)
class MarkView:
    """A verdict as kept; ``created_at`` is Unix time in seconds."""

    photo_id: int
    expression: str
    verdict: Verdict
    created_at: float


def mark(
    catalog: Catalog,
    run_id: str,
    photo_id: int,
    verdict: Verdict,
    *,
    by: Actor | None = None,
) -> MarkView:
    """Keep a verdict on a decision of a run; an earlier one on it is replaced.

    Args:
        by: whose verdict it is, for the audit; None is whoever types a command.
    Raises:
        UnknownRun, UnknownPhoto: the run kept no decision about the photo.
        BadQuery: a match cannot be missed, a rejected photo can be nothing else.
    """
    run, hit = runs.one_hit(catalog, run_id, photo_id)
    allowed = ("right", "wrong", "wrong_mask") if hit.decision.accepted else ("missed",)
    if verdict not in allowed:
        kind = "a match" if hit.decision.accepted else "a rejected photo"
        raise BadQuery(f"{kind} can be marked as {' or '.join(allowed)}", field="verdict")
    with catalog.session() as session:
        before = _taken_back(session, photo_id, run.expression)
        if before not in (None, verdict):
            _note(session, by, "mark replaced", f"{before} by {verdict}", photo_id, run.expression)
        session.execute(
            insert(Mark).values(
                photo_id=photo_id,
                expression=run.expression,
                verdict=verdict,
                created_at=clock(),
            )
        )
    return next(each for each in marks_of(catalog, run) if each.photo_id == photo_id)


def unmark(catalog: Catalog, run_id: str, photo_id: int, *, by: Actor | None = None) -> None:
    """Take a verdict back; without one, nothing changes.

    Raises:
        UnknownRun.
    """
    run = runs.load(catalog, run_id)
    with catalog.session() as session:
        before = _taken_back(session, photo_id, run.expression)
        if before is not None:
            _note(session, by, "mark taken back", before, photo_id, run.expression)


def marks_of(catalog: Catalog, run: Run) -> list[MarkView]:
    """The verdicts on photos of a run, whichever run of this expression they were given on."""
    statement = (
        select(Mark)
        .join(Hit, Hit.photo_id == Mark.photo_id)
        .where(Hit.run_id == run.id, Mark.expression == run.expression)
        .order_by(Mark.photo_id)
    )
    with catalog.reading() as session:
        return [_view(row) for row in session.scalars(statement)]


def album_marks(catalog: Catalog, album_id: int) -> list[MarkView]:
    """Every verdict on an album's photos, oldest first."""
    statement = (
        select(Mark)
        .join(Photo, Photo.id == Mark.photo_id)
        .where(Photo.album_id == album_id, Photo.deleted_at.is_(None))
        .order_by(Mark.created_at, Mark.id)
    )
    with catalog.reading() as session:
        return [_view(row) for row in session.scalars(statement)]


def latest_run(catalog: Catalog, each: MarkView) -> str | None:
    """The newest run that matched the photo for this expression; None where none is kept."""
    statement = (
        select(SearchRun.id)
        .join(Hit, Hit.run_id == SearchRun.id)
        .where(
            Hit.photo_id == each.photo_id,
            SearchRun.expression == each.expression,
            Hit.accepted.is_(True),
        )
        .order_by(SearchRun.created_at.desc())
        .limit(1)
    )
    with catalog.reading() as session:
        return session.scalar(statement)


@dataclass(frozen=True)
class Fit:
    """An album's calibration and what it is worth.

    Errors are measured on verdicts that the fit of their fold did not see: ``log_loss`` in nats a
    pair, ``wrong`` the share of decisions that contradict the verdict.
    """

    calibration: Calibration
    marks: int
    log_loss_before: float
    log_loss_after: float
    wrong_before: float
    wrong_after: float

    @property
    def helps(self) -> bool:
        """Whether the held-out error falls."""
        return self.log_loss_after < self.log_loss_before


def decider(engine: Engine, album_id: int, verifier: str | None) -> tuple[Calibration, str]:
    """The calibration and the fingerprint of the network that decides: a verifier, or the head.

    Raises:
        NotIndexed: the album is gone.
        UnknownModel, WeightsError: there is no such verifier here.
    """
    if verifier is not None:
        network = engine.verifiers.named(verifier)
        return network.calibration, network.fingerprint
    if (view := engine.view(album_id)) is None:
        raise NotIndexed("The album is gone.", field="album")
    return view.predictor.calibration, view.predictor.fingerprints["head"]


def fit_album(
    engine: Engine,
    album_id: int,
    *,
    verifier: str | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Fit:
    """Fit an album's decision to its verdicts, from the network's own calibration.

    Args:
        verifier: fit the decision of this one, which looks at every marked photo for it, instead
            of the head's.
        progress: told how many of how many verdicts' photos were judged.
    Raises:
        TooFewMarks, NotIndexed; UnknownModel, WeightsError: there is no such verifier.
    """
    view = engine.view(album_id)
    if view is None or not len(view.snapshot.photo_ids):
        raise NotIndexed("The album has no features of this model; index it first.", field="album")
    marks = album_marks(engine.catalog, album_id)
    logits: list[float] = []
    target: list[bool] = []
    groups: list[int] = []
    for expression in sorted({each.expression for each in marks}):
        if not booleans.is_plain(expression):
            continue  # its verdicts are about several decisions at once
        of_it = {each.photo_id: each.verdict for each in marks if each.expression == expression}
        judged: dict[int, float] = {}
        for part in _logits(engine, view, expression, sorted(of_it), verifier):
            judged |= part
            progress(len(logits) + len(judged), len(marks))
        groups += [len(logits)] * len(judged)  # the first of it numbers the expression
        logits += judged.values()
        target += [HAS_TARGET[of_it[photo_id]] for photo_id in judged]
    truth = np.array(target, bool)
    if len(truth) < LEAST_MARKS or truth.all() or not truth.any():
        raise TooFewMarks(
            f"{len(truth)} verdicts are too few to fit an album's decision: mark at least "
            f"{LEAST_MARKS} hits, right ones and wrong ones"
        )
    start, fitted_to = decider(engine, album_id, verifier)
    return _fit(np.array(logits), truth, np.array(groups), replace(start, fitted_to=fitted_to))


def _logits(
    engine: Engine, view: View, expression: str, photo_ids: list[int], verifier: str | None
) -> Iterator[dict[int, float]]:
    """The no-target logit of each photo that can be judged, some photos at a time."""
    if verifier is not None:
        verification = begin(
            engine.verifiers, engine.settings, verifier, expression, None,
            catalog=engine.catalog, albums=[view.album_id],
        )  # fmt: skip
        photos = list(by_id(engine.catalog, photo_ids).values())
        for start in range(0, len(photos), BATCH):
            decisions = verification.judge(photos[start : start + BATCH])
            yield {each.photo_id: each.no_target_logit for each in decisions}
        return
    rows = view.rows_of(np.array(photo_ids))
    if not len(rows):
        return
    words = engine.models.words(view.predictor, expression)
    tokens, rows = view.snapshot.gather_readable("tokens", rows)
    if not len(rows):
        return
    judged = view.predictor.judge(tokens, words)
    ids = view.snapshot.photo_ids[rows].tolist()
    yield dict(zip(ids, judged.no_target_logit.tolist(), strict=True))


def _fit(
    logits: NDArray[np.float64],
    target: NDArray[np.bool_],
    groups: NDArray[np.int64],
    start: Calibration,
) -> Fit:
    """Fit to all; and, for the error, to all but a fold, fold after fold."""
    # Verdicts on one expression go together where there are enough expressions to part.
    parts = groups if len(set(groups.tolist())) >= FOLDS else np.arange(len(logits))
    numbers = {group: at % FOLDS for at, group in enumerate(dict.fromkeys(parts.tolist()))}
    fold = np.array([numbers[group] for group in parts.tolist()])
    after = np.zeros(len(logits))
    for held_out in range(FOLDS):
        here = fold == held_out
        if here.any():
            fitted = calibration.fit(logits[~here], target[~here], around=start, strength=STRENGTH)
            after[here] = fitted.confidence(logits[here])
    before = np.asarray(start.confidence(logits))
    return Fit(
        calibration=calibration.fit(logits, target, around=start, strength=STRENGTH),
        marks=len(logits),
        log_loss_before=_log_loss(before, target),
        log_loss_after=_log_loss(after, target),
        wrong_before=float(np.mean((before >= start.threshold) != target)),
        wrong_after=float(np.mean((after >= start.threshold) != target)),
    )


def _log_loss(confidence: NDArray[np.float64], target: NDArray[np.bool_]) -> float:
    sure = np.clip(confidence, 1e-6, 1 - 1e-6)
    return float(-np.mean(np.where(target, np.log(sure), np.log(1 - sure))))


def _taken_back(session: Session, photo_id: int, expression: str) -> str | None:
    """Remove a verdict; returns what it was."""
    gone = delete(Mark).where(Mark.photo_id == photo_id, Mark.expression == expression)
    return session.scalar(gone.returning(Mark.verdict))


def _note(
    session: Session,
    by: Actor | None,
    action: audit.Action,
    what: str,
    photo_id: int,
    expression: str,
) -> None:
    about = f"{what}, on photo {photo_id} for {expression!r}"
    audit.note(session, by or audit.at_the_command_line(), action, about)


def _view(row: Mark) -> MarkView:
    verdicts: Sequence[Verdict] = VERDICTS
    return MarkView(
        row.photo_id,
        row.expression,
        next(each for each in verdicts if each == row.verdict),
        row.created_at,
    )
