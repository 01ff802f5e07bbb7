"""An album looked at without a search, and searches sorted and folded, in a real browser."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from sqlalchemy import select, update

from indexer.db.tables import Photo
from tests.support.library import Library, make_library
from tests.support.page import (
    Visit,
    chromium,
    let_match,
    matched,
    search,
    serving,
    violations,
)

pytestmark = pytest.mark.browser
PHOTOS = 30
MANY = 100_000
PHONE = {"viewport": {"width": 390, "height": 780}, "has_touch": True}
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for every test here."""
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Photos of three years, all of which match; one that lies there twice, one without a date."""
    made = make_library(tmp_path_factory.mktemp("look"), PHOTOS)
    shutil.copy(made.photos / "2020" / "000.jpg", made.photos / "2021" / "again.jpg")
    made.index()
    with made.engine.catalog.session() as session:
        photos = session.scalars(select(Photo).order_by(Photo.path)).all()
        for number, photo in enumerate(photos):
            photo.taken_at = datetime(2020 + number // 11, 1 + number % 11, 3, 14, 5)
            photo.taken_source = "camera"
        first = select(Photo.id).where(Photo.path == b"2020/003.jpg").scalar_subquery()
        session.execute(
            update(Photo)
            .where(Photo.id == first)
            .values(camera="Pixel 8", lat=48.1372, lon=11.5756, taken_offset_min=120)
        )
        photos[-1].taken_at = None
    let_match(made, "small", 1.0)
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def address(library: Library) -> Iterator[str]:
    """A server that asks nobody for a key."""
    with serving(library) as url:
        yield url


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page at its start; an error in a script or against the CSP fails the test."""
    with Visit(browser, address) as page:
        yield page


def look(page: Page) -> None:
    page.locator("#album option[value=small]").wait_for(state="attached")
    page.select_option("#album", "small")
    page.click("#open-look")
    expect(page.locator(".wall-tile.loaded").first).to_be_visible()


def test_album_is_looked_at_by_month_and_back_leads_out_of_it(page: Page) -> None:
    expect(page.get_by_role("button", name=f"Look through {PHOTOS + 1} photos")).to_be_visible()
    look(page)
    expect(page).to_have_url(re.compile(r"\?look=newest&album=small$"))
    expect(page.locator("#look-title")).to_have_text("small")
    expect(page.locator("#look-facts")).to_have_text(f"{PHOTOS} photos")
    expect(page.locator(".wall-heading h2").first).to_have_text(re.compile(r"^\w+ 2022$"))
    expect(page.locator("#examples")).to_be_hidden()
    page.reload()
    expect(page.locator(".wall-tile.loaded").first).to_be_visible()
    expect(page.locator("#album")).to_have_value("small")
    page.go_back()
    expect(page.locator("#browse")).to_be_hidden()
    expect(page.locator("#examples")).to_be_visible()


def test_order_is_chosen_has_an_address_and_undated_photos_come_last(page: Page) -> None:
    look(page)
    page.select_option("#look-order", "oldest")
    expect(page.locator(".wall-heading h2").first).to_have_text("January 2020")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(page.locator(".wall-heading h2").last).to_have_text("Without a date")
    page.select_option("#look-order", "folder")
    expect(page.locator(".wall-heading h2")).to_have_text(["2020", "2021", "2022"])
    expect(page).to_have_url(re.compile("look=folder"))
    page.go_back()
    expect(page.locator("#look-order")).to_have_value("oldest")
    expect(page.locator(".wall-heading h2").first).to_have_text(re.compile("2020|2021|2022|With"))


def test_photo_opens_with_its_data_turns_and_is_found_again_by_its_address(page: Page) -> None:
    look(page)
    page.select_option("#look-order", "name")
    page.get_by_role("button", name="003.jpg").click()
    box = page.locator("#lightbox")
    about = box.locator(".facts")
    for fact in ("2020/003.jpg", "small", "2:05", "UTC+02:00", "Pixel 8", "48.1372, 11.5756"):
        expect(about).to_contain_text(fact)
    expect(about).to_contain_text(re.compile(r"\d+ × \d+ px, \d"))
    expect(box.locator(".verdict")).to_have_count(0)
    expect(box.locator(".place-in-list")).to_have_text(f"4 of {PHOTOS}")
    page.keyboard.press("ArrowRight")
    expect(box.locator(".place-in-list")).to_have_text(f"5 of {PHOTOS}")
    link = page.url
    page.goto("about:blank")
    page.goto(link)
    expect(box.locator(".place-in-list")).to_have_text(f"5 of {PHOTOS}")
    expect(box).to_have_attribute("aria-label", re.compile("004"))
    page.keyboard.press("Escape")
    expect(box).to_be_hidden()
    expect(page.get_by_role("button", name="004.png")).to_be_focused()


