"""Keys of the API and the audit, for admins."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from indexer.db import audit
from search_api.errors import Forbidden
from search_api.http import keys
from search_api.http.cursors import MAX_POSITION, make_cursor, read_cursor
from search_api.http.deps import ActorDep, Admin, ServerDep
from search_api.http.problems import documented
from search_api.http.schemas import AlbumName, Cursor, OfAttributes, PageSize

router = APIRouter(tags=["keys"])
KeyId = Annotated[int, Path(ge=1, le=2**53)]


class KeyIn(BaseModel):
    """A new key."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"name": "ann", "scopes": ["read"], "albums": ["holiday"], "days": 365}]
        },
    )
    name: AlbumName = Field(description="Whom or what it is for.")
    scopes: list[Literal["read", "write", "admin"]] = Field(min_length=1, max_length=3)
    albums: Annotated[list[AlbumName], Field(min_length=1, max_length=1000)] | None = Field(
        None, description="The albums that it may see; null means all, also those to come."
    )
    days: Annotated[float, Field(gt=0, le=36_500)] | None = Field(
        None, description="It ends after so long; null means never."
    )


class KeyOut(OfAttributes):
    """A key; what is secret in it is not kept. Times are Unix seconds."""

    id: int
    name: str
    scopes: list[str]
    albums: list[str] | None = Field(description="Those that it may see; null means all.")
    created_at: float
    last_used_at: float | None = Field(description="To the minute.")
    expires_at: float | None
    revoked_at: float | None


class KeyMade(KeyOut):
    """A key with its secret, which is told this once."""

    key: str


class KeyList(BaseModel):
    """Every key, oldest first, revoked ones included."""

    keys: list[KeyOut]


class RotateIn(BaseModel):
    """How a key gets another secret."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"hours": 24}]})
    hours: float = Field(
        0.0, ge=0, le=24 * 365, description="How long the old secret still works beside the new."
    )


class AuditOut(BaseModel):
    """Something that cannot be undone, or lets somebody in."""

    id: int
    at: float = Field(description="Unix time in seconds.")
    action: str
    what: str
    who: str
    key_id: int | None
    request_id: str | None = Field(description="As in the access log.")


class AuditPage(BaseModel):
    """A page of the audit, newest first."""

    lines: list[AuditOut]
    next_cursor: str | None


@router.get("/keys", response_model=KeyList, responses=documented(401, 403))
def get_keys(server: ServerDep, who: Admin) -> KeyList:
    """Every key, when it was used and when it ends."""
    return KeyList(keys=[KeyOut.of(key) for key in keys.list_keys(server.engine.catalog)])


@router.post(
    "/keys",
    response_model=KeyMade,
    status_code=201,
    responses=documented(400, 401, 403, 404, 413, 422),
)
def make_key(key: KeyIn, server: ServerDep, who: Admin, by: ActorDep) -> KeyMade:
    """Make a key; the answer is the only place where its secret is told."""
    catalog = server.engine.catalog
    made = keys.create_key(
        catalog, key.name, key.scopes, albums=key.albums, days=key.days, actor=by
    )
    return _made(server, made)


@router.post(
    "/keys/{key_id}/rotate",
    response_model=KeyMade,
    responses=documented(400, 401, 403, 404, 413, 422),
)
def rotate(key_id: KeyId, how: RotateIn, server: ServerDep, who: Admin, by: ActorDep) -> KeyMade:
    """Give a key another secret; its rights and its history stay, sessions that it opened end."""
    made = keys.rotate_key(server.engine.catalog, key_id, hours=how.hours, actor=by)
    return _made(server, made)


@router.delete("/keys/{key_id}", response_model=KeyOut, responses=documented(401, 403, 404, 422))
def revoke(key_id: KeyId, server: ServerDep, who: Admin, by: ActorDep) -> KeyOut:
    """Make a key useless from now on, and the sessions that it opened; never the one that asks."""
    if key_id == who.key_id:
        raise Forbidden("This is the key that you use; revoke it with another, or: referent keys")
    return KeyOut.of(keys.revoke_key(server.engine.catalog, key_id, actor=by))


@router.get("/audit", response_model=AuditPage, responses=documented(400, 401, 403, 404, 422))
def get_audit(
    server: ServerDep,
    who: Admin,
    cursor: Annotated[Cursor, Query()] = None,
    size: Annotated[PageSize, Query()] = 24,
) -> AuditPage:
    """Who changed albums and keys, took what away and signed in, newest first."""
    before = read_cursor(cursor, "audit", start=MAX_POSITION)
    found = audit.lines(server.engine.catalog, before=before, limit=size + 1)
    more = len(found) > size
    return AuditPage(
        lines=[AuditOut(**vars(line)) for line in found[:size]],
        next_cursor=make_cursor("audit", found[size - 1].id) if more else None,
    )


def _made(server: ServerDep, made: str) -> KeyMade:
    info = keys.key_info(server.engine.catalog, int(made.split("_")[1]))
    return KeyMade(**KeyOut.of(info).model_dump(), key=made)
