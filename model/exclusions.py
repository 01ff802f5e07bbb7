"""Sentences that plainly leave something out: "everyone except the man in white", "dogs without a
collar". What they show is what the whole shows without what they leave out, so a mask of each gives
theirs, and an expression and its complement never share a pixel.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ASKING = r"(?:(?:please )?(?:show me|find|give me) )?"
_WHOLE = r"(?:everyone|everybody|(?:every|each|all)\b.*?)"
_EXCEPT = re.compile(
    rf"^{_ASKING}(?:(?P<whole>{_WHOLE}) (?:but not|but)|(?P<any>.+?) "
    r"(?:except for|except|apart from|other than|excluding|besides)) (?P<out>.+?)[.!?]*$"
)
_LACKING = re.compile(
    rf"^{_ASKING}(?P<whole>.+?) (?P<how>without|with no|not (?:wearing|carrying|in|on|at|to)|"
    r"(?:that|who) (?:is|are) not) (?P<what>.+?)[.!?]*$"
)
_SAID = {"without": "with", "with no": "with a"}  # others lose their "not"
_ONE = re.compile(r"^(?:all )?the (?P<before>.*?)\b(?P<one>ones?)\b(?P<after>.*)$")
_QUANTIFIED = re.compile(r"^(?:all of the|all the|all|every|each|the) ")
_TAIL = re.compile(r" (?:on|in|at|with|without|who|that|wearing|to|near|next|from|of)\b")
_SINGULAR = {"people": "person", "men": "man", "women": "woman", "children": "child"}
_PICTURES = re.compile(r"^(?:(?:the|a|all|any) )?(?:photo|picture|image|shot)s?$")
_NESTED = re.compile(r"\b(?:and|or)\b")


@dataclass(frozen=True)
class Exclusion:
    """What a sentence is about and what of it it leaves out, both as expressions."""

    whole: str
    left_out: str


def split(text: str) -> Exclusion | None:
    """The two halves of a sentence that plainly leaves something out; None for all others."""
    said = " ".join(text.lower().split())
    if _NESTED.search(said):
        return None
    if found := _EXCEPT.match(said):
        whole = found["whole"] or found["any"]
        return None if _PICTURES.match(whole) else Exclusion(whole, _named(found["out"], whole))
    if found := _LACKING.match(said):
        whole, how, what = found["whole"], found["how"], found["what"]
        if _PICTURES.match(whole):
            return None
        if how == "with no" and what.endswith("s"):
            how = "without"
        has = _SAID.get(how) or " ".join(word for word in how.split() if word != "not")
        return Exclusion(whole, f"{whole} {has} {what}")
    return None


def _named(out: str, whole: str) -> str:
    """What is left out, with its noun in the place of "one": "the brown one" of "all dogs"."""
    found = _ONE.match(out)
    if found is None:
        return out
    if whole in ("everyone", "everybody"):
        head, tail = "people", ""
    else:
        phrase = _QUANTIFIED.sub("", whole)
        cut = _TAIL.search(phrase)
        head, tail = (phrase[: cut.start()], phrase[cut.start() :]) if cut else (phrase, "")
    if found["one"] == "one":
        head = _singular(head)
    return f"the {found['before']}{head}{tail}{found['after']}"


def _singular(words: str) -> str:
    *before, noun = words.split()
    if noun in _SINGULAR:
        noun = _SINGULAR[noun]
    elif noun.endswith("s") and not noun.endswith("ss"):
        noun = noun.removesuffix("s")
    return " ".join((*before, noun))
