"""The page in a real browser: searching, looking closely, filtering, albums, jobs, keys."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from model.predictor import Predictor
from search_api.errors import Unauthenticated
from search_api.http.keys import authenticate, create_key
from search_api.search import planning
from tests.support.library import EXPRESSION, Library, make_library, paint
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
PHOTOS = 18
MANY = 110


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for every test here."""
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Albums of which EXPRESSION matches a half (`small`), nothing (`none`) and all (`many`)."""
    folder = tmp_path_factory.mktemp("page")
    made = make_library(folder, PHOTOS)
    for number in range(4):
        paint(folder / "others" / f"{number}.png", 100 + number)
    made.add_album(folder / "others", "none")
    for number in range(MANY):
        paint(folder / "many" / f"{number}.png", 200 + number, (48, 32))
    made.add_album(folder / "many", "many")
    let_match(made, "many", 1.0)
    let_match(made, "small", 0.5)
    let_match(made, "none", 0.0)
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


def test_search_streams_hits_into_the_grid_with_a_live_line_and_outlines(page: Page) -> None:
    search(page)
    expect(page.locator("#live")).to_contain_text(f"verified {PHOTOS} of {PHOTOS}")
    expect(page.locator("#grid .tile")).to_have_count(matched(page))
    assert 0 < matched(page) < PHOTOS
    expect(page.locator("#grid .tile .outline path.line").first).to_have_attribute(
        "d", re.compile("^M")
    )
    scores = [int(re.sub(r"\D", "", s)) for s in page.locator("#grid .score").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    expect(page.locator("#spoken")).to_contain_text("match")


def test_masks_are_switched_off_and_on_by_button_and_key(page: Page) -> None:
    search(page)
    outline = page.locator("#grid .outline").first
    expect(outline).to_be_attached()
    page.click("#masks")
    expect(page.locator("#masks")).to_have_attribute("aria-pressed", "false")
    expect(outline).to_have_css("opacity", "0")
    page.keyboard.press("m")
    expect(outline).to_have_css("opacity", "1")


def test_confidence_slider_acts_at_once_and_reveals_rejected_photos_as_such(page: Page) -> None:
    search(page)
    everything = matched(page)
    slider = page.locator("#minimum")
    slider.fill("99")
    assert page.locator("#grid .tile").count() < everything
    expect(page.locator("#minimum-shown")).to_have_text("≥ 99 %")
    slider.fill("0")
    expect(page.locator("#grid .tile")).to_have_count(everything)
    expect(page.locator("#near-grid .tile")).to_have_count(PHOTOS - everything)
    expect(page.locator("#near-grid .score").first).to_contain_text("rejected")
    page.click("#minimum-reset")
    expect(page.locator("#near")).to_be_hidden()


def test_lightbox_shows_zooms_turns_and_downloads(page: Page) -> None:
    search(page)
    page.locator("#grid .open").first.click()
    box = page.locator("#lightbox")
    expect(box.locator(".verdict")).to_contain_text("%")
    expect(box.locator(".outline path.line")).to_have_attribute("d", re.compile("^M"))
    expect(box.locator(".place-in-list")).to_have_text(f"1 of {matched(page)}")
    page.keyboard.press("+")
    expect(box.locator(".zoom-level")).to_have_text("150 %")
    page.keyboard.press("0")
    expect(box.locator(".zoom-level")).to_have_text("100 %")
    page.keyboard.press("3")
    expect(box.locator(".minimap")).to_have_css("opacity", "0.92")
    assert box.locator(".minimap").evaluate("image => image.decode().then(() => image.width)")
    page.keyboard.press("ArrowRight")
    expect(box.locator(".place-in-list")).to_have_text(f"2 of {matched(page)}")
    for label, form in (("Mask", "png"), ("Overlay", "jpg"), ("COCO", "json")):
        with page.expect_download() as download:
            box.get_by_role("link", name=label, exact=True).click()
        assert download.value.suggested_filename.endswith(form)
        assert Path(download.value.path()).stat().st_size > 0
    page.keyboard.press("Escape")
    expect(box).to_be_hidden()
    expect(page.locator("#grid .tile").nth(1).locator(".open")).to_be_focused()


def test_nothing_found_says_how_many_were_verified_and_offers_the_nearest(page: Page) -> None:
    search(page, album="none")
    empty = page.locator("#empty")
    expect(empty).to_contain_text("4 of 4 photos verified")
    expect(empty).to_contain_text("Nothing here matches")
    empty.get_by_role("button", name="Show the 4 nearest rejected photos").click()
    expect(page.locator("#near-grid .tile")).to_have_count(4)
    expect(page.locator("#near")).to_contain_text("They are not results")


def test_nothing_among_the_likeliest_photos_offers_to_look_at_all_of_them(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    def few(route: Route) -> None:
        body = route.request.post_data_json
        route.continue_(post_data=json.dumps({**body, "candidates": 2}))

    monkeypatch.setattr(planning, "WHOLE_SET", 2)
    page.route("**/v1/search", few)
    search(page, album="none")
    expect(page.locator("#empty")).to_contain_text("Only the likeliest 2 of 4 photos were verified")
    page.get_by_role("button", name="Search all 4 photos exhaustively").click()
    expect(page.locator("#empty")).to_contain_text("Every one of them was verified")


def test_large_results_come_page_by_page_as_one_scrolls(page: Page) -> None:
    search(page, album="many")
    assert matched(page) == MANY
    tiles = page.locator("#grid .tile")
    assert tiles.count() < MANY
    scroll_until(page, MANY)
    link = page.url
    page.goto("about:blank")
    page.goto(link)
    expect(page.locator("#asked")).to_have_text(f"“{EXPRESSION}”")
    expect(tiles.first).to_be_visible()
    assert tiles.count() < MANY
    scroll_until(page, MANY)
    labels = tiles.locator(".open").evaluate_all("all => all.map(b => b.ariaLabel)")
    assert len(set(labels)) == MANY


def test_stop_button_ends_the_search_and_keeps_what_was_found(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_early(page, monkeypatch)
    assert 0 < matched(page) < MANY
    expect(page.locator("#grid .outline").first).to_be_visible()
    expect(page.locator("#stop")).to_be_hidden()
    page.click("#open-history")
    expect(page.locator(".run").first).to_contain_text("stopped")


def stop_early(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """Search the album of many photos and stop once ten or so were found."""
    monkeypatch.setattr(planning, "BATCH", 1)
    judge = Predictor.judge

    def slowly(*values: Any, **named: Any) -> Any:
        time.sleep(0.1)  # else the search may be over before the browser asks it to stop
        return judge(*values, **named)

    monkeypatch.setattr(Predictor, "judge", slowly)
    page.evaluate(
        """() => {
            const [live, stop] = ["live", "stop"].map((id) => document.getElementById(id));
            new MutationObserver(() => {
                if (/verified [1-9]\\d/.test(live.textContent)) stop.click();
            }).observe(live, { childList: true });
        }"""
    )
    search(page, album="many")
    expect(page.locator("#live")).to_contain_text("stopped")


def scroll_until(page: Page, count: int) -> None:
    for _ in range(20):
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        if page.locator("#grid .tile").count() == count:
            return
        page.wait_for_timeout(100)
    expect(page.locator("#grid .tile")).to_have_count(count)


def test_filters_narrow_the_search_and_come_back_with_a_reopened_run(page: Page) -> None:
    page.click("#filters-toggle")
    page.fill("#f-path", "2020/*")
    page.select_option("#f-orientation", "landscape")
    page.check("[name=format][value=png]", force=True)
    expect(page.locator("#filters-label")).to_have_text("Filters · 3")
    search(page)
    expect(page.locator("#live")).to_contain_text(re.compile(rf"verified \d of {PHOTOS}"))
    page.reload()
    expect(page.locator("#expression")).to_have_value(EXPRESSION)
    expect(page.locator("#f-path")).to_have_value("2020/*")
    expect(page.locator("#filters-label")).to_have_text("Filters · 3")


def test_search_within_looks_only_at_what_was_found(page: Page) -> None:
    search(page)
    before = matched(page)
    page.click("#within")
    expect(page.locator("#f-run")).to_be_visible()
    search(page)
    expect(page.locator("#live")).to_contain_text(f"verified {before} of")


def test_exports_and_search_within_mean_what_the_slider_shows(page: Page) -> None:
    search(page)
    everything = matched(page)
    for least in range(100):  # the random network's confidences lie close together
        page.locator("#minimum").fill(str(least))
        shown = page.locator("#grid .tile").count()
        if shown < everything:
            break
    if not shown:
        page.locator("#minimum").fill(str(least - 1))
        shown = everything
        page.locator("#grid .pick").first.dispatch_event("click")
        shown = 1
    told = "the 1 selected" if shown == 1 else f"what is shown: {shown}"
    page.click("#exports summary")
    expect(page.locator("#export-list")).to_contain_text(told)
    csv = page.locator("#export-list a", has_text="CSV").get_attribute("href") or ""
    text = page.request.get(page.evaluate("(href) => new URL(href, location).href", csv)).text()
    assert len(text.strip().splitlines()) == shown + 1
    page.keyboard.press("Escape")
    page.click("#within")
    search(page)
    expect(page.locator("#live")).to_contain_text(f"verified {shown} of")


def test_page_says_the_number_that_exports_hold_of_a_search_that_is_opened_again(
    page: Page,
) -> None:
    search(page, album="many")
    page.goto(f"{page.url}")
    scores = page.locator("#grid .score")
    expect(scores.first).to_be_visible()

    def held() -> int:
        href = page.locator("#export-list a", has_text="CSV").get_attribute("href") or ""
        text = page.request.get(
            page.evaluate("(href) => new URL(href, location).href", href)
        ).text()
        return len(text.strip().splitlines()) - 1

    page.locator("#minimum").fill("1")
    expect(page.locator("#meant")).to_have_text(f"For what is shown: {MANY}")
    assert held() == MANY
    page.locator("#minimum-reset").click()
    expect(page.locator("#meant")).to_have_text("")
    page.locator("#grid .open").first.focus()
    page.keyboard.press("n")
    try:
        expect(page.locator("#meant")).to_have_text(
            f"For every match: {MANY - 1}, without 1 marked wrong"
        )
        assert held() == MANY - 1
        page.reload()
        expect(page.locator("#meant")).to_contain_text("without 1 marked wrong")
    finally:
        page.locator("#grid .open").first.focus()
        with page.expect_response("**/mark"):
            page.keyboard.press("n")


def test_more_hits_than_a_stream_keeps_are_paged_after_a_stop(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    def few(route: Route) -> None:
        answer = route.fetch()
        body = answer.text().replace("const KEPT_HITS = 1000", "const KEPT_HITS = 3")
        assert body != answer.text()
        route.fulfill(response=answer, body=body)

    page.route("**/js/search.js", few)
    page.reload()
    stop_early(page, monkeypatch)
    page.wait_for_function("() => document.querySelectorAll('#grid .tile').length > 3")
    assert 3 < matched(page) < MANY
    scroll_until(page, matched(page))


def test_history_opens_an_earlier_search_and_the_back_button_works(page: Page) -> None:
    search(page, "the green circle")
    search(page)
    page.go_back()
    expect(page.locator("#asked")).to_have_text("“the green circle”")
    page.click("#open-history")
    page.locator(".run .whole", has_text=EXPRESSION).first.click()
    expect(page.locator("#asked")).to_have_text(f"“{EXPRESSION}”")
    expect(page.locator("#grid .tile")).to_have_count(matched(page))


def test_back_with_a_photo_open_closes_it_and_then_leaves_its_search(
    page: Page, address: str
) -> None:
    box, asked = page.locator("#lightbox"), page.locator("#asked")
    search(page, "the green circle")
    search(page)
    page.locator("#grid .open").first.click()
    expect(box).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile(r"\?run=[\w-]+&photo=\d+$"))
    page.go_back()
    expect(box).to_be_hidden()
    expect(asked).to_have_text(f"“{EXPRESSION}”")
    page.go_forward()
    expect(box.locator(".place-in-list")).to_contain_text("2 of")
    page.evaluate("history.go(-2)")
    expect(asked).to_have_text("“the green circle”")
    expect(box).to_be_hidden()
    page.keyboard.press("n")  # "wrong", were a photo still open
    run = page.evaluate("new URLSearchParams(location.search).get('run')")
    assert page.request.get(f"{address}/v1/search/{run}/marks").json()["marks"] == []


def test_closing_a_photo_leaves_its_address_and_nothing_to_go_back_to(page: Page) -> None:
    search(page, "the green circle")
    search(page)
    before, length = page.url, "history.length"
    page.locator("#grid .open").first.click()
    expect(page).not_to_have_url(before)
    entries = page.evaluate(length)
    page.keyboard.press("Escape")
    expect(page).to_have_url(before)
    page.locator("#grid .open").nth(1).click()
    expect(page).not_to_have_url(before)
    assert page.evaluate(length) == entries
    page.keyboard.press("Escape")
    expect(page).to_have_url(before)
    page.go_back()
    expect(page.locator("#asked")).to_have_text("“the green circle”")


@pytest.mark.parametrize("where", ["#grid", "#near-grid"])
def test_photo_has_an_address_that_opens_it_again(page: Page, where: str) -> None:
    search(page)
    page.locator("#minimum").fill("0")
    page.locator(f"{where} .open").nth(1).click()
    box = page.locator("#lightbox")
    path = box.get_attribute("aria-label") or ""
    link = page.url
    page.goto("about:blank")
    page.goto(link)
    expect(box).to_be_visible()
    expect(box).to_have_attribute("aria-label", path)
    expect(box.locator(".verdict")).to_contain_text(EXPRESSION)
    page.keyboard.press("Escape")
    expect(page).to_have_url(link.partition("&photo=")[0])
    expect(page.locator("#grid .tile")).to_have_count(matched(page))


def test_back_and_reload_come_to_where_one_was(page: Page) -> None:
    search(page, album="many")
    scroll_until(page, MANY)
    page.locator("#minimum").fill("1")  # moves nothing out, but is kept
    place = page.evaluate("scrollTo(0, document.body.scrollHeight * .8), Math.round(scrollY)")
    assert place > 300
    at = "() => history.state && history.state.scroll === Math.round(scrollY)"
    page.wait_for_function(at)
    search(page, "the green circle")
    assert page.evaluate("scrollY") < place
    page.go_back()
    there = f"() => Math.abs(scrollY - {place}) <= 2"
    page.wait_for_function(there)
    expect(page.locator("#asked")).to_have_text(f"“{EXPRESSION}”")
    expect(page.locator("#minimum-shown")).to_have_text("≥ 1 %")
    page.wait_for_function(at)  # kept, so that a reload can come back to it
    page.reload()
    page.wait_for_function(there)
    page.locator("#grid .tile:last-child .like").dispatch_event("click")
    expect(page.locator("#live")).to_contain_text("nothing was verified")
    page.go_back()
    page.wait_for_function(there)


def test_back_closes_what_lies_over_the_page(page: Page) -> None:
    search(page, "the green circle")
    search(page)
    page.click("#cut")
    expect(page.locator("#cutouts")).to_be_visible()
    page.go_back()
    expect(page.locator("#asked")).to_have_text("“the green circle”")
    expect(page.locator("#cutouts")).to_be_hidden()


def test_drawers_tab_has_an_address_that_back_closes_and_a_link_opens(page: Page) -> None:
    search(page)
    list_of, length = page.url, "history.length"
    drawer, jobs = page.locator("#drawer"), page.locator("#tab-jobs")
    page.click("#open-library")
    expect(page).to_have_url(f"{list_of}&tab=albums")
    entries = page.evaluate(length)
    jobs.click()
    expect(page).to_have_url(f"{list_of}&tab=jobs")
    assert page.evaluate(length) == entries
    page.go_back()
    expect(drawer).to_be_hidden()
    expect(page).to_have_url(list_of)
    expect(page.locator("#grid .tile")).to_have_count(matched(page))
    page.go_forward()
    expect(jobs).to_have_attribute("aria-selected", "true")
    expect(drawer).to_be_visible()
    page.reload()
    expect(drawer).to_be_visible()
    expect(page.locator(".start-job")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page).to_have_url(list_of)
    link = f"{list_of}&tab=models"
    page.goto("about:blank")
    page.goto(link)
    expect(page.locator("#tab-models")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Escape")
    expect(page).to_have_url(list_of)
    expect(page.locator("#asked")).to_have_text(f"“{EXPRESSION}”")


def test_tab_that_is_none_opens_no_drawer(page: Page, address: str) -> None:
    page.goto(f"{address}/?tab=none")
    expect(page.locator("#album option")).to_have_count(4)
    expect(page.locator("#drawer")).to_be_hidden()


def test_selection_is_kept_over_back_and_reload(page: Page) -> None:
    search(page, album="many")
    scroll_until(page, MANY)
    page.locator("#grid .tile").last.locator(".open").focus()
    page.keyboard.press("x")
    page.evaluate("scrollTo(0, 0)")
    page.locator("#grid .pick").first.dispatch_event("click")
    label = page.locator("#cut-label")
    expect(label).to_have_text("Cut out 2 selected")
    search(page, "the green circle")
    expect(page.locator("#grid .chosen")).to_have_count(0)
    page.go_back()
    expect(page.locator("#asked")).to_have_text(f"“{EXPRESSION}”")
    expect(label).to_have_text("Cut out 2 selected")
    expect(page.locator("#grid .tile").first).to_have_class(re.compile("chosen"))
    page.reload()
    expect(label).to_have_text("Cut out 2 selected")
    page.locator("#grid .pick").first.dispatch_event("click")
    page.wait_for_function("() => history.state.chosen.length === 1")
    page.reload()
    expect(label).to_have_text("Cut out 1 selected")


def test_photos_that_were_nearly_found_are_shown_again_after_back(page: Page) -> None:
    search(page, album="none")
    page.get_by_role("button", name="Show the 4 nearest rejected photos").click()
    expect(page.locator("#near-grid .tile")).to_have_count(4)
    search(page)
    expect(page.locator("#near")).to_be_hidden()
    page.go_back()
    expect(page.locator("#near-grid .tile")).to_have_count(4)


def test_going_from_an_open_photo_to_that_of_another_list_opens_it(page: Page) -> None:
    search(page)
    page.locator("#grid .open").first.click()
    box = page.locator("#lightbox")
    path, link = box.get_attribute("aria-label") or "", page.url
    box.get_by_role("button", name="More like this photo").click()
    expect(page.locator("#live")).to_contain_text("nothing was verified")
    page.locator("#grid .open").last.click()
    expect(box).to_be_visible()
    page.evaluate("history.go(-2)")
    expect(box).to_have_attribute("aria-label", path)
    expect(page.locator("#asked")).to_have_text(f"“{EXPRESSION}”")
    page.wait_for_timeout(300)  # a close that is taken for somebody's wish goes back a moment later
    expect(box).to_be_visible()
    expect(page).to_have_url(link)


def test_more_like_this_has_an_address_that_opens_again(page: Page) -> None:
    search(page)
    page.locator("#grid .tile").first.hover()
    page.locator("#grid .like").first.click()
    expect(page.locator("#grid .tile")).to_have_count(PHOTOS - 1)
    first = page.locator("#grid .open").first.get_attribute("aria-label")
    page.reload()
    expect(page.locator("#live")).to_contain_text("nothing was verified")
    expect(page.locator("#grid .open").first).to_have_attribute("aria-label", first or "")
    page.go_back()
    expect(page.locator("#asked")).to_have_text(f"“{EXPRESSION}”")


def test_more_like_an_open_photo_goes_back_to_that_photo(page: Page) -> None:
    search(page)
    page.locator("#grid .open").first.click()
    box = page.locator("#lightbox")
    path = box.get_attribute("aria-label") or ""
    box.get_by_role("button", name="More like this photo").click()
    expect(box).to_be_hidden()
    expect(page.locator("#live")).to_contain_text("nothing was verified")
    page.go_back()
    expect(box).to_be_visible()
    expect(box).to_have_attribute("aria-label", path)
    expect(page.locator("#asked")).to_have_text(f"“{EXPRESSION}”")


def test_more_like_this_ranks_and_says_that_nothing_was_verified(page: Page) -> None:
    search(page)
    page.locator("#grid .tile").first.hover()
    page.locator("#grid .like").first.click()
    expect(page.locator("#live")).to_contain_text("nothing was verified")
    expect(page.locator("#grid .tile")).to_have_count(PHOTOS - 1)
    page.locator("#grid .open").first.click()
    expect(page.locator("#lightbox .verdict")).to_contain_text("Nothing was verified")


def test_keyboard_alone_searches_moves_and_opens(page: Page) -> None:
    expect(page.locator("#album option")).to_have_count(4)
    page.keyboard.press("/")
    expect(page.locator("#expression")).to_be_focused()
    page.keyboard.type(EXPRESSION)
    page.keyboard.press("Enter")
    expect(page.locator("#live")).to_contain_text(re.compile(r" m?s$"))
    page.keyboard.press("ArrowDown")
    expect(page.locator("#grid .open").first).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#lightbox")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#lightbox")).to_be_hidden()
    page.wait_for_function("() => !history.state?.above")  # the photo's address is gone as well
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()


def test_admin_makes_a_key_of_one_album_gives_it_another_secret_and_revokes_it(
    browser: Browser, library: Library
) -> None:
    key = create_key(library.engine.catalog, "an admin", ["admin"])
    with (
        serving(library, require_keys=True) as address,
        Visit(browser, address) as page,
    ):
        page.fill("#key", key)
        page.get_by_role("button", name="Sign in").click()
        page.click("#open-library")
        page.get_by_role("tab", name="Keys").click()
        page.get_by_label("Whom or what the key is for").fill("Ann's laptop")
        page.get_by_label("Albums that it may see").select_option("small")
        page.get_by_label("Days until it ends").fill("30")
        page.get_by_role("button", name="Make key").click()
        first = page.locator(".secret").inner_text()
        assert authenticate(library.engine.catalog, first).albums is not None
        card = page.locator(".card-item", has=page.get_by_role("heading", name="Ann's laptop"))
        expect(card).to_contain_text("only small")
        expect(card).to_contain_text("ends in")
        card.get_by_role("button", name="New secret").click()
        page.click("#question-yes")
        expect(page.locator(".secret")).not_to_have_text(first)
        second = page.locator(".secret").inner_text()
        with pytest.raises(Unauthenticated):
            authenticate(library.engine.catalog, first)
        assert violations(page) == []
        card.get_by_role("button", name="Revoke").click()
        page.click("#question-yes")
        expect(card).to_have_count(0)
        with pytest.raises(Unauthenticated):
            authenticate(library.engine.catalog, second)


def test_server_with_keys_asks_for_one_and_a_reader_cannot_change_anything(
    browser: Browser, library: Library
) -> None:
    key = create_key(library.engine.catalog, "a reader", ["read"])
    with (
        serving(library, require_keys=True) as address,
        Visit(browser, address) as page,
    ):
        page.fill("#key", "rf_1_wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#sign-in-error")).to_contain_text("unknown or revoked")
        page.fill("#key", key)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#sign-in")).to_be_hidden()
        search(page)
        assert page.evaluate("document.cookie") == ""
        expect(page.locator("#exports")).to_be_visible()
        expect(page.locator("#cut")).to_be_hidden()
        page.locator("#grid .open").first.click()
        expect(page.locator("#lightbox .verdict")).to_be_visible()
        expect(page.locator("#lightbox .marks")).to_have_count(0)
        page.keyboard.press("Escape")
        page.click("#open-library")
        expect(page.locator(".card-item")).to_have_count(3)
        expect(page.get_by_role("button", name="Make album")).to_have_count(0)
        expect(page.get_by_role("tab", name="Keys")).to_have_count(0)
        expect(page.get_by_text("Add a folder of the server")).to_have_count(0)
        page.keyboard.press("Escape")
        page.click("#account")
        expect(page.locator("#sign-in")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_has_no_serious_accessibility_violation(
    browser: Browser, address: str, scheme: str
) -> None:
    with Visit(browser, address, color_scheme=scheme) as page:
        expect(page.locator("#album option")).to_have_count(4)
        found = violations(page)
        search(page)
        page.locator("#minimum").fill("0")
        page.click("#filters-toggle")
        page.locator("#grid .tile").first.hover()
        page.locator("#grid .pick").first.click()
        page.locator("#grid .open").nth(1).press("y")
        page.click("#exports summary")
        found += violations(page)
        page.click("#cut")
        expect(page.locator("#preview svg")).to_be_visible()
        found += violations(page)
        page.keyboard.press("Escape")
        page.click("#open-library")
        expect(page.locator(".card-item")).to_have_count(3)
        found += violations(page)
        page.click("#tab-jobs")
        expect(page.locator(".start-job")).to_be_visible()
        found += violations(page)
        page.keyboard.press("Escape")
        page.locator("#grid .open").first.click()
        expect(page.locator("#lightbox .outline")).to_be_visible()
        expect(page.locator("#lightbox .marks")).to_be_visible()
        found += violations(page)
    assert not found, "\n".join(found)


def test_phone_has_nothing_beside_the_screen(browser: Browser, address: str) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True}
    with Visit(browser, address, **phone) as page:
        search(page)
        page.click("#filters-toggle")
        page.locator("#grid .pick").first.tap()
        page.click("#exports summary")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        box = page.locator("#export-list").bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 360
        page.click("#cut")
        expect(page.locator("#preview svg")).to_be_visible()
        assert page.evaluate("document.getElementById('cutouts').scrollWidth") <= 360
        page.keyboard.press("Escape")
        page.locator("#grid .open").first.click()
        expect(page.locator("#lightbox .verdict")).to_be_visible()
        assert page.evaluate("document.getElementById('lightbox').scrollWidth") <= 360


def test_masks_of_what_came_into_view_last_are_fetched_first(page: Page) -> None:
    served = page.evaluate(
        """async () => {
            const { Queue } = await import("./static/js/dom.js");
            const queue = new Queue(1), order = [];
            await Promise.all([1, 2, 3].map((n) => queue.add(async () => order.push(n))));
            return order;
        }"""
    )
    assert served == [1, 3, 2]


def test_theme_is_switched_and_remembered(page: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(ground)
    page.click("#theme")
    assert page.evaluate(ground) != before
    page.reload()
    assert page.evaluate(ground) != before
