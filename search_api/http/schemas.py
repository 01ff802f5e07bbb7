"""What the HTTP API takes and gives, beside `search_api.search.query.Query`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from indexer.folders.printable import shown_file
from search_api.search.filters import Filters, GpsBox, PlainText
from search_api.search.photos import PhotoInfo
from search_api.search.query import Query
from search_api.search.runs import Run

PageSize = Annotated[int, Field(ge=1, le=100, description="Items on a page.")]
Cursor = Annotated[
    str | None, Field(max_length=200, description="`next_cursor` of the page before.")
]
AlbumName = Annotated[
    str,
    Field(min_length=1, max_length=255, pattern=r"^[^\x00]*\S[^\x00]*$", examples=["holiday"]),
]
Id = Annotated[int, Field(ge=1, le=2**53)]


class OfAttributes(BaseModel):
    """An answer that says what an object of ours holds, by the same names."""

    model_config = ConfigDict(from_attributes=True)

    @classmethod
    def of(cls, value: object) -> Self:
        """From the object."""
        return cls.model_validate(value)


class SearchRequest(Query):
    """A search and how many of its hits to answer with."""

    size: PageSize = 24


class CoverageOut(OfAttributes):
    """How far a search looked; every number counts photos."""

    total: int = Field(ge=0, description="In the albums, searchable or not.")
    filtered: int = Field(ge=0, description="Pass the filters and have features.")
    prefiltered: int = Field(ge=0, description="Chosen for verification.")
    verified: int = Field(ge=0, description="Judged by the network for this expression.")
    matched: int = Field(ge=0, description="Judged to show the referent.")


class NoteOut(OfAttributes):
    """Something about an answer that its reader should know."""

    code: str = Field(examples=["indexing", "failed", "stopped"])
    text: str
    values: dict[str, int | float | str] = Field(
        default_factory=dict,
        description="What the text holds, to say it in another language; `why` tells which of a "
        "code's texts it is.",
    )


class PhotoOut(BaseModel):
    """One photo."""

    id: int
    album: str
    path: str = Field(description="Inside its album.")
    width: int | None = Field(description="Upright pixels.")
    height: int | None = Field(description="Upright pixels.")
    format: str | None
    size_bytes: int
    taken_at: str | None = Field(
        description="Clock time that the camera showed, without a zone: 2024-05-01T12:30:00."
    )
    taken_source: Literal["camera", "camera-day", "name", "name-day"] | None = Field(
        description="Whether the camera wrote it or the file's name says so; `-day`: the day alone."
    )
    taken_offset_min: int | None = Field(
        description="Minutes that this clock was ahead of UTC; null where nobody wrote it."
    )
    camera: str | None
    lat: float | None
    lon: float | None
    status: Literal["new", "indexed", "failed", "missing"]
    error: str | None = Field(description="Why it could not be indexed.")
    note: str | None = Field(description="What to know of it: its file is cut short.")
    version: str = Field(
        description="Changes with the file's content: with `v` of this value, a thumbnail's "
        "address never shows another picture."
    )
    server_path: str | None = Field(
        default=None, description="Where the file lies on the server; only for admins who ask."
    )

    @classmethod
    def of(cls, photo: PhotoInfo, *, server_path: bool = False) -> PhotoOut:
        """From the catalog's form."""
        return cls(
            id=photo.id,
            album=photo.album,
            path=photo.path,
            width=photo.width,
            height=photo.height,
            format=photo.format,
            size_bytes=photo.size,
            taken_at=photo.taken_at.isoformat() if photo.taken_at else None,
            taken_source=_source(photo),
            taken_offset_min=photo.taken_offset_min,
            camera=photo.camera,
            lat=photo.lat,
            lon=photo.lon,
            status=photo.status,  # type: ignore[arg-type]  # the catalog holds only these
            error=photo.error,
            note=photo.note,
            version=photo.version,
            server_path=shown_file(photo.file) if server_path else None,
        )


