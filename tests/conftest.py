"""Fixtures that every test may use, and the servers that a test may need."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from indexer.db.catalog import Catalog
from indexer.settings import Settings
from tests.support.terminal import Terminal

POSTGRES = os.environ.get(
    "REFERENT_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"
)
REDIS = ("127.0.0.1", 6379)
REPOSITORY = Path(__file__).parents[1]
# Photos of most tests are drawn, and the model for drawings is small.
DRAWN_MODEL = "rela-mini"
os.environ.setdefault("REFERENT_MODEL", DRAWN_MODEL)
# The program that each marker of a proxy needs.
PROXIES = {"nginx": "nginx", "caddy": "caddy", "haproxy": "haproxy", "apache": "apache2"}


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False


def _missing() -> dict[str, str]:
    """Markers of what this machine lacks, with the sentence that says so."""
    missing = {}
    address = POSTGRES.rpartition("@")[2].partition("/")[0].partition(":")
    if not _answers(address[0], int(address[2] or 5432)):
        missing["postgres"] = f"no PostgreSQL answers at {address[0]}:{address[2] or 5432}"
    if not _answers(*REDIS):
        missing["redis"] = f"no Redis answers at {REDIS[0]}:{REDIS[1]}"
    if not any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")):
        missing["browser"] = "no chromium is installed"
    if not shutil.which("docker-compose"):
        missing["compose"] = "docker-compose is not installed"
    if not any(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")):
        missing["faketime"] = "libfaketime is not installed"
    if not (REPOSITORY / "node_modules" / ".bin" / "tsc").exists() or not shutil.which("node"):
        missing["node"] = "the page's JavaScript is not checked (npm install --no-package-lock)"
    for marker, program in PROXIES.items():
        if not shutil.which(program):
            missing[marker] = f"{program} is not installed"
    if os.geteuid() != 0:
        missing["root"] = "mounting a small disk needs root"
    return missing


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a missing server or browser, and say so; under CI that is an error.

    Not where node alone is missing: nothing that is served needs it.
    """
    needed = {marker for item in items for marker in _markers(item)}
    missing = {name: why for name, why in _missing().items() if name in needed} if needed else {}
    if not missing:
        return
    left_out = [item for item in items if _markers(item) & missing.keys()]
    message = "; ".join(missing.values())
    if os.environ.get("CI", "").lower() == "true" and missing.keys() != {"node"}:
        raise pytest.UsageError(f"{message}: {len(left_out)} tests cannot run, and CI=true")
    config.stash[_LEFT_OUT] = f"left out {len(left_out)} tests: {message}"
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


_LEFT_OUT = pytest.StashKey[str]()


_SERVERS = {"postgres", "redis", "browser", "compose", "faketime", "root", "node", *PROXIES}


def _markers(item: pytest.Item) -> set[str]:
    return {mark.name for mark in item.iter_markers()} & _SERVERS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was left out, so that a green run does not hide it."""
    note = terminalreporter.config.stash.get(_LEFT_OUT, None)
    if note:
        terminalreporter.write_line(note, yellow=True)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a library in a temporary folder; child processes see it as well."""
    for name in [name for name in os.environ if name.startswith("REFERENT_")]:
        if not name.startswith("REFERENT_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("REFERENT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REFERENT_MODEL", DRAWN_MODEL)
    return Settings()


@pytest.fixture
def referent(
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Terminal]:
    """The command line over the `library` of the test's own module."""
    settings: Settings = request.getfixturevalue("library").settings
    monkeypatch.setenv("REFERENT_HOME", str(settings.home))
    monkeypatch.setenv("REFERENT_MODEL", settings.model)
    monkeypatch.setenv("COLUMNS", "120")
    log = logging.getLogger()
    before = log.handlers[:], log.level
    yield Terminal(capsys, monkeypatch)
    log.handlers[:], log.level = before  # a command's own would write to this test's stderr


@contextmanager
def _database(template: str | None = None) -> Iterator[tuple[str, str]]:
    """(name, URL) of a PostgreSQL database of our own, dropped afterwards."""
    name = f"referent_test_{secrets.token_hex(8)}"
    server = create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
    copy = f' template "{template}"' if template else ""
    with server.connect() as connection:
        connection.execute(text(f'create database "{name}"{copy}'))
    try:
        yield name, POSTGRES.rpartition("/")[0] + f"/{name}"
    finally:
        with server.connect() as connection:
            connection.execute(text(f'drop database "{name}" with (force)'))
        server.dispose()


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """The URL of an empty PostgreSQL database of this test's own, dropped afterwards."""
    with _database() as (_, url):
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(
    request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The URL of an empty database, on SQLite and then on PostgreSQL."""
    if request.param == "postgres":
        url: str = request.getfixturevalue("postgres_url")
        monkeypatch.setenv("REFERENT_DATABASE_URL", url)
        return url
    return settings.database_url.get_secret_value()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file to copy: migrating anew for each test takes longer."""
    path = tmp_path_factory.mktemp("template") / "catalog.sqlite"
    Catalog.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def migrated_postgres() -> Iterator[str]:
    """The name of a migrated, empty PostgreSQL database to copy."""
    with _database() as (name, url):
        Catalog.open(url).close()
        yield name


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def catalog(
    request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Catalog]:
    """An open, migrated, empty catalog, on SQLite and then on PostgreSQL.

    ``Settings()`` made inside the test name the same database.
    """
    if request.param == "sqlite":
        settings.home.mkdir(exist_ok=True)
        template = request.getfixturevalue("migrated_sqlite")
        shutil.copy(template, settings.home / "catalog.sqlite")
        with Catalog.open(settings, timeout_s=10.0) as opened:
            yield opened
        return
    with _database(template=request.getfixturevalue("migrated_postgres")) as (_, url):
        monkeypatch.setenv("REFERENT_DATABASE_URL", url)
        with Catalog.open(url, timeout_s=10.0) as opened:
            yield opened
