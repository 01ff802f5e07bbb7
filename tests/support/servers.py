"""Servers of a test's own: PostgreSQL, Redis and Referent processes that it may stop and kill.

Everything listens on free ports of 127.0.0.1 and lives in a temporary folder, so that a trial hurts
nobody else's servers.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil
import redis

REPOSITORY = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(
    condition: Callable[[], bool],
    *,
    timeout_s: float = 60.0,
    every_s: float = 0.05,
    what: str = "the condition",
) -> float:
    """Wait, and return how long it took."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > timeout_s:
            raise TimeoutError(f"{what} did not come true within {timeout_s:.0f} s")
        time.sleep(every_s)
    return time.monotonic() - started


def removed_but_held(process: int, folder: Path) -> list[str]:
    """Files below a folder that were removed and still take disk, for a process maps them."""
    lines = Path(f"/proc/{process}/maps").read_text().splitlines()
    return [line for line in lines if str(folder) in line and line.endswith(" (deleted)")]


class OwnRedis:
    """A Redis server that keeps its data in a folder."""

    def __init__(
        self,
        folder: Path,
        command: Sequence[str] = ("redis-server", "--appendonly", "yes"),
        password: str = "",
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}/0"
        self._command = command
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            *self._command, "--port", str(self.port), "--bind", "127.0.0.1",
            "--dir", str(self.folder), "--save", "",
        ]  # fmt: skip
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self.answers, timeout_s=20, what="Redis")

    def answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except redis.RedisError:
            return False

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, password=self._password or None, socket_timeout=2)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None


class OwnPostgres:
    """A PostgreSQL cluster in a folder, run as the user postgres where we are root.

    The folder is not below pytest's, which only its owner may enter.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="referent-postgres-"))
        self.port = free_port()
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"
        self.environment: Mapping[str, str] = {}

    def create(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
        self._run(
            _binary("initdb"), "-D", str(self.folder / "data"), "-U", "postgres",
            "--auth=trust", "--encoding=UTF8", "--no-sync",
        )  # fmt: skip

    def start(self) -> None:
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' "
            "-c max_connections=60 -c shared_buffers=64MB"
        )
        self._run(
            _binary("pg_ctl"), "-D", str(self.folder / "data"), "-w", "-t", "60",
            "-l", str(self.folder / "log"), "-o", options, "start",
        )  # fmt: skip

    def stop(self, mode: str = "fast") -> None:
        """Stop it; mode "immediate" is a crash."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._run(_binary("pg_ctl"), "-D", str(self.folder / "data"), "-m", mode, "-w", "stop")

    def remove(self) -> None:
        """Stop it at once and delete its folder."""
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, *command: str) -> None:
        as_user = "postgres" if os.geteuid() == 0 else None
        home = pwd.getpwnam("postgres").pw_dir if as_user else str(Path.home())
        environment = {**os.environ, "HOME": home, "LC_ALL": "C.UTF-8", **self.environment}
        subprocess.run(
            command, check=True, cwd="/", user=as_user, env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def _binary(name: str) -> str:
    """A server program of PostgreSQL; Debian keeps the real ones off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else name


class Fleet:
    """Processes of the `referent` command with one environment; all are gone at the end."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("REFERENT_")},
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "passive",
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        self.processes: list[subprocess.Popen[bytes]] = []
        folder.mkdir(parents=True, exist_ok=True)

    def start(
        self,
        *arguments: str,
        name: str,
        command: Sequence[str] = (sys.executable, "-m", "referent.main"),
        extra: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*command, *arguments],
                stdout=log,
                stderr=log,
                cwd=REPOSITORY,
                env={**self.environment, **(extra or {})},
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def log_of(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def kill_all(self) -> None:
        for process in self.processes:
            kill_tree(process.pid)
            process.wait(20)
        self.processes.clear()

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill_all()


def children_of(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def kill_tree(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Signal a process and whatever it started."""
    for child in children_of(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.send_signal(number)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
