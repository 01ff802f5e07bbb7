"""Programs put into words: noun phrases, determiners, orders and small slips.

Wording is drawn at random, meaning never changes: one text never stands for two meanings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from training import lexicon
from training.lexicon import NOUNS, PRONOUNS
from training.programs import Program
from training.scene import PEOPLE

_PERSONS = frozenset(PEOPLE)
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
    "flowerpot": 2, "flowerpots": 2, "sailboat": 1, "sailboats": 2, "potted": 2, "parasol": 2,
    "parasols": 3, "leftmost": 1, "rightmost": 1, "topmost": 1, "foreground": 1,
    "haired": 0, "grown-up": 0,
    "suitcases": 1, "umbrellas": 1, "automobiles": 0, "laptops": 1, "mugs": 1, "kites": 1,
    "furthest": 2, "farthest": 2, "bearded": 0, "balloons": 0, "blonde": 0, "sweater": 0,
    "sweaters": 1, "trousers": 0, "hatless": 1, "benches": 0, "bikes": 0, "lamps": 0,
}  # fmt: skip
MAX_PIECES = 20


def pieces(text: str) -> int:
    """An upper estimate of a text's BERT word pieces, [CLS] and [SEP] among them."""
    words = re.findall(r"\w+|[^\w\s]", text.lower())
    return 2 + len(words) + sum(_EXTRA_PIECES.get(word, 0) for word in words)


def pick(r: Random, weighted: Sequence[tuple[str, float]]) -> str:
    """One of some (words, weight)."""
    return r.choices([w for w, _ in weighted], [p for _, p in weighted])[0]


def article(words: str) -> str:
    """Words with "a" or "an" before them."""
    return ("an " if words[0] in "aeiou" else "a ") + words


def number(n: int, r: Random) -> str:
    """A count in words, now and then in digits."""
    return str(n) if r.random() < 0.12 else lexicon.NUMBERS[n]


