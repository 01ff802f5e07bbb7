"""Models, sessions, health and metrics."""

from __future__ import annotations

from dataclasses import replace
from typing import TypedDict

from fastapi import APIRouter, Request, Response
from sqlalchemy import select

from indexer.db import audit
from indexer.db.audit import Actor
from indexer.db.tables import Album, ModelVersion
from indexer.features import versions
from model.build import card_of
from search_api.errors import Unauthenticated
from search_api.http.access import whole_library
from search_api.http.deps import PrincipalDep, Reader, ServerDep
from search_api.http.keys import Principal, authenticate, key_info
from search_api.http.model_schemas import CardOut, CurvePoint, ModelList, ModelOut
from search_api.http.problems import documented
from search_api.http.schemas import Health, SessionIn, SessionOut
from search_api.http.sessions import COOKIE
from search_api.http.state import Server

router = APIRouter(prefix="/v1")
health = APIRouter(tags=["health"])


@router.get("/models", response_model=ModelList, responses=documented(401, 403), tags=["models"])
def get_models(server: ServerDep, who: Reader) -> ModelList:
    """The models that albums are indexed with, and the one that new albums get."""
    found = list_models(server, who.albums)
    return ModelList(models=found, verifiers=server.engine.verifiers.imported())


def list_models(server: Server, among: frozenset[int] | None = None) -> list[ModelOut]:
    """The default model first, then the others that the catalog knows.

    Args:
        among: only these albums are named; None means all.
    """
    catalog = server.engine.catalog
    with catalog.reading() as session:
        albums = {
            row.id: row.name
            for row in session.scalars(select(Album))
            if among is None or row.id in among
        }
        known = [
            (row.id, row.name, dict(row.fingerprints))
            for row in session.scalars(select(ModelVersion).order_by(ModelVersion.id.desc()))
        ]
        versions_of = versions.all_serving(session)
    serving: dict[int, list[str]] = {}
    for album_id, version in versions_of.items():
        if album_id not in albums:
            continue
        serving.setdefault(version.model_version_id, []).append(albums[album_id])
    default = server.engine.models.default
    models = [
        ModelOut(
            name=default.name,
            loaded=True,
            default=True,
            fingerprints=default.fingerprints,
            calibration_revision=default.calibration.revision,
            threshold=default.calibration.threshold,
            curve=CurvePoint.all_of(default.calibration),
            albums=[],
            **CardOut.words_of(default.card),
        )
    ]
    for version_id, name, fingerprints in known:
        if name == default.name and fingerprints == default.fingerprints:
            models[0].albums = sorted(serving.get(version_id, []))
            continue
        models.append(
            ModelOut(
                name=name,
                loaded=False,
                default=False,
                fingerprints=fingerprints,
                calibration_revision=None,
                threshold=None,
                curve=[],
                albums=sorted(serving.get(version_id, [])),
                **CardOut.words_of(card_of(name)),
            )
        )
    return models


@router.get("/session", response_model=SessionOut, responses=documented(401), tags=["session"])
def get_session(request: Request, server: ServerDep, who: PrincipalDep) -> SessionOut:
    """Who is asking, and whether a key is needed at all."""
    return _session_of(who, server, request)


@router.post(
    "/session",
    response_model=SessionOut,
    responses=documented(400, 401, 413, 422),
    tags=["session"],
)
def open_session(
    key: SessionIn, request: Request, server: ServerDep, response: Response
) -> SessionOut:
    """Exchange an API key for a cookie that scripts cannot read."""
    catalog = server.engine.catalog
    try:
        who = authenticate(catalog, key.key)
    except Unauthenticated:
        if server.refused.first(request.client.host if request.client else "?"):
            _note(server, request, Actor("nobody"), "sign-in refused")
        raise
    assert who.key_id is not None
    _note(server, request, Actor(who.name, who.key_id), "sign-in")
    response.set_cookie(
        COOKIE,
        server.sessions.issue(catalog, who.key_id),
        max_age=int(server.sessions.lifetime_s),
        httponly=True,
        samesite="strict",
        **_bounds(request, server),
    )
    response.headers["Cache-Control"] = "no-store"
    return _session_of(who, server, request)


def _note(server: Server, request: Request, actor: Actor, action: audit.Action) -> None:
    """Write down who comes and goes, and from where."""
    actor = replace(actor, request_id=getattr(request.state, "request_id", None))
    client = request.client.host if request.client else "?"
    with server.engine.catalog.session() as session:
        audit.note(session, actor, action, f"from {client}")


def _session_of(who: Principal, server: Server, request: Request) -> SessionOut:
    return SessionOut(
        name=who.name,
        scopes=sorted(who.scopes),
        keys_required=server.trust.key_needed(request.scope) is not None,
        server_folders=server.limits.allow_server_folders,
    )


@router.delete("/session", status_code=204, tags=["session"])
def close_session(request: Request, server: ServerDep, response: Response) -> None:
    """End the session, here and on the server: its cookie is good for nothing from now on."""
    token = request.cookies.get(COOKIE)
    catalog = server.engine.catalog
    if token is not None and (key_id := server.sessions.end(catalog, token)) is not None:
        _note(server, request, Actor(key_info(catalog, key_id).name, key_id), "sign-out")
    response.delete_cookie(COOKIE, httponly=True, samesite="strict", **_bounds(request, server))


class _Bounds(TypedDict):
    path: str
    secure: bool


def _bounds(request: Request, server: Server) -> _Bounds:
    """Where the cookie is sent: below the page's path, and by HTTPS alone where that is used."""
    return {
        "path": request.scope.get("root_path") or "/",
        "secure": server.limits.secure_cookie or request.url.scheme == "https",
    }


@health.get("/healthz", response_model=Health)
async def healthz() -> Health:
    """The process lives; nothing that it does can keep this waiting."""
    return Health(status="ok")


@health.get("/readyz", response_model=Health, responses={503: {"model": Health}})
async def readyz(request: Request, response: Response) -> Health:
    """The model is loaded, the albums are open, the database answers: a search would work now."""
    server: Server = request.app.state.server
    if server.stopping.is_set():
        found = Health(status="stopping")
    elif not server.ready.is_set():
        found = Health(status="starting")
    elif not await server.readiness.catalog_answers():
        found = Health(status="no database")
    else:
        response.headers["Referent-Server"] = server.name
        return Health(status="ok")
    response.status_code = 503
    response.headers["Retry-After"] = "2"
    return found


@health.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **documented(401, 403),
    },
)
def metrics(server: ServerDep, who: Reader) -> Response:
    """Prometheus metrics of this process and of the library."""
    whole_library(who)
    return Response(server.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
