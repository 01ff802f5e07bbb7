"""Programs put into words: determiners, several phrases, orders.

Wording is drawn at random, meaning never changes: one text never stands for two meanings.
"""

from __future__ import annotations

from random import Random

from training.language import lexicon
from training.language.lexicon import PRONOUNS
from training.language.nouns import NounPhrases, number, pick
from training.language.programs import Program
from training.scene import PEOPLE, PERSONS

_EVERYBODY = (frozenset(PEOPLE), frozenset(PERSONS))


class Wording(NounPhrases):
    """Puts one program into words; a fresh one for each expression."""

    def phrase(self, p: Program) -> str:
        """A phrase of training.language.programs in words."""
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
        if set(d[1]) in _EVERYBODY and r.random() < (0.7 if universal else 0.35):
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
            return r.choice(("both ", "a pair of ", "the pair of ", "a couple of ")) + words
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
             ("other than", 0.8), ("excluding", 0.8), ("besides", 0.4)),
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

    def _possessive(self, d: Program) -> str:
        """ "the girl's dog", where the owner is short enough, else nothing."""
        for mod in d[2]:
            if mod[:2] == ("rel", "owned") and not mod[2][1][2] and self.r.random() < 0.7:
                rest = ("d", d[1], tuple(m for m in d[2] if m is not mod))
                owner = self.phrase(mod[2])
                return f"{owner}'s {self.noun_phrase(rest, False)}"
        return ""


def realise(program: Program, r: Random) -> str:
    """A program in words."""
    return Wording(r).phrase(program)
