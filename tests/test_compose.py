"""docker-compose.yml: valid, complete, and its services' very commands run as processes."""

from __future__ import annotations

import configparser
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import create_engine, make_url, text

from indexer.settings import Settings
from search_api.http.server_settings import ServerSettings
from tests.support import albums
from tests.support.servers import REPOSITORY, Fleet, OwnPostgres, OwnRedis, free_port, wait_until
from tests.support.tiny_model import write_tiny_model

GIVEN = {"REFERENT_PHOTOS": "/srv/photos"}
SECRETS = {"postgres_password": "postgres-word", "redis_password": "redis-word"}
OURS = ("api", "worker-encode", "worker-encode-gpu", "worker-matte", "worker-judge", "beat")


def compose(environment: dict[str, str]) -> dict[str, Any]:
    """The file with its variables filled in, as `docker-compose config` would."""
    text = (REPOSITORY / "docker-compose.yml").read_text()

    def fill(match: re.Match[str]) -> str:
        name, _, rest = match.group(1).partition(":")
        value = environment.get(name, "")
        if value:
            return value
        if rest.startswith("?"):
            raise KeyError(name)
        return rest.removeprefix("-")

    filled = re.sub(r"\$\{([^}]*)\}", fill, text).replace("$$", "$")
    loaded: dict[str, Any] = yaml.safe_load(filled)
    return loaded


def test_every_service_is_limited_watched_and_without_rights() -> None:
    services = compose(GIVEN)["services"]
    assert set(services) == {*OURS, "postgres", "redis"}
    for name, service in services.items():
        assert service["healthcheck"]["test"], name
        assert service["deploy"]["resources"]["limits"]["memory"], name
        assert service["deploy"]["resources"]["limits"]["cpus"], name
        assert service["restart"] == "unless-stopped", name
        assert not service.get("privileged"), name
    for name in OURS:
        assert services[name]["user"] == "10001:10001"
        assert services[name]["read_only"]
        assert services[name]["cap_drop"] == ["ALL"]
        assert "library:/var/lib/referent" in services[name]["volumes"]
    assert services["worker-encode-gpu"]["profiles"] == ["gpu"]
    assert services["worker-judge"]["profiles"] == ["judge"]
    assert set(compose(GIVEN)["volumes"]) == {"library", "postgres", "redis"}


def test_nothing_starts_without_the_folder_of_photos() -> None:
    with pytest.raises(KeyError, match="REFERENT_PHOTOS"):
        compose({})


def test_passwords_are_secrets_that_no_environment_and_no_command_holds() -> None:
    whole = compose({**GIVEN, "REFERENT_SECRETS": "/etc/referent"})
    assert {name: each["file"] for name, each in whole["secrets"].items()} == {
        name: f"/etc/referent/{name}" for name in SECRETS
    }
    for name, service in whole["services"].items():
        given = service["secrets"]
        assert set(given) <= set(SECRETS)
        assert given, name
        environment = service.get("environment", {})
        named = {value for value in environment.values() if "/run/secrets/" in str(value)}
        assert named <= {f"/run/secrets/{secret}" for secret in given}
        for variable, value in environment.items():
            if "PASSWORD" in variable:
                assert str(value).startswith("/run/secrets/"), (name, variable)
            assert not re.search(r"//[^/@]*:[^/@]+@", str(value)), (name, variable)


