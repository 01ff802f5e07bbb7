"""What a model says of itself: what it can do, in words, and which photos it knows.

A card lies beside the weights, as the calibration does. Its words are for people; `Familiar` lets
an album be compared with what the model was trained for, from the vectors that are cached anyway.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.errors import ModelError
from model.replacing import replacing

FORMAT = 1
FEWEST = 20
# A few hundred photos say too little about D x D covariances; this share of them is taken as round.
SHRUNK = 0.3
_FIELDS = {"format", "summary", "limits", "trained_on", "familiar"}


class CardError(ModelError):
    """A card cannot be read or made; the message names the file and the remedy."""


@dataclass(frozen=True)
class Familiar:
    """Which photos a model was trained for, told from others by its own vectors.

    Attributes:
        fitted_to: fingerprint of the vectors tier; other vectors are not compared.
        direction: (D,) unit vector; a photo's mean vector along it says how familiar it is.
        least: from this on a photo is like those of the training.
    """

    fitted_to: str
    direction: tuple[float, ...]
    least: float

    @classmethod
    def fit(cls, known: ArrayLike, others: ArrayLike, fitted_to: str) -> Familiar:
        """Fit Fisher's linear discriminant to (B, V, D) vectors of either kind of photo.

        Raises:
            CardError: they are too few.
        """
        ours, theirs = _means(known), _means(others)
        if min(len(ours), len(theirs)) < FEWEST:
            raise CardError(
                f"{len(ours)} photos and {len(theirs)} others tell too little; give {FEWEST} "
                "or more of each"
            )
        apart = np.concatenate([ours - ours.mean(0), theirs - theirs.mean(0)])
        spread = apart.T @ apart / len(apart)  # (D, D)
        round_one = np.trace(spread) / len(spread) * np.eye(len(spread))
        spread = (1 - SHRUNK) * spread + SHRUNK * round_one
        direction = np.linalg.solve(spread, ours.mean(0) - theirs.mean(0))
        direction /= np.linalg.norm(direction)
        least = float((ours.mean(0) + theirs.mean(0)) @ direction / 2)
        return cls(fitted_to, tuple(round(float(v), 6) for v in direction), round(least, 6))

    def share_unlike(self, vectors: ArrayLike) -> float:
        """Which share of photos, (B, V, D) vectors, is not like those of the training; 0 to 1."""
        means = _means(vectors)
        if not len(means):
            return 0.0
        return float(np.mean(means @ np.array(self.direction) < self.least))


@dataclass(frozen=True)
class Card:
    """A model in words.

    Attributes:
        summary: one sentence about what it finds.
        limits: one sentence about what it does badly.
        trained_on: the kind of pictures, such as "photographs".
        familiar: tells them from others; None where nobody measured it.
    """

    summary: str
    limits: str
    trained_on: str
    familiar: Familiar | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form, which `load` reads."""
        familiar = self.familiar
        return {
            "format": FORMAT,
            "summary": self.summary,
            "limits": self.limits,
            "trained_on": self.trained_on,
            "familiar": None if familiar is None else vars(familiar),
        }

    def save(self, path: Path) -> None:
        """Write the JSON file, whole or not at all."""
        with replacing(path) as part:
            part.write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Card:
        """Read the JSON file.

        Raises:
            CardError: names the file, when it is damaged or of another version.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content.get("format") != FORMAT or set(content) != _FIELDS:
                raise CardError("not a card of this version")
            familiar = content["familiar"]
            return cls(
                summary=str(content["summary"]),
                limits=str(content["limits"]),
                trained_on=str(content["trained_on"]),
                familiar=None if familiar is None else _familiar(familiar),
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError, CardError) as error:
            raise CardError(
                f"model card {path}: {error}; bring it back from where Referent came from"
            ) from error


def card_path(weights: Path) -> Path:
    """Name the card of a weights file: `x.safetensors` has `x.card.json`."""
    return weights.with_suffix(".card.json")


def card_beside(weights: Path) -> Card | None:
    """The card of a weights file; None where there is none.

    Raises:
        CardError: it is damaged.
    """
    path = card_path(weights)
    return Card.load(path) if path.is_file() else None


def _familiar(values: dict[str, Any]) -> Familiar:
    direction = tuple(float(v) for v in values["direction"])
    return Familiar(str(values["fitted_to"]), direction, float(values["least"]))


def _means(vectors: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(vectors, np.float64).mean(axis=1)  # (B, V, D) -> (B, D)
