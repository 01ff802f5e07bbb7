"""The catalog's tables (SQLAlchemy 2), the same on SQLite and PostgreSQL.

Two kinds of time: ``taken_at`` is the naive local time that a camera wrote; every other ``*_at``
and ``lease_until`` is Unix time in seconds (float, UTC) **of the database's clock**
(`indexer.db.clock.clock()`, `Catalog.now()`), so that leases hold between machines; ``created_at``,
``seen_at`` and ``added_at`` fill themselves.

Paths are bytes (``os.fsencode``), since a Linux file name need not be UTF-8. Content hashes are
blake2b-160 over a file's bytes, 40 hexadecimal digits.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from indexer.db.clock import clock

# SQLite numbers rows by itself only when the column is exactly INTEGER.
Id = BigInteger().with_variant(Integer(), "sqlite")
# Without it SQLite gives a deleted row's number to the next one, and whatever still goes by that
# number (a browser's picture, a folder of cut-outs) would be taken for the new row's.
_NEVER_AGAIN = {"sqlite_autoincrement": True}
_REVISION_STEP = 1 << 20


def revision_step() -> int:
    """By how much an album's revision grows.

    At random: a catalog brought back from a backup counts on from where it was, and must not meet
    what was cached under the numbers of its lost future.
    """
    return 1 + secrets.randbelow(_REVISION_STEP)


class Base(DeclarativeBase):
    """Every table; constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        int: BigInteger,
        float: Double,
        str: Text,
        bytes: LargeBinary,
        dict[str, Any]: JSON(none_as_null=True),
        list[Any]: JSON(none_as_null=True),
        datetime: DateTime,
    }


def _owner(target: str, **options: Any) -> Mapped[int]:
    return mapped_column(Id, ForeignKey(target, ondelete="CASCADE"), **options)


class Album(Base):
    """The photos that one search runs over; ``settings`` holds include and exclude globs."""

    __tablename__ = "albums"
    __table_args__ = (_NEVER_AGAIN,)
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(255), unique=True)
    created_at: Mapped[float] = mapped_column(default=clock())
    settings: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    # Grows with every change of the album's photos or features; caches compare it.
    revision: Mapped[int] = mapped_column(default=revision_step, server_default="0")


class Root(Base):
    """A folder that an album scans; ``mounts`` are mount points seen in it (hex of the bytes).

    ``follow_links``: symbolic links in it may lead out of the album's folders. Whoever owns this
    machine's account may say so; folders of uploads never do.
    """

    __tablename__ = "roots"
    __table_args__ = (UniqueConstraint("album_id", "path"), _NEVER_AGAIN)
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    album_id: Mapped[int] = _owner("albums.id")
    path: Mapped[bytes]  # absolute
    mounts: Mapped[list[Any]] = mapped_column(JSON, default=list)
    follow_links: Mapped[bool] = mapped_column(default=False, server_default=false())
    scanned_at: Mapped[float | None]


class Photo(Base):
    """One file of an album.

    ``status`` is new (waits for the index), indexed, failed (``error`` says why) or missing (the
    file vanished: ``deleted_at`` is set, and it is set on no other row).
    ``width`` and ``height`` are upright pixels; ``orientation`` is the EXIF value 1 to 8.
    """

    __tablename__ = "photos"
    __table_args__ = (
        UniqueConstraint("root_id", "path"),
        Index("ix_photos_album_id_id", "album_id", "id"),
        Index("ix_photos_album_id_taken_at_id", "album_id", "taken_at", "id"),
        Index("ix_photos_album_id_status_id", "album_id", "status", "id"),
        Index("ix_photos_content_hash", "content_hash"),
        _NEVER_AGAIN,
    )
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    album_id: Mapped[int] = _owner("albums.id")
    root_id: Mapped[int] = _owner("roots.id")
    path: Mapped[bytes]  # relative to the root
    content_hash: Mapped[str | None] = mapped_column(String(40))
    size: Mapped[int]
    mtime_ns: Mapped[int]
    inode: Mapped[int]
    format: Mapped[str | None] = mapped_column(String(16))
    width: Mapped[int | None] = mapped_column(Integer)
    height: Mapped[int | None] = mapped_column(Integer)
    orientation: Mapped[int | None] = mapped_column(Integer)
    taken_at: Mapped[datetime | None]
    # camera, camera-day, name, name-day (no time of day); NULL: none, or the camera's of long ago
    taken_source: Mapped[str | None] = mapped_column(String(16))
    taken_offset_min: Mapped[int | None] = mapped_column(Integer)
    camera: Mapped[str | None] = mapped_column(String(255))
    lat: Mapped[float | None]
    lon: Mapped[float | None]
    note: Mapped[str | None]  # of one that is indexed all the same: its file is cut short
    status: Mapped[str] = mapped_column(String(16), default="new")
    error: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    seen_at: Mapped[float] = mapped_column(default=clock())
    deleted_at: Mapped[float | None]
    added_at: Mapped[float] = mapped_column(default=clock())


