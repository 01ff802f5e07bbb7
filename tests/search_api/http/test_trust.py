"""Loopback is trusted only where no proxy stands between: everyone behind it would be admin."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from search_api.http.app import create_app
from search_api.http.keys import create_key
from search_api.http.server_settings import ServerSettings
from tests.support.library import Library, make_library
from tests.support.page import serving
from tests.support.proxies import proxy
from tests.support.servers import free_port
from tests.support.terminal import Terminal

HERE = "http://127.0.0.1:8321"
# What the programs add, as they were seen to (nginx and HAProxy: where they are told to).
ADDED = {
    "nginx": {"x-real-ip": "203.0.113.9", "x-forwarded-for": "203.0.113.9"},
    "nginx, for alone": {"x-forwarded-for": "203.0.113.9"},
    "nginx, address alone": {"x-real-ip": "203.0.113.9"},
    "caddy": {
        "x-forwarded-for": "203.0.113.9",
        "x-forwarded-host": "photos.example",
        "x-forwarded-proto": "https",
    },
    "traefik": {
        "x-forwarded-for": "203.0.113.9",
        "x-forwarded-host": "photos.example",
        "x-forwarded-port": "443",
        "x-forwarded-proto": "https",
        "x-forwarded-server": "a1b2c3",
        "x-real-ip": "203.0.113.9",
    },
    "haproxy": {"x-forwarded-for": "203.0.113.9"},
    "apache": {"x-forwarded-for": "203.0.113.9", "x-forwarded-server": "photos.example"},
    "rfc 7239": {"forwarded": "for=203.0.113.9;proto=https"},
    "varnish": {"via": "1.1 varnish"},
    "cloudflared": {"cf-connecting-ip": "203.0.113.9", "cdn-loop": "cloudflare"},
    "amazon": {"x-amzn-trace-id": "Root=1-67891233-abcdef012345678912345678"},
}
SPOOFED = {
    "for loopback": {"x-forwarded-for": "127.0.0.1"},
    "for nobody": {"x-forwarded-for": ""},
    "host": {"x-forwarded-host": "localhost", "x-forwarded-for": "::1"},
    "forwarded": {"forwarded": 'for="[::1]";host=localhost'},
    "unknown one": {"x-forwarded-whatever": "1"},
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """A library that is served."""
    made = make_library(tmp_path_factory.mktemp("trust"), 2)
    yield made
    made.engine.close()


def client_of(library: Library, address: str = HERE, **limits: object) -> TestClient:
    """A client of a server on loopback."""
    app = create_app(
        library.settings,
        host="127.0.0.1",
        engine=library.engine,
        warm_up=False,
        limits=ServerSettings(**limits),
    )
    return TestClient(app, base_url=address)


def test_program_of_this_machine_needs_no_key(library: Library) -> None:
    with client_of(library) as client:
        assert client.get("/v1/session").json() == {
            "name": "loopback",
            "scopes": ["admin", "read", "write"],
            "keys_required": False,
            "server_folders": False,
        }


@pytest.mark.parametrize("name", [*ADDED, *SPOOFED])
def test_what_a_proxy_passes_on_needs_a_key(
    library: Library, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {**ADDED, **SPOOFED}[name]
    with client_of(library) as client, caplog.at_level(logging.WARNING, "search_api"):
        for _ in range(3):
            for method, path in (("GET", "/v1/albums"), ("DELETE", "/v1/albums/1")):
                answer = client.request(method, path, headers=headers)
                assert answer.status_code == 401
                assert next(iter(headers)) in answer.json()["detail"]
                assert "referent keys create" in answer.json()["detail"]
        assert client.get("/v1/albums").status_code == 200
        told = [record for record in caplog.records if "passed on by a proxy" in record.message]
        assert len(told) == 1
        key = create_key(library.engine.catalog, "reader", ["read"])
        answer = client.get("/v1/session", headers={**headers, "x-api-key": key})
        assert (answer.json()["name"], answer.json()["keys_required"]) == ("reader", True)


def test_session_that_ended_is_not_loopback_behind_a_proxy(library: Library) -> None:
    with client_of(library) as client:
        client.cookies.set("referent_session", "1.99999999999.abcdef")
        assert client.get("/v1/albums").status_code == 200
        assert client.get("/v1/albums", headers=ADDED["nginx"]).status_code == 401


def test_peer_of_another_machine_needs_a_key_on_loopback(library: Library) -> None:
    app = create_app(library.settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    for peer, status in (("203.0.113.9", 401), ("127.0.0.1", 200), ("::1", 200)):
        with TestClient(app, base_url=HERE, client=(peer, 5)) as client:
            assert client.get("/v1/albums").status_code == status


def test_allowing_a_name_of_others_requires_keys(library: Library) -> None:
    with client_of(library, "http://photos.example", allowed_hosts=("photos.example",)) as client:
        answer = client.get("/v1/albums")
        assert answer.status_code == 401
        assert "REFERENT_ALLOWED_HOSTS names photos.example" in answer.json()["detail"]
        local = client.get("/v1/albums", headers={"host": "127.0.0.1:8321"})
        assert local.status_code == 401
        assert client.get("/healthz", headers={"host": "127.0.0.1:8321"}).status_code == 200
    with client_of(library, allowed_hosts=("localhost", "127.0.0.1")) as client:
        assert client.get("/v1/albums").status_code == 200


def test_trust_in_a_proxy_that_checks_people_is_a_setting(library: Library) -> None:
    limits = {"allowed_hosts": ("photos.example",), "trust_loopback": True}
    with client_of(library, "http://photos.example", **limits) as client:
        assert client.get("/v1/albums", headers=ADDED["caddy"]).status_code == 200
    with client_of(library, **limits, require_keys=True) as client:
        assert client.get("/v1/albums").status_code == 401


def test_start_says_who_needs_a_key(
    library: Library, referent: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uvicorn.Server.run", lambda self: setattr(self, "started", True))
    said = {
        "": "what a proxy passes on needs one",
        "REFERENT_REQUIRE_KEYS=true": "Every request needs an API key: REFERENT_REQUIRE_KEYS",
        "REFERENT_TRUST_LOOPBACK=true": "also through a proxy, is admin without a key",
        'REFERENT_ALLOWED_HOSTS=["photos.example"]': "REFERENT_ALLOWED_HOSTS names photos.example",
    }
    for setting, sentence in said.items():
        with monkeypatch.context() as patch:
            if setting:
                patch.setenv(*setting.split("=", 1))
            status, _, err = referent("serve")
            assert status == 0
            assert sentence in err


BARE = {
    "nginx": "server {{ listen {at}; location / {{ proxy_pass http://127.0.0.1:{to}; }} }}",
    "caddy": "http://:{at} {{\n  reverse_proxy 127.0.0.1:{to}\n}}",
    "haproxy": "listen all\n  bind 127.0.0.1:{at}\n  option forwardfor\n  server s 127.0.0.1:{to}",
    "apache": "Listen 127.0.0.1:{at}\nProxyPass / http://127.0.0.1:{to}/",
}
TRICKS = {
    "nothing": {},
    "local name": {"host": "localhost"},
    "spoofed": {"x-forwarded-for": "127.0.0.1", "x-real-ip": "127.0.0.1", "host": "127.0.0.1"},
    # Proxies take away what a request calls hop-by-hop; some once took away their own additions.
    "stripped": {
        "connection": "close, x-forwarded-for, x-forwarded-host, x-forwarded-proto, x-real-ip, "
        "x-forwarded-server, via, forwarded",
        "host": "localhost",
    },
}


@pytest.mark.parametrize("kind", [pytest.param(k, marks=getattr(pytest.mark, k)) for k in BARE])
def test_nobody_is_admin_behind_a_real_proxy_whatever_they_send(
    library: Library, tmp_path: Path, kind: str
) -> None:
    at = free_port()
    with serving(library) as address:
        text = BARE[kind].format(at=at, to=address.rpartition(":")[2])
        with proxy(kind, text, tmp_path / kind, at):
            for trick, headers in TRICKS.items():
                answer = httpx.get(f"http://127.0.0.1:{at}/v1/albums", headers=headers)
                assert answer.status_code in (401, 421), (trick, answer.text)
                assert "photos" not in answer.json()
            key = create_key(library.engine.catalog, "visitor", ["read"])
            answer = httpx.get(f"http://127.0.0.1:{at}/v1/albums", headers={"x-api-key": key})
            assert answer.status_code == 200
        assert httpx.get(f"{address}/v1/albums").status_code == 200
