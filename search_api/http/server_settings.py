"""What the HTTP server admits: limits, allowed hosts and the secret of its sessions."""

from __future__ import annotations

import os

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

MEBIBYTE = 1024 * 1024


class ServerSettings(BaseSettings):
    """Limits of the HTTP API, read from ``REFERENT_<NAME>`` and validated when made."""

    model_config = SettingsConfigDict(env_prefix="REFERENT_", frozen=True)

    require_keys: bool = Field(
        default=False,
        description="Ask for an API key on loopback too. Set it behind any proxy on the same "
        "machine: one that adds no header of its own cannot be told from a local program.",
    )
    trust_loopback: bool = Field(
        default=False,
        description="Admit as admin, without a key, whatever reaches a loopback address, also "
        "through a proxy. Only for a proxy that lets nobody in whom it has not checked itself.",
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description="Names that the Host header may hold besides the loopback ones, as a JSON "
        "list; empty means any name when keys are required. A name that is not loopback's means "
        "that others reach the server: then keys are required.",
    )
    allow_server_folders: bool = Field(
        default=False,
        description="Let admins add a folder of this machine to an album through the API.",
    )
    secure_cookie: bool = Field(
        default=False,
        description="Mark the session cookie Secure; set it when a proxy serves the page by HTTPS.",
    )
    session_secret: str = Field(
        default="",
        description="Signs session cookies; empty means a file of random bytes in HOME. Several "
        "server machines must share one.",
        repr=False,
    )
    session_hours: float = Field(
        default=12.0, gt=0, le=24 * 365, description="How long the page's session lasts."
    )
    max_body_kib: int = Field(
        default=256, ge=1, description="Size of a request body, uploads excepted."
    )
    max_upload_mib: int = Field(
        default=512, ge=1, description="Size of one upload request, all its files together."
    )
    max_upload_files: int = Field(default=200, ge=1, description="Files in one upload request.")
    concurrent_searches: int = Field(
        default_factory=lambda: max(2, min(8, os.cpu_count() or 1)),
        ge=1,
        le=256,
        description="Searches that compute at the same time.",
    )
    waiting_searches: int = Field(
        default=32,
        ge=0,
        le=4096,
        description="Searches that may wait for their turn; more are answered 429.",
    )
    search_wait_s: float = Field(
        default=20.0, gt=0, le=600, description="How long a search waits for its turn."
    )
    search_time_s: float = Field(
        default=120.0,
        gt=0,
        le=3600,
        description="A search that takes longer stops and returns what it has, marked as stopped.",
    )
    job_stream_s: float = Field(
        default=60.0, gt=0, le=3600, description="A job's stream of events is cut after this long."
    )
    kept_runs: int = Field(
        default=2000, ge=1, description="Search runs that the history keeps; older ones are pruned."
    )
    thumbnail_cache_mib: int = Field(
        default=64, ge=0, description="Memory for thumbnails that were made already."
    )
