"""What a person says of a search's decisions."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from search_api.http.deps import ActorDep, Reader, ServerDep, Writer
from search_api.http.problems import documented
from search_api.http.schemas import OfAttributes
from search_api.search import corrections, runs

router = APIRouter(tags=["marks"])
RunId = Annotated[UUID, Path(description="The search run's id.")]
PhotoId = Annotated[int, Path(ge=1, le=2**53)]
_ABOUT_HIT = documented(400, 401, 403, 404, 413, 422)


class MarkIn(BaseModel):
    """A verdict."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"verdict": "right"}]}
    )
    verdict: Literal["right", "wrong", "wrong_mask", "missed"] = Field(
        description="Of a match: right, wrong (it is not there) or wrong_mask (it is there, but "
        "elsewhere). Of a rejected photo: missed (it is there)."
    )


class MarkOut(OfAttributes):
    """A verdict as kept; it stays with the photo and the expression, whichever run shows them."""

    photo: int = Field(validation_alias="photo_id")
    expression: str
    verdict: Literal["right", "wrong", "wrong_mask", "missed"]
    created_at: float = Field(description="Unix time in seconds.")


class MarkList(BaseModel):
    """Verdicts on the photos of a search run."""

    marks: list[MarkOut]


@router.get(
    "/search/{run_id}/marks", response_model=MarkList, responses=documented(401, 403, 404, 422)
)
def get_marks(run_id: RunId, server: ServerDep, who: Reader) -> MarkList:
    """The verdicts on a run's photos for its expression."""
    catalog = server.engine.catalog
    found = corrections.marks_of(catalog, runs.load(catalog, str(run_id)))
    return MarkList(marks=[MarkOut.of(each) for each in found])


@router.put("/search/{run_id}/hits/{photo_id}/mark", response_model=MarkOut, responses=_ABOUT_HIT)
def put_mark(
    run_id: RunId,
    photo_id: PhotoId,
    verdict: MarkIn,
    server: ServerDep,
    who: Writer,
    by: ActorDep,
) -> MarkOut:
    """Mark a decision; an earlier verdict is replaced."""
    catalog = server.engine.catalog
    return MarkOut.of(corrections.mark(catalog, str(run_id), photo_id, verdict.verdict, by=by))


@router.delete(
    "/search/{run_id}/hits/{photo_id}/mark",
    status_code=204,
    responses=documented(401, 403, 404, 422),
)
def delete_mark(
    run_id: RunId, photo_id: PhotoId, server: ServerDep, who: Writer, by: ActorDep
) -> None:
    """Take a verdict back."""
    corrections.unmark(server.engine.catalog, str(run_id), photo_id, by=by)
