"""Filters narrow the photos that a search looks at; they never change a photo's decision.

What SQL can compare (dates, camera, place, format, shape) becomes a statement on the catalog; path
globs are matched here, since paths are bytes there and SQLite and PostgreSQL disagree on globs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from indexer.db.names import comparable
from indexer.db.tables import Hit, Mark, Photo, SavedJudged, SearchRun
from indexer.folders.globs import EXTENSION_OF, compile_globs
from search_api.errors import UnknownRun

MAX_GLOB_CHARS = 200


def _kept(info: ValidationInfo) -> bool:
    """Whether the filters are those of an earlier run, which are read as they were taken then."""
    return bool(info.context and info.context.get("kept"))


def _wall_clock(value: datetime | None, info: ValidationInfo) -> datetime | None:
    """A photo's clock time has no zone, so that one with a zone cannot be compared with it."""
    if value is not None and value.tzinfo is not None:
        if not _kept(info):
            raise ValueError(
                "must be the clock time that the camera showed, as in 2024-05-01T12:30:00, "
                "without Z or an offset"
            )
        return value.replace(tzinfo=None)
    return value


def _known_format(value: str, info: ValidationInfo) -> str:
    if not _kept(info) and value.lower().lstrip(".") not in _KNOWN_FORMATS:
        known = ", ".join(sorted(EXTENSION_OF))
        raise ValueError(f"{value!r} is no file type that is read; those are {known}")
    return value


# No NUL; lone surrogates are refused by pydantic itself.
PlainText = Annotated[str, Field(pattern=r"^[^\x00]*$")]
# What the document says of it: without a zone, and a day that its month has.
_DAYS = (
    "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    "|02-(0[1-9]|1[0-9]|2[0-8]))"
)
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?"
_WITHOUT_ZONE = {
    "type": "string",
    "pattern": f"^[1-9][0-9]{{3}}-{_DAYS}T{_CLOCK}$",
    "examples": ["2024-05-01T12:30:00"],
}
WallClock = Annotated[
    Annotated[datetime, WithJsonSchema(_WITHOUT_ZONE)] | None, AfterValidator(_wall_clock)
]
FileType = Annotated[
    PlainText,
    Field(min_length=1, max_length=16),
    AfterValidator(_known_format),
    WithJsonSchema({"type": "string", "enum": sorted(EXTENSION_OF)}),
]
Longitude = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]