def _source(photo: PhotoInfo) -> Literal["camera", "camera-day", "name", "name-day"] | None:
    if photo.taken_at is None:
        return None
    return photo.taken_source or "camera"  # type: ignore[return-value]  # the catalog's own words


class HitOut(OfAttributes):
    """A photo that a search judged."""

    rank: int | None = Field(description="From 0; null while the search still runs.")
    photo: Annotated[PhotoOut, BeforeValidator(PhotoOut.of)]
    confidence: float = Field(ge=0, le=1, description="Calibrated p(the referent is there).")
    accepted: bool = Field(description="False for the nearest photos that did not match.")
    box: tuple[int, int, int, int] | None = Field(
        description="x, y, width, height of the mask in upright pixels."
    )
    area: int | None = Field(description="Upright pixels of the mask.")
    vanished: bool = Field(description="The file is gone since it was indexed.")


class RunOut(BaseModel):
    """A search run."""

    id: str = Field(description="A UUID; the run can be opened again by it.")
    expression: str
    album: str | None = Field(description="null: every album.")
    mode: Literal["fast", "exhaustive"]
    filters: dict[str, Any] = Field(description="Those that were set, as in a search.")
    state: Literal["running", "done", "stopped"]
    threshold: float | None = Field(description="Confidence from which a photo matched.")
    at_threshold: dict[str, int] = Field(
        description="How many photos would match from other confidences on, by steps of 0.05; "
        "empty until the search has ended.",
        examples=[{"0.3": 18, "0.5": 7, "0.9": 2}],
    )
    verifier: str | None = Field(
        description="The released network that judged the photos; null: the model's own head."
    )
    coverage: CoverageOut
    sentence: str = Field(description="The coverage in words.")
    timings_ms: dict[str, float] = Field(description="By stage, and `total`.")
    notes: list[NoteOut]
    calibration_revision: str | None
    created_at: float = Field(description="Unix time in seconds.")

    @classmethod
    def of(cls, run: Run) -> RunOut:
        """From the catalog's form."""
        return cls(
            id=run.id,
            expression=run.expression,
            album=run.album,
            mode=run.mode,  # type: ignore[arg-type]  # the catalog holds only these
            filters=run.filters.model_dump(mode="json", exclude_defaults=True),
            state=run.state,  # type: ignore[arg-type]
            threshold=run.threshold,
            at_threshold=run.at_threshold,
            verifier=run.verifier,
            coverage=CoverageOut.of(run.coverage),
            sentence=run.coverage.sentence(),
            timings_ms=run.timings,
            notes=[NoteOut.of(note) for note in run.notes],
            calibration_revision=run.calibration_revision,
            created_at=run.created_at,
        )


class HitPage(BaseModel):
    """A search run and a page of its hits."""

    run: RunOut
    hits: list[HitOut]
    rejected: list[HitOut] = Field(
        default_factory=list,
        description="The nearest photos that did not match, when the search asked for them.",
    )
    next_cursor: str | None = Field(description="null on the last page.")


class FoldsOut(BaseModel):
    """Matches of a run that show nearly the same."""

    folds: list[list[int]] = Field(
        description="Photos of each group of several, the best match first.", examples=[[12, 15]]
    )


class RunPage(BaseModel):
    """A page of the history, newest first."""

    runs: list[RunOut]
    next_cursor: str | None


class MaskOut(BaseModel):
    """Where the referent is in one photo."""

    width: int = Field(description="Of the mask that `rle` codes, in pixels.")
    height: int
    photo_width: int = Field(description="Of the upright photo, in pixels.")
    photo_height: int
    box: tuple[int, int, int, int] | None = Field(description="In the upright photo's pixels.")
    area: int = Field(description="In the upright photo's pixels.")
    rle: dict[str, Any] = Field(
        description="COCO's compressed run-length code: `size` [height, width] and `counts`."
    )
    polygons: list[list[float]] = Field(
        description="Borders as x, y, x, y ... in the upright photo's pixels, holes included; "
        "fill them by the even-odd rule."
    )


