"""What routes ask for: the server's state, and who is asking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.routing import APIRoute
from fastapi.security import (
    APIKeyCookie,
    APIKeyHeader,
    HTTPAuthorizationCredentials,
    HTTPBasic,
    HTTPBasicCredentials,
    HTTPBearer,
)

from indexer.db.audit import Actor
from search_api.errors import BadQuery, Forbidden, Unauthenticated
from search_api.http.access import check_request
from search_api.http.keys import LOOPBACK, Principal, Scope, authenticate, principal_of
from search_api.http.sessions import COOKIE
from search_api.http.state import Server

_header = APIKeyHeader(
    name="x-api-key", auto_error=False, description="A key made by `referent keys create`."
)
_bearer = HTTPBearer(auto_error=False, description="The same key, as other programs send it.")
_basic = HTTPBasic(auto_error=False, description="The key as the password, for feed readers.")
_cookie = APIKeyCookie(
    name=COOKIE, auto_error=False, description="The page's session, from POST /v1/session."
)


def server(request: Request) -> Server:
    """The state of this application."""
    state: Server = request.app.state.server
    return state


ServerDep = Annotated[Server, Depends(server)]


def principal(
    request: Request,
    server: ServerDep,
    key: Annotated[str | None, Security(_header)] = None,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None,
    session: Annotated[str | None, Security(_cookie)] = None,
) -> Principal:
    """Who asks; what they may not see is not there for them.

    Raises:
        Unauthenticated: a key is required and missing, or the one that came is no good.
        NotFound, UnknownAlbum, UnknownJob: see `access.check_request`.
    """
    if key is None and bearer is not None:
        key = bearer.credentials
    who = _principal(request, server, key, session)
    request.state.who = who
    check_request(server.engine.catalog, who, request)
    return who


def _principal(request: Request, server: Server, key: str | None, session: str | None) -> Principal:
    catalog = server.engine.catalog
    if key is not None:
        return authenticate(catalog, key)
    if session is not None:
        try:
            return principal_of(catalog, server.sessions.read(catalog, session))
        except Unauthenticated:
            if server.trust.key_needed(request.scope):
                raise
    reason = server.trust.key_needed(request.scope)
    if reason is None:
        return LOOPBACK
    raise Unauthenticated(
        f"{reason} Send one in the header x-api-key, or as Authorization: Bearer; make one with: "
        "referent keys create"
    )


def actor(request: Request, who: Annotated[Principal, Depends(principal)]) -> Actor:
    """Who asks, for the audit."""
    return Actor(who.name, who.key_id, getattr(request.state, "request_id", None))


PrincipalDep = Annotated[Principal, Depends(principal)]


def known_parameters(request: Request) -> None:
    """Refuse what a path does not take: a parameter that is ignored looks as if it had worked.

    Raises:
        BadQuery: names it, and those that there are.
    """
    if not request.query_params:
        return
    known = _parameters_of(request.scope["route"])
    for name in request.query_params:
        if name not in known:
            takes = ", ".join(sorted(known)) or "none"
            raise BadQuery(
                f"There is no parameter {name!r} here (those that there are: {takes}).",
                field=f"query.{name}",
            )


def _parameters_of(route: APIRoute) -> frozenset[str]:
    waiting, names = [route.dependant], set[str]()
    while waiting:
        part = waiting.pop()
        names |= {each.alias for each in part.query_params}
        waiting += part.dependencies
    return frozenset(names)


def _having(scope: Scope) -> Callable[[Principal], Principal]:
    def check(who: PrincipalDep) -> Principal:
        if scope not in who.scopes:
            raise Forbidden(f"This needs a key with the scope {scope}; this one has not got it.")
        return who

    return check


def _feed_reader(
    request: Request,
    server: ServerDep,
    basic: Annotated[HTTPBasicCredentials | None, Security(_basic)] = None,
    key: Annotated[str | None, Security(_header)] = None,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None,
    session: Annotated[str | None, Security(_cookie)] = None,
) -> Principal:
    """As `Reader`, for programs too that can send nothing but a name and a password."""
    if key is None and bearer is None and basic is not None:
        key = basic.password
    return _having("read")(principal(request, server, key, bearer, session))


Reader = Annotated[Principal, Depends(_having("read"))]
Writer = Annotated[Principal, Depends(_having("write"))]
Admin = Annotated[Principal, Depends(_having("admin"))]
FeedReader = Annotated[Principal, Depends(_feed_reader)]
ActorDep = Annotated[Actor, Depends(actor)]
