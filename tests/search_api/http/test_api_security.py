"""What the HTTP API refuses: strangers, foreign pages, paths outside, bombs and floods."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from indexer.db.tables import Photo, Root
from indexer.folders.own_output import MARKER
from search_api.errors import RefusedToStart, Unauthenticated
from search_api.http.app import create_app
from search_api.http.keys import authenticate, create_key, list_keys, revoke_key
from search_api.http.server_settings import ServerSettings
from search_api.http.sessions import COOKIE, Sessions
from search_api.http.trust import is_loopback
from search_api.search.uploads import safe_name
from tests.support.library import Library, make_library

LIMITS = {"require_keys": True, "max_body_kib": 4, "max_upload_mib": 1, "max_upload_files": 3}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """A library that is served."""
    made = make_library(tmp_path_factory.mktemp("security"), 4)
    yield made
    made.engine.close()


@pytest.fixture
def client(library: Library) -> Iterator[TestClient]:
    """A stranger's end of a server that asks for keys."""
    app = create_app(
        library.settings,
        host="127.0.0.1",
        engine=library.engine,
        warm_up=False,
        limits=ServerSettings(**LIMITS),
    )
    with TestClient(app, base_url="http://photos.example") as made:
        yield made


@pytest.fixture(scope="module")
def keys(library: Library) -> dict[str, dict[str, str]]:
    """Headers with a key of each scope."""
    return {
        scope: {"x-api-key": create_key(library.engine.catalog, scope, [scope])}
        for scope in ("read", "write", "admin")
    }


def test_server_that_others_reach_does_not_start_without_a_key(tmp_path: Path) -> None:
    made = make_library(tmp_path, 1)
    for host in ("0.0.0.0", "192.168.1.5", "::", None):
        with pytest.raises(RefusedToStart, match="referent keys create"):
            create_app(made.settings, host=host, engine=made.engine, warm_up=False)
    create_app(made.settings, host="127.0.0.1", engine=made.engine, warm_up=False)
    create_key(made.engine.catalog, "me", ["read"])
    app = create_app(made.settings, host="0.0.0.0", engine=made.engine, warm_up=False)
    with TestClient(app, base_url="http://photos.example") as client:
        assert client.get("/v1/photos").status_code == 401
    made.engine.close()


def test_only_loopback_names_count_as_loopback() -> None:
    assert all(is_loopback(h) for h in ("127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost"))
    assert not any(is_loopback(h) for h in ("0.0.0.0", "::", "10.0.0.1", "localhost.evil", ""))


def test_every_route_but_health_asks_for_a_key(client: TestClient) -> None:
    open_routes = {"/healthz", "/readyz", "/v1/session"}
    document = client.get("/v1/openapi.json").json()
    for path, methods in document["paths"].items():
        if path in open_routes:
            continue
        for method in methods:
            filled = (
                path.replace("{run_id}", "00000000-0000-4000-8000-000000000000")
                .replace("{action}", "pause")
                .replace("{photo_id}", "1")
                .replace("{album_id}", "1")
                .replace("{job_id}", "1")
            )
            body = {} if method in ("get", "delete") else {"json": {}}
            answer = client.request(method, filled, **body)
            assert answer.status_code == 401, (method, path, answer.text)
            assert answer.headers["www-authenticate"]


def test_scopes_bound_what_a_key_may_do(
    client: TestClient, keys: dict[str, dict[str, str]]
) -> None:
    def status(method: str, path: str, scope: str, **body: object) -> int:
        return client.request(method, path, headers=keys[scope], **body).status_code

    assert status("GET", "/v1/photos", "read") == 200
    assert status("POST", "/v1/albums", "read", json={"name": "x"}) == 403
    assert status("POST", "/v1/albums", "write", json={"name": "x"}) == 201
    assert status("DELETE", "/v1/albums/1", "write") == 403
    assert status("GET", "/v1/photos?server_path=true", "write") == 403
    assert status("GET", "/v1/albums?roots=true", "write") == 403
    assert status("GET", "/v1/photos?server_path=true", "admin") == 200