class PhotoPage(BaseModel):
    """A page of photos, by id."""

    photos: list[PhotoOut]
    next_cursor: str | None


class TimelineGroup(BaseModel):
    """Photos that follow each other under one heading."""

    key: str | None = Field(
        description="A month (2024-05), a folder, or a name's first character; null: no date."
    )
    photos: int


class TimelineOut(BaseModel):
    """An album, or all, in an order: what a page needs to lay it out before it has a photo."""

    revision: str = Field(description="Another one once the photos or their features change.")
    photos: int = Field(description="Without what cannot be read; the same bytes count once.")
    searchable: int = Field(description="Of these, how many a search looks at.")
    unreadable: int = Field(description="Files that could not be read and are not shown.")
    groups: list[TimelineGroup]
    place: int | None = Field(description="Of the photo that was asked for, from 0.")


class TimelinePhotos(BaseModel):
    """A stretch of a timeline."""

    revision: str
    photos: list[PhotoOut]


class ClusterOut(OfAttributes):
    """Photos that were taken near each other, as a map of this size tells them apart."""

    photos: int
    lon: float = Field(description="Their mean, in degrees.")
    lat: float
    box: GpsBox = Field(description="Around them; a search takes it as `filters.gps`.")
    photo_id: int = Field(description="The newest of them.")


class MapTiles(BaseModel):
    """A server of map pictures, Web Mercator, that this installation shows under places."""

    url: str = Field(description="With {z}, {x} and {y} in it.")
    attribution: str


class PlacesOut(OfAttributes):
    """Where an album's photos, or all, were taken."""

    photos: int = Field(description="Of the albums; the same bytes count once.")
    located: int = Field(description="Of these, how many have a position.")
    bounds: GpsBox | None = Field(description="Around every position; null where there is none.")
    clusters: list[ClusterOut] = Field(description="Within the box that was asked for.")
    tiles: MapTiles | None = Field(default=None, description="null: none are to be fetched.")


class CopiesOut(BaseModel):
    """Photos of the same bytes as another one."""

    photos: list[PhotoOut]


class SimilarRequest(BaseModel):
    """More like this: a photo, or what a search found in it."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"examples": [{"photo": 12, "size": 20}]}
    )
    photo: Id = Field(description="The photo that the others shall resemble.")
    run: str | None = Field(
        default=None,
        min_length=36,
        max_length=36,
        description="A search run that matched it: resemble the matched region, not the whole.",
    )
    album: AlbumName | None = Field(
        default=None, description="Where to look; every album if left out."
    )
    duplicates: bool = Field(
        default=False,
        description="Only the same picture again: equal files and near-identical ones.",
    )
    filters: Filters = Field(default_factory=Filters)
    size: PageSize = 24


class SimilarOut(BaseModel):
    """A photo that resembles another."""

    photo: PhotoOut
    similarity: float = Field(description="Cosine of region vectors, at most 1.")
    same_file: bool = Field(description="Byte for byte the same file.")


class SimilarPage(BaseModel):
    """The photos that resemble one most, best first; a ranking, nothing was verified."""

    photos: list[SimilarOut]


class SessionIn(BaseModel):
    """An API key to exchange for a cookie."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"key": "rf_1_..."}]})
    key: Annotated[PlainText, Field(min_length=1, max_length=200)]


class SessionOut(BaseModel):
    """Who the page speaks for."""

    name: str
    scopes: list[str]
    keys_required: bool = Field(
        description="False on loopback without a proxy between, where nobody has to sign in."
    )
    server_folders: bool = Field(
        description="Whether admins may let albums scan folders of the server."
    )


class Health(BaseModel):
    """Whether the server lives, or is ready to search."""

    status: Literal["ok", "starting", "stopping", "no database"]
