"""Albums on the page: the first one, names, folders and their states, what a search gives away."""

from __future__ import annotations

import dataclasses
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from sqlalchemy import select

from indexer.db.tables import CalibrationRow
from model.calibration import Calibration
from search_api.http.keys import create_key
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
PHOTOS = 12
CURVE = [[0.05, 0.02, 900], [0.5, 0.4, 60], [0.95, 0.97, 240]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for every test here."""
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """An album with a film and a text beside its photos, whose calibration has a curve."""
    made = make_library(tmp_path_factory.mktemp("albums"), PHOTOS)
    let_match(made, "small", 0.5)
    with made.engine.catalog.session() as session:
        row = session.scalars(select(CalibrationRow)).one()
        row.json = {**row.json, "curve": CURVE}
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def address(library: Library) -> Iterator[str]:
    """A server that asks nobody for a key and lets albums scan its folders."""
    with serving(library, allow_server_folders=True) as url:
        yield url


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page at its start; an error in a script or against the CSP fails the test."""
    with Visit(browser, address) as page:
        yield page


def empty_library(folder: Path) -> Library:
    (folder / "empty" / "photos").mkdir(parents=True)
    return make_library(folder / "empty", 0)


@pytest.fixture
def empty(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """The page of a library without a photo."""
    made = empty_library(tmp_path)
    with serving(made, allow_server_folders=True) as url, Visit(browser, url) as page:
        yield page
    made.engine.close()


def card_of(page: Page, name: str) -> Locator:
    return page.locator(".card-item", has=page.get_by_role("heading", name=name, exact=True))


def test_first_album_is_named_filled_and_looked_at_at_once(empty: Page, tmp_path: Path) -> None:
    for number in range(3):
        paint(tmp_path / "holiday" / f"{number}.png", number)
    expect(empty.get_by_role("heading", name="Your first album")).to_be_visible()
    assert violations(empty) == []
    empty.get_by_label("Name of the album").fill("spring")
    files = sorted((tmp_path / "holiday").iterdir())
    empty.locator(".drop-here input[accept]").set_input_files(files)
    expect(empty.locator("#look-title")).to_have_text("spring")
    expect(empty.locator(".wall-tile.loaded")).to_have_count(3)
    expect(empty.locator("#look-facts")).to_have_text("3 photos")  # all of them were read by now
    expect(empty.locator("#album")).to_have_value("spring")
    empty.go_back()
    expect(empty.get_by_role("button", name="Look through 3 photos")).to_be_visible()


def test_dropped_folder_gives_the_first_album_its_name(empty: Page, tmp_path: Path) -> None:
    paint(tmp_path / "one.png", 5)
    expect(empty.locator(".drop-here")).to_be_visible()
    empty.evaluate(
        """(bytes) => {
            const file = new File([Uint8Array.from(bytes)], "one.png", { type: "image/png" });
            const leaf = { isFile: true, name: "one.png", file: (done) => done(file) };
            let left = [leaf];
            const reader = { readEntries: (done) => { done(left); left = []; } };
            const folder = { isDirectory: true, name: "Winter", createReader: () => reader };
            const drop = new Event("drop", { bubbles: true, cancelable: true });
            drop.dataTransfer = { items: [{ webkitGetAsEntry: () => folder }] };
            document.querySelector(".drop-here").dispatchEvent(drop);
        }""",
        list((tmp_path / "one.png").read_bytes()),
    )
    expect(empty.locator("#look-title")).to_have_text("Winter")
    expect(empty.locator(".wall-tile.loaded")).to_have_count(1)


def test_first_album_can_be_a_folder_of_the_server(empty: Page, tmp_path: Path) -> None:
    for number in range(2):
        paint(tmp_path / "there" / f"{number}.png", 60 + number)
    empty.get_by_label("Folder of the server").fill(str(tmp_path / "there"))
    empty.keyboard.press("Enter")
    expect(empty.locator("#look-title")).to_have_text("there")
    expect(empty.locator("#look-facts")).to_have_text("2 photos")
    expect(empty.locator(".wall-tile.loaded")).to_have_count(2)


def test_album_gets_another_name_and_keeps_its_photos(page: Page) -> None:
    page.click("#open-library")
    page.get_by_role("button", name="Rename small").click()
    field = page.get_by_label("New name of small")
    expect(field).to_be_focused()
    page.keyboard.press("Escape")
    expect(field).to_have_count(0)
    expect(page.locator("#drawer")).to_be_visible()
    for before, after in (("small", "little"), ("little", "small")):
        page.get_by_role("button", name=f"Rename {before}").click()
        page.get_by_label(f"New name of {before}").fill(after)
        page.keyboard.press("Enter")
        expect(card_of(page, after)).to_contain_text(f"{PHOTOS} photos searchable")
        expect(page.locator(f"#album option[value={after}]")).to_be_attached()


def test_folders_tell_their_state_and_are_taken_off_and_unread_kinds_are_told(
    page: Page, tmp_path: Path
) -> None:
    for number in range(2):
        paint(tmp_path / "disk" / f"{number}.png", 80 + number)
    (tmp_path / "disk" / "film.mov").write_bytes(b"film")
    page.click("#open-library")
    page.get_by_label("Name of the new album").fill("disks")
    page.get_by_role("button", name="Make album").click()
    card = card_of(page, "disks")
    card.get_by_text("Folders", exact=True).click()
    expect(card.locator(".roots")).to_contain_text("no folder is scanned yet")
    card.get_by_label("Folder of the server for disks").fill(str(tmp_path / "disk"))
    page.keyboard.press("Enter")
    expect(page.locator(".job.done", has_text="index disks")).to_be_visible()
    page.click("#tab-albums")
    expect(card).to_contain_text("1 file is of a kind that is not read: 1 mov")
    card.get_by_text("Folders", exact=True).click()
    expect(card.locator(".state")).to_have_text("there")
    expect(card.locator(".roots")).to_contain_text("2 photos")
    assert violations(page) == []
    (tmp_path / "disk").rename(tmp_path / "away")
    card.get_by_text("Folders", exact=True).click()
    card.get_by_text("Folders", exact=True).click()
    expect(card.locator(".state")).to_have_text(re.compile("^offline, last seen"))
    card.get_by_role("button", name=re.compile("^Take .* off the album")).click()
    page.locator("#question-yes").click()
    expect(card).to_contain_text("0 photos searchable")
    assert len(list((tmp_path / "away").iterdir())) == 3
    card.get_by_role("button", name="Remove").click()
    page.locator("#question-yes").click()
    expect(card).to_have_count(0)


def test_cards_follow_a_job_while_one_looks(page: Page, library: Library) -> None:
    page.click("#open-library")
    card = card_of(page, "small")
    expect(card).to_contain_text(f"{PHOTOS} photos searchable")
    paint(library.photos / "2021" / "later.png", 300)
    library.index()
    expect(card).to_contain_text(f"{PHOTOS + 1} photos searchable")
    (library.photos / "2021" / "later.png").unlink()
    library.index()
    expect(card).to_contain_text(f"{PHOTOS} photos searchable")


def test_originals_gallery_and_tags_are_taken_away_as_they_are_chosen(page: Page) -> None:
    search(page)
    number = matched(page)
    page.click("#exports summary")
    menu = page.locator("#export-list")
    for label, kind in (("Originals", "originals"), ("Gallery", "gallery"), ("Tags", "sidecars")):
        link = menu.locator("a", has=page.locator("b", has_text=label)).first
        href = link.evaluate("link => link.href")
        assert f"kind={kind}" in href
        names = zipfile.ZipFile(io.BytesIO(page.request.get(href).body())).namelist()
        ends = {"originals": ("jpg", "png", "webp"), "gallery": ("html",), "sidecars": ("xmp",)}
        told = [name for name in names if name.endswith(ends[kind])]
        assert len(told) == (1 if kind == "gallery" else number)
    page.keyboard.press("Escape")
    page.locator("#grid .pick").first.dispatch_event("click")
    page.click("#exports summary")
    link = menu.locator("a", has=page.locator("b", has_text="Originals"))
    href = link.evaluate("link => link.href")
    assert len(zipfile.ZipFile(io.BytesIO(page.request.get(href).body())).namelist()) == 1
    menu.get_by_role("button", name="Cut-outs").click()
    expect(page.locator("#cutouts")).to_be_visible()


def test_other_thresholds_are_told_before_one_moves_the_slider(page: Page) -> None:
    search(page)
    found = matched(page)
    run = page.evaluate("new URLSearchParams(location.search).get('run')")
    counts = page.request.get(page.url.split("?")[0] + f"v1/search/{run}").json()["at_threshold"]
    more, fewer = page.locator("#effect .effect").all()
    expect(more).to_have_text(f"{counts['0.3'] - found} more from 30 %")
    expect(fewer).to_have_text(f"{found - counts['0.9']} fewer from 90 %")
    fewer.click()
    expect(page.locator("#minimum-shown")).to_have_text("≥ 90 %")


def test_how_sure_shows_the_measured_curve_or_says_that_there_is_none(
    page: Page, library: Library
) -> None:
    search(page)
    page.click("#sure")
    dialog = page.locator("#sure-dialog")
    expect(dialog).to_contain_text("rela-atom")
    expect(dialog.locator("circle")).to_have_count(len(CURVE))
    expect(dialog.locator("li").nth(1)).to_have_text("At about 50 %: 40 % of 60 were right")
    assert violations(page) == []
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.route(
        "**/v1/albums/*/model", lambda route: route.fulfill(json={"model": "other", "curve": []})
    )
    page.click("#sure")
    expect(dialog).to_contain_text("For other nobody has kept how well that holds")


def test_search_is_saved_and_tells_what_came_since(
    page: Page, library: Library, tmp_path: Path
) -> None:
    search(page)
    search(page)
    page.click("#open-history")
    expect(page.locator(".run")).to_have_count(1)  # identical searches are one row
    page.keyboard.press("Escape")
    page.click("#save")
    page.fill("#save-name", "Red ones")
    assert violations(page) == []
    page.keyboard.press("Enter")
    expect(page.locator("#save-dialog")).to_be_hidden()
    page.click("#open-history")
    page.click("#tab-saved")
    card = card_of(page, "Red ones")
    expect(card).to_contain_text("Nothing new since it was saved.")
    assert violations(page) == []
    with library.engine.catalog.session() as session:  # from now on everything matches
        row = session.scalars(select(CalibrationRow)).one()
        fitting = Calibration.from_dict(row.json)
        easy = dataclasses.replace(fitting, threshold=0.0)
        row.revision, row.json = easy.revision, easy.to_dict()
    try:
        paint(tmp_path / "later.png", 400)
        page.click("#tab-albums")
        files = card_of(page, "small").locator("input[type=file]")
        files.set_input_files(tmp_path / "later.png")
        page.click("#tab-jobs")
        expect(page.locator(".job.done", has_text="watch small")).to_be_visible()
        page.click("#tab-saved")
        card.get_by_role("button", name="1 new in small").click()
        expect(page.locator("#grid .tile")).to_have_count(1)
        expect(page.locator("#live")).to_contain_text("verified 1 of")
        feed = page.request.get(f"{page.url.split('?')[0]}v1/saved/1/feed.atom").text()
        assert "later.png" in feed
        page.click("#open-history")
        page.click("#tab-saved")
        card.get_by_role("button", name="Search now").click()
        expect(page.locator("#asked")).to_have_text(f"“{EXPRESSION}”")
        page.click("#open-history")
        page.click("#tab-saved")
        card.get_by_role("button", name="Remove the saved search").click()
        page.locator("#question-yes").click()
        expect(card).to_have_count(0)
    finally:
        with library.engine.catalog.session() as session:
            row = session.scalars(select(CalibrationRow)).one()
            row.revision, row.json = fitting.revision, {**fitting.to_dict()}


def test_reader_without_the_right_to_write_is_told_that_there_is_nothing(
    browser: Browser, tmp_path: Path
) -> None:
    made = empty_library(tmp_path)
    key = create_key(made.engine.catalog, "reader", ["read"])
    with serving(made, require_keys=True) as url, Visit(browser, url) as page:
        page.fill("#key", key)
        page.keyboard.press("Enter")
        expect(page.locator("#examples")).to_contain_text("this key may not add any")
    made.engine.close()