def test_server_folder_is_added_only_where_a_setting_allows_it(
    client: TestClient, library: Library, keys: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    body = {"path": str(tmp_path)}
    answer = client.post("/v1/albums/1/roots", json=body, headers=keys["admin"])
    assert answer.status_code == 403
    assert "REFERENT_ALLOW_SERVER_FOLDERS" in answer.json()["detail"]
    app = create_app(
        library.settings,
        host="127.0.0.1",
        engine=library.engine,
        warm_up=False,
        limits=ServerSettings(require_keys=True, allow_server_folders=True),
    )
    with TestClient(app) as allowed:
        made = allowed.post("/v1/albums", json={"name": "folder"}, headers=keys["write"]).json()
        at = f"/v1/albums/{made['id']}/roots"
        assert allowed.post(at, json=body, headers=keys["write"]).status_code == 403
        assert allowed.post(at, json=body, headers=keys["admin"]).status_code == 200
        for bad in ("relative", "/no/such/folder", "http://example.com/x", "file:///etc"):
            answer = allowed.post(at, json={"path": bad}, headers=keys["admin"])
            assert answer.status_code == 422, bad


def test_keys_are_kept_hashed_and_end_when_revoked(library: Library) -> None:
    catalog = library.engine.catalog
    key = create_key(catalog, "short", ["write"])
    number = int(key.split("_")[1])
    with catalog.engine.connect() as connection:
        stored = connection.exec_driver_sql("select hash from api_keys").scalars().all()
    assert not any(key.split("_", 2)[2] in text for text in stored)
    assert authenticate(catalog, key).scopes == {"read", "write"}
    for wrong in (key[:-1], key[:-1] + ("A" if key[-1] != "A" else "B"), "rf_9999_" + "a" * 43, ""):
        with pytest.raises(Unauthenticated):
            authenticate(catalog, wrong)
    revoke_key(catalog, number)
    with pytest.raises(Unauthenticated):
        authenticate(catalog, key)
    assert next(k for k in list_keys(catalog) if k.id == number).revoked_at


def test_key_is_exchanged_for_a_cookie_that_scripts_cannot_read(
    client: TestClient, library: Library
) -> None:
    key = create_key(library.engine.catalog, "page", ["read"])
    assert client.get("/v1/photos").status_code == 401
    opened = client.post("/v1/session", json={"key": key})
    cookie = opened.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert key not in cookie
    assert client.get("/v1/photos").status_code == 200
    assert client.post("/v1/albums", json={"name": "y"}).status_code == 403
    revoke_key(library.engine.catalog, int(key.split("_")[1]))
    assert client.get("/v1/photos").status_code == 401
    assert client.delete("/v1/session").status_code == 204
    assert client.post("/v1/session", json={"key": "rf_1_nope"}).status_code == 401


def test_forged_and_expired_sessions_are_refused(library: Library, tmp_path: Path) -> None:
    catalog = library.engine.catalog
    number = int(create_key(catalog, "page", ["read"]).split("_")[1])
    file = tmp_path / "session-secret"
    sessions = Sessions.open(file, "", 3600)
    assert Sessions.open(file, "", 3600).read(catalog, sessions.issue(catalog, number)) == number
    assert file.stat().st_mode & 0o777 == 0o600
    token = sessions.issue(catalog, number)
    other = Sessions(b"x", 9).issue(catalog, number)
    stranger = f"{number + 1}{token[len(str(number)) :]}"
    forged = [stranger, token[:-1] + "x", "", "..", "a.b.c", other]
    over = Sessions.open(file, "", -10).issue(catalog, number)
    for bad in [*forged, over, "5.é.x"]:
        with pytest.raises(Unauthenticated):
            sessions.read(catalog, bad)
    assert sessions.read(catalog, token) == number


def test_signing_out_ends_the_session_on_the_server(client: TestClient, library: Library) -> None:
    key = create_key(library.engine.catalog, "page", ["read"])
    assert client.post("/v1/session", json={"key": key}).status_code == 200
    cookie = client.cookies[COOKIE]
    assert client.get("/v1/photos").status_code == 200
    assert client.delete("/v1/session").status_code == 204
    client.cookies.set(COOKIE, cookie)  # whoever has copied it
    assert client.get("/v1/photos").status_code == 401
    client.cookies.clear()
    assert client.delete("/v1/session").status_code == 204


def test_forged_cookie_is_refused(client: TestClient) -> None:
    client.cookies.set(COOKIE, "1.99999999999.abcdef")
    assert client.get("/v1/photos").status_code == 401


def test_foreign_names_and_foreign_pages_are_refused_on_loopback(library: Library) -> None:
    app = create_app(library.settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    with TestClient(app, base_url="http://127.0.0.1:8321") as client:
        assert client.get("/v1/photos").status_code == 200
        for host in ("evil.example", "evil.example:8321", "127.0.0.1.evil.example", ""):
            assert client.get("/v1/photos", headers={"host": host}).status_code == 421
        for origin in ("http://evil.example", "null", "http://127.0.0.1:9999"):
            answer = client.post("/v1/albums", json={"name": "z"}, headers={"origin": origin})
            assert answer.status_code == 403
            assert "access-control-allow-origin" not in answer.headers
        assert client.get("/v1/photos", headers={"sec-fetch-site": "cross-site"}).status_code == 403
        same = {"origin": "http://127.0.0.1:8321", "sec-fetch-site": "same-origin"}
        assert client.get("/v1/photos", headers=same).status_code == 200


def test_answers_keep_browsers_strict(client: TestClient) -> None:
    for path in ("/healthz", "/v1/photos", "/nope"):
        headers = client.get(path).headers
        assert "'unsafe-inline'" not in headers["content-security-policy"]
        assert "script-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/v1/photos/..%2f..%2fetc%2fpasswd/original",
        "/v1/photos/1/../../../etc/passwd",
        "/v1/photos/-1/original",
        "/v1/photos/1e9/original",
        "/v1/search/..%2f/hits",
    ],
)
def test_traversal_reaches_nothing(
    client: TestClient, keys: dict[str, dict[str, str]], path: str
) -> None:
    answer = client.get(path, headers=keys["admin"])
    assert answer.status_code in (404, 422)
    assert b"import" not in answer.content


