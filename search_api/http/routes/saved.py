"""Saved searches: kept under a name, and asked again of photos that come."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from xml.etree import ElementTree

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from search_api.errors import Forbidden
from search_api.http.access import check_asked
from search_api.http.deps import ActorDep, FeedReader, Reader, ServerDep, Writer
from search_api.http.keys import Principal
from search_api.http.problems import documented
from search_api.http.schemas import AlbumName
from search_api.search import saved
from search_api.search.filters import Filters, PlainText
from search_api.search.photos import by_id
from search_api.search.query import Expression
from search_api.search.runs import Run, page

router = APIRouter(prefix="/saved", tags=["saved searches"])
SavedId = Annotated[int, Path(ge=1, le=2**53)]
Name = Annotated[
    str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]*\S[^\x00]*$", examples=["Rex"])
]
Webhook = Annotated[
    PlainText,
    Field(max_length=2000, examples=["https://example.com/hook"]),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": 2000,
            "pattern": "^https?://[a-z][a-z0-9.-]*(:[1-9][0-9]{0,3})?(/[A-Za-z0-9/_.-]*)?$",
            "examples": ["https://example.com/hook"],
        }
    ),
]
_ATOM = "http://www.w3.org/2005/Atom"
_TOLD = 20
_FEED: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/atom+xml": {"schema": {"type": "string"}}}}
}


class SavedIn(BaseModel):
    """A search to keep."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "Rex", "expression": "black dog on a beach"}]},
    )
    name: Name
    expression: Expression
    album: AlbumName | None = Field(default=None, description="Every album if left out.")
    filters: Filters = Field(default_factory=Filters)
    webhook: Webhook | None = Field(
        default=None, description="Where to POST matches among new photos to; admins only."
    )


class SavedChange(BaseModel):
    """What of it to change."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "Rex"}]})
    name: Name | None = None
    webhook: Webhook | None = Field(default=None, description="Admins only; empty takes it off.")


class NewsOut(BaseModel):
    """Matches among photos that came since it was saved."""

    run: str = Field(description="The run that judged them.")
    album: str | None
    matched: int
    created_at: float = Field(description="Unix time in seconds.")


class SavedOut(BaseModel):
    """A saved search."""

    id: int
    name: str
    expression: str
    album: str | None = Field(description="null: every album.")
    filters: dict[str, Any]
    webhook: str | None
    trouble: str | None = Field(description="Why the webhook could not be told since.")
    told_at: float | None = Field(description="When the webhook last took something: Unix time.")
    again_at: float | None = Field(description="When what failed is tried again: Unix time.")
    created_at: float = Field(description="Unix time in seconds.")
    news: list[NewsOut] = Field(description="Newest first.")


class SavedList(BaseModel):
    """One's saved searches, by name."""

    saved: list[SavedOut]


@router.get("", response_model=SavedList, responses=documented(401, 403, 422))
def get_saved(server: ServerDep, who: Reader) -> SavedList:
    """The searches that one's key saved."""
    found = saved.of_key(server.engine.catalog, who.key_id)
    return SavedList(saved=[_out(server, each, who) for each in found])


@router.post(
    "",
    response_model=SavedOut,
    status_code=201,
    responses=documented(400, 401, 403, 404, 413, 422),
)
def save(search: SavedIn, server: ServerDep, who: Writer, by: ActorDep) -> SavedOut:
    """Keep a search; photos that are indexed from now on are judged for it once."""
    check_asked(server.engine.catalog, who, search.album, search.filters)
    _admins_webhook(search.webhook, who)
    kept = saved.save(
        server.engine.catalog,
        name=search.name,
        expression=search.expression,
        album=search.album,
        filters=search.filters,
        asker=who.asker,
        webhook=search.webhook or None,
        actor=by,
    )
    return _out(server, kept, who)


