"""The settings of one Referent installation, read from the environment.

Made where they are used (``Settings()``), never at import, so that a test or a server can hold
several at once. Every field reads ``REFERENT_<NAME>``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit

from platformdirs import user_data_path
from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MEBIBYTE = 1024 * 1024


class Settings(BaseSettings):
    """Where things are kept and how much of the machine they may use; validated when made."""

    model_config = SettingsConfigDict(
        env_prefix="REFERENT_",
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        validate_default=True,
        hide_input_in_errors=True,
    )

    home: Path = Field(
        default_factory=lambda: user_data_path("referent"),
        description="The library folder: database, features and exports live below it.",
    )
    database_url: SecretStr = Field(
        default=SecretStr(""),
        description="SQLAlchemy URL of the catalog; empty means SQLite in HOME/catalog.sqlite.",
    )
    database_password_file: Path = Field(
        default=Path(),
        description="A file that holds the password of DATABASE_URL, such as a secret of compose: "
        "an environment can be read by whoever may inspect the process.",
    )
    database_timeout_s: float = Field(
        default=30.0,
        gt=0,
        le=3600,
        description="How long a writer waits for another writer's lock before it gives up.",
    )
    features_dir: Path = Field(
        default=Path(), description="Feature segments; empty means HOME/features."
    )
    exports_dir: Path = Field(
        default=Path(), description="Cut-outs and zips; empty means HOME/exports."
    )
    redis_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="Broker of the Celery workers; unused while jobs run in-process.",
    )
    redis_password_file: Path = Field(default=Path(), description="The same for REDIS_URL.")
    model: str = Field(
        default="rela-photo", description="The model that indexes and searches unless one is named."
    )
    device: str = Field(default="cpu", description="Where the network runs: cpu, cuda, cuda:1, ...")
    head_dtype: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="Precision in which searches judge photos: bfloat16 is about twice as fast "
        "where the processor multiplies it and moves a confidence by a hundredth, seldom more; "
        "auto chooses it there. Server machines of different kinds that share a library need "
        "one value.",
    )

    decode_workers: int = Field(
        default_factory=lambda: max(1, min(8, os.cpu_count() or 1)),
        ge=1,
        le=128,
        description="Processes that decode photos while the network runs.",
    )
    decode_timeout_s: float = Field(
        default=8.0, gt=0, le=600, description="A photo that takes longer to decode is given up."
    )
    decode_memory_mib: int = Field(
        default=768,
        ge=64,
        description="Memory that one photo may take in its decoding process, above what that "
        "process has when idle.",
    )
    max_file_mib: int = Field(
        default=256, ge=1, description="A file larger than this is not opened."
    )
    max_pixels_mp: float = Field(
        default=120.0,
        gt=0,
        le=1000,
        description="Megapixels (million pixels) that one photo may claim in its header.",
    )
    max_jpeg_pixels_mp: float = Field(
        default=600.0,
        gt=0,
        le=4000,
        description="The same for baseline JPEGs, which shrink while they are decoded.",
    )

    runner: Literal["inprocess", "celery"] = Field(
        default="inprocess",
        description="Who runs jobs: a thread of `referent serve`, or `referent worker` processes.",
    )
    encode_batch: int = Field(
        default=8,
        ge=1,
        le=1024,
        description="Photos that the network takes at once; halved when memory runs out.",
    )
    keep_pyramid: bool = Field(
        default=False,
        description="Keep the backbone's features (several MB a photo), so that a new decoder or "
        "head is indexed without decoding a photo again.",
    )

    idle_s: float = Field(
        default=900.0,
        ge=0,
        le=30 * 86_400,
        description="A server lets go of networks and opened albums that nothing has used for so "
        "long; the next search opens them again. 0 keeps them.",
    )
    job_width: int = Field(
        default=8, ge=1, le=1024, description="How many workers may share one indexing job."
    )
    judge_workers: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="How many workers of the queue `judge` may share one exhaustive search of "
        "more than some thousand photos; 0 leaves searches to the process that is asked.",
    )
    job_lease_s: float = Field(
        default=60.0,
        ge=4,
        le=3600,
        description="A worker on another machine that is silent for so long counts as dead.",
    )
    turn_s: float = Field(
        default=20.0,
        gt=0,
        le=600,
        description="How long a worker stays at one job before it looks at the others.",
    )
    sweep_s: float = Field(
        default=5.0, ge=0.2, le=600, description="How often forgotten work is looked for."
    )
    visibility_timeout_s: int = Field(
        default=12 * 3600,
        ge=60,
        description="Redis delivers a message again after this; keep it above task_limit_s.",
    )
    task_limit_s: int = Field(
        default=6 * 3600, ge=10, description="A Celery task that runs longer is killed."
    )
    worker_max_tasks: int = Field(
        default=2000, ge=1, description="A worker's process is replaced after so many turns."
    )
    worker_max_memory_mib: int = Field(
        default=8192,
        ge=64,
        description="A worker's process that has grown beyond this is replaced after its turn.",
    )
    keep_exports_days: float = Field(
        default=30.0,
        ge=0,
        description="Cut-outs and exports that jobs wrote below the exports folder go so long "
        "after their job ended; 0 keeps them.",
    )
    keep_jobs_days: float = Field(
        default=90.0,
        ge=0,
        description="Jobs that ended go after so long, with their reports, places and what they "
        "wrote; 0 keeps them.",
    )
    keep_audit_days: float = Field(
        default=365.0,
        ge=0,
        description="How long it is known who deleted what, signed in, and changed keys; 0: for "
        "ever.",
    )
    webhook_hosts: str = Field(
        default="",
        description="Hosts of this network that webhooks of saved searches may reach, with commas "
        "between: nas.lan,127.0.0.1. Public addresses need no naming.",
    )
    kept_runs: int = Field(
        default=2000,
        ge=1,
        description="Searches that the history keeps of each key, and of those without one.",
    )
    log_format: Literal["json", "console"] = Field(
        default="json", description="Log lines of servers and workers: for machines or people."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="The least level that is logged."
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_paths(cls, values: dict[str, object]) -> dict[str, object]:
        """Empty paths mean their place below home."""
        home = Path(str(values.get("home") or user_data_path("referent"))).expanduser()
        filled = dict(values)
        filled["home"] = home
        for name, below in (("features_dir", "features"), ("exports_dir", "exports")):
            given = str(filled.get(name) or "")
            filled[name] = Path(given).expanduser() if given else home / below
        given_url = filled.get("database_url")
        if not (given_url.get_secret_value() if isinstance(given_url, SecretStr) else given_url):
            filled["database_url"] = f"sqlite:///{home / 'catalog.sqlite'}"
        for url, file in (
            ("database_url", "database_password_file"),
            ("redis_url", "redis_password_file"),
        ):
            if filled.get(file):
                address = filled.get(url) or cls.model_fields[url].default
                if isinstance(address, SecretStr):
                    address = address.get_secret_value()
                filled[url] = SecretStr(_with_password(str(address), Path(str(filled[file]))))
        return filled

    @property
    def uploads_dir(self) -> Path:
        """The photos that came through the page; each album's in a folder of its own."""
        return self.home / "uploads"

    @property
    def models_dir(self) -> Path:
        """Models that were imported or fetched."""
        return self.home / "models"

    @property
    def session_secret_file(self) -> Path:
        """What signs sessions where no `REFERENT_SESSION_SECRET` is set."""
        return self.home / "session-secret"

    @property
    def log_file(self) -> Path:
        """Where commands write what is too long for a terminal."""
        return self.home / "logs" / "referent.log"


def _with_password(url: str, file: Path) -> str:
    """An address with the password that a file holds, in place of one that it may have.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        password = file.read_text().strip()
    except OSError as error:
        raise ValueError(f"the password's file {file} cannot be read ({error.strerror})") from error
    parts = urlsplit(url)
    user, _, place = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    return parts._replace(netloc=f"{name}:{quote(password, safe='')}@{place}").geturl()