def test_keys_go_through_the_wall_and_open_a_photo(page: Page) -> None:
    look(page)
    page.select_option("#look-order", "name")
    page.get_by_role("button", name="000.jpg").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("button", name="001.png")).to_be_focused()
    page.keyboard.press("End")
    expect(page.get_by_role("button", name="029.webp")).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    focused = page.evaluate("document.activeElement.ariaLabel")
    assert focused and not focused.startswith("000")
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("button", name="000.jpg")).to_be_focused()
    assert page.locator(".wall-tile .open[tabindex='0']").count() == 1
    page.keyboard.press("Enter")
    expect(page.locator("#lightbox")).to_be_visible()


def huge(page: Page) -> None:
    """Let the server tell of an album of a hundred thousand photos, a thousand a month."""
    months = [f"{2024 - number // 12}-{12 - number % 12:02d}" for number in range(100)]
    base = {"album": "small", "width": 96, "height": 72, "format": "PNG", "size_bytes": 9}
    none = ("taken_source", "taken_offset_min", "camera", "lat", "lon", "error", "note")

    def timeline(route: Route) -> None:
        groups = [{"key": month, "photos": MANY // 100} for month in months]
        body: dict[str, Any] = {"photos": MANY, "searchable": MANY, "unreadable": 0, "place": None}
        route.fulfill(body=json.dumps({"revision": "1", "groups": groups, **body}))

    def photos(route: Route) -> None:
        asked = parse_qs(urlsplit(route.request.url).query)
        first, size = int(asked["first"][0]), int(asked["size"][0])
        some = [
            {**base, **dict.fromkeys(none), "id": n + 1, "path": f"{n}.png", "status": "indexed",
             "version": "1", "taken_at": f"{months[n // 1000]}-01T10:00:00"}
            for n in range(first, min(MANY, first + size))
        ]  # fmt: skip
        route.fulfill(body=json.dumps({"revision": "1", "photos": some}))

    page.route(re.compile(r"/v1/timeline\?"), timeline)
    page.route(re.compile(r"/v1/timeline/photos"), photos)
    page.route(
        re.compile(r"/thumbnail"),
        lambda route: route.fulfill(body=PIXEL, content_type="image/png"),
    )


@pytest.mark.long
def test_hundred_thousand_photos_leave_the_document_small_wherever_one_scrolls(page: Page) -> None:
    huge(page)
    look(page)
    most = 0
    seen = set()
    for share in (0, 250, 503, 777, 1000):
        page.locator("#scrub").fill(str(share))
        expect(page.locator(".wall-tile.loaded").first).to_be_visible()
        seen.add(page.locator("#scrub").get_attribute("aria-valuetext"))
        most = max(most, page.evaluate("document.querySelectorAll('#wall *').length"))
    assert most < 600
    assert len(seen) == 5
    last = page.locator(".wall-tile .open").last
    expect(last).to_have_attribute("aria-label", re.compile(rf"^{MANY - 1}\.png"))
    assert (
        page.locator(".wall-tile").last.evaluate("tile => tile.getBoundingClientRect().bottom")
        <= 800
    )


def test_nothing_moves_while_photos_come(page: Page) -> None:
    huge(page)
    page.evaluate(
        """() => {
            window.shifted = 0;
            new PerformanceObserver((list) => {
                for (const { hadRecentInput, value } of list.getEntries()) {
                    if (!hadRecentInput) window.shifted += value;
                }
            }).observe({ type: "layout-shift", buffered: false });
        }"""
    )
    look(page)
    page.evaluate("window.shifted = 0")
    for _ in range(5):
        page.mouse.wheel(0, 700)
        expect(page.locator(".wall-tile.loaded").first).to_be_visible()
    page.wait_for_function("() => document.querySelectorAll('.wall-tile.loaded').length > 20")
    assert page.evaluate("window.shifted") == 0


def test_matches_are_sorted_by_name_and_date_and_the_order_has_an_address(page: Page) -> None:
    search(page)
    everything = matched(page)
    page.select_option("#order", "name")
    expect(page).to_have_url(re.compile("order=name"))
    expect(page.locator("#live")).to_contain_text("match")
    tiles = page.locator("#grid .tile .open")
    expect(tiles).to_have_count(everything)
    names = [
        label.split(",")[0] for label in tiles.evaluate_all("all => all.map(b => b.ariaLabel)")
    ]
    assert names[:3] == ["000.jpg", "003.jpg", "006.jpg"]
    page.select_option("#order", "oldest")
    expect(tiles.first).to_have_attribute("aria-label", re.compile("^000.jpg"))
    page.go_back()
    expect(page.locator("#order")).to_have_value("name")
    page.go_back()
    expect(page.locator("#order")).to_have_value("confidence")


def test_alike_matches_fold_into_a_tile_with_their_number(page: Page) -> None:
    search(page)
    everything = matched(page)
    page.click("#fold")
    expect(page.locator("#fold")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#grid .folded").first).to_be_visible()
    shown = page.locator("#grid .tile").count()
    behind = [int(n) - 1 for n in page.locator("#grid .folded").all_inner_texts()]
    assert shown + sum(behind) == everything
    folded = page.locator("#grid .tile", has=page.locator(".folded")).first
    number = int(folded.locator(".folded").inner_text())
    folded.hover()
    folded.locator(".pick").click()
    expect(page.locator("#cut-label")).to_have_text(f"Cut out {number} selected")
    page.keyboard.press("Escape")
    page.click("#fold")
    expect(page.locator("#grid .tile")).to_have_count(everything)


def test_same_bytes_are_named_with_their_places(page: Page) -> None:
    look(page)
    page.select_option("#look-order", "name")
    page.get_by_role("button", name="000.jpg").click()
    expect(page.locator("#lightbox .facts")).to_contain_text("Also at")
    expect(page.locator("#lightbox .facts")).to_contain_text("small/2021/again.jpg")


def test_first_view_is_small_and_leaves_the_world_for_later(browser: Browser, address: str) -> None:
    with Visit(browser, "about:blank") as page:
        bytes_of: dict[str, int] = {}
        page.on("response", lambda answer: bytes_of.update({answer.url: len(answer.body())}))
        page.goto(f"{address}/?look=newest")
        expect(page.locator(".wall-tile.loaded").first).to_be_visible()
        page.wait_for_timeout(1500)  # what comes by itself has come, as what is asked for again has
    written = {url: size for url, size in bytes_of.items() if url.endswith((".js", ".css"))}
    assert len(written) > 20 and sum(written.values()) <= 300_000
    assert not any(url.endswith("world.js") for url in written)


def test_photos_lie_on_a_map_and_one_searches_in_what_it_shows(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    look(page)
    page.select_option("#look-order", "map")
    expect(page).to_have_url(re.compile("look=map"))
    expect(page.locator("#map .land")).to_have_attribute("d", re.compile("^M"))
    north = page.locator("#map .land").evaluate("land => land.getBBox().y")
    assert north < -800  # a path is drawn as far as it can be read
    expect(page.locator("#look-facts")).to_contain_text("say where they were taken")
    spots = page.locator(".spot")
    expect(spots.first).to_be_visible()
    clusters = spots.count()
    assert clusters < PHOTOS
    several = page.get_by_role("button", name=re.compile("photos near")).first
    several.click()
    expect(page.locator("#map .land")).to_be_visible()
    page.locator("#map").focus()
    for key in ("+", "+", "ArrowLeft", "-"):
        page.keyboard.press(key)
    page.get_by_role("button", name="Search in this area").click()
    expect(page.locator("#expression")).to_be_focused()
    west, east = (float(page.locator(f"#f-{side}").input_value()) for side in ("west", "east"))
    assert -180 <= west < east <= 180
    search(page)
    expect(page.locator("#live")).to_contain_text(re.compile(rf"verified \d+ of {PHOTOS + 1}"))
    assert all(url.startswith((page.url.split("?")[0], "data:", "blob:")) for url in asked)


def test_photo_on_the_map_opens_and_back_leads_to_the_map(page: Page) -> None:
    page.route(
        re.compile(r"/v1/places"),
        lambda route: route.fulfill(json={
            "photos": 30, "located": 1,
            "bounds": {"west": 11.5, "east": 11.5, "south": 48.1, "north": 48.1},
            "clusters": [{"photos": 1, "lon": 11.5, "lat": 48.1, "photo_id": 1,
                          "box": {"west": 11.5, "east": 11.5, "south": 48.1, "north": 48.1}}],
        }),
    )  # fmt: skip
    look(page)
    page.select_option("#look-order", "map")
    page.get_by_role("button", name="1 photo at 48.10, 11.50").click()
    expect(page.locator("#lightbox .place-in-list")).to_have_text("1 of 1")
    expect(page).to_have_url(re.compile("look=map.*photo=1"))
    page.go_back()
    expect(page.locator("#lightbox")).to_be_hidden()
    expect(page.locator("#map")).to_be_visible()


@pytest.mark.parametrize("screen", [PHONE, {}], ids=["phone", "desktop"])
def test_map_is_accessible_and_fits(browser: Browser, address: str, screen: dict[str, Any]) -> None:
    with Visit(browser, f"{address}/?look=map&album=small", **screen) as page:
        expect(page.locator(".spot").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", [PHONE, {}], ids=["phone", "desktop"])
def test_looking_is_accessible_and_fits(
    browser: Browser, address: str, scheme: str, screen: dict[str, Any]
) -> None:
    with Visit(browser, address, color_scheme=scheme, **screen) as page:
        look(page)
        width = page.evaluate("innerWidth")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found = violations(page)
        page.locator(".wall-tile .open").first.click()
        expect(page.locator("#lightbox .facts")).to_be_visible()
        found += violations(page)
    assert found == []