class ModelVersion(Base):
    """A model by its tiers' chained fingerprints; ``key`` is their digest, for uniqueness."""

    __tablename__ = "model_versions"
    __table_args__ = (_NEVER_AGAIN,)
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    key: Mapped[str] = mapped_column(String(40), unique=True)
    fingerprints: Mapped[dict[str, Any]]
    config: Mapped[dict[str, Any]]
    created_at: Mapped[float] = mapped_column(default=clock())


class IndexVersion(Base):
    """An album indexed with a model version: building, serving (at most one) or retired.

    To swap, retire the serving one first, then serve the other, in one transaction.
    """

    __tablename__ = "index_versions"
    __table_args__ = (
        Index("ix_index_versions_album_id_state", "album_id", "state"),
        Index(
            "uq_index_versions_serving",
            "album_id",
            unique=True,
            sqlite_where=text("state = 'serving'"),
            postgresql_where=text("state = 'serving'"),
        ),
        _NEVER_AGAIN,
    )
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    album_id: Mapped[int] = _owner("albums.id")
    model_version_id: Mapped[int] = mapped_column(Id, ForeignKey("model_versions.id"))
    state: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[float] = mapped_column(default=clock())
    activated_at: Mapped[float | None]


class Segment(Base):
    """One immutable file of the feature store; ``path`` is relative to the features folder."""

    __tablename__ = "segments"
    __table_args__ = (
        Index("ix_segments_fingerprint_state", "fingerprint", "state"),
        Index("ix_segments_state_lease_until", "state", "lease_until"),
        _NEVER_AGAIN,
    )
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    tier: Mapped[str] = mapped_column(String(32))
    fingerprint: Mapped[str] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(unique=True)
    rows: Mapped[int] = mapped_column(default=0)
    bytes: Mapped[int] = mapped_column(default=0)
    checksum: Mapped[str | None] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))  # intent | live | retired
    lease_owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[float | None]
    created_at: Mapped[float] = mapped_column(default=clock())
    retired_at: Mapped[float | None]


class FeatureRow(Base):
    """Where one content's record of one fingerprint lies; there is at most one.

    ``encoded_at`` stays when a compaction moves the record; None where nobody knows.
    """

    __tablename__ = "feature_rows"
    __table_args__ = (
        Index("ix_feature_rows_segment_id_position", "segment_id", "position"),
        Index("ix_feature_rows_content_hash", "content_hash"),
        {"sqlite_with_rowid": False},
    )
    fingerprint: Mapped[str] = mapped_column(String(64), primary_key=True)
    content_hash: Mapped[str] = mapped_column(String(40), primary_key=True)
    segment_id: Mapped[int] = mapped_column(Id, ForeignKey("segments.id"))
    position: Mapped[int] = mapped_column(Integer)
    encoded_at: Mapped[float | None]


class EncodeClaim(Base):
    """A content that a worker is encoding (leased), or could not encode (``error``, no lease)."""

    __tablename__ = "encode_claims"
    __table_args__ = ({"sqlite_with_rowid": False},)
    fingerprint: Mapped[str] = mapped_column(String(64), primary_key=True)
    content_hash: Mapped[str] = mapped_column(String(40), primary_key=True)
    lease_owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[float | None]
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    error: Mapped[str | None]