@router.patch(
    "/{saved_id}",
    response_model=SavedOut,
    responses=documented(400, 401, 403, 404, 413, 422),
)
def change(
    saved_id: SavedId, to: SavedChange, server: ServerDep, who: Writer, by: ActorDep
) -> SavedOut:
    """Give it another name or webhook."""
    _admins_webhook(to.webhook, who)
    kept = saved.change(
        server.engine.catalog, saved_id, who.key_id, name=to.name, webhook=to.webhook, actor=by
    )
    return _out(server, kept, who)


@router.delete("/{saved_id}", status_code=204, responses=documented(401, 403, 404, 422))
def forget(saved_id: SavedId, server: ServerDep, who: Writer) -> None:
    """Forget it, with what it found among new photos."""
    saved.remove(server.engine.catalog, saved_id, who.key_id)


@router.get(
    "/{saved_id}/feed.atom",
    response_class=Response,
    responses={**_FEED, **documented(401, 403, 404, 422)},
)
def get_feed(saved_id: SavedId, request: Request, server: ServerDep, who: FeedReader) -> Response:
    """What it found among new photos, for feed readers: an entry for each indexing.

    A reader that knows only a name and a password sends any name and the key as the password.
    """
    kept = saved.one(server.engine.catalog, saved_id, who.key_id)
    base = str(request.base_url)
    feed = ElementTree.Element("feed", xmlns=_ATOM)
    found = saved.news(server.engine.catalog, kept, who.albums)
    _put(feed, "id", f"{base}v1/saved/{kept.id}")
    _put(feed, "title", _xml_text(kept.name))
    _put(feed, "updated", _time(found[0].created_at if found else kept.created_at))
    ElementTree.SubElement(feed, "link", rel="self", href=f"{base}v1/saved/{kept.id}/feed.atom")
    author = ElementTree.SubElement(feed, "author")
    _put(author, "name", "Referent")
    for run in found:
        entry = ElementTree.SubElement(feed, "entry")
        _put(entry, "id", f"urn:uuid:{run.id}")
        _put(entry, "title", _xml_text(f"{run.coverage.matched:,} new in {run.album}"))
        _put(entry, "updated", _time(run.created_at))
        ElementTree.SubElement(entry, "link", href=f"{base}?run={run.id}")
        _put(entry, "summary", _xml_text("\n".join(_paths(server, run))))
    content = ElementTree.tostring(feed, "utf-8", xml_declaration=True)
    return Response(content, media_type="application/atom+xml")


def _paths(server: ServerDep, run: Run) -> list[str]:
    _, found = page(server.engine.catalog, run.id, size=_TOLD)
    photos = by_id(server.engine.catalog, [hit.decision.photo_id for hit in found.hits])
    return [photo.path for photo in photos.values()]


def _put(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, name).text = text


def _xml_text(text: str) -> str:
    """Without the characters that no XML document may hold."""
    return "".join(each for each in text if each in "\n\t" or each.isprintable())


def _time(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat()


def _admins_webhook(webhook: str | None, who: Principal) -> None:
    """A webhook makes the server send requests: only admins decide where to."""
    if webhook is not None and "admin" not in who.scopes:
        raise Forbidden("Only a key with the scope admin may set a webhook.")


def _out(server: ServerDep, kept: saved.Saved, who: Principal) -> SavedOut:
    return SavedOut(
        id=kept.id,
        name=kept.name,
        expression=kept.expression,
        album=kept.album,
        filters=kept.filters.model_dump(mode="json", exclude_defaults=True),
        webhook=kept.webhook if "admin" in who.scopes else None,
        trouble=kept.trouble if "admin" in who.scopes else None,
        told_at=kept.told_at if "admin" in who.scopes else None,
        again_at=kept.again_at if "admin" in who.scopes else None,
        created_at=kept.created_at,
        news=[
            NewsOut(
                run=run.id, album=run.album, matched=run.coverage.matched, created_at=run.created_at
            )
            for run in saved.news(server.engine.catalog, kept, who.albums)[:10]
        ],
    )
