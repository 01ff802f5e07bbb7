"""``referent serve``: the page, the HTTP API and, unless told otherwise, the jobs."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from referent.loading import loading

if TYPE_CHECKING:
    from types import FrameType

    from indexer.settings import Settings
    from search_api.http.state import Server
    from workers.runners import Runner


DESCRIPTORS = 65_536
# Seconds that a thread keeps the interpreter while the one that answers requests waits for it.
SWITCH_S = 0.001


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but loopback needs API keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8321,
    jobs: Annotated[
        bool, typer.Option(help="Run jobs in this process; --no-jobs leaves them to workers.")
    ] = True,
    threads: Annotated[
        int, typer.Option(min=0, help="Threads that one search computes with; 0: every core.")
    ] = 0,
) -> None:
    """Serve the page and the HTTP API until interrupted."""
    import os
    import sys

    # Before torch is loaded: threads that spin for their next work keep requests waiting.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    with loading():
        import torch
        import uvicorn

        from indexer.settings import Settings
        from referent.serving import told
        from search_api.http.app import create_app
        from search_api.http.keys import any_key
        from workers.logging import configure_logging

    _raise_descriptor_limit()
    sys.setswitchinterval(SWITCH_S)
    torch.set_num_threads(threads or os.cpu_count() or 1)
    settings = Settings()
    configure_logging(log_format=settings.log_format, level=settings.log_level)
    jobs_here = _Jobs(settings)
    app = create_app(
        settings, host=host, wake=jobs_here.wake, lifespan=jobs_here.running if jobs else None
    )
    server: Server = app.state.server
    if settings.judge_workers:
        from workers.judging import Workers

        server.helpers = Workers(settings)
    shown = f"[{host}]" if ":" in host else host
    typer.echo(
        f"Referent: http://{shown}:{port}{server.limits.root_path}/  (Ctrl-C ends it)", err=True
    )
    typer.echo(server.trust.sentence, err=True)
    if server.trust.reason and not any_key(server.engine.catalog):
        typer.echo("There is no key yet: referent keys create NAME --scope admin", err=True)

    class Uvicorn(uvicorn.Server):
        """Tells the application as soon as it is asked to end; uvicorn itself waits first."""

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            server.stopping.set()
            super().handle_exit(sig, frame)

        async def main_loop(self) -> None:
            if server.trust.reason is not None:  # a search would need a key
                await super().main_loop()
                return
            port: int = self.servers[0].sockets[0].getsockname()[1]
            with told(settings, host, port, server.name):
                await super().main_loop()

    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,  # through ours
        log_level="warning",
        server_header=False,
        proxy_headers=False,  # the application reads them: create_app
        timeout_graceful_shutdown=10,
        limit_concurrency=1000,
        h11_max_incomplete_event_size=64 * 1024,
    )
    listener = Uvicorn(config)
    with contextlib.suppress(KeyboardInterrupt):  # it ended in order and raises the signal again
        listener.run()
    if not listener.started:
        raise typer.Exit(3)  # uvicorn has said why


serve.epilog = (  # type: ignore[attr-defined]
    "Example: `referent serve`, `referent serve --host 0.0.0.0 --port 80` (after "
    "`referent keys create`)"
)


def _raise_descriptor_limit() -> None:
    """Take what the system grants: a descriptor for each connection and each mapped segment."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Jobs:
    """The runner of jobs beside the server, and the wake-ups that routes send it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._runner: Runner | None = None

    def wake(self) -> None:
        """Tell the runner to look at the catalog, once there is one."""
        if self._runner is not None:
            self._runner.wake()

    @asynccontextmanager
    async def running(self, server: Server) -> AsyncIterator[None]:
        """Keep a runner while the server runs; it shares the network of the searches."""
        from starlette.concurrency import run_in_threadpool

        from workers.broker import queue_lengths
        from workers.held import Held
        from workers.metrics import register
        from workers.runners import make_runner

        if self._settings.runner == "celery":
            server.metrics.library.queue_lengths = partial(queue_lengths, self._settings)
        register(server.metrics.registry)
        held = Held(self._settings, engine=server.engine)
        self._runner = make_runner(self._settings, server.engine.catalog, held)
        self._runner.start()
        try:
            yield
        finally:
            await run_in_threadpool(self._runner.stop)
            await run_in_threadpool(held.close)