class Job(Base):
    """A long job; the row is the truth, queue messages are hints (`indexer.jobs.jobs` owns it)."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_state_id", "state", "id"),
        Index("ix_jobs_album_id_id", "album_id", "id"),
        _NEVER_AGAIN,
    )
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    album_id: Mapped[int | None] = _owner("albums.id", nullable=True)
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    state: Mapped[str] = mapped_column(String(16), default="queued")
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int | None]
    failed: Mapped[int] = mapped_column(default=0)
    rate: Mapped[float | None]  # items a second
    message: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    created_at: Mapped[float] = mapped_column(default=clock())
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    heartbeat_at: Mapped[float | None]
    # The leader's lease: scanning and finishing are done by one worker at a time.
    lease_owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[float | None]
    result: Mapped[dict[str, Any] | None]
    phase: Mapped[str | None] = mapped_column(String(16))
    # Digest of kind, album and parameters while the job is not finished: no job runs twice at once.
    active_key: Mapped[str | None] = mapped_column(String(40), unique=True)
    # It was asked for since its last scan began: then its end is the beginning of another scan.
    again: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())


class JobSlot(Base):
    """One worker's place in a job; its lease makes repeated messages for it do nothing."""

    __tablename__ = "job_slots"
    __table_args__ = (
        # Few are held, and every sweep looks for those whose holder is dead.
        Index(
            "ix_job_slots_held",
            "lease_owner",
            sqlite_where=text("lease_owner is not null"),
            postgresql_where=text("lease_owner is not null"),
        ),
    )
    job_id: Mapped[int] = _owner("jobs.id", primary_key=True)
    slot: Mapped[int] = mapped_column(Integer, primary_key=True)
    lease_owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[float | None]
    woken_at: Mapped[float | None]  # when a message was last sent for it


class JobFailure(Base):
    """A photo that a job could not handle; the job's report names it."""

    __tablename__ = "job_failures"
    __table_args__ = (
        UniqueConstraint("job_id", "photo_id"),
        Index("ix_job_failures_job_id_id", "job_id", "id"),
        _NEVER_AGAIN,
    )
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    job_id: Mapped[int] = _owner("jobs.id")
    photo_id: Mapped[int | None] = _owner("photos.id", nullable=True, index=True)
    reason: Mapped[str]
    attempts: Mapped[int] = mapped_column(Integer, default=1)


class OwnFolder(Base):
    """A folder that the library made: an album's uploads, or what a job wrote.

    ``kind`` is uploads, matte or export; ``owner_id`` the album's or the job's number, None when it
    is nobody's any more. No foreign key: the row outlives its owner, so that what a crash or an
    absent disk left is swept (`indexer.folders.own_folders`). ``name`` holds a random part.
    """

    __tablename__ = "own_folders"
    __table_args__ = (
        UniqueConstraint("kind", "owner_id"),
        UniqueConstraint("kind", "name"),
        _NEVER_AGAIN,
    )
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str]
    owner_id: Mapped[int | None]
    created_at: Mapped[float] = mapped_column(default=clock())
    swept_at: Mapped[float | None]


class SearchRun(Base):
    """A search and the revision of everything that it used; ``id`` is a UUID in text.

    ``key_id`` is the API key's whose search it was, None of one that needed none. No foreign key:
    it outlives keys. ``asked`` is the same for the same question: the history shows the last one.
    ``saved_id`` is that of the saved search which asked about new photos; no history has it.
    """

    __tablename__ = "search_runs"
    __table_args__ = (
        Index("ix_search_runs_album_id_created_at", "album_id", "created_at"),
        Index("ix_search_runs_key_id_created_at", "key_id", "created_at"),
        Index("ix_search_runs_asked", "asked"),
        Index("ix_search_runs_saved_id", "saved_id"),
    )
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    expression: Mapped[str]
    album_id: Mapped[int | None] = _owner("albums.id", nullable=True)
    mode: Mapped[str] = mapped_column(String(16))
    filters: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    fingerprints: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    calibration_revision: Mapped[str | None] = mapped_column(String(64))
    index_version_id: Mapped[int | None] = mapped_column(
        Id, ForeignKey("index_versions.id", ondelete="SET NULL")
    )
    coverage: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    timings: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    state: Mapped[str] = mapped_column(String(16))
    key_id: Mapped[int | None]
    asked: Mapped[str | None] = mapped_column(String(40))
    saved_id: Mapped[int | None]
    created_at: Mapped[float] = mapped_column(default=clock(), index=True)


class SavedSearch(Base):
    """A search that is kept under a name, and asked again of photos that come.

    ``key_id`` as of a run. ``webhook`` is told of matches, the last time at ``told_at``;
    ``trouble`` is why it could not be told since.
    """

    __tablename__ = "saved_searches"
    __table_args__ = (_NEVER_AGAIN,)
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    key_id: Mapped[int | None]
    name: Mapped[str] = mapped_column(String(255))
    expression: Mapped[str]
    album_id: Mapped[int | None] = _owner("albums.id", nullable=True, index=True)
    filters: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    webhook: Mapped[str | None]
    trouble: Mapped[str | None]
    told_at: Mapped[float | None]
    created_at: Mapped[float] = mapped_column(default=clock())


