"""Questions put together from expressions: ``dog AND NOT person``, ``(cat OR dog) AND "on a bed"``.

AND, OR and NOT count in capitals alone, so a plain sentence stays one expression, to the last bit
what it was. "no people", "without a hat", "photos that show nothing of dogs" ask for photos in
which the named thing is judged absent: NOT of it.

Each part is judged once on each photo. With t the threshold, m = logit(p) - logit(t) says on which
side of it a part lies; AND takes the smaller m, OR the larger, NOT turns its sign. What comes out
is read as a confidence again, logit(p) = logit(t) + m, so a photo matches exactly if its parts' own
decisions, put together, say so, and only then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_api.errors import BadQuery
from search_api.search.decisions import CONFIDENCE_DIGITS

Floats = NDArray[np.float64]
MAX_PARTS = 8
_OPERATORS = ("AND", "OR", "NOT")
_TOKEN = re.compile(r'"[^"]*"|“[^”]*”|[()]|[^\s()"“”]+')
_ABSENT = re.compile(
    r"(?:(?:photos?|pictures?|images?)\s+)?(?:(?:that|which)\s+)?(?:shows?\s+)?"
    r"(?:no|nothing\s+of|(?:without|with\s+no)(?:\s+any|\s+an?)?)\s+(?P<thing>\S.*)",
    re.IGNORECASE,
)
_AND_NO = re.compile(r"\s+(?:and|or|nor)\s+(?:no|without)(?:\s+any|\s+an?)?\s+", re.IGNORECASE)
_NOBODY = re.compile(r"(?:photos?\s+(?:with|of)\s+)?(?:nobody|no[ -]one)", re.IGNORECASE)
# A "no entry sign" is a thing that is there.
_NO_THING = re.compile(r"\bsigns?$", re.IGNORECASE)
_EDGE = 1e-9


@dataclass(frozen=True)
class Part:
    """One expression, which the network judges."""

    text: str


@dataclass(frozen=True)
class Not:
    """Where the other one is absent."""

    of: Question


@dataclass(frozen=True)
class Joined:
    """All of them (AND), or any (OR)."""

    every: bool
    of: tuple[Question, ...]


Question = Part | Not | Joined


def read(expression: str) -> Question:
    """What an expression asks; a `Part` with the whole of it unless it is put together.

    Raises:
        BadQuery: an operator has nothing to work on, a bracket is open, or the parts are too many.
    """
    if _NOBODY.fullmatch(expression):
        return Not(Part("people"))
    absent = _ABSENT.fullmatch(expression)
    tokens = _TOKEN.findall(expression)
    if not any(token in _OPERATORS for token in tokens) or expression == expression.upper():
        if absent is None or _NO_THING.search(absent["thing"]):
            return Part(expression)
        things = [Not(Part(thing)) for thing in _AND_NO.split(absent["thing"])]
        return things[0] if len(things) == 1 else Joined(True, tuple(things))
    parser = _Parser(tokens)
    question = parser.either()
    if parser.next is not None:
        raise _wrong(f"{parser.next} stands where AND or OR should")
    if len(parts(question)) > MAX_PARTS:
        raise _wrong(f"at most {MAX_PARTS} parts are judged")
    return question


def things_of(expression: str) -> tuple[str, ...]:
    """What a match of a search shows; the expression itself where it is plain, or was then."""
    try:
        return shown(read(expression))
    except BadQuery:
        return (expression,)


def is_plain(expression: str) -> bool:
    """Whether the network judges an expression as it stands."""
    return things_of(expression) == (expression,)


def parts(question: Question) -> tuple[str, ...]:
    """The expressions in it, each once, in their order."""
    return tuple(dict.fromkeys(text for text, _ in _leaves(question)))


def shown(question: Question) -> tuple[str, ...]:
    """Those whose things a match shows, so that their masks are its mask."""
    return tuple(dict.fromkeys(text for text, there in _leaves(question) if there))


def narrowing(question: Question) -> tuple[str, ...] | None:
    """Expressions of which each match shows one; None where nothing says what a match shows."""
    if isinstance(question, Part):
        return (question.text,)
    if isinstance(question, Not):
        turned = _turned(question.of)
        return None if turned is None else narrowing(turned)
    each = [narrowing(part) for part in question.of]
    known = [texts for texts in each if texts is not None]
    if question.every:
        return min(known, key=len) if known else None
    if len(known) < len(each):
        return None
    return tuple(dict.fromkeys(text for texts in known for text in texts))


def says_not(question: Question) -> bool:
    """Whether anything has to be absent."""
    return any(not there for _, there in _leaves(question))


def told(question: Question) -> str:
    """The question as it was understood."""
    if isinstance(question, Part):
        return f"“{question.text}”"
    if isinstance(question, Not):
        return f"NOT {told(question.of)}"
    inner = (" AND " if question.every else " OR ").join(told(part) for part in question.of)
    return f"({inner})"


def holds(question: Question, accepted: Mapping[str, NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Which photos match, from the decisions about its parts, (B,) each."""
    return _evaluate(question, accepted, np.logical_not, np.logical_and, np.logical_or)


