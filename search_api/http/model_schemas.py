"""What the API says of models: cards, calibration, what serves an album."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, Field

from model.calibration import Calibration
from model.cards import Card
from search_api.http.schemas import NoteOut


class CardOut(BaseModel):
    """What a model says of itself, for people; null where its weights came without a card."""

    summary: str | None = Field(default=None, description="What it finds, in a sentence.")
    limits: str | None = Field(default=None, description="What it does badly, in a sentence.")
    trained_on: str | None = Field(default=None, examples=["photographs", "drawings"])

    @classmethod
    def words_of(cls, card: Card | None) -> dict[str, str | None]:
        """The fields, from the model's form."""
        if card is None:
            return {}
        return {"summary": card.summary, "limits": card.limits, "trained_on": card.trained_on}


class CurvePoint(BaseModel):
    """Pairs of photo and expression of about one confidence."""

    confidence: float = Field(ge=0, le=1, description="Their mean.")
    share: float = Field(ge=0, le=1, description="Of them, how many showed the referent.")
    pairs: int = Field(ge=1)

    @classmethod
    def all_of(cls, calibration: Calibration) -> list[Self]:
        """A calibration's curve, least confident first."""
        return [cls(confidence=p, share=share, pairs=n) for p, share, n in calibration.curve]


class ServedModelOut(CardOut):
    """The model that judges an album's photos, and what to know before searching them."""

    model: str
    threshold: float = Field(description="Confidence from which a photo matches.")
    curve: list[CurvePoint] = Field(
        description="How confidences held where they were measured; empty where nobody did."
    )
    notes: list[NoteOut] = Field(
        description="`unlike-training`: the photos look otherwise than those it was trained on."
    )


class ModelOut(CardOut):
    """A model that searches use, or could."""

    name: str
    loaded: bool
    default: bool
    fingerprints: dict[str, str]
    calibration_revision: str | None
    threshold: float | None
    curve: list[CurvePoint] = Field(
        default_factory=list, description="How confidences held; empty where nobody measured it."
    )
    albums: list[str] = Field(description="Albums whose searches it serves.")


class ModelList(BaseModel):
    """Every model that the catalog knows."""

    models: list[ModelOut]
    verifiers: list[str] = Field(
        default_factory=list,
        description="Released networks that were imported here and can verify a search.",
    )
