"""What the API says and takes of albums, their folders and uploads."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from search_api.http.schemas import AlbumName
from search_api.search.filters import PlainText


class AlbumIn(BaseModel):
    """A new album."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "holiday"}]})
    name: AlbumName


class RootIn(BaseModel):
    """A folder of the server that an album shall scan."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"path": "/srv/photos"}]}
    )
    path: Annotated[PlainText, Field(min_length=1, max_length=4096)]


class RetryIn(BaseModel):
    """Which failed photos of an album to try again."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"photos": [12]}]})
    photos: list[Annotated[int, Field(ge=1, le=2**53)]] | None = Field(
        None, max_length=10_000, description="Their ids; null means every one."
    )
    reason: Annotated[str, Field(max_length=200)] | None = Field(
        None, description="Only those whose `error` holds these words."
    )


class RetryOut(BaseModel):
    """How many photos are tried again, and the job that does it; null where there are none."""

    photos: int
    job: int | None


class AlbumOut(BaseModel):
    """An album and how far it is indexed."""

    id: int
    name: str
    created_at: float = Field(description="Unix time in seconds.")
    photos: int = Field(description="Photos in it, searchable or not.")
    by_status: dict[str, int]
    model: str | None = Field(description="The model whose features serve its searches.")
    threshold: float | None = Field(description="Confidence from which a photo matches.")
    unread: dict[str, int] = Field(
        description="Files of kinds that are not read, by extension, as the last scan counted.",
        examples=[{"mov": 12}],
    )
    roots: list[str] | None = Field(
        default=None, description="Folders that it scans; only for admins who ask."
    )


class FolderOut(BaseModel):
    """A folder of an album, and whether it is there."""

    id: int
    path: str | None = Field(description="On the server; null for those who are no admins.")
    uploads: bool = Field(description="The library's own, for what was uploaded.")
    online: bool
    reason: str | None = Field(description="Why it, or a disk in it, is not there.")
    seen_at: float | None = Field(
        description="Unix time in seconds of the last scan that found it there."
    )
    photos: int
    marks: int = Field(description="Verdicts that would go with it.")


class FolderList(BaseModel):
    """The folders of an album."""

    folders: list[FolderOut]


class AlbumList(BaseModel):
    """Every album."""

    albums: list[AlbumOut]


class UploadedOut(BaseModel):
    """What became of one uploaded file."""

    name: str
    path: str | None = Field(description="Inside the album; null when it was refused.")
    reason: str | None = Field(description="Why it was refused.")
    photo: int | None = Field(description="The photo that it is now.")
    known: bool = Field(description="Whether the album had a photo of the same bytes already.")


class UploadOut(BaseModel):
    """What became of an upload, and the job that indexes it."""

    files: list[UploadedOut]
    job: int | None
