"""A batch of a search judged: by the process that searches, or by one that helps it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from indexer.features.snapshot import gather_together
from search_api.search.booleans import Question
from search_api.search.coverage import Spread, Stopwatch
from search_api.search.deciding import decide
from search_api.search.decisions import Decision, pack_decision, unpack_decision
from search_api.search.engine import View
from search_api.search.planning import Share
from search_api.search.query import Query

_LENGTHS = struct.Struct("<III")
_DECISION = struct.Struct("<qd?dI")


@dataclass(frozen=True)
class Judged:
    """What was decided about some photos.

    Attributes:
        decisions: what matches, and of the others the most confident that the query asks for.
        verified: photos judged; `damaged`: those whose features could not be read.
        spread: `Spread.counts` of what does not match.
    """

    decisions: list[Decision]
    verified: int
    damaged: int
    spread: NDArray[np.int64]


def nothing() -> Judged:
    """Of no photo."""
    return Judged([], 0, 0, Spread().counts)


def judge(shares: Sequence[Share], query: Query, question: Question, watch: Stopwatch) -> Judged:
    """Judge photos of one network, of as many albums as share the batch."""
    with watch.stage("gather"):
        tokens, at = gather_together(
            [(plan.view.snapshot, rows) for plan, rows in shares], "tokens"
        )
        ends = np.cumsum([len(rows) for _, rows in shares])
        damaged = int(ends[-1]) - len(at)
        spread = Spread()
        if not len(at):
            return replace(nothing(), damaged=damaged)
    plan = shares[0][0]
    with watch.stage("judge"):
        judged = [plan.view.predictor.judge(tokens, words) for words in plan.words]
    decisions: list[Decision] = []
    with watch.stage("decide"):
        start = 0
        for (plan, rows), end in zip(shares, ends.tolist(), strict=True):
            mine = slice(*np.searchsorted(at, (start, end)).tolist())
            here = [each[mine] for each in judged]
            decisions += decide(plan.view, rows[at[mine] - start], here, query, question, spread)
            start = end
        nearest = sorted((d for d in decisions if not d.accepted), key=lambda d: d.order)
        decisions = [d for d in decisions if d.accepted] + nearest[: query.rejected]
    return Judged(decisions, len(tokens), damaged, spread.counts)


@dataclass(frozen=True)
class Asked:
    """What a process has to know to help with a search.

    Attributes:
        query: its expression, threshold and number of rejected photos; what is judged is chosen
            by whoever asks for help.
        albums: id -> what its photos are judged by, see `state_of`.
    """

    run_id: str
    query: Query
    albums: Mapping[int, tuple[str, ...]]

    def to_json(self) -> str:
        """For `from_json`."""
        query = self.query.model_dump(include={"expression", "threshold", "rejected"})
        albums = list(self.albums.items())
        return json.dumps({"run": self.run_id, "query": query, "albums": albums})

    @classmethod
    def from_json(cls, text: str) -> Asked:
        """What `to_json` wrote."""
        values: dict[str, Any] = json.loads(text)
        albums = {int(album): tuple(state) for album, state in values["albums"]}
        return cls(values["run"], Query(**values["query"]), albums)


def state_of(view: View) -> tuple[str, ...]:
    """Equal where two processes decide alike about an album's photos."""
    predictor = view.predictor
    prints, judges_in = predictor.fingerprints, f"{predictor.head_dtype} {predictor.device}"
    return (prints["tokens"], prints["head"], view.calibration.revision, judges_in)


Judge = Callable[[Sequence[Share]], Judged]


class Helpers(Protocol):
    """Processes that judge a part of a search's photos."""

    def judged(
        self, asked: Asked, batches: Iterator[list[Share]], here: Judge
    ) -> Generator[Judged]:
        """Every batch once, in any order; closing the generator stops whoever helps.

        Args:
            here: judges a batch in this process.
        """


def packed(judged: Judged) -> bytes:
    """For `unpacked`, which gives the same to the last bit."""
    parts = [
        _LENGTHS.pack(len(judged.decisions), judged.verified, judged.damaged),
        judged.spread.astype("<i8").tobytes(),
    ]
    for each in judged.decisions:
        blob = pack_decision(each)
        parts.append(
            _DECISION.pack(
                each.photo_id, each.confidence, each.accepted, each.no_target_logit, len(blob)
            )
        )
        parts.append(blob)
    return b"".join(parts)


def unpacked(blob: bytes) -> Judged:
    """What `packed` wrote.

    Raises:
        ValueError, struct.error: it is damaged.
    """
    count, verified, damaged = _LENGTHS.unpack_from(blob)
    at = _LENGTHS.size + 8 * len(Spread.STEPS)
    spread = np.frombuffer(blob, "<i8", len(Spread.STEPS), _LENGTHS.size).astype(np.int64)
    decisions = []
    for _ in range(count):
        photo, confidence, accepted, logit, length = _DECISION.unpack_from(blob, at)
        at += _DECISION.size
        minimap, coefficients, _ = unpack_decision(blob[at : at + length])
        at += length
        decisions.append(Decision(photo, confidence, accepted, logit, minimap, coefficients))
    return Judged(decisions, verified, damaged, spread)
