"""From judgements to decisions: what an album's threshold says of the head's answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.predictor import Judgement
from search_api.search import booleans
from search_api.search.booleans import Question
from search_api.search.coverage import Spread
from search_api.search.decisions import CONFIDENCE_DIGITS, Decision
from search_api.search.engine import View
from search_api.search.query import Query


def threshold_of(view: View, query: Query) -> float:
    """Confidence from which a photo of this album matches, on the grid of confidences."""
    chosen = view.calibration.threshold if query.threshold is None else query.threshold
    return round(chosen, CONFIDENCE_DIGITS)


def least_expected(views: Sequence[View], query: Query, question: Question, photos: int) -> float:
    """How many right photos a search must expect among its matches for it to return any.

    Nothing is asked of a threshold of one's own, of what is absent, and of a verifier.

    Args:
        photos: that the search is about, of all its albums.
    """
    if query.threshold is not None or query.verifier is not None or booleans.says_not(question):
        return 0.0
    return min((view.calibration.expected_of(photos) for view in views), default=0.0)


def decide(
    view: View,
    rows: np.ndarray,
    judged: Sequence[Judgement],
    query: Query,
    question: Question,
    spread: Spread,
) -> list[Decision]:
    """One album's decisions that are kept: what matches, and others where they are asked for.

    Args:
        rows: (n,) of the album's snapshot.
        judged: of n photos, by each part of the question.
        spread: takes in how sure the network is of what does not match.
    """
    if not isinstance(question, booleans.Part):
        return _put_together(view, rows, judged, query, question, spread)
    (judgement,) = judged
    confidence = np.round(view.calibration.confidence(judgement.no_target_logit), CONFIDENCE_DIGITS)
    accepted = confidence >= threshold_of(view, query)
    spread.count(confidence[~accepted])
    wanted = accepted.copy()
    if query.rejected:
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
    view: View,
    rows: np.ndarray,
    judged: Sequence[Judgement],
    query: Query,
    question: Question,
    spread: Spread,
) -> list[Decision]:
    """As `decide`, of a question of several parts or of what is absent."""
    threshold = threshold_of(view, query)
    texts = booleans.parts(question)
    of_parts = {
        text: np.round(view.calibration.confidence(each.no_target_logit), CONFIDENCE_DIGITS)
        for text, each in zip(texts, judged, strict=True)
    }
    confidence = booleans.confidence(question, of_parts, threshold)
    accepted = confidence >= threshold
    spread.count(confidence[~accepted])
    wanted = accepted if not query.rejected else np.ones_like(accepted)
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
