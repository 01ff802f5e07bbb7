"""What the page says stands in one place, in English and German, and reads from the right too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import update

from indexer import errors as indexer_errors
from indexer.db.tables import Photo
from model import errors as model_errors
from search_api import errors as search_errors
from search_api.http.problems import type_of
from search_api.search.engine import UNLIKE
from tests.support.library import EXPRESSION, Library, make_library
from tests.support.page import Visit, chromium, let_match, serving, violations

pytestmark = pytest.mark.browser
SEARCH = Path(__file__).parents[3] / "search_api"
STATIC = SEARCH / "http/static"
# Errors of commands and workers, and roots of families.
NEVER_SERVED = {
    model_errors.ReferentError,
    model_errors.ModelError,
    indexer_errors.IndexerError,
    indexer_errors.CatalogError,
    indexer_errors.FeatureStoreError,
    indexer_errors.LibraryNotEmpty,
    indexer_errors.BackupUnusable,
    indexer_errors.LeaseLost,
    indexer_errors.EncodingFailed,
    indexer_errors.PlaceLost,
    search_errors.RefusedToStart,
}
PHONE = {"viewport": {"width": 390, "height": 780}, "has_touch": True}
TABLES = """async () => {
    const tables = {};
    for (const language of ["en", "de"]) {
        tables[language] = (await import(`./static/js/words/${language}.js`)).default;
    }
    return tables;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for every test here."""
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Photos of one day, all of which match."""
    made = make_library(tmp_path_factory.mktemp("words"), 9)
    with made.engine.catalog.session() as session:
        session.execute(update(Photo).values(taken_at=datetime(2024, 5, 3, 14, 5)))
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
    """The page as a reader of English has it."""
    with Visit(browser, address, locale="en-GB") as page:
        yield page


def forms(entry: str | dict[str, str]) -> list[str]:
    return [entry] if isinstance(entry, str) else list(entry.values())


def test_languages_have_the_same_sentences_with_the_same_values(page: Page) -> None:
    tables = page.evaluate(TABLES)
    assert tables["en"].keys() == tables["de"].keys()
    for key, english in tables["en"].items():
        german = tables["de"][key]
        assert type(english) is type(german), key
        if isinstance(english, dict):
            assert english.keys() == german.keys() == {"one", "other"}, key
        values = [set(re.findall(r"{(\w+)}", each)) for each in (*forms(english), *forms(german))]
        assert set.union(*values) - {"n"} == set.intersection(*values) - {"n"}, key


def test_what_the_document_says_is_what_the_table_says(page: Page) -> None:
    table = page.evaluate(TABLES)["en"]
    html = (STATIC / "index.html").read_text(encoding="utf-8")
    told = re.findall(r'data-say="([\w.]+)"[^>]*>([^<]*)<', html)
    for name in ("title", "placeholder", "aria-label"):
        said = name.removeprefix("aria-")
        told += [(key, text) for text, key in re.findall(
            rf' {name}="([^"]*)" data-say-{said}="([\w.]+)"', html
        )]  # fmt: skip
    assert len(told) > 80
    assert [(key, text) for key, text in told if table[key] != text] == []
    attribute = r'(?<![\w-])(?:aria-label|title|placeholder)="([^"]*[a-z][^"]*)"(?! data-say)'
    unsaid = [text for text in re.findall(attribute, html) if text != "rf_1_…"]
    assert unsaid == []


def test_every_sentence_is_said_somewhere_and_none_stands_elsewhere(page: Page) -> None:
    modules = {p.name: p.read_text(encoding="utf-8") for p in (STATIC / "js").glob("*.js")}
    everything = "\n".join([*modules.values(), (STATIC / "index.html").read_text()])
    made_up = re.findall(r"say\(`([\w.]+)\$", everything)  # families, such as orders
    unused = [
        key
        for key in page.evaluate(TABLES)["en"]
        if f'"{key}"' not in everything and not any(key.startswith(each) for each in made_up)
    ]
    assert unused == []
    sentence = re.compile(r"""["`>][A-Z][a-z]+(?: [\w${}.]+)+[^"`]*["`]""")
    elsewhere = [
        (name, found)
        for name, text in modules.items()
        for line in text.splitlines()
        if not line.lstrip().startswith(("//", "*", "/*"))
        for found in sentence.findall(line)
    ]
    assert elsewhere == []


def test_reader_of_german_gets_german_words_dates_and_numbers(
    browser: Browser, address: str
) -> None:
    with Visit(browser, address, locale="de-DE", **PHONE) as page:
        expect(page.locator("html")).to_have_attribute("lang", "de")
        expect(page.locator("#go")).to_have_text("Suchen")
        box = page.locator("#go").bounding_box()
        assert box is not None and box["x"] + box["width"] <= 390
        page.locator("#album option[value=small]").wait_for(state="attached")
        page.click("#open-look")
        expect(page.locator(".wall-heading h2")).to_have_text("Mai 2024")
        page.locator(".wall-tile .open").first.click()
        expect(page.locator("#lightbox .facts")).to_contain_text("03.05.2024, 14:05")
        page.keyboard.press("Escape")
        page.fill("#expression", EXPRESSION)
        page.keyboard.press("Enter")
        expect(page.locator("#live")).to_contain_text("9 von 9 geprüft, 9 passen")
        page.click("#open-library")
        expect(page.locator("#tabs")).to_contain_text("Alben")
        numbers = page.evaluate(
            "async () => (await import('./static/js/format.js')).count(1234567)"
        )
        assert numbers == "1.234.567"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_language_is_switched_and_kept_and_server_speaks_it_too(
    browser: Browser, address: str, scheme: str
) -> None:
    with Visit(browser, address, locale="en-GB", color_scheme=scheme) as page:
        page.get_by_role("button", name="Deutsch (DE)").click()
        expect(page.locator("html")).to_have_attribute("lang", "de")
        page.reload()
        expect(page.locator("#go")).to_have_text("Suchen")
        page.locator("#album option[value=small]").wait_for(state="attached")
        assert violations(page) == []
        page.fill("#expression", "красная dog AND NOT cat")
        page.keyboard.press("Enter")
        for code, said in (
            ("unknown-words", "kann “красная” nicht lesen"),
            ("read-as", "NOT heißt"),
        ):
            expect(page.locator(f"#notes .{code}")).to_contain_text(said)
        page.click("#open-library")
        expect(page.locator(".card-item")).to_have_count(1)
        assert violations(page) == []
        page.get_by_label("Name des neuen Albums").fill("small")
        page.keyboard.press("Enter")
        expect(page.locator(".toast")).to_contain_text("gibt es schon")
        page.keyboard.press("Escape")
        page.get_by_role("button", name="English (EN)").click()
        expect(page.locator("#go")).to_have_text("Search")


def test_what_the_server_says_has_a_german_sentence_for_every_code(page: Page) -> None:
    german = page.evaluate("async () => (await import('./static/js/words/server-de.js')).default")
    source = "\n".join(p.read_text(encoding="utf-8") for p in SEARCH.rglob("*.py"))
    codes = {f"note.{code}" for code in re.findall(r'Note\(\s*"([a-z-]+)"', source)}
    codes |= {f"note.{UNLIKE}"}
    codes |= {f"note.stopped.{why}" for why in re.findall(r'\.stop\(\s*"([a-z]+)"', source)}
    told = [f"note.damaged-features.{why}" for why in ("last", "unjudged")]
    codes -= {"note.stopped", "note.read-as", "note.damaged-features"}
    assert len(codes) > 10
    assert codes | set(told) <= german.keys()
    kinds = {
        each
        for errors in (search_errors, indexer_errors, model_errors)
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, Exception) and each not in NEVER_SERVED
    }
    assert len(kinds) > 30
    problems = {type_of(kind).replace("urn:referent:problem:", "problem.") for kind in kinds}
    assert problems - german.keys() == set()