def test_only_the_page_is_published_and_only_to_this_machine() -> None:
    services = compose(GIVEN)["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["api"]
    assert services["api"]["ports"] == ["127.0.0.1:8000:8000"]


def test_image_runs_as_nobody_in_particular_and_has_both_targets() -> None:
    text = (REPOSITORY / "Dockerfile").read_text()
    stages = [line.split(" AS ")[1] for line in text.splitlines() if line.startswith("FROM")]
    assert {"cpu", "cuda"} <= set(stages)
    assert "USER 10001:10001" in text
    for name in OURS:
        service = compose(GIVEN)["services"][name]
        assert service["build"]["target"] in stages


@pytest.mark.compose
def test_compose_itself_finds_the_file_valid(tmp_path: Path) -> None:
    tool = ["docker-compose"]
    folder = tmp_path / "secrets"
    folder.mkdir()
    for name, word in SECRETS.items():
        (folder / name).write_text(word)
    environment = {**os.environ, **GIVEN, "REFERENT_SECRETS": str(folder)}
    for profile in ([], ["--profile", "gpu"]):
        done = subprocess.run(
            [*tool, *profile, "config", "--quiet"], cwd=REPOSITORY, env=environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    del environment["REFERENT_PHOTOS"]
    refused = subprocess.run(
        [*tool, "config", "--quiet"], cwd=REPOSITORY, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert refused.returncode != 0
    assert "REFERENT_PHOTOS" in refused.stderr


class Stack:
    """The services of the file as processes on this machine."""

    def __init__(self, folder: Path, photos: Path, model: str) -> None:
        self.services = compose({"REFERENT_PHOTOS": str(photos), "REFERENT_MODEL": model})[
            "services"
        ]
        self.secrets = folder / "secrets"
        self.secrets.mkdir()
        for name, word in SECRETS.items():
            (self.secrets / name).write_text(word + "\n")
        # PostgreSQL is started by its image; Redis by a command of the file.
        self.postgres = OwnPostgres()
        shell, option, script = self.services["redis"]["command"]
        for there, here in (
            ("/run/secrets", str(self.secrets)),
            ("/tmp/redis.conf", str(folder / "redis.conf")),
            ("chown redis", "test -s"),
            ("docker-entrypoint.sh ", ""),
        ):
            assert there in script
            script = script.replace(there, here)
        command = (shell, option, f'{script.strip()} "$@"', "redis")
        self.redis = OwnRedis(folder / "redis", command, SECRETS["redis_password"])
        self.home = folder / "home"
        self.port = free_port()
        self.metrics_port = free_port()
        self.fleet = Fleet(folder / "logs", {})
        self.environment: dict[str, str] = {}
        self.key = ""

    def start(self) -> None:
        self.redis.start()
        self.postgres.create()
        self.postgres.start()
        with create_engine(self.postgres.url, isolation_level="AUTOCOMMIT").connect() as server:
            server.execute(text("create role referent login superuser"))
            server.execute(text("create database referent owner referent"))
        self.environment = self._here(self.services["api"]["environment"])
        # As the file's first lines say: the API does not start for others without a key.
        made = subprocess.run(
            [sys.executable, "-m", "referent.main", "keys", "create", "me", "--scope", "admin"],
            cwd=REPOSITORY, env={**os.environ, **self.environment}, capture_output=True,
            text=True, check=True,
        )  # fmt: skip
        self.key = made.stdout.strip()
        for name in ("api", "worker-encode", "worker-matte", "beat"):
            service = self.services[name]
            self.environment = self._here(service["environment"])
            arguments = self._arguments(service["command"])
            if name == "worker-matte":  # one machine here: two metrics ports clash
                arguments = arguments[: arguments.index("--metrics-port")]
            assert arguments[0] == "referent"
            self.fleet.start(*arguments[1:], name=name, extra=self.environment)

    def _here(self, environment: dict[str, str]) -> dict[str, str]:
        """The service's environment with the addresses of this machine."""
        places = {
            "postgres:5432": f"127.0.0.1:{self.postgres.port}",
            "redis:6379": f"127.0.0.1:{self.redis.port}",
        }
        changes = {"REFERENT_HOME": str(self.home)}
        for name, value in environment.items():
            if name.endswith("_FILE"):
                changes[name] = value.replace("/run/secrets", str(self.secrets))
        for name in ("REFERENT_DATABASE_URL", "REFERENT_REDIS_URL"):
            changes[name] = environment[name]
            for there, here in places.items():
                changes[name] = changes[name].replace(there, here)
        quick = {"REFERENT_SWEEP_S": "1", "REFERENT_DECODE_WORKERS": "1",
                 "REFERENT_DECODE_TIMEOUT_S": "60"}  # fmt: skip
        return {**{name: str(value) for name, value in environment.items()}, **changes, **quick}

    def _arguments(self, command: list[str]) -> list[str]:
        ports = {"8000": str(self.port), "9100": str(self.metrics_port)}
        return [ports.get(word, word) for word in command]

    def healthy(self, name: str) -> bool:
        """What the service's own health check says."""
        kind, *test = self.services[name]["healthcheck"]["test"]
        if kind == "CMD-SHELL":
            environment = {**self.services[name].get("environment", {}), "PGHOST": "127.0.0.1"}
            environment["PGPORT"] = str(self.postgres.port)
            shell = test[0].replace("redis-cli", f"redis-cli -p {self.redis.port}")
            shell = shell.replace("/run/secrets", str(self.secrets))
            command = ["/bin/sh", "-c", shell]
        else:
            environment = self.environment
            words = [word.replace(":8000", f":{self.port}") for word in test]
            python = [sys.executable, "-m", "referent.main"]
            command = (
                [*python, *words[1:]] if words[0] == "referent" else [sys.executable, *words[1:]]
            )
        done = subprocess.run(
            command, cwd=REPOSITORY, env={**os.environ, **environment}, capture_output=True,
            check=False,
        )  # fmt: skip
        return done.returncode == 0

    def call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json", "x-api-key": self.key},
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            text = answer.read().decode()
            return json.loads(text) if "json" in answer.headers["content-type"] else text

    def stop(self) -> None:
        self.fleet.kill_all()
        self.redis.stop()
        self.postgres.remove()


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    photos = albums.folder_of(tmp_path / "photos", 10)
    made = Stack(tmp_path, photos, write_tiny_model(tmp_path / "model" / "tiny.safetensors"))
    yield made
    made.stop()


@pytest.mark.long
@pytest.mark.postgres
@pytest.mark.redis
def test_services_index_an_album_and_a_search_makes_no_swin_call(
    stack: Stack, tmp_path: Path
) -> None:
    """From the page's calls to the workers' files and back, with the file's own commands."""
    from sqlalchemy import select

    from indexer.db.catalog import Catalog
    from indexer.db.tables import Segment

    stack.start()

    def answers() -> bool:
        try:
            return bool(stack.call("/healthz"))
        except (urllib.error.URLError, OSError):
            return False

    wait_until(answers, timeout_s=240, what="the API")
    with Catalog.open(stack.postgres.url.rpartition("/")[0] + "/referent") as catalog:
        albums.album(catalog, "family", tmp_path / "photos")
        job = stack.call("/v1/jobs", {"kind": "index", "album": "family"})

        def is_over() -> bool:
            return stack.call(f"/v1/jobs/{job['id']}")["state"] in ("done", "failed")

        wait_until(is_over, timeout_s=240, what="the job")
        done = stack.call(f"/v1/jobs/{job['id']}")
        assert (done["state"], done["done"], done["failed"]) == ("done", 10, 0)
        with catalog.reading() as session:
            tiers = set(session.scalars(select(Segment.tier).where(Segment.state == "live")))
        assert tiers == {"tokens", "masks", "vectors"}
    found = stack.call("/v1/search", {"expression": "the red one", "album": "family",
                                      "mode": "exhaustive"})  # fmt: skip
    assert found["run"]["coverage"]["verified"] == 10
    for name in ("api", "worker-encode", "worker-matte", "beat", "postgres", "redis"):
        assert stack.healthy(name), name
    with urllib.request.urlopen(
        f"http://127.0.0.1:{stack.metrics_port}/metrics", timeout=10
    ) as answer:
        metrics = answer.read().decode()
    assert 'referent_photos_encoded_total{outcome="encoded"} 10.0' in metrics
    logged = [
        json.loads(line)
        for line in stack.fleet.log_of("worker-encode").splitlines()
        if line.startswith("{")
    ]
    assert [each["job_id"] for each in logged if each["event"] == "job done"] == [job["id"]]
    library = stack.call("/metrics")
    for figure in (
        'referent_jobs{kind="index",state="done"} 1.0',
        'referent_queue_messages{queue="encode"}',
        'referent_cache_rows{tier="tokens"} 10.0',
        'referent_search_stage_seconds_count{mode="exhaustive",stage="judge"} 1.0',
    ):
        assert figure in library
    started = time.monotonic()
    for process in stack.fleet.processes:
        process.terminate()
    api, *others = [process.wait(90) for process in stack.fleet.processes]
    assert api in (0, -signal.SIGTERM)  # uvicorn shuts down, then lets the signal end it
    assert others == [0, 0, 0]
    assert time.monotonic() - started < 90


def test_every_setting_that_the_docs_ask_to_set_reaches_the_services() -> None:
    asked = set()
    for page in ("operations.md", "proxies.md", "api.md"):
        asked |= set(re.findall(r"\bREFERENT_[A-Z_]+", (REPOSITORY / "docs" / page).read_text()))
    # Of the file itself, of a server on loopback, which a container's is not, of `referent mcp`.
    others = {"REFERENT_PHOTOS", "REFERENT_LISTEN", "REFERENT_SECRETS", "REFERENT_TRUST_LOOPBACK",
              "REFERENT_API_KEY"}  # fmt: skip
    environment = compose(GIVEN)["services"]["api"]["environment"]
    assert asked - others - set(environment) == set()
    chosen = {**GIVEN, "REFERENT_ALLOWED_HOSTS": "photos.example,nas.lan"}
    for name in OURS:
        given = compose(chosen)["services"][name]["environment"]
        assert given["REFERENT_ALLOWED_HOSTS"] == "photos.example,nas.lan"
        assert given["REFERENT_SESSION_SECRET"] == ""


def test_settings_of_the_file_are_accepted_as_they_stand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "postgres_password").write_text("with @ and /\n")
    (tmp_path / "redis_password").write_text("redis-word\n")
    for name, value in compose(GIVEN)["services"]["api"]["environment"].items():
        monkeypatch.setenv(name, str(value).replace("/run/secrets", str(tmp_path)))
    limits = ServerSettings()
    assert (limits.require_keys, limits.allowed_hosts, limits.root_path) == (True, (), "")
    settings = Settings()
    assert settings.runner == "celery"
    database = make_url(settings.database_url.get_secret_value())
    assert (database.password, database.host, database.username) == (
        "with @ and /", "postgres", "referent",
    )  # fmt: skip
    assert settings.redis_url.get_secret_value() == "redis://:redis-word@redis:6379/0"
    (tmp_path / "redis_password").unlink()
    with pytest.raises(ValueError, match="redis_password cannot be read"):
        Settings()


def test_systemd_unit_of_the_docs_is_valid(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "operations.md").read_text()
    (unit,) = re.findall(r"```ini\n(.*?)```", page, re.DOTALL)
    read = configparser.ConfigParser(strict=False, interpolation=None)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read_string(unit)
    assert read["Service"]["ExecStart"].endswith("referent serve")
    assert read["Service"]["StateDirectory"] == "referent"
