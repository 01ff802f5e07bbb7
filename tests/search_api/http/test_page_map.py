"""The map of an album in a real browser: two fingers, and a server of map pictures."""

from __future__ import annotations

import base64
import http.server
import math
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from pydantic import ValidationError
from sqlalchemy import update

from indexer.db.tables import Photo
from search_api.http.server_settings import ServerSettings
from tests.support.library import Library, make_library
from tests.support.page import Visit, chromium, serving, violations

PHONE = {"viewport": {"width": 390, "height": 780}, "has_touch": True}
MUNICH = (48.1372, 11.5756)
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Tiles(http.server.BaseHTTPRequestHandler):
    """Answers every address with a picture, and keeps it."""

    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Referer"]))
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.end_headers()
        self.wfile.write(PIXEL)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def tiles() -> Iterator[tuple[str, list[Any]]]:
    """The origin of a server of map pictures, and what it was asked for, from where."""
    asked: list[Any] = []
    handler = type("Asked", (Tiles,), {"asked": asked})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for every test here."""
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Photos of one place."""
    made = make_library(tmp_path_factory.mktemp("map"), 4)
    with made.engine.catalog.session() as session:
        session.execute(update(Photo).values(lat=MUNICH[0], lon=MUNICH[1]))
    yield made
    made.engine.close()


def middle(page: Page, selector: str) -> tuple[float, float]:
    box = page.locator(selector).first.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


@pytest.mark.browser
def test_two_fingers_zoom_the_map_around_what_lies_between_them(
    browser: Browser, library: Library
) -> None:
    with serving(library) as address, Visit(browser, f"{address}/?look=map", **PHONE) as page:
        expect(page.locator(".spot").first).to_be_visible()
        page.locator("#map").scroll_into_view_if_needed()
        before = middle(page, ".spot")
        wide = page.locator("#map svg").first
        seen = float((wide.get_attribute("viewBox") or "").split()[2])
        devtools = page.context.new_cdp_session(page)

        def touch(kind: str, apart: float) -> None:
            points = [{"x": before[0] + side * apart, "y": before[1]} for side in (-1, 1)]
            devtools.send(
                "Input.dispatchTouchEvent",
                {"type": kind, "touchPoints": points if kind != "touchEnd" else []},
            )

        touch("touchStart", 40)
        for apart in (50, 60, 70, 80):
            touch("touchMove", apart)
        touch("touchEnd", 80)
        page.wait_for_function(
            "() => !document.getElementById('map').classList.contains('dragged')"
        )
        now = float((wide.get_attribute("viewBox") or "").split()[2])
        assert seen / now == pytest.approx(2, abs=0.15)
        after = middle(page, ".spot")
        assert math.dist(before, after) < 8
        assert page.locator("#lightbox").is_hidden()


@pytest.mark.browser
def test_map_pictures_come_from_the_server_that_is_named_and_lie_where_the_photos_are(
    browser: Browser, library: Library, tiles: tuple[str, list[Any]]
) -> None:
    origin, asked = tiles
    named = {"map_tiles": f"{origin}/{{z}}/{{x}}/{{y}}.png", "map_attribution": "© the mappers"}
    with (
        serving(library, **named) as address,
        Visit(browser, f"{address}/?look=newest") as page,
    ):
        expect(page.locator(".wall-tile.loaded").first).to_be_visible()
        assert asked == []  # only who opens the map asks for it
        page.select_option("#look-order", "map")
        expect(page.locator(".spot").first).to_be_visible()
        expect(page.locator(".map-source")).to_have_text("© the mappers")
        page.wait_for_function(
            "() => [...document.querySelectorAll('.tiles img')].every((each) => each.naturalWidth)"
        )
        x, y = middle(page, ".spot")
        under = page.evaluate(
            """([x, y]) => document.elementsFromPoint(x, y)
                .find((each) => each.matches(".tiles img")).src""",
            [x, y],
        )
        assert violations(page) == []
    zoom = int(under.removeprefix(origin).split("/")[1])
    lat, lon = math.radians(MUNICH[0]), MUNICH[1]
    column = int((lon + 180) / 360 * 2**zoom)
    row = int((1 - math.asinh(math.tan(lat)) / math.pi) / 2 * 2**zoom)
    assert under == f"{origin}/{zoom}/{column}/{row}.png"
    assert all(re.fullmatch(r"/\d+/\d+/\d+\.png", path) for path, _ in asked)
    assert {referer for _, referer in asked} == {f"{address}/"}


@pytest.mark.browser
def test_policy_admits_pictures_of_that_server_alone_and_of_none_unless_one_is_named(
    browser: Browser, library: Library, tiles: tuple[str, list[Any]]
) -> None:
    origin, _ = tiles
    for named, admitted in ({"map_tiles": f"{origin}/{{z}}/{{x}}/{{y}}"}, f" {origin};"), ({}, ";"):
        with serving(library, **named) as address, Visit(browser, address) as page:
            answer = page.request.get(address)
            policy = answer.headers["content-security-policy"]
            assert f"img-src 'self' blob: data:{admitted}" in policy
            told = page.request.get(f"{address}/v1/places").json()["tiles"]
            assert (told is not None) == bool(named)


@pytest.mark.parametrize(
    "address",
    ["tiles.example/{z}/{x}/{y}.png", "https://tiles.example/{z}/{x}.png", "ftp://a/{z}/{x}/{y}",
     "https://me:key@a.example/{z}/{x}/{y}", "https://a.example/{z}/{x}/{y}/{s}",
     "https://a.example; script-src *;/{z}/{x}/{y}", "https://a.example/{z}/{x}/{y} b.example"],
)  # fmt: skip
def test_address_that_names_no_map_pictures_is_refused(address: str) -> None:
    with pytest.raises(ValidationError, match="no address of map pictures"):
        ServerSettings(map_tiles=address)
