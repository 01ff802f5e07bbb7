"""A tour of the page on a drawn album with the shipped model; it makes the screenshots in docs.

`REFERENT_SCREENSHOTS=docs/screenshots pytest tests/long/test_page_tour.py` writes them anew.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from indexer.db.catalog import Catalog
from indexer.encoding.alone import index_album
from indexer.features.store import FeatureStore
from indexer.folders.albums import ensure_album
from indexer.settings import Settings
from model.build import load_predictor
from search_api.search.engine import Engine
from tests.support.library import Library
from tests.support.page import Visit, chromium, matched, search, serving
from training.data.album import AlbumPlan, write_album

pytestmark = [pytest.mark.long, pytest.mark.browser, pytest.mark.timeout(3600)]

PHOTOS = 60
MAX_BYTES = 300_000
WIDE = {"width": 1360, "height": 860}
PHONE = {"width": 390, "height": 844}
# The first of these of which the model finds some photos, but by no means all, is shown.
PRESENT = ("kid in blue", "girl in red", "the dog", "woman with a hat", "the red car", "people")
ABSENT = ("an elephant riding a bicycle", "snow leopard", "steam locomotive")
FEWEST, MOST = 5, 40


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of a drawn album that the shipped model indexed."""
    folder = tmp_path_factory.mktemp("tour")
    for _ in write_album(AlbumPlan(photos=PHOTOS, seed=1), folder / "garden", 1):
        pass
    settings = Settings(home=folder / "home", decode_workers=1)
    catalog = Catalog.open(settings)
    predictor = load_predictor(settings.model)
    engine = Engine(settings, catalog, FeatureStore.open(settings, catalog), predictor)
    with catalog.session() as session:
        ensure_album(session, [folder / "garden"], name="garden")
    index_album(settings, "garden", predictor, catalog=catalog)
    with serving(Library(settings, folder / "garden", engine, predictor)) as url:
        yield url
    engine.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the whole tour."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where screenshots go: into docs when asked, else away."""
    folder = Path(os.environ.get("REFERENT_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def visit(browser: Browser, address: str, size: dict[str, int], scheme: str) -> Visit:
    return Visit(
        browser, address, viewport=size, color_scheme=scheme, reduced_motion="reduce",
        device_scale_factor=1, has_touch=size is PHONE,
    )  # fmt: skip


def ask(page: Page, expression: str) -> int:
    """Search the album and wait until everything that came is drawn; how many match."""
    search(page, expression, "garden")
    expect(page.locator("#asked")).to_have_text(f"“{expression}”")
    settle(page)
    return matched(page)


def settle(page: Page) -> None:
    """Wait until the tiles in sight have their pictures and outlines, and nothing moves."""
    page.wait_for_function(
        """() => [...document.querySelectorAll(".grid img")].every((image) => {
            const box = image.getBoundingClientRect();
            const drawn = image.closest("#near-grid") || image.parentNode.querySelector(".outline")
                || image.closest(".no-mask");
            return box.top > innerHeight || (image.complete && drawn);
        })"""
    )
    page.wait_for_timeout(500)


def best(page: Page) -> str:
    """The expression to show."""
    counts = {}
    for expression in PRESENT:
        counts[expression] = ask(page, expression)
        if FEWEST <= counts[expression] <= MOST:
            return expression
    found = [each for each, count in counts.items() if count]
    assert found, "nothing was found for any of the expressions"
    return min(found, key=lambda each: abs(counts[each] - FEWEST))


def keep(page: Page, path: Path) -> None:
    """Save a screenshot in 256 colours, small enough for a repository."""
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    few = image.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    assert path.stat().st_size <= MAX_BYTES, path


def test_tour_of_the_page_with_the_shipped_model(
    browser: Browser, address: str, pictures: Path
) -> None:
    with visit(browser, address, WIDE, "light") as page:
        expect(page.locator(".example").first).to_be_visible()
        keep(page, pictures / "start.png")
        absent = [each for each in ABSENT if ask(page, each) == 0]
        assert absent, "something was found for every absent thing"
        page.locator("#empty .secondary").click()
        settle(page)
        keep(page, pictures / "nothing.png")
        present = best(page)
        keep(page, pictures / "results.png")
        for at in (0, 1, 3):
            page.locator("#grid .pick").nth(at).focus()
            page.keyboard.press("Enter")
        page.click("#cut")
        expect(page.locator("#preview svg")).to_be_visible()
        page.get_by_label("Crop to the match").check()
        page.wait_for_timeout(500)
        keep(page, pictures / "cut-out.png")
        page.get_by_role("button", name="Cut out 3 photos").click()
        expect(page.locator("#cutouts-job .big")).to_have_text("3 cut-outs ready", timeout=600_000)
        page.get_by_role("button", name="Close").click()
        page.click("#open-library")
        page.click("#tab-jobs")
        expect(page.locator(".job.done").first).to_be_visible()
        page.wait_for_timeout(500)
        keep(page, pictures / "jobs.png")

    with visit(browser, address, WIDE, "dark") as page:
        ask(page, present)
        keep(page, pictures / "results-dark.png")
        page.locator("#grid .open").first.click()
        expect(page.locator("#lightbox .outline")).to_be_visible()
        page.keyboard.press("y")
        page.wait_for_timeout(800)
        keep(page, pictures / "photo-dark.png")
        page.keyboard.press("3")
        page.wait_for_timeout(800)
        keep(page, pictures / "minimap-dark.png")

    with visit(browser, address, PHONE, "dark") as page:
        ask(page, present)
        keep(page, pictures / "phone-dark.png")
        page.locator("#grid .open").first.tap()
        expect(page.locator("#lightbox .outline")).to_be_visible()
        page.wait_for_timeout(800)
        keep(page, pictures / "phone-photo-dark.png")
