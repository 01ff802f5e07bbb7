"""How people type: capitals, a final stop, now and then a slip; and how long texts may be."""

from __future__ import annotations

import re
from random import Random

from training.language import lexicon

_UNTOUCHED = frozenset(
    [
        "left",
        "right",
        "leftmost",
        "rightmost",
        "without",
        "with",
        "not",
        "except",
        "but",
        "and",
        "or",
        "both",
        "one",
        "ones",
        "holding",
        "second",
        "third",
        "fourth",
        "fifth",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
    ]
)
_VOCABULARY = lexicon.vocabulary()
# Words that the BERT vocabulary splits further than at hyphens; extra pieces of each.
_EXTRA_PIECES = {
    "beards": 1, "dudes": 1, "farthest": 1, "flowerpot": 1, "flowerpots": 2, "foreground":
    1, "furthest": 1, "hoodie": 1, "hoodies": 1, "kites": 1, "laptops": 1, "leftmost": 1,
    "mugs": 1, "parasol": 1, "parasols": 2, "potted": 1, "pullover": 1, "pullovers": 1,
    "rightmost": 1, "sailboat": 1, "sailboats": 1, "suitcases": 1, "sweaters": 1, "topmost":
    1, "umbrellas": 1, "youngster": 1, "youngsters": 1,
}  # fmt: skip
MAX_PIECES = 20


def pieces(text: str) -> int:
    """An upper estimate of a text's BERT word pieces, [CLS] and [SEP] among them."""
    words = re.findall(r"\w+|[^\w\s]", text.lower())
    return 2 + len(words) + sum(_EXTRA_PIECES.get(word, 0) for word in words)


def finish(text: str, r: Random) -> str:
    """Now and then a verb before, a capital, a final stop or a typing slip; the meaning stays."""
    if r.random() < 0.012 and pieces(text) <= MAX_PIECES - 3:
        text = r.choice(("find ", "show me ")) + text
    if r.random() < 0.035:
        text = slip(text, r)
    roll = r.random()
    if roll < 0.08:
        text = text[0].upper() + text[1:]
    elif roll < 0.09:
        text = text.upper()
    if r.random() < 0.05:
        text += "."
    return text


def slip(text: str, r: Random) -> str:
    """One word with a swapped, lost or doubled letter that makes no other word of the lexicon.

    Unchanged where no word is long enough, or the text might get too many word pieces.
    """
    words = text.split(" ")
    able = [i for i, w in enumerate(words) if len(w) > 4 and w.isalpha() and w not in _UNTOUCHED]
    if not able or pieces(text) > MAX_PIECES - 3:
        return text
    i = r.choice(able)
    word = words[i]
    at = r.randrange(1, len(word) - 1)
    typed = r.choice(
        (
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
        )
    )
    # A lost s must not turn many into one.
    if typed in _VOCABULARY or typed == word or (word.endswith("s") and not typed.endswith("s")):
        return text
    words[i] = typed
    return " ".join(words)
