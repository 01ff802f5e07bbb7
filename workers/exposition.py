"""Serves the metrics of a worker's processes: ``python -m workers.exposition FOLDER PORT``.

A process of its own, so that no server thread runs in a parent that forks.
"""

from __future__ import annotations

import os
import shutil
import sys
import time

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector


def main(folder: str, port: int) -> None:
    """Serve until the process that started this one is gone, and remove what it counted."""
    parent = os.getppid()
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
    start_http_server(port, registry=registry)
    while os.getppid() == parent:
        time.sleep(1)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
