"""A tour of the page on a drawn album with the shipped model; it makes the screenshots in docs.

`REFERENT_SCREENSHOTS=docs/screenshots pytest tests/long/test_page_tour.py` writes them anew.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from library import Library
from page import PATIENCE_MS, chromium, serving
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from indexer.albums import ensure_album
from indexer.catalog import Catalog
from indexer.ingest import index_album
from indexer.settings import Settings
from indexer.store import FeatureStore
from model.build import load_predictor
from search_api.engine import Engine
from training.album import AlbumPlan, write_album

pytestmark = [pytest.mark.long, pytest.mark.browser, pytest.mark.timeout(3600)]

PHOTOS = 60
MAX_BYTES = 300_000
WIDE = {"width": 1360, "height": 860}
PHONE = {"width": 390, "height": 844}
# The first of them that finds at least FEWEST photos is shown.
PRESENT = ("girl in red", "the woman", "people", "child", "the dog")
ABSENT = ("an elephant riding a bicycle", "snow leopard", "steam locomotive")
FEWEST = 4


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


def visit(browser: Browser, address: str, size: dict[str, int], scheme: str) -> Page:
    context = browser.new_context(
        viewport=size,  # type: ignore[arg-type]
        color_scheme=scheme,  # type: ignore[arg-type]
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    page = context.new_page()
    page.goto(address)
    expect(page.locator(".example").first).to_be_visible()
    return page


def ask(page: Page, expression: str) -> int:
    """Search and wait until everything that came is drawn; how many match."""
    page.fill("#expression", expression)
    page.keyboard.press("Enter")
    expect(page.locator("#asked")).to_have_text(f"“{expression}”")
    expect(page.locator("#live")).to_contain_text(re.compile(r" m?s$"))
    found = re.search(r"([\d,]+) match", page.inner_text("#live"))
    assert found is not None
    settle(page)
    return int(found[1].replace(",", ""))


def settle(page: Page) -> None:
    page.wait_for_function(
        """() => [...document.querySelectorAll(".grid img")].every((image) => {
            const box = image.getBoundingClientRect();
            const drawn = image.closest("#near-grid") || image.parentNode.querySelector(".outline")
                || image.closest(".no-mask");
            return box.top > innerHeight || (image.complete && drawn);
        })"""
    )
    page.wait_for_timeout(500)


def keep(page: Page, path: Path) -> None:
    """Save a screenshot, with fewer colours where it would be large."""
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    image.save(path, optimize=True)
    for colours in (256, 160, 96, 64):
        if path.stat().st_size <= MAX_BYTES:
            return
        image.quantize(colours, Image.Quantize.MEDIANCUT).save(path, optimize=True)
    assert path.stat().st_size <= MAX_BYTES, path


def test_tour_of_the_page_with_the_shipped_model(
    browser: Browser, address: str, pictures: Path
) -> None:
    page = visit(browser, address, WIDE, "light")
    keep(page, pictures / "start.png")
    present = next(each for each in PRESENT if ask(page, each) >= FEWEST)
    keep(page, pictures / "results.png")
    page.context.close()

    page = visit(browser, address, WIDE, "dark")
    ask(page, present)
    keep(page, pictures / "results-dark.png")
    page.locator("#grid .open").first.click()
    expect(page.locator("#lightbox .outline")).to_be_visible()
    page.wait_for_timeout(800)
    keep(page, pictures / "photo-dark.png")
    page.context.close()

    page = visit(browser, address, PHONE, "dark")
    ask(page, present)
    keep(page, pictures / "phone-dark.png")
    page.context.close()

    page = visit(browser, address, WIDE, "light")
    absent = [each for each in ABSENT if ask(page, each) == 0]
    assert absent, "something was found for every absent thing"
    ask(page, absent[0])
    page.locator("#empty .secondary").click()
    settle(page)
    keep(page, pictures / "nothing.png")
    page.context.close()