class Wording:
    """Puts one program into words; a fresh one for each expression."""

    def __init__(self, r: Random) -> None:
        self.r = r
        # Searchers and RefCOCO's players leave articles out, all through an expression.
        self.terse = r.random() < 0.25
        self.places_follow = False

    def a(self, words: str) -> str:
        """An indefinite article, unless terse."""
        return words if self.terse else article(words)

    def phrase(self, p: Program) -> str:
        """A phrase of training.programs in words."""
        words: str = getattr(self, "_" + p[0])(*p[1:])
        return words

    # ---- determiners

    def _the(self, d: Program) -> str:
        possessive = self._possessive(d)
        return possessive or "the " + self.noun_phrase(d, False)

    def _a(self, d: Program) -> str:
        return self.a(self.noun_phrase(d, False))

    def _bare(self, d: Program) -> str:
        return self.noun_phrase(d, False)

    def _all(self, d: Program, universal: bool = False) -> str:
        r = self.r
        if set(d[1]) == _PERSONS and r.random() < (0.7 if universal else 0.35):
            words = self.noun_phrase(d, False, noun=r.choice(lexicon.EVERYONE))
            if words.startswith(lexicon.EVERYONE):
                return words
        plural = self.noun_phrase(d, True)
        if d[1] == ("sheep",):
            return r.choice(("all the ", "all ")) + plural
        if universal:
            style = r.choices(
                ("all the ", "all ", "every ", "each ", "all of the "), (5, 4, 3, 1, 1)
            )
        else:
            style = r.choices(("", "the ", "all the ", "all ", "every "), (6, 4, 2, 2, 0.7))
        if style[0] in ("every ", "each "):
            return style[0] + self.noun_phrase(d, False)
        return style[0] + plural

    def _count(self, n: int, d: Program) -> str:
        r = self.r
        if n == 1:
            style = r.choices(("one ", "only one ", "a single ", "just one "), (5, 1, 1, 0.7))[0]
            self.places_follow = True
            return style + self.noun_phrase(d, False)
        follow, self.places_follow = self.places_follow, r.random() < 0.85
        words = self.noun_phrase(d, True)
        self.places_follow = follow
        if n == 2 and r.random() < 0.1:
            return r.choice(("both ", "a pair of ", "the pair of ")) + words
        before = r.choices(("", "the ", "exactly ", "all "), (6, 4, 0.7, 0.4))[0]
        return before + number(n, r) + " " + words

    def _super(self, key: str, n: int, d: Program, noun: str = "") -> str:
        r = self.r
        words = self.noun_phrase(d, n > 1, noun=noun, no_post=True)
        many = "" if n == 1 else number(n, r) + " "
        the = "the " if not self.terse or n > 1 else ""
        if key in ("far left", "far right"):
            if n == 1 and r.random() < 0.25:
                return f"{the}{key} {words}"
            return f"{the}{many}{words} {r.choice(('on the', 'at the'))} {key}"
        roll = r.random()
        if key in ("left", "right") and roll < 0.3:
            how = r.choice(("furthest to the", "farthest to the", "furthest", "most to the"))
            return f"{the}{many}{words} {how} {key}"
        if key in ("near", "far") and roll < 0.45:
            if key == "near":
                how = r.choice(("closest to the camera", "nearest to the camera", "closest to us"))
            else:
                how = r.choice(("farthest away", "furthest away", "farthest from the camera"))
            return f"{the}{many}{words} {how}"
        adjective = r.choice(lexicon.SUPERLATIVES[key])
        if n > 1 and r.random() < 0.4:
            return f"the {adjective} {many}{words}"
        return f"{the}{many}{adjective} {words}"

    def _ordinal(self, key: str, k: int, d: Program, noun: str = "") -> str:
        r = self.r
        words = self.noun_phrase(d, False, noun=noun, no_post=True)
        words_of_rank = lexicon.ORDINALS if r.random() < 0.85 else lexicon.ORDINAL_DIGITS
        rank = words_of_rank[k]
        the = "" if self.terse else "the "
        if key in ("big", "small", "tall"):
            adjective = r.choice(lexicon.SUPERLATIVES[key])
            return f"{the}{rank} {adjective} {words}"
        side = r.choice((f"from the {key}", f"from {key}"))
        if r.random() < 0.2:
            return f"{the}{words} {rank} {side}"
        return f"{the}{rank} {words} {side}"

    # ---- several phrases

    def _except(self, d: Program, out: Program) -> str:
        r = self.r
        base = self._all(d, universal=True)
        how = pick(
            r,
            (("except", 5), ("except for", 3), ("but", 2.5), ("apart from", 2), ("but not", 1),
             ("other than", 0.8), ("excluding", 0.8)),
        )  # fmt: skip
        return f"{base} {how} {self._excluded(d, out)}"

    def _excluded(self, d: Program, out: Program) -> str:
        """The excluded phrase; "the brown one" where its noun is the one just said."""
        r = self.r
        inner = out[-1]
        if inner[0] == "d" and inner[1] == d[1] and inner[2][: len(d[2])] == d[2]:
            extra = inner[2][len(d[2]) :]
            rest = ("d", d[1], extra)
            one = d[1] if r.random() < 0.6 else ()
            if one and out[0] == "the" and extra:
                return "the " + self.noun_phrase(rest, False, noun="one")
            if one and out[0] == "all" and extra:
                return "the " + self.noun_phrase(rest, True, noun="ones")
            if one and out[0] == "super" and out[2] == 1:
                return self._super(out[1], 1, rest, noun="one")
            if one and out[0] == "ordinal":
                return self._ordinal(out[1], out[2], rest, noun="one")
            if one and out[0] == "count" and extra and out[1] > 1:
                return f"the {number(out[1], r)} " + self.noun_phrase(rest, True, noun="ones")
        if out[0] == "all":
            the = "all the " if out[1][1] == ("sheep",) else r.choice(("the ", "the ", ""))
            return the + self.noun_phrase(out[1], True)
        return self.phrase(out)

    def _and(self, *parts: Program) -> str:
        # "left girl and dog" could mean a dog on the left: a place follows its noun here.
        self.places_follow = True
        words = [self.phrase(part) for part in parts]
        r = self.r
        if len(words) == 2:
            joint = pick(r, (("and", 8), ("and also", 0.4), ("plus", 0.6), ("as well as", 0.6)))
            both = "both " if joint == "and" and r.random() < 0.04 else ""
            return f"{both}{words[0]} {joint} {words[1]}"
        comma = ", and " if r.random() < 0.3 else " and "
        return ", ".join(words[:-1]) + comma + words[-1]

    def _either(self, first: Program, second: Program) -> str:
        return f"{self.phrase(first)} or {self.phrase(second)}"

    def _own(self, owner: Program, d: Program) -> str:
        cats = owner[-1][1]
        pronouns = {PRONOUNS.get(c, "their") for c in cats}
        its = pronouns.pop() if len(pronouns) == 1 else "their"
        return f"{self.phrase(owner)} and {its} {self.noun_phrase(d, False)}"

    def _plane(self, where: str) -> str:
        if where == "front":
            return pick(
                self.r,
                (("foreground", 3), ("the foreground", 2), ("everything in the foreground", 2),
                 ("all in the foreground", 1), ("foreground objects", 1),
                 ("all things in the foreground", 1)),
            )  # fmt: skip
        return pick(
            self.r,
            (("everything in the background", 3), ("all in the background", 1),
             ("background objects", 1), ("all things in the background", 1)),
        )  # fmt: skip

    def _shared(self, place: str, first: Program, second: Program) -> str:
        one, two = self.noun_phrase(first, False), self.noun_phrase(second, False)
        the = "" if self.terse else "the "
        return f"{the}{place} {one} and {two}"

    # ---- noun phrases

    def _possessive(self, d: Program) -> str:
        """ "the girl's dog", where the owner is short enough, else nothing."""
        for mod in d[2]:
            if mod[:2] == ("rel", "owned") and not mod[2][1][2] and self.r.random() < 0.7:
                rest = ("d", d[1], tuple(m for m in d[2] if m is not mod))
                owner = self.phrase(mod[2])
                return f"{owner}'s {self.noun_phrase(rest, False)}"
        return ""

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
            forms = NOUNS[cats]
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
        if tail and r.random() < 0.07 and not tail[0].startswith(("with", "that", "who", "of ")):
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
        if self.terse and r.random() < 0.5:
            return r.choice((f"on {name}", f"at {name}", f"on {name} side"))
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
            name = r.choice(lexicon.TOPS)
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
            "owns": (f"with {other}",),
            "held": (f"held by {other}",),
            "ridden": (f"ridden by {other}", f"with {other} on {it}"),
            "seats": (f"with {other} on {it}", f"with {other} sitting on {it}"),
            "owned": (f"belonging to {other}", f"of {other}"),
        }
        return r.choice(ways[name])


def realise(program: Program, r: Random) -> str:
    """A program in words."""
    return Wording(r).phrase(program)


def finish(text: str, r: Random) -> str:
    """Now and then a capital, a final stop or a typing slip; the meaning stays."""
    if r.random() < 0.035:
        text = _slip(text, r)
    roll = r.random()
    if roll < 0.08:
        text = text[0].upper() + text[1:]
    elif roll < 0.09:
        text = text.upper()
    if r.random() < 0.05:
        text += "."
    return text


def _slip(text: str, r: Random) -> str:
    """One word with a swapped, lost or doubled letter that makes no other word of the lexicon."""
    words = text.split(" ")
    able = [i for i, w in enumerate(words) if len(w) > 4 and w.isalpha() and w not in _UNTOUCHED]
    if not able or pieces(text) > MAX_PIECES - 3:
        return text
    i = r.choice(able)
    word = words[i]
    at = r.randrange(1, len(word) - 1)
    slip = r.choice(
        (
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
        )
    )
    # A lost s must not turn many into one.
    if slip in _VOCABULARY or slip == word or (word.endswith("s") and not slip.endswith("s")):
        return text
    words[i] = slip
    return " ".join(words)