class SavedTelling(Base):
    """A run of a saved search of which its webhook is still to be told, not before ``due_at``."""

    __tablename__ = "saved_tellings"
    __table_args__ = (Index("ix_saved_tellings_due_at", "due_at"),)
    run_id: Mapped[str] = mapped_column(
        String(36), ForeignKey("search_runs.id", ondelete="CASCADE"), primary_key=True
    )
    saved_id: Mapped[int] = _owner("saved_searches.id", index=True)
    tries: Mapped[int] = mapped_column(Integer, default=0)
    due_at: Mapped[float] = mapped_column(default=clock())


class SavedJudged(Base):
    """A content that a saved search has judged, or had at its beginning: it is judged once."""

    __tablename__ = "saved_judged"
    __table_args__ = ({"sqlite_with_rowid": False},)
    saved_id: Mapped[int] = _owner("saved_searches.id", primary_key=True)
    content_hash: Mapped[str] = mapped_column(String(40), primary_key=True)


class Hit(Base):
    """A photo that a search judged and kept, by rank; ``box`` is [x, y, w, h] in upright pixels."""

    __tablename__ = "hits"
    __table_args__ = (
        Index("ix_hits_run_id_rank", "run_id", "rank"),
        Index("ix_hits_photo_id", "photo_id"),
    )
    run_id: Mapped[str] = mapped_column(
        String(36), ForeignKey("search_runs.id", ondelete="CASCADE"), primary_key=True
    )
    photo_id: Mapped[int] = _owner("photos.id", primary_key=True)
    rank: Mapped[int] = mapped_column(Integer)
    confidence: Mapped[float]
    accepted: Mapped[bool] = mapped_column(Boolean)
    no_target_logit: Mapped[float | None]
    judgement: Mapped[bytes | None]
    box: Mapped[list[Any] | None]
    area: Mapped[int | None]


class Mark(Base):
    """A user's verdict on a photo for an expression: right, wrong, wrong_mask or missed."""

    __tablename__ = "marks"
    __table_args__ = (UniqueConstraint("photo_id", "expression"), _NEVER_AGAIN)
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    photo_id: Mapped[int] = _owner("photos.id")
    expression: Mapped[str] = mapped_column(String(500))
    verdict: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[float] = mapped_column(default=clock())


class CalibrationRow(Base):
    """An album's own calibration, under a revision of its own."""

    __tablename__ = "calibrations"
    album_id: Mapped[int] = _owner("albums.id", primary_key=True)
    revision: Mapped[str] = mapped_column(String(64), primary_key=True)
    json: Mapped[dict[str, Any]]
    created_at: Mapped[float] = mapped_column(default=clock())


class ApiKey(Base):
    """A key of the HTTP API; only its hash is kept.

    ``album_ids``: the albums that it may see, None for all. ``old_hash`` is that of the secret
    before the last rotation, good until ``old_until``.
    """

    __tablename__ = "api_keys"
    __table_args__ = (_NEVER_AGAIN,)
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    hash: Mapped[str] = mapped_column(String(128), unique=True)
    scopes: Mapped[list[Any]] = mapped_column(JSON, default=list)
    created_at: Mapped[float] = mapped_column(default=clock())
    last_used_at: Mapped[float | None]
    revoked_at: Mapped[float | None]
    expires_at: Mapped[float | None]
    album_ids: Mapped[list[Any] | None]
    old_hash: Mapped[str | None] = mapped_column(String(128))
    old_until: Mapped[float | None]


class PageSession(Base):
    """Someone who is signed in at the page; ``id`` is the digest of what their cookie holds."""

    __tablename__ = "sessions"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    key_id: Mapped[int] = _owner("api_keys.id", index=True)
    created_at: Mapped[float] = mapped_column(default=clock())
    expires_at: Mapped[float] = mapped_column(index=True)


class AuditLine(Base):
    """Something that cannot be undone or lets somebody in: who did it, what, and when."""

    __tablename__ = "audit"
    __table_args__ = (_NEVER_AGAIN,)
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    at: Mapped[float] = mapped_column(default=clock(), index=True)
    action: Mapped[str] = mapped_column(String(32))
    what: Mapped[str]
    who: Mapped[str]
    key_id: Mapped[int | None]
    request_id: Mapped[str | None] = mapped_column(String(64))
