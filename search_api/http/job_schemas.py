"""What the HTTP API takes and gives about jobs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from indexer.jobs.jobs import JobView
from search_api.http.hiding import PathHider
from search_api.http.schemas import AlbumName


class JobIn(BaseModel):
    """A job to start."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"kind": "index", "album": "holiday"}]}
    )
    kind: Literal["index", "reindex", "compact", "verify"]
    album: AlbumName
    which: Literal["missing", "all"] = Field(
        "missing", description="Of index: photos that lack features, or all of them anew."
    )
    model: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None, description="Of index and reindex: the model; default: the one that serves."
    )
    confirm_deletions: bool = Field(
        False, description="Of index: believe it when over half of the album is gone."
    )
    accept_fewer: bool = Field(
        False, description="Of reindex: swap also to a version that lacks photos which serve now."
    )


class JobOut(BaseModel):
    """A job; `referent jobs` shows the same."""

    id: int
    kind: str
    album: str | None
    expression: str | None = Field(description="What a matte job cuts out.")
    state: Literal["queued", "running", "paused", "cancelling", "cancelled", "failed", "done"]
    phase: str | None
    done: int
    total: int | None
    failed: int
    rate: float | None = Field(description="Photos a second.")
    seconds_left: float | None
    message: str | None
    workers: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    result: dict[str, Any] | None

    @classmethod
    def of(cls, job: JobView, hide: PathHider) -> JobOut:
        """From the job table's form, without paths of the server."""
        values = job.as_json()
        told = {name: values[name] for name in cls.model_fields}
        return cls(**told | {name: hide.within(told[name]) for name in ("message", "result")})


class JobPage(BaseModel):
    """A page of jobs, newest first."""

    jobs: list[JobOut]
    next_cursor: str | None


class FailureOut(BaseModel):
    """A photo that a job could not handle."""

    photo: int | None
    path: str | None
    reason: str
    attempts: int


class FailurePage(BaseModel):
    """A page of a job's failures, oldest first."""

    failures: list[FailureOut]
    next_cursor: str | None
