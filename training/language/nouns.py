"""Noun phrases: a description in words, its modifiers before and after the noun."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from training.language import lexicon
from training.language.everyday import forms_of
from training.language.lexicon import NOUNS
from training.language.programs import Program
from training.scene import PERSONS

_PERSONS = frozenset(PERSONS)

# What may follow "who is" or "that are".
_AFTER_IS = (
    "in ", "on ", "at ", "next ", "beside ", "near ", "by ", "close ", "behind ", "between ", "to ",
    "wearing ", "dressed ", "carrying ", "holding ", "riding ", "sitting", "standing", "walking",
    "running", "jumping", "waving", "held ", "not ",
)  # fmt: skip


def pick(r: Random, weighted: Sequence[tuple[str, float]]) -> str:
    """One of some (words, weight)."""
    return r.choices([w for w, _ in weighted], [p for _, p in weighted])[0]


def article(words: str) -> str:
    """Words with "a" or "an" before them."""
    return ("an " if words[0] in "aeiou" else "a ") + words


def number(n: int, r: Random) -> str:
    """A count in words, now and then in digits."""
    return str(n) if r.random() < 0.12 else lexicon.NUMBERS[n]


class NounPhrases:
    """Puts descriptions into words; a subclass words the phrases that they are part of."""

    def __init__(self, r: Random) -> None:
        self.r = r
        # Searchers and RefCOCO's players leave articles out, all through an expression.
        self.terse = r.random() < 0.25
        self.places_follow = False

    def a(self, words: str) -> str:
        """An indefinite article, unless terse."""
        return words if self.terse else article(words)

    def phrase(self, p: Program) -> str:
        """A phrase of training.language.programs in words."""
        raise NotImplementedError

    def noun_phrase(self, d: Program, plural: bool, noun: str = "", no_post: bool = False) -> str:
        """A description in words, without determiner.

        Args:
            d: the description.
            plural: number of the noun and of what its modifiers name.
            noun: said instead of the categories' own.
            no_post: the phrase goes on after it, so a place is said before the noun.
        """
        r = self.r
        cats: tuple[str, ...] = d[1]
        person = _PERSONS.issuperset(cats)
        if not noun:
            forms = NOUNS.get(cats) or forms_of(cats)
            form = r.choices(forms, [f[2] for f in forms])[0]
            noun = form[1] if plural else form[0]
        places: list[str] = []
        before: list[str] = []
        after: list[str] = []
        last: list[str] = []
        free = noun not in lexicon.EVERYONE
        mods = list(d[2])
        has_relation = any(m[0] in ("rel", "nrel", "between") for m in mods)
        for mod in mods:
            if mod[0] == "at":
                ahead = (
                    free
                    and not places
                    and (has_relation or no_post or (not self.places_follow and r.random() < 0.35))
                )
                (places if ahead else last).append(self.place(mod[1], ahead))
            elif mod[0] in ("rel", "nrel", "between"):
                last.append(self.relation(mod, plural, cats))
            else:
                where, words = self.attribute(mod, plural, person, free)
                (before if where == "before" else after).append(words)
        after.sort(key=lambda w: not w.startswith(("in ", "with ")))
        if len(after) == 2 and all(w.startswith("with ") for w in after) and r.random() < 0.7:
            after = [f"{after[0]} and {after[1][5:]}"]
        tail = after + last
        if tail and r.random() < 0.08 and tail[0].startswith(_AFTER_IS):
            tail[0] = f"{'who' if person else 'that'} {'are' if plural else 'is'} {tail[0]}"
        return " ".join((*places, *before, noun, *tail))

    def place(self, name: str, ahead: bool) -> str:
        """A place before ("left") or after ("on the left") the noun."""
        r = self.r
        if name == "middle":
            word = r.choice(("middle", "middle", "center", "centre"))
            if ahead:
                return word
            return f"in {word}" if self.terse and r.random() < 0.5 else f"in the {word}"
        vertical = {"top": ("top", "upper"), "bottom": ("bottom", "lower")}
        first, _, second = name.partition(" ")
        if second:
            both = f"{r.choice(vertical[first])} {second}"
            return both if ahead else f"{r.choice(('in', 'at', 'on'))} the {both}"
        if name in vertical:
            if ahead:
                return r.choice(vertical[name])
            return f"at {name}" if self.terse and r.random() < 0.3 else f"at the {name}"
        if ahead:
            return name
        if self.terse and r.random() < 0.6:
            return r.choice((f"on {name}", f"at {name}", f"on {name} side", name))
        if r.random() < 0.08:
            picture = r.choice(("picture", "photo", "image"))
            return f"on the {r.choice((name, f'{name} side'))} of the {picture}"
        return pick(
            r,
            ((f"on the {name}", 6), (f"on the {name} side", 1.5), (f"to the {name}", 1),
             (f"at the {name}", 0.7), (f"on the {name} hand side", 0.2)),
        )  # fmt: skip

    def attribute(
        self, mod: Program, plural: bool, person: bool, free: bool = True
    ) -> tuple[str, str]:
        """An attribute in words, and whether it goes "before" or "after" the noun."""
        r = self.r
        kind = mod[0]
        if kind == "not":
            return "after", self._negated(mod[1], plural, person)
        if kind == "or":
            return self._alternative(mod[1], mod[2], plural, person)
        if kind == "colour":
            word = self.colour(mod[1])
            if not person:
                if r.random() < 0.05:
                    return "after", f"that {'are' if plural else 'is'} {word}"
                return "before", word
            if r.random() < 0.05:
                return "after", f"{r.choice(('in', 'with', 'wearing'))} {word} clothes"
            style = (("in", 6), ("wearing", 2), ("dressed in", 1))
            return "after", f"{pick(r, style)} {word}"
        if kind in ("top", "bottom", "dress", "hat", "bag"):
            return "after", self._garment(kind, mod[1], plural)
        if kind == "hair":
            word = pick(r, lexicon.HAIR_WORDS.get(mod[1], ((mod[1], 1.0),)))
            if free and r.random() < 0.3:
                return "before", f"{word}{r.choice((' ', '-'))}haired"
            how = "with" if plural or r.random() < 0.7 else "who has"
            return "after", f"{how} {word} hair"
        if kind == "glasses":
            return "after", r.choice(("with glasses", "wearing glasses", "with glasses on"))
        if kind == "beard":
            if free and r.random() < 0.3:
                return "before", "bearded"
            return "after", "with beards" if plural else f"with {self.a('beard')}"
        if kind == "pose":
            ahead = free and r.random() < 0.3
            return ("before" if ahead else "after"), mod[1]
        if kind == "plane":
            ground = "foreground" if mod[1] == "front" else "background"
            return "after", f"in {ground}" if self.terse else f"in the {ground}"
        word = r.choice(("big", "large") if mod[1] == "big" else ("small", "little"))
        return "before", word

    def colour(self, name: str) -> str:
        """A colour in words."""
        return pick(self.r, lexicon.COLOUR_WORDS.get(name, ((name, 1.0),)))

    def _garment(self, kind: str, colour: str, plural: bool) -> str:
        r = self.r
        word = self.colour(colour) + " " if colour else ""
        if kind == "top":
            name = pick(r, lexicon.TOPS)
            if self.terse and not plural and r.random() < 0.2:
                return f"{word}{name}"
            words = f"{word}{name}s" if plural else self.a(f"{word}{name}")
            return f"{r.choice(('in', 'in', 'with', 'wearing'))} {words}"
        if kind == "bottom":
            return f"{r.choice(('in', 'with', 'wearing'))} {word}{r.choice(lexicon.BOTTOMS)}"
        if kind == "dress":
            words = f"{word}dresses" if plural else self.a(f"{word}dress")
            return f"{r.choice(('in', 'wearing'))} {words}"
        words = f"{word}{kind}s" if plural else self.a(f"{word}{kind}")
        if kind == "hat":
            return f"{r.choice(('with', 'wearing', 'in'))} {words}"
        return f"{r.choice(('with', 'with', 'carrying'))} {words}"

    def _negated(self, mod: Program, plural: bool, person: bool) -> str:
        r = self.r
        kind = mod[0]
        if kind in ("hat", "bag", "beard"):
            words = f"{kind}s" if plural else self.a(kind)
            if len(mod) > 1 and mod[1]:
                colour = self.colour(mod[1])
                words = f"{colour} {kind}s" if plural else self.a(f"{colour} {kind}")
            ways = [f"without {words}", f"with no {words.removeprefix('a ')}"]
            if kind == "hat":
                ways.append(f"not wearing {words}")
            return r.choice(ways)
        if kind == "glasses":
            return r.choice(("without glasses", "with no glasses", "not wearing glasses"))
        if kind == "colour" and not person:
            return f"that {'are' if plural else 'is'} not {self.colour(mod[1])}"
        if kind == "colour":
            return f"not {r.choice(('in', 'wearing'))} {self.colour(mod[1])}"
        if kind == "at":
            return "not " + self.place(mod[1], False)
        if kind == "rel":
            if mod[1] == "owns":
                return f"without {self.phrase(mod[2])}"
            if mod[1] in lexicon.PREPOSITIONS:
                return f"not {self.relation(mod, plural, ())}"
            doing = {"holds": "holding", "rides": "riding", "sits": "sitting on"}[mod[1]]
            return f"not {doing} {self.phrase(mod[2])}"
        return "not " + self.attribute(mod, plural, person, free=False)[1]

    def _alternative(
        self, first: Program, second: Program, plural: bool, person: bool
    ) -> tuple[str, str]:
        if first[0] == "colour":
            words = f"{self.colour(first[1])} or {self.colour(second[1])}"
            return ("after", f"{self.r.choice(('in', 'wearing'))} {words}") if person else (
                "before", words)  # fmt: skip
        one = self._listed(first, plural)
        two = self._listed(second, plural)
        return "after", f"with {one} or {two}"

    def _listed(self, mod: Program, plural: bool) -> str:
        """What somebody is "with", without the preposition."""
        if mod[0] == "rel":
            return self.phrase(mod[2])
        if mod[0] in ("hat", "bag"):
            word = self.colour(mod[1]) + " " if mod[1] else ""
            return f"{word}{mod[0]}s" if plural else self.a(f"{word}{mod[0]}")
        if mod[0] == "beard":
            return "beards" if plural else self.a("beard")
        return "glasses"

    def relation(self, mod: Program, plural: bool, cats: tuple[str, ...]) -> str:
        """A relation in words, always after the noun."""
        r = self.r
        if mod[0] == "between":
            if mod[2] is None:
                return f"between {self.phrase(mod[1])}"
            return f"between {self.phrase(mod[1])} and {self.phrase(mod[2])}"
        name = mod[1]
        if mod[0] == "nrel":
            words = f"{number(mod[2], r)} {self.noun_phrase(mod[3], mod[2] > 1)}"
            if name == "next":
                its = "them" if plural or _PERSONS.issuperset(cats) else "it"
                return f"with {words} {r.choice(('next to', 'beside', 'near'))} {its}"
            if name in ("seats", "bears"):
                on = "on" if name == "bears" else r.choice(("on", "sitting on"))
                return f"with {words} {on} {'them' if plural else 'it'}"
            return f"{'holding' if name == 'holds' else 'with'} {words}"
        other = self.phrase(mod[2])
        if name in lexicon.PREPOSITIONS:
            how = pick(r, lexicon.PREPOSITIONS[name])
            return f"{how} {other}"
        it = "them" if plural else "it"
        ways = {
            "holds": (f"holding {other}", f"holding {other}", f"carrying {other}"),
            "rides": (f"riding {other}", f"riding {other}", f"on {other}"),
            "sits": (f"sitting on {other}", f"on {other}", f"seated on {other}"),
            "stands": (f"on {other}", f"on top of {other}", f"standing on {other}"),
            "bears": (f"with {other} on {it}",),
            "owns": (f"with {other}", f"with {other}", f"with {other}", f"having {other}"),
            "held": (f"held by {other}",),
            "ridden": (f"ridden by {other}", f"with {other} on {it}"),
            "seats": (f"with {other} on {it}", f"with {other} sitting on {it}"),
            "owned": (f"belonging to {other}", f"of {other}"),
        }
        return r.choice(ways[name])
