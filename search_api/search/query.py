"""What is asked: an expression, where to look, how thoroughly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from search_api.search.filters import Filters, PlainText

MAX_EXPRESSION_CHARS = 300
MAX_CANDIDATES = 5000
MAX_REJECTED = 200
DEFAULT_CANDIDATES = 200
# Verifying this many whole costs about as much as ranking more and verifying 200 of them.
WHOLE_SET = 400

Mode = Literal["fast", "exhaustive"]


def _expression(value: str) -> str:
    """One line of text."""
    return " ".join(value.split())


Expression = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_EXPRESSION_CHARS,
        pattern=r"^[^\x00]*\w[^\x00]*$",
        description="A referring expression; it may refer to zero, one or many things in a photo. "
        "The model reads its first 20 word pieces. AND, OR, NOT in capitals, brackets and quotes "
        "put expressions together; “no people” asks for photos where people are judged absent.",
        examples=["kid in blue", "everyone except the man in white", "dog AND NOT person"],
    ),
    AfterValidator(_expression),
]


@dataclass(frozen=True)
class Asker:
    """Whose a search is."""

    key_id: int | None = None
    """The API key's; None of one that needs none."""
    albums: frozenset[int] | None = None
    """The albums that it may look at; None means all."""
    saved_id: int | None = None
    """Of the saved search that asks about new photos."""


NOBODY = Asker()
"""Whoever may use this machine's account."""


class Query(BaseModel):
    """One search."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"expression": "kid in blue"},
                {
                    "expression": "the two dogs on the left",
                    "album": "holiday",
                    "mode": "exhaustive",
                    "filters": {"orientation": "landscape", "path": "2024/**"},
                },
            ]
        },
    )
    expression: Expression
    album: PlainText | None = Field(
        default=None,
        min_length=1,
        max_length=255,
        description="Name of the album; every album when it is left out.",
    )
    mode: Mode = Field(
        default="fast",
        description="`fast` verifies the prefilter's candidates, `exhaustive` every photo that "
        "passes the filters.",
    )
    filters: Filters = Field(default_factory=Filters)
    candidates: int = Field(
        default=DEFAULT_CANDIDATES,
        ge=1,
        le=MAX_CANDIDATES,
        description="How many photos the fast mode verifies; a filtered set that is about that "
        "small is verified whole.",
    )
    threshold: float | None = Field(
        default=None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Confidence from which a photo matches; the calibrated operating point when "
        "it is left out.",
    )
    verifier: str | None = Field(
        default=None,
        max_length=64,
        pattern=r"^[a-z0-9:._-]+$",
        description="A released network that verifies the candidates' pixels itself, such as "
        "`rela-official-base`: slower by far, and it must have been imported.",
    )
    seconds: float | None = Field(
        default=None,
        gt=0,
        le=86_400,
        allow_inf_nan=False,
        description="Stop after so long, with what was verified until then.",
    )
    rejected: int = Field(
        default=0,
        ge=0,
        le=MAX_REJECTED,
        description="Also keep this many of the nearest photos that did not match, marked as such.",
    )
