"""The HTTP application: routes, limits, checks and the page, put together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.concurrency import run_in_threadpool

from indexer.settings import Settings
from search_api.errors import RefusedToStart
from search_api.http import keys
from search_api.http.access_log import AccessLog
from search_api.http.conditional import Conditional
from search_api.http.deps import known_parameters
from search_api.http.forwarded import Forwarded
from search_api.http.guard import Guard
from search_api.http.limits import BodyLimit, Slots, Spool
from search_api.http.metrics import CountRequests, Metrics
from search_api.http.page_files import PageFiles
from search_api.http.problems import Problem, install
from search_api.http.routes import (
    albums,
    exports,
    jobs,
    marks,
    matte,
    photos,
    places,
    saved,
    search,
    system,
    timeline,
)
from search_api.http.routes import keys as key_routes
from search_api.http.server_settings import MEBIBYTE, ServerSettings
from search_api.http.sessions import Sessions
from search_api.http.state import Server
from search_api.http.trust import Trust, is_loopback
from search_api.search.engine import Engine

STATIC = Path(__file__).parent / "static"
# Thumbnails, masks and uploads wait for each other, not for searches.
PICTURES_WAITING = 512
# Zips and exports that are made at once, and originals that are sent; a slow client holds one for
# as long as it takes.
DOWNLOADS = 8
DOWNLOADS_WAITING = 64


def create_app(
    settings: Settings | None = None,
    *,
    host: str | None = None,
    wake: Callable[[], None] = lambda: None,
    limits: ServerSettings | None = None,
    engine: Engine | None = None,
    warm_up: bool = True,
    lifespan: Callable[[Server], Any] | None = None,
) -> FastAPI:
    """Make the application.

    Args:
        settings: of the installation; read from the environment when left out.
        host: the name that the server is bound to. Only a loopback name admits requests without
            a key, and only such as no proxy passed on (see `trust`); None (unknown) requires keys.
        wake: called after a job row was written, to tell whoever runs jobs.
        limits: of this server; read from the environment when left out.
        engine: an engine that is open already, which stays the caller's to close.
        warm_up: load the model at start, in the background; `/readyz` tells when it is done.
        lifespan: an asynchronous context manager that runs beside the server, such as the
            in-process runner of jobs.
    Raises:
        RefusedToStart: others could reach the server and there is no key yet.
    """
    settings = settings or Settings()
    limits = limits or ServerSettings()
    own_engine = engine is None
    engine = engine or Engine.open(settings)
    open_to_others = host is None or not is_loopback(host)
    if open_to_others and not keys.any_key(engine.catalog):
        raise RefusedToStart(
            f"{host or 'this address'} can be reached by others and there is no API key yet; "
            "make one with `referent keys create`, or bind to 127.0.0.1"
        )
    server = _server(settings, limits, engine, Trust.of(host, limits), wake)

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        server.open()
        warming = threading.Thread(target=server.warm_up, name="warm-up", daemon=True)
        if warm_up:
            warming.start()
        else:
            server.ready.set()
        tending = asyncio.create_task(server.tend())
        try:
            if lifespan is None:
                yield
            else:
                async with lifespan(server):
                    yield
        finally:
            tending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await tending
            # A thread inside torch when the interpreter ends would abort the process.
            if warm_up:
                await run_in_threadpool(warming.join)
            server.close()
            if own_engine:
                engine.close()

    app = FastAPI(
        title="Referent",
        version="1",
        summary="Search photos with referring expressions.",
        lifespan=running,
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        separate_input_output_schemas=False,
    )
    app.state.server = server
    for module in (
        search,
        photos,
        timeline,
        places,
        albums,
        matte,
        jobs,
        exports,
        marks,
        saved,
        key_routes,
    ):
        app.include_router(module.router, prefix="/v1", dependencies=[Depends(known_parameters)])
    app.include_router(system.router, dependencies=[Depends(known_parameters)])
    app.include_router(system.health)
    _mount_page(app)
    install(app)
    _describe(app)
    any_host = server.trust.reason is not None and not limits.allowed_hosts
    # The last that is added is the outermost.
    app.add_middleware(Conditional)
    app.add_middleware(BodyLimit, limit_of=_limit_of(limits))
    app.add_middleware(
        Guard,
        hosts=None if any_host else limits.allowed_hosts,
        pictures_from=limits.map_origin,
    )
    app.add_middleware(CountRequests, metrics=server.metrics)
    if limits.access_log:
        app.add_middleware(AccessLog)
    app.add_middleware(Forwarded, trusted=limits.trusted_proxies, root_path=limits.root_path)
    return app


def _server(
    settings: Settings,
    limits: ServerSettings,
    engine: Engine,
    trust: Trust,
    wake: Callable[[], None],
) -> Server:
    searches = Slots(limits.concurrent_searches, limits.waiting_searches, limits.search_wait_s)
    return Server(
        engine=engine,
        limits=limits,
        sessions=Sessions.open(
            settings.session_secret_file,
            limits.session_secret.get_secret_value(),
            limits.session_hours * 3600,
        ),
        trust=trust,
        wake=wake,
        searches=searches,
        pictures=Slots(
            max(2, os.cpu_count() or 1), PICTURES_WAITING, limits.search_wait_s, what="pictures"
        ),
        downloads=Slots(DOWNLOADS, DOWNLOADS_WAITING, limits.search_wait_s, what="downloads"),
        spool=Spool(limits.spool_mib * MEBIBYTE),
        metrics=Metrics(engine.catalog, searches),
    )


def _limit_of(limits: ServerSettings) -> Callable[[str], int]:
    """Bytes that a request's body may hold, by its path."""

    def limit_of(path: str) -> int:
        is_upload = path.startswith("/v1/albums/") and path.endswith("/photos")
        return limits.max_upload_mib * MEBIBYTE if is_upload else limits.max_body_kib * 1024

    return limit_of


def _mount_page(app: FastAPI) -> None:
    """The page and its files, where they are installed."""
    if not (STATIC / "index.html").is_file():
        return

    files = PageFiles(STATIC)
    app.get("/", include_in_schema=False)(files.page)
    app.mount("/static", files, name="static")


def _describe(app: FastAPI) -> None:
    """Let the OpenAPI document tell of problem documents where FastAPI would tell of its own."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title, version=app.version, summary=app.summary, routes=app.routes
            )
            schemas = schema["components"]["schemas"]
            problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(problem.pop("$defs", {}))
            schemas["Problem"] = problem
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way
