"""What the page says of the model that serves an album, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from model.cards import Card, Familiar
from tests.support.library import Library, make_library, paint
from tests.support.page import Visit, chromium, let_match, search, serving

pytestmark = pytest.mark.browser
PHOTOS = 24


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for every test here."""
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """An album that its model knows, and one of pictures that it does not."""
    folder = tmp_path_factory.mktemp("album")
    made = make_library(folder, PHOTOS)
    for number in range(24):
        paint(folder / "night" / f"{number}.png", number, (64, 4))
    made.add_album(folder / "night", "strange")
    known, others = (
        made.predictor.vectors_of(view.snapshot.gather("vectors", np.arange(len(view.snapshot))))
        for view in made.engine.views(None)
    )
    familiar = Familiar.fit(known, others, made.predictor.fingerprints["vectors"])
    made.predictor.card = Card("Finds squares.", "Circles are hard.", "coloured shapes", familiar)
    let_match(made, "small", 0.5)
    made.engine.let_go(0)  # a view that took long to open would be shown a while longer
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


def test_the_model_says_what_it_can_do_before_one_searches(page: Page) -> None:
    served = page.locator("#served")
    expect(served).to_contain_text("finds squares.")
    expect(served).to_contain_text("Circles are hard.")
    page.locator("#album option[value=small]").wait_for(state="attached")
    page.select_option("#album", "small")
    expect(served).to_contain_text("finds squares.")
    expect(served.locator(".note")).to_have_count(0)


def test_album_unlike_the_training_is_warned_of_before_and_after(page: Page) -> None:
    page.locator("#album option[value=strange]").wait_for(state="attached")
    page.select_option("#album", "strange")
    expect(page.locator("#served .note")).to_contain_text("trained on coloured shapes")
    search(page, album="strange")
    expect(page.locator("#notes .unlike-training")).to_contain_text("strange look otherwise")


def test_models_and_albums_tell_the_card(address: str) -> None:
    model = next(m for m in httpx.get(f"{address}/v1/models").json()["models"] if m["default"])
    assert (model["summary"], model["trained_on"]) == ("Finds squares.", "coloured shapes")
    albums = {a["name"]: a["id"] for a in httpx.get(f"{address}/v1/albums").json()["albums"]}
    notes = {
        name: httpx.get(f"{address}/v1/albums/{number}/model").json()["notes"]
        for name, number in albums.items()
    }
    assert notes["small"] == []
    assert [note["code"] for note in notes["strange"]] == ["unlike-training"]
    assert httpx.get(f"{address}/v1/albums/999/model").status_code == 404
