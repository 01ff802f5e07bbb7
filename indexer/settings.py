"""The settings of one Referent installation, read from the environment.

Made where they are used (``Settings()``), never at import, so that a test or a server can hold
several at once. Every field reads ``REFERENT_<NAME>``.
"""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_data_path
from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MEBIBYTE = 1024 * 1024


class Settings(BaseSettings):
    """Where things are kept and how much of the machine they may use; validated when made."""

    model_config = SettingsConfigDict(
        env_prefix="REFERENT_", frozen=True, extra="forbid", validate_default=True
    )

    home: Path = Field(
        default_factory=lambda: user_data_path("referent"),
        description="The library folder: database, features and exports live below it.",
    )
    database_url: str = Field(
        default="",
        description="SQLAlchemy URL of the catalog; empty means SQLite in HOME/catalog.sqlite.",
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
    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0",
        description="Broker of the Celery workers; unused while jobs run in-process.",
    )
    model: str = Field(
        default="rela-mini", description="The model that indexes and searches unless one is named."
    )
    device: str = Field(default="cpu", description="Where the network runs: cpu, cuda, cuda:1, ...")

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
        if not filled.get("database_url"):
            filled["database_url"] = f"sqlite:///{home / 'catalog.sqlite'}"
        return filled
