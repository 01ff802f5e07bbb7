"""Models, sessions, health and metrics."""

from __future__ import annotations

from typing import TypedDict

from fastapi import APIRouter, Request, Response
from sqlalchemy import select

from indexer.db.tables import Album, ModelVersion
from indexer.features import versions
from search_api.http.deps import PrincipalDep, Reader, ServerDep
from search_api.http.keys import Principal, authenticate
from search_api.http.problems import documented
from search_api.http.schemas import Health, ModelList, ModelOut, SessionIn, SessionOut
from search_api.http.sessions import COOKIE
from search_api.http.state import Server

router = APIRouter(prefix="/v1")
health = APIRouter(tags=["health"])


@router.get("/models", response_model=ModelList, responses=documented(401, 403), tags=["models"])
def get_models(server: ServerDep, who: Reader) -> ModelList:
    """The models that albums are indexed with, and the one that new albums get."""
    return ModelList(models=list_models(server), verifiers=server.engine.verifiers.imported())


def list_models(server: Server) -> list[ModelOut]:
    """The default model first, then the others that the catalog knows."""
    catalog = server.engine.catalog
    with catalog.reading() as session:
        albums = {row.id: row.name for row in session.scalars(select(Album))}
        known = [
            (row.id, row.name, dict(row.fingerprints))
            for row in session.scalars(select(ModelVersion).order_by(ModelVersion.id.desc()))
        ]
        versions_of = versions.all_serving(session)
    serving: dict[int, list[str]] = {}
    for album_id, version in versions_of.items():
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
            albums=[],
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
                albums=sorted(serving.get(version_id, [])),
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
    who = authenticate(server.engine.catalog, key.key)
    assert who.key_id is not None
    response.set_cookie(
        COOKIE,
        server.sessions.issue(who.key_id),
        max_age=int(server.sessions.lifetime_s),
        httponly=True,
        samesite="strict",
        **_bounds(request, server),
    )
    response.headers["Cache-Control"] = "no-store"
    return _session_of(who, server, request)


def _session_of(who: Principal, server: Server, request: Request) -> SessionOut:
    return SessionOut(
        name=who.name,
        scopes=sorted(who.scopes),
        keys_required=server.trust.key_needed(request.scope) is not None,
        server_folders=server.limits.allow_server_folders,
    )


@router.delete("/session", status_code=204, tags=["session"])
def close_session(request: Request, server: ServerDep, response: Response) -> None:
    """Forget the cookie."""
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
    return Response(server.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
