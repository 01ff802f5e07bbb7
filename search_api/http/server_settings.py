"""What the HTTP server admits: limits, allowed hosts and the secret of its sessions."""

from __future__ import annotations

import json
import os
import re
from ipaddress import ip_network
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from search_api.http.forwarded import prefix_of

MEBIBYTE = 1024 * 1024
_TILES = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?/[A-Za-z0-9/._~=?&%@{}-]*")
_PLACE = re.compile(r"\{.*?\}|[{}]")
_PLACES = ["{x}", "{y}", "{z}"]
_NAME = re.compile(r"[A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\]")


class ServerSettings(BaseSettings):
    """Limits of the HTTP API, read from ``REFERENT_<NAME>`` and validated when made."""

    model_config = SettingsConfigDict(
        env_prefix="REFERENT_", env_ignore_empty=True, frozen=True, hide_input_in_errors=True
    )

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
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Names that the Host header may hold besides the loopback ones, with commas "
        "between: photos.example,nas.lan. Empty means any name when keys are required. A name "
        "that is not loopback's means that others reach the server: then keys are required.",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("127.0.0.1", "::1"),
        description="Addresses and networks of proxies, with commas between, whose "
        "X-Forwarded-For, -Proto, -Host and -Prefix are believed; * believes everyone.",
    )
    root_path: str = Field(
        default="",
        description="The path below which a proxy serves the page, such as /photos.",
    )
    map_tiles: str = Field(
        default="",
        description="A server of map pictures that the page shows under the places of photos, "
        "such as https://tiles.example/{z}/{x}/{y}.png (Web Mercator). It learns where one looks. "
        "Empty: an outline of the world that comes with the page, and nothing is fetched from "
        "elsewhere.",
    )
    map_attribution: str = Field(
        default="",
        max_length=200,
        description="Whose the map pictures are, as their licence wants it said: © OpenStreetMap "
        "contributors.",
    )
    allow_server_folders: bool = Field(
        default=False,
        description="Let admins add a folder of this machine to an album through the API.",
    )
    follow_links: bool = Field(
        default=False,
        description="Follow symbolic links out of folders that are added through the API from now "
        "on; a folder that is added again takes the setting over. Uploads never follow any.",
    )
    secure_cookie: bool = Field(
        default=False,
        description="Mark the session cookie Secure also where no trusted proxy says (by "
        "X-Forwarded-Proto) that the page is served by HTTPS.",
    )
    session_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Signs session cookies; empty means a file of random bytes in HOME. Several "
        "server machines must share one.",
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
    access_log: bool = Field(
        default=True,
        description="Log a line for each request, with its number (X-Request-Id), who asked, the "
        "path, the status and the time.",
    )
    spool_mib: int = Field(
        default=4096,
        ge=1,
        description="Bytes of uploads that may be on their way at once, all together; more are "
        "answered 429. They wait in HOME/uploads until they have proved to be photos.",
    )
    thumbnail_cache_mib: int = Field(
        default=64, ge=0, description="Memory for thumbnails that were made already."
    )

    @field_validator("allowed_hosts", "trusted_proxies", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        """Words with commas between; a JSON list as well."""
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            return json.loads(value)
        return tuple(word for part in value.split(",") if (word := part.strip()))

    @field_validator("allowed_hosts")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"{name!r} is no name of a host; write names with commas between and without "
                    "scheme, port or path: photos.example,nas.lan"
                )
        return tuple(name.lower() for name in value)

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            try:
                ip_network("0.0.0.0" if each == "*" else each, strict=False)
            except ValueError:
                raise ValueError(
                    f"{each!r} is no address; write addresses or networks with commas between: "
                    "127.0.0.1,172.16.0.0/12"
                ) from None
        return value

    @field_validator("map_tiles")
    @classmethod
    def _tiles(cls, value: str) -> str:
        if value and not (_TILES.fullmatch(value) and sorted(_PLACE.findall(value)) == _PLACES):
            raise ValueError(
                f"{value!r} is no address of map pictures; write it as "
                "https://tiles.example/{z}/{x}/{y}.png"
            )
        return value

    @field_validator("root_path")
    @classmethod
    def _prefix(cls, value: str) -> str:
        prefix = prefix_of(value)
        if value.strip("/ ") and not prefix:
            raise ValueError(f"{value!r} is no path; write it as /photos")
        return prefix

    @property
    def map_origin(self) -> str | None:
        """The scheme and host of the map pictures, None without any."""
        scheme, _, rest = self.map_tiles.partition("://")
        return f"{scheme}://{rest.partition('/')[0].lower()}" if rest else None
