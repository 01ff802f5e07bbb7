"""The proxies of docs/proxies.md, as they stand there, in front of a real server."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from indexer.jobs import jobs
from search_api.http.keys import create_key
from tests.support.library import Library, make_library
from tests.support.page import Visit, chromium, search, serving
from tests.support.proxies import proxy
from tests.support.servers import REPOSITORY, free_port

NAME = "photos.example"
EXAMPLES = (REPOSITORY / "docs" / "proxies.md").read_text()
KINDS = [
    pytest.param("nginx", marks=pytest.mark.nginx),
    pytest.param("caddy", marks=pytest.mark.caddy),
]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """A library that is served."""
    made = make_library(tmp_path_factory.mktemp("proxies"), 6)
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and its key, beside each other."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME},DNS:localhost",
            "-keyout", str(folder / f"{NAME}.key"), "-out", str(folder / f"{NAME}.pem"),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return folder / f"{NAME}.pem"


@pytest.fixture(autouse=True)
def name_is_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of the examples leads here."""
    find = socket.getaddrinfo

    def found(host: Any, *rest: Any, **more: Any) -> Any:
        return find("127.0.0.1" if host == NAME else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", found)


def example(kind: str, prefix: str, at: int, to: int, certificate: Path) -> str:
    """The documented configuration, with this test's ports and certificate in it."""
    blocks = re.findall(rf"```{kind}\n(.*?)```", EXAMPLES, re.DOTALL)
    text = blocks[0]
    if kind == "caddy":
        text = blocks[1] if prefix else text
        tls = f"tls {certificate} {certificate.with_suffix('.key')}"
        text = text.replace(f"{NAME} {{", f"https://{NAME}:{at} {{\n\t{tls}", 1)
    elif prefix:
        text = re.sub(r"  location / \{.*?\n  \}\n", lambda _: blocks[1], text, flags=re.DOTALL)
    text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{at} ssl")
    text = text.replace("127.0.0.1:8321", f"127.0.0.1:{to}")
    return text.replace("/etc/ssl", str(certificate.parent))


@contextmanager
def proxied(
    library: Library, kind: str, prefix: str, certificate: Path, folder: Path
) -> Iterator[str]:
    """The page's address behind a proxy."""
    at = free_port()
    limits = {"require_keys": True, "allowed_hosts": (NAME, "localhost"), "job_stream_s": 600}
    with serving(library, **limits) as address:
        to = int(address.rpartition(":")[2])
        with proxy(kind, example(kind, prefix, at, to, certificate), folder / kind, at):
            yield f"https://{NAME}:{at}{prefix}"


@pytest.mark.parametrize("prefix", ["", "/photos"])
@pytest.mark.parametrize("kind", KINDS)
def test_documented_proxy_serves_page_cookies_uploads_and_streams(
    library: Library, tmp_path: Path, certificate: Path, kind: str, prefix: str
) -> None:
    key = create_key(library.engine.catalog, "me", ["write"])
    waiting = jobs.create(library.engine.catalog, "verify", album_id=1)
    jobs.pause(library.engine.catalog, waiting.id)
    with (
        proxied(library, kind, prefix, certificate, tmp_path) as address,
        httpx.Client(verify=ssl.create_default_context(cafile=certificate), timeout=60) as client,
    ):
        origin = {"origin": address.removesuffix(prefix)}
        page = client.get(f"{address}/")
        assert page.status_code == 200
        for file in re.findall(r'(?:src|href)="(static/[^"]+)"', page.text):
            assert client.get(f"{address}/{file}").status_code == 200
        assert client.get(f"{address}/v1/albums").status_code == 401
        opened = client.post(f"{address}/v1/session", json={"key": key}, headers=origin)
        cookie = opened.headers["set-cookie"].lower()
        assert "secure" in cookie
        assert f"path={prefix or '/'};" in f"{cookie};"
        assert client.get(f"{address}/v1/albums").json()["albums"]
        document = client.get(f"{address}/v1/openapi.json").json()
        assert [each["url"] for each in document.get("servers", [])] == ([prefix] if prefix else [])
        big = [("files", ("a.png", b"x" * (3 << 20)))]
        sent = client.post(f"{address}/v1/albums/1/photos", files=big, headers=origin)
        assert sent.status_code == 200, sent.text
        asked = {"expression": "red square", "mode": "exhaustive"}
        events = {**origin, "accept": "text/event-stream"}
        with client.stream("POST", f"{address}/v1/search", json=asked, headers=events) as stream:
            names = [line for line in stream.iter_lines() if line.startswith("event: ")]
        assert (names[0], names[-1]) == ("event: started", "event: done")
        # It does not end, so that a proxy which gathers it would never pass it on.
        with client.stream("GET", f"{address}/v1/jobs/{waiting.id}/events") as stream:
            lines = stream.iter_lines()
            assert next(lines) == "event: job"
            assert json.loads(next(lines).removeprefix("data: "))["state"] == "paused"
        assert client.get(f"{address.removesuffix(prefix)}{prefix}").status_code in (
            200,
            301,
            302,
            308,
        )
    jobs.cancel(library.engine.catalog, waiting.id)


@pytest.mark.browser
@pytest.mark.nginx
def test_page_works_in_a_browser_below_a_path(
    library: Library, tmp_path: Path, certificate: Path
) -> None:
    key = create_key(library.engine.catalog, "browser", ["write"])
    with chromium() as browser, proxied(library, "nginx", "/photos", certificate, tmp_path) as at:
        local = at.replace(NAME, "localhost")
        with Visit(browser, f"{local}/", ignore_https_errors=True) as page:
            page.fill("#key", key)
            page.get_by_role("button", name="Sign in").click()
            expect(page.locator("#sign-in")).to_be_hidden()
            search(page)
            assert page.evaluate("location.pathname") == "/photos/"
            expect(page.locator("#bar")).to_be_visible()
            page.reload()
            expect(page.locator("#expression")).not_to_have_value("")
            page.click("#open-library")
            expect(page.locator(".card-item")).to_have_count(1)
            page.keyboard.press("Escape")
            page.click("#home")
            assert page.evaluate("location.pathname + location.search") == "/photos/"