def confidence(question: Question, of_parts: Mapping[str, Floats], threshold: float) -> Floats:
    """How sure it is, (B,) in [0, 1], from its parts' confidences (B,); see the module.

    It reaches the threshold exactly where `holds` does.
    """
    at = _logit(np.float64(threshold))
    margins = {text: _logit(p) - at for text, p in of_parts.items()}
    margin = _evaluate(question, margins, np.negative, np.minimum, np.maximum)
    found = np.round(1 / (1 + np.exp(-(at + margin))), CONFIDENCE_DIGITS)
    matches = holds(question, {text: p >= threshold for text, p in of_parts.items()})
    below = threshold - 10.0**-CONFIDENCE_DIGITS
    return np.clip(np.where(matches, np.maximum(found, threshold), np.minimum(found, below)), 0, 1)


def _evaluate(
    question: Question,
    values: Mapping[str, NDArray[Any]],
    negate: Callable[..., NDArray[Any]],
    both: Callable[..., NDArray[Any]],
    either: Callable[..., NDArray[Any]],
) -> NDArray[Any]:
    if isinstance(question, Part):
        return values[question.text]
    if isinstance(question, Not):
        return negate(_evaluate(question.of, values, negate, both, either))
    found = [_evaluate(part, values, negate, both, either) for part in question.of]
    return reduce(both if question.every else either, found)


def _leaves(question: Question, there: bool = True) -> Iterator[tuple[str, bool]]:
    if isinstance(question, Part):
        yield question.text, there
    elif isinstance(question, Not):
        yield from _leaves(question.of, not there)
    else:
        for part in question.of:
            yield from _leaves(part, there)


def _turned(question: Question) -> Question | None:
    """NOT of a question with the NOT inside; None for a part."""
    if isinstance(question, Part):
        return None
    if isinstance(question, Not):
        return question.of
    return Joined(not question.every, tuple(Not(part) for part in question.of))


def _logit(p: Floats | np.float64) -> Floats:
    inside = np.clip(np.asarray(p, np.float64), _EDGE, 1 - _EDGE)
    return np.asarray(np.log(inside / (1 - inside)))


def _wrong(why: str) -> BadQuery:
    return BadQuery(
        f'The question cannot be read: {why}. Write it like: dog AND NOT (cat OR "red car").',
        field="expression",
    )


class _Parser:
    """Tokens to a question; OR binds least, then AND, then NOT."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = list(tokens)

    @property
    def next(self) -> str | None:
        return self._tokens[0] if self._tokens else None

    def _takes(self, token: str) -> bool:
        if self.next != token:
            return False
        del self._tokens[0]
        return True

    def either(self) -> Question:
        found = [self._both()]
        while self._takes("OR"):
            found.append(self._both())
        return found[0] if len(found) == 1 else Joined(False, tuple(found))

    def _both(self) -> Question:
        found = [self._one()]
        while self._takes("AND"):
            found.append(self._one())
        return found[0] if len(found) == 1 else Joined(True, tuple(found))

    def _one(self) -> Question:
        if self._takes("NOT"):
            return Not(self._one())
        if self._takes("("):
            inner = self.either()
            if not self._takes(")"):
                raise _wrong("a bracket is not closed")
            return inner
        words: list[str] = []
        while self.next is not None and self.next not in ("(", ")", *_OPERATORS):
            words.append(self._tokens.pop(0).strip('"“”'))
        text = " ".join(" ".join(words).split())
        if not re.search(r"\w", text):
            raise _wrong(
                f"something is missing {f'before {self.next}' if self.next else 'at its end'}"
            )
        return Part(text)
