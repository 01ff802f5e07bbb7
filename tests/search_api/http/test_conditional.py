"""HTTP as browsers and monitors use it: HEAD, 304, and names in an upload's extended form."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from email.utils import formatdate

import pytest
from PIL import Image
from starlette.testclient import TestClient

from search_api.http.app import create_app
from search_api.http.named_parts import with_plain_name
from tests.support.library import EXPRESSION, Library, make_library


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    made = make_library(tmp_path_factory.mktemp("conditional"), 3)
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def client(library: Library) -> Iterator[TestClient]:
    app = create_app(library.settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    with TestClient(app, base_url="http://127.0.0.1") as made:
        yield made


PICTURES = ("/", "/v1/photos/1/thumbnail", "/v1/photos/1/original", "/static/css/base.css")


@pytest.mark.parametrize("path", PICTURES)
def test_what_a_browser_has_already_is_not_sent_again(client: TestClient, path: str) -> None:
    whole = client.get(path)
    assert whole.status_code == 200 and whole.content
    tag = whole.headers["etag"]
    for tags in (tag, f'"other", W/{tag.removeprefix("W/")}', "*"):
        again = client.get(path, headers={"If-None-Match": tags})
        assert (again.status_code, again.content) == (304, b""), tags
        assert again.headers["etag"] == tag
        assert again.headers["cache-control"] == whole.headers["cache-control"]
        assert "content-length" not in again.headers
        assert "content-security-policy" in again.headers
    assert client.get(path, headers={"If-None-Match": '"other"'}).content == whole.content
    if (changed := whole.headers.get("last-modified")) is not None:
        assert client.get(path, headers={"If-Modified-Since": changed}).status_code == 304
        before = {"If-Modified-Since": formatdate(0, usegmt=True)}
        assert client.get(path, headers=before).status_code == 200
        assert client.get(path, headers={"If-Modified-Since": "yesterday"}).status_code == 200
        both = {"If-Modified-Since": changed, "If-None-Match": '"other"'}
        assert client.get(path, headers=both).status_code == 200


def test_an_edited_photo_is_sent_again(client: TestClient, library: Library) -> None:
    tag = client.get("/v1/photos/2/original").headers["etag"]
    (name,) = (library.photos / p for p in [client.get("/v1/photos/2").json()["path"]])
    with Image.open(name) as image:
        image.convert("RGB").rotate(180).save(name)
    assert client.get("/v1/photos/2/original", headers={"If-None-Match": tag}).status_code == 200


def test_head_answers_as_get_does_without_the_body(client: TestClient) -> None:
    run = client.post("/v1/search", json={"expression": EXPRESSION, "threshold": 0}).json()["run"]
    paths = (
        *PICTURES, "/healthz", "/v1/albums", "/v1/photos/1", "/v1/openapi.json", "/metrics",
        f"/v1/search/{run['id']}", f"/v1/search/{run['id']}/hits.csv", "/v1/photos/999/thumbnail",
        f"/v1/search/{run['id']}/grefcoco.zip", "/nothing",
    )  # fmt: skip
    for path in paths:
        got, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (got.status_code, b""), path
        for name in ("content-type", "etag", "content-length"):
            if path not in ("/metrics", "/v1/albums") or name != "content-length":
                assert head.headers.get(name) == got.headers.get(name), (path, name)
    tag = client.get("/").headers["etag"]
    assert client.head("/", headers={"If-None-Match": tag}).status_code == 304
    assert client.head("/v1/search").status_code == 405


def test_an_upload_named_only_in_the_extended_form_is_taken(client: TestClient) -> None:
    album = client.post("/v1/albums", json={"name": "uploads"}).json()["id"]
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(picture, "PNG")

    def send(disposition: bytes, *, kind: bytes = b"image/png") -> object:
        body = b'--b\r\nContent-Disposition: form-data; name="files"' + disposition
        body += b"\r\nContent-Type: " + kind + b"\r\n\r\n" + picture.getvalue() + b"\r\n--b--\r\n"
        return client.post(
            f"/v1/albums/{album}/photos",
            content=body,
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        )

    answer = send(b"; filename*=UTF-8''%C3%9Cber%20uns.png")
    assert answer.status_code == 200, answer.text
    (taken,) = answer.json()["files"]
    assert (taken["name"], taken["path"]) == ("Über uns.png", "Über uns.png")
    nameless = send(b"")
    assert nameless.status_code == 422
    told = nameless.json()["errors"][0]["message"]
    assert told == "must be a file: a part of the form with a filename"


@pytest.mark.parametrize(
    ("given", "filename"),
    [
        (b"form-data; name=a; filename*=utf-8'en'%e2%82%ac.png", "€.png"),
        (b"form-data; name=a; filename*=iso-8859-1''%fc.png", "ü.png"),
        (b"form-data; name=a; filename*=nonsense''a.png", "a.png"),
        (b"form-data; name=a; filename*=a%22b.png", 'a\\"b.png'),
    ],
)
def test_an_extended_name_becomes_a_plain_one(given: bytes, filename: str) -> None:
    assert with_plain_name(given) == given + f'; filename="{filename}"'.encode()


def test_a_plain_name_is_left_as_it_is() -> None:
    for given in (b"form-data; name=a; filename=x.png; filename*=UTF-8''y.png", b"form-data", None):
        assert with_plain_name(given) == given


def test_page_names_files_that_browsers_keep_and_no_file_of_another_version(
    client: TestClient,
) -> None:
    named = re.findall(r'(?:src|href)="(static/[^"]+)"', client.get("/").text)
    assert len(named) > 8
    for name in named:
        answer = client.get(f"/{name}")
        assert (answer.status_code, "immutable" in answer.headers["cache-control"]) == (200, True)
    _, version, file = named[-1].split("/", 2)
    for path in (f"/static/{file}", f"/static/{'0' * len(version)}/{file}"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")
    missing = client.get(f"/static/{version}/js/missing.js")
    assert missing.status_code == 404
    assert "immutable" not in missing.headers.get("cache-control", "")
