"""Words that look like slips of other words, found by counting alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable


def words_of(text: str) -> list[str]:
    """The words of five letters or more, in lower case."""
    return re.findall(r"[a-z]{5,}", text.lower())


def _shortened(word: str) -> set[str]:
    """The word, and the word without each of its letters."""
    return {word} | {word[:i] + word[i + 1 :] for i in range(len(word))}


def misspelled(texts: Iterable[str], rare: int = 2, frequent: int = 100) -> dict[str, str]:
    """Rare words that are one slip away from a frequent one, and that one.

    A slip is a letter lost, doubled, exchanged or swapped with its neighbour. Words under five
    letters and plain plurals are left alone.

    Args:
        texts: all expressions.
        rare: at most so many uses.
        frequent: at least so many times as often.
    """
    uses = Counter(word for text in texts for word in words_of(text))
    known: dict[str, str] = {}
    for word, count in uses.most_common():
        if count >= frequent:
            for form in _shortened(word):
                known.setdefault(form, word)
    slips = {}
    for word, count in uses.items():
        if count > rare:
            continue
        near = next((known[form] for form in sorted(_shortened(word)) if form in known), None)
        if near and uses[near] >= frequent * count and word.rstrip("s") != near.rstrip("s"):
            slips[word] = near
    return slips
