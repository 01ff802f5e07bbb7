"""The address that the browser asked for, as trusted proxies tell it, and what is below a path."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from search_api.http.app import create_app
from search_api.http.keys import create_key
from search_api.http.server_settings import ServerSettings
from tests.support.library import Library, make_library

PROXY = ("127.0.0.1", 5)
SENT = {"x-forwarded-host": "photos.example", "x-forwarded-proto": "https"}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """A library that is served."""
    made = make_library(tmp_path_factory.mktemp("forwarded"), 2)
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def key(library: Library) -> str:
    """A key that may do everything."""
    return create_key(library.engine.catalog, "me", ["admin"])


def behind(
    library: Library,
    peer: tuple[str, int] = PROXY,
    address: str = "http://127.0.0.1:8321",
    **limits: object,
) -> TestClient:
    """A client that reaches the server as this peer, under this name."""
    app = create_app(
        library.settings,
        host="127.0.0.1",
        engine=library.engine,
        warm_up=False,
        limits=ServerSettings.model_validate({"require_keys": True, **limits}),
    )
    return TestClient(app, base_url=address, client=peer)


def test_settings_take_plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFERENT_ALLOWED_HOSTS", "Photos.Example, nas.lan,[fd00::1]")
    monkeypatch.setenv("REFERENT_TRUSTED_PROXIES", "10.0.0.7,172.16.0.0/12")
    monkeypatch.setenv("REFERENT_ROOT_PATH", "/photos/")
    limits = ServerSettings()
    assert limits.allowed_hosts == ("photos.example", "nas.lan", "[fd00::1]")
    assert limits.trusted_proxies == ("10.0.0.7", "172.16.0.0/12")
    assert limits.root_path == "/photos"
    monkeypatch.setenv("REFERENT_ALLOWED_HOSTS", '["a.example"]')
    assert ServerSettings().allowed_hosts == ("a.example",)
    monkeypatch.setenv("REFERENT_ALLOWED_HOSTS", "")
    assert ServerSettings().allowed_hosts == ()


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("allowed_hosts", "https://a.example/", "without scheme, port or path"),
        ("allowed_hosts", "a.example:8443", "without scheme, port or path"),
        ("trusted_proxies", "proxy.lan", "addresses or networks"),
        ("root_path", "/a b", "write it as /photos"),
        ("root_path", "//a/../b", "write it as /photos"),
    ],
)
def test_setting_that_cannot_be_used_says_how_to_write_it(
    name: str, value: str, remedy: str
) -> None:
    with pytest.raises(ValidationError, match=remedy):
        ServerSettings.model_validate({name: value})


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("https://photos.example", "photos.example:443", True),
        ("https://photos.example:443", "photos.example", True),
        ("http://photos.example", "photos.example:80", True),
        ("https://photos.example:8443", "photos.example:8443", True),
        ("https://Photos.Example", "photos.example", True),
        ("https://[fd00::1]", "[fd00::1]:443", True),
        ("https://photos.example", "photos.example:8443", False),
        ("http://photos.example:443", "photos.example", False),
        ("https://photos.example.evil", "photos.example", False),
        ("null", "photos.example", False),
    ],
)
def test_origin_is_this_host_with_or_without_the_schemes_own_port(
    library: Library, key: str, origin: str, host: str, same: bool
) -> None:
    with behind(library) as client:
        headers = {"origin": origin, "host": host, "x-api-key": key}
        answer = client.post("/v1/search", json={"expression": "dog"}, headers=headers)
        assert (answer.status_code != 403) == same


def test_name_that_a_trusted_proxy_forwards_is_the_servers(library: Library, key: str) -> None:
    origin = {"origin": "https://photos.example", "x-api-key": key}
    asked = {"json": {"expression": "dog"}}
    limits = {"allowed_hosts": ("photos.example",)}
    with behind(library, **limits) as client:
        assert client.post("/v1/search", headers={**origin, **SENT}, **asked).status_code == 200
        refused = client.post("/v1/search", headers=origin, **asked)
        assert refused.status_code == 403
        for word in ("https://photos.example", "127.0.0.1:8321", "X-Forwarded-Host", "TRUSTED"):
            assert word in refused.json()["detail"]
        spoofed = {**origin, **SENT, "x-forwarded-host": "127.0.0.1, evil.example"}
        assert client.post("/v1/search", headers=spoofed, **asked).status_code == 421
    with behind(library, ("203.0.113.9", 5), **limits) as client:
        assert client.post("/v1/search", headers={**origin, **SENT}, **asked).status_code == 403
    networks = {"trusted_proxies": ("203.0.113.0/24",), **limits}
    with behind(library, ("203.0.113.9", 5), **networks) as client:
        assert client.post("/v1/search", headers={**origin, **SENT}, **asked).status_code == 200


def test_what_the_browser_calls_same_origin_is_not_refused_for_a_name(
    library: Library, key: str
) -> None:
    with behind(library) as client:
        headers = {"origin": "https://photos.example", "x-api-key": key}
        for site, status in (("same-origin", 200), ("same-site", 403), ("cross-site", 403)):
            answer = client.post(
                "/v1/search",
                json={"expression": "dog"},
                headers={**headers, "sec-fetch-site": site},
            )
            assert answer.status_code == status


def test_health_is_told_under_every_name_and_loopback_is_always_a_name(
    library: Library, key: str
) -> None:
    with behind(library, allowed_hosts=("photos.example",)) as client:
        for host in ("127.0.0.1:8000", "localhost", "[::1]:8000", "127.0.0.2", "10.1.2.3", "api"):
            assert client.get("/healthz", headers={"host": host}).status_code == 200
            assert client.get("/readyz", headers={"host": host}).status_code == 200
        for host, status in (("127.0.0.2:8321", 200), ("localhost", 200), ("api", 421)):
            answer = client.get("/v1/albums", headers={"host": host, "x-api-key": key})
            assert answer.status_code == status


def test_cookie_is_secure_where_a_trusted_proxy_says_https(library: Library, key: str) -> None:
    for peer, secure in ((PROXY, True), (("203.0.113.9", 5), False)):
        with behind(library, peer, trusted_proxies=("127.0.0.1",)) as client:
            answer = client.post("/v1/session", json={"key": key}, headers=SENT)
            assert ("secure" in answer.headers["set-cookie"].lower()) == secure
            gone = client.delete("/v1/session", headers=SENT).headers["set-cookie"]
            assert ("secure" in gone.lower()) == secure


@pytest.mark.parametrize("stripped", [True, False])
@pytest.mark.parametrize("told", ["setting", "header"])
def test_everything_works_below_a_path(
    library: Library, key: str, stripped: bool, told: str
) -> None:
    limits = {"root_path": "/my/photos", "max_upload_mib": 1} if told == "setting" else {}
    sent = SENT if told == "setting" else {**SENT, "x-forwarded-prefix": "/my/photos/"}
    at = "" if stripped else "/my/photos"
    with behind(library, address="https://photos.example", **limits) as client:
        client.headers.update(sent)
        script = re.search(r'src="(static/\w+/js/main.js)"', client.get(f"{at}/").text)
        assert script is not None
        assert client.get(f"{at}/{script[1]}").status_code == 200
        assert client.get(f"{at}/healthz").status_code == 200
        document = client.get(f"{at}/v1/openapi.json").json()
        assert document["servers"] == [{"url": "/my/photos"}]
        answer = client.post(f"{at}/v1/session", json={"key": key})
        assert "path=/my/photos;" in answer.headers["set-cookie"].lower() + ";"
        cookie = {"cookie": answer.headers["set-cookie"].partition(";")[0]}
        assert client.get(f"{at}/v1/albums", headers=cookie).json()["albums"]
        missing = client.get(f"{at}/v1/photos/99", headers=cookie)
        assert missing.json()["instance"] == "/my/photos/v1/photos/99"
        # Limits and checks know the route by its own path.
        photos = [("files", ("a.png", b"x" * (300 << 10)))]
        sent_photos = client.post(f"{at}/v1/albums/1/photos", files=photos, headers=cookie)
        assert sent_photos.status_code == 200
        navigates = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
        assert client.get(f"{at}/", headers=navigates).status_code == 200
        assert client.get(f"{at}/v1/albums", headers=cookie | navigates).status_code == 403


def test_page_below_a_path_is_found_without_its_last_slash(library: Library) -> None:
    with behind(library, root_path="/photos") as client:
        answer = client.get("/photos", follow_redirects=True)
        assert answer.url.path == "/photos/"
        assert "<title>Referent</title>" in answer.text


@pytest.mark.parametrize("prefix", ["//evil.example", "/a/../..", "photos", "/a?b", "/é", "/."])
def test_prefix_that_is_no_path_is_left_out(library: Library, prefix: str) -> None:
    with behind(library) as client:
        answer = client.get("/v1/openapi.json", headers={"x-forwarded-prefix": prefix.encode()})
        assert "servers" not in answer.json()