def test_served_file_lies_inside_its_album_whatever_the_catalog_says(
    client: TestClient, library: Library, keys: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(b"secret")
    link = library.photos / "link.jpg"
    link.symlink_to(secret)
    catalog = library.engine.catalog
    outside = (b"../../secret.jpg", str(secret).encode(), b"nope.jpg", b"2020")
    for path, links in ((b"link.jpg", False), *((path, True) for path in outside)):
        with catalog.session() as session:
            session.execute(update(Root).values(follow_links=links))
            session.execute(update(Photo).where(Photo.id == 4).values(path=path))
        for kind in ("original", "thumbnail"):
            answer = client.get(f"/v1/photos/4/{kind}", headers=keys["admin"])
            assert answer.status_code == 410, (path, kind)
            assert b"secret" not in answer.content.replace(b"secret.jpg", b"")
            assert str(tmp_path).encode() not in answer.content
    link.unlink()


def test_names_that_look_like_addresses_are_only_names(
    client: TestClient, keys: dict[str, dict[str, str]]
) -> None:
    for text in (
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "gopher://x",
        "\\\\host\\x",
    ):
        assert (
            client.get("/v1/photos", params={"album": text}, headers=keys["read"]).status_code
            == 404
        )
        body = {"expression": "dog", "filters": {"path": text}}
        answer = client.post("/v1/search", json=body, headers=keys["read"])
        assert answer.status_code == 200
        assert answer.json()["run"]["coverage"]["filtered"] == 0


def test_oversized_body_is_refused_also_while_it_streams(
    client: TestClient, keys: dict[str, dict[str, str]]
) -> None:
    big = b'{"expression": "' + b"a" * 8192 + b'"}'
    headers = keys["read"] | {"content-type": "application/json"}
    assert client.post("/v1/search", content=big, headers=headers).status_code == 413
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        for _ in range(100_000):
            read += 1024
            yield b"a" * 1024

    assert client.post("/v1/search", content=endless(), headers=headers).status_code == 413
    long = client.post("/v1/search", json={"expression": "a" * 301}, headers=keys["read"])
    assert long.status_code == 422


def bomb_png(side: int = 30_000) -> bytes:
    """A PNG of a few KB that claims side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1_000_000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def test_bombs_archives_and_scripts_are_refused_when_uploaded(
    client: TestClient, library: Library, keys: dict[str, dict[str, str]]
) -> None:
    album = client.post("/v1/albums", json={"name": "bombs"}, headers=keys["write"]).json()["id"]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("../../escape.jpg", b"\0" * 1_000_000)
    at = f"/v1/albums/{album}/photos"
    bad = {
        "bomb.png": bomb_png(),
        "archive.jpg": archive.getvalue(),
        "page.svg": b"<svg onload='alert(1)' xmlns='http://www.w3.org/2000/svg'/>",
    }
    answer = client.post(at, files=[("files", item) for item in bad.items()], headers=keys["write"])
    assert answer.status_code == 200
    assert all(each["path"] is None and each["reason"] for each in answer.json()["files"])
    assert answer.json()["job"] is None
    uploads = library.settings.home / "uploads"
    kept = {path.name for path in uploads.rglob("*") if path.is_file()}
    assert kept <= {MARKER}
    many = [("files", (f"{n}.png", b"x")) for n in range(4)]
    assert client.post(at, files=many, headers=keys["write"]).status_code == 422
    huge = [("files", ("huge.png", b"x" * (2 << 20)))]
    assert client.post(at, files=huge, headers=keys["write"]).status_code == 413


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\a.jpg", "a.jpg"),
        (".hidden.png", "hidden.png"),
        ("a\x00b\n.png", "a_b_.png"),
        ("/", "photo"),
        ("Käse <1>.JPG", "Käse _1_.JPG"),
    ],
)
def test_uploaded_name_holds_no_folder_and_nothing_odd(sent: str, kept: str) -> None:
    assert safe_name(sent) == kept
    assert len(safe_name("é" * 300 + ".jpg").encode()) < 255