class GpsBox(BaseModel):
    """A box on the globe in degrees; ``west`` greater than ``east`` crosses the date line."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    west: Longitude
    south: Latitude
    east: Longitude
    north: Latitude

    @field_validator("north")
    @classmethod
    def _not_below_south(cls, north: float, info: ValidationInfo) -> float:
        south = info.data.get("south")
        if south is not None and north < south and not _kept(info):
            raise ValueError(f"must not lie south of the southern border, {south:g}")
        return north


class Filters(BaseModel):
    """Conditions that a photo must meet before it is looked at; all that are given must hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    taken_from: WallClock = Field(
        default=None, description="Taken at or after this clock time, as the camera showed it."
    )
    taken_before: WallClock = Field(
        default=None, description="Taken before this clock time, as the camera showed it."
    )
    path: PlainText | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_GLOB_CHARS,
        description="Glob on the path inside the album. `*` stays within a folder, `**` crosses "
        "folders; a pattern without `/` is matched against the file's name. Case does not count.",
        examples=["2024/**/*.jpg"],
    )
    camera: PlainText | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="Part of the camera's name, in any case.",
    )
    orientation: Literal["landscape", "portrait", "square"] | None = Field(
        default=None, description="Shape of the upright photo."
    )
    gps: GpsBox | None = Field(default=None, description="Taken inside this box.")
    formats: tuple[FileType, ...] = Field(
        default=(),
        max_length=16,
        description="File types, as decoded.",
        examples=[["JPEG", "HEIF"]],
    )
    run: UUID | None = Field(
        default=None,
        description="Photos that this earlier search run matched and nobody marked as wrong.",
    )
    run_least: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = Field(
        default=None, description="With `run`: from this confidence on."
    )
    run_photos: tuple[Annotated[int, Field(ge=1, le=2**53)], ...] | None = Field(
        default=None, max_length=1000, description="With `run`: only these of its matches."
    )

    unjudged_by: Annotated[int, Field(ge=1, le=2**53)] | None = Field(
        default=None, description="Photos that the saved search of this number has not judged yet."
    )

    @field_validator("taken_before")
    @classmethod
    def _after_taken_from(cls, before: datetime | None, info: ValidationInfo) -> datetime | None:
        start = info.data.get("taken_from")
        if before is not None and start is not None and before <= start and not _kept(info):
            raise ValueError(f"must be later than taken_from, {start.isoformat()}")
        return before

    @classmethod
    def kept(cls, values: Mapping[str, Any]) -> Self:
        """The filters of an earlier run, such as one from before a value was refused."""
        return cls.model_validate(values, context={"kept": True})

    @property
    def active(self) -> bool:
        """Whether any condition is set."""
        return self != _NO_FILTERS

    def clauses(self) -> list[ColumnElement[bool]]:
        """The conditions that SQL can decide, for a statement over ``Photo``."""
        clauses: list[ColumnElement[bool]] = []
        if self.taken_from is not None:
            clauses.append(Photo.taken_at >= self.taken_from)
        if self.taken_before is not None:
            clauses.append(Photo.taken_at < self.taken_before)
        if self.camera is not None:
            clauses.append(func.lower(Photo.camera).contains(self.camera.lower(), autoescape=True))
        if self.orientation == "landscape":
            clauses.append(Photo.width > Photo.height)
        elif self.orientation == "portrait":
            clauses.append(Photo.width < Photo.height)
        elif self.orientation == "square":
            clauses.append(Photo.width == Photo.height)
        if self.gps is not None:
            clauses.append(_inside(self.gps))
        if self.formats:
            clauses.append(func.lower(Photo.format).in_(_formats(self.formats)))
        if self.run is not None:
            clauses.append(Photo.id.in_(self._of_run()))
        if self.unjudged_by is not None:
            judged = select(SavedJudged.content_hash).where(
                SavedJudged.saved_id == self.unjudged_by,
                SavedJudged.content_hash == Photo.content_hash,
            )
            clauses.append(~judged.exists())
        return clauses

    def _of_run(self) -> Select[int]:
        """What exports and cut-outs of the run hold as well (`search_api.show.chosen`)."""
        run = str(self.run)
        wrong = (
            select(Mark.photo_id)
            .join(SearchRun, SearchRun.expression == Mark.expression)
            .where(SearchRun.id == run, Mark.verdict == "wrong")
        )
        found = select(Hit.photo_id).where(
            Hit.run_id == run, Hit.accepted.is_(True), Hit.photo_id.not_in(wrong)
        )
        if self.run_least is not None:
            found = found.where(Hit.confidence >= self.run_least)
        return found if self.run_photos is None else found.where(Hit.photo_id.in_(self.run_photos))

    def photo_ids(self, session: Session, scope: Iterable[ColumnElement[bool]]) -> np.ndarray:
        """Ids of the photos within ``scope`` that pass, ascending.

        Args:
            session: an open catalog session.
            scope: further conditions on ``Photo``, such as the album.
        Returns:
            int64 (n,).
        Raises:
            UnknownRun: the earlier search run is not kept (any more).
        """
        if self.run is not None and session.get(SearchRun, str(self.run)) is None:
            raise UnknownRun(
                "There is no search run of this id (any more) to search among; search again.",
                field="filters.run",
            )
        where = and_(*scope, *self.clauses())
        if self.path is None:
            ids = session.scalars(select(Photo.id).where(where).order_by(Photo.id))
            return np.fromiter(ids, dtype=np.int64)
        matches = compile_glob(self.path)
        rows = select(Photo.id, Photo.path).where(where).order_by(Photo.id)
        return np.fromiter(
            (
                photo_id
                for photo_id, path in session.execute(rows).yield_per(5000)
                if matches(os.fsdecode(path))
            ),
            dtype=np.int64,
        )


_NO_FILTERS = Filters()
_ALSO = {
    "jpg": ("jpeg", "mpo"),
    "jpeg": ("jpeg", "mpo"),
    "heic": ("heif",),
    "tif": ("tiff",),
    "jp2": ("jpeg2000",),
}


_KNOWN_FORMATS = {*_ALSO, *map(str.lower, EXTENSION_OF), *EXTENSION_OF.values()}


def _formats(names: Iterable[str]) -> list[str]:
    """The decoder's names, in lower case, of file types that a user may call otherwise."""
    lowered = [name.lower().lstrip(".") for name in names]
    return sorted({each for name in lowered for each in _ALSO.get(name, (name,))})


def _inside(box: GpsBox) -> ColumnElement[bool]:
    within_latitude = Photo.lat.between(box.south, box.north)
    if box.west <= box.east:
        return and_(within_latitude, Photo.lon.between(box.west, box.east))
    return and_(within_latitude, or_(Photo.lon >= box.west, Photo.lon <= box.east))


@lru_cache(maxsize=64)
def compile_glob(pattern: str) -> Callable[[str], bool]:
    """A function that tells whether a path inside the album matches a glob, in any case and in
    either Unicode form."""
    compiled = compile_globs([pattern])
    return lambda path: compiled is not None and compiled.match(comparable(path)) is not None
