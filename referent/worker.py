"""`referent worker`: a Celery worker for jobs, the sweeper that wakes it, and its health check."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from indexer.settings import Settings


def worker(
    queues: Annotated[
        str,
        typer.Option(
            help="Kinds of work to take: encode (network, GPU), matte (CPU), judge (parts of "
            "searches, see REFERENT_JUDGE_WORKERS)."
        ),
    ] = "encode,matte",
    beat: Annotated[
        bool, typer.Option("--beat", help="Be the sweeper instead: wake what was forgotten.")
    ] = False,
    health: Annotated[
        bool,
        typer.Option("--health", help="Ask the worker (or beat) of this machine if it is alive."),
    ] = False,
    name: Annotated[
        str, typer.Option(help="Name of this worker; give each on a machine its own.")
    ] = "",
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Serve Prometheus metrics here; 0 is off.")
    ] = 0,
) -> None:
    """Run jobs for a library that several machines share (PostgreSQL, Redis, shared folder).

    SIGTERM finishes the batch at hand, hands the job on and ends.
    """
    from indexer.settings import Settings
    from workers.logging import configure_logging

    settings = Settings()
    configure_logging(log_format=settings.log_format, level=settings.log_level)
    wanted = check_queues(queues)
    node = f"{name or '-'.join(wanted)}@{socket.gethostname()}"
    if health:
        raise typer.Exit(0 if _is_healthy(settings, node, beat=beat) else 1)
    if beat:
        _run_beat(settings)
    else:
        _run_worker(settings, wanted, node, metrics_port)


worker.epilog = (  # type: ignore[attr-defined]
    "Example: `REFERENT_DATABASE_URL=postgresql://db/referent REFERENT_REDIS_URL=redis://broker/0 "
    "referent worker --queues encode`"
)


def check_queues(text: str) -> list[str]:
    """The queues that a comma-separated text names.

    Raises:
        WorkerError: one of them does not exist.
    """
    from workers.celery_app import EVERY_QUEUE
    from workers.errors import WorkerError

    wanted = [queue.strip() for queue in text.split(",") if queue.strip()]
    unknown = [queue for queue in wanted if queue not in EVERY_QUEUE]
    if unknown or not wanted:
        raise WorkerError(
            f"no queue is named {', '.join(unknown) or repr(text)}: choose from "
            f"{', '.join(EVERY_QUEUE)}"
        )
    return wanted


def _run_worker(settings: Settings, queues: Sequence[str], node: str, metrics_port: int) -> None:
    exposition = _serve_metrics(metrics_port) if metrics_port else None
    # After _serve_metrics: prometheus_client chooses its kind of values when it is imported.
    from indexer.db.catalog import Catalog
    from workers.broker import ping
    from workers.celery_app import make_app
    from workers.tasks import register

    Catalog.open(settings).close()  # migrate, or say what is wrong, before any work is taken
    ping(settings)
    app = make_app(settings)
    register(app)
    try:
        app.worker_main(
            [
                "worker",
                f"--queues={','.join(queues)}",
                f"--hostname={node}",
                f"--loglevel={settings.log_level}",
                "--without-gossip",
                "--without-mingle",
            ]
        )
    finally:
        if exposition is not None:
            exposition.terminate()
            exposition.wait(10)
            shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)


def _serve_metrics(port: int) -> subprocess.Popen[bytes]:
    """Serve what the worker's processes count, from a process that never forks them."""
    folder = tempfile.mkdtemp(prefix="referent-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    return subprocess.Popen([sys.executable, "-m", "workers.exposition", folder, str(port)])


def _run_beat(settings: Settings) -> None:
    from indexer.db.catalog import Catalog
    from model.stopping import Stop
    from workers.sweeper import Sweeper

    with Catalog.open(settings) as catalog, Stop() as stop:
        sweeper = Sweeper(settings, catalog)
        thread = threading.Thread(target=sweeper.run, name="sweeper")
        thread.start()
        file = _beat_file(settings)
        file.touch()
        while thread.is_alive() and not stop.event.wait(5):
            file.touch()
        sweeper.stop()
        thread.join()
        file.unlink(missing_ok=True)


def _beat_file(settings: Settings) -> Path:
    """What beat touches while it lives, one on each machine for each installation."""
    installation = f"{settings.home.resolve()}\n{settings.database_url}"
    name = hashlib.blake2b(installation.encode(), digest_size=8).hexdigest()
    return Path(tempfile.gettempdir()) / f"referent-beat-{name}"


def _is_healthy(settings: Settings, node: str, *, beat: bool) -> bool:
    if beat:
        file = _beat_file(settings)
        try:
            return time.time() - file.stat().st_mtime < 60
        except FileNotFoundError:
            return False
    from workers.celery_app import make_app

    answers = make_app(settings).control.inspect(destination=[node], timeout=5).ping()
    return bool(answers)