def test_other_languages_read_english_with_their_own_dates(browser: Browser, address: str) -> None:
    with Visit(browser, address, locale="fr-FR") as page:
        expect(page.locator("html")).to_have_attribute("lang", "en")
        expect(page.locator("#go")).to_have_text("Search")
        month = page.evaluate(
            "async () => (await import('./static/js/format.js')).month('2024-05')"
        )
        assert month == "mai 2024"


@pytest.mark.parametrize("screen", [PHONE, {}], ids=["phone", "desktop"])
def test_page_reads_from_the_right_without_anything_beside_the_screen(
    browser: Browser, address: str, screen: dict[str, Any]
) -> None:
    with Visit(browser, address, **screen) as page:
        page.evaluate("document.documentElement.dir = 'rtl'")
        page.locator("#album option[value=small]").wait_for(state="attached")
        page.click("#open-look")
        expect(page.locator(".wall-tile.loaded").first).to_be_visible()
        boxes = [
            page.locator(".wall-tile")
            .nth(place)
            .evaluate("tile => tile.getBoundingClientRect().left")
            for place in (0, 1)
        ]
        assert boxes[0] > boxes[1]
        wide = "[document.documentElement.scrollWidth, innerWidth]"
        scroll, inner = page.evaluate(wide)
        assert scroll <= inner
        page.fill("#expression", EXPRESSION)
        page.keyboard.press("Enter")
        expect(page.locator("#sorting")).to_be_visible()
        scroll, inner = page.evaluate(wide)
        assert scroll <= inner
