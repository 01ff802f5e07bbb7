"""A real server of the page, a real browser, and albums whose searches find what a test needs."""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import uvicorn
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from sqlalchemy import select

from indexer.db.tables import Album, CalibrationRow
from model.calibration import Calibration
from search_api.http.app import create_app
from search_api.http.server_settings import ServerSettings
from search_api.http.state import Server
from tests.support.library import EXPRESSION, Library
from tests.support.servers import free_port
from workers.held import Held
from workers.runners import make_runner

CHROMIUM_FLAGS = [
    "--no-sandbox", "--headless", "--disable-gpu", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
# A page that waits longer than this for anything is broken, even on a machine at its limits.
PATIENCE_MS = float(os.environ.get("REFERENT_TEST_PATIENCE_S", "60")) * 1000
expect.set_options(timeout=PATIENCE_MS)
AXE = Axe().axe_script
# What waits 1.5 to 4 s polls the server; notes stay for longer, and a search's clock ticks quicker.
IMPATIENT = """for (const name of ["setTimeout", "setInterval"]) {
    const original = window[name];
    window[name] = (work, ms = 0, ...values) =>
        original(work, ms >= 1500 && ms <= 4000 ? ms / 10 : ms, ...values);
}"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The installed Chromium, headless."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(found for name in names if (found := shutil.which(name)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """A new page at an address; an error in a script or against the CSP is raised.

    Visits with the same wishes share a context and what it fetched, but nothing that a visitor
    left there. Nothing is animated, for a painted frame is dear where no GPU paints it, and what
    the page asks for every few seconds it asks for every few tenths.
    """

    _contexts: ClassVar[WeakKeyDictionary[Browser, dict[str, BrowserContext]]] = WeakKeyDictionary()

    def __init__(self, browser: Browser, address: str, **context: Any) -> None:
        wishes = {"reduced_motion": "reduce", **context}
        known, key = self._contexts.setdefault(browser, {}), repr(sorted(wishes.items()))
        if key not in known:
            known[key] = browser.new_context(**wishes)
            known[key].set_default_timeout(PATIENCE_MS)
            known[key].add_init_script(IMPATIENT)
        self.context = known[key]
        self.address, self.wrong = address, list[str]()

    def __enter__(self) -> Page:
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", lambda m: self.wrong.append(m.text) if "Policy" in m.text else None)
        page.goto(self.address)
        return page

    def __exit__(self, kind: object, *_: object) -> None:
        for page in self.context.pages:
            if page.url.startswith("http"):
                page.evaluate("localStorage.clear()")
            page.close()
        self.context.clear_cookies()
        assert kind is not None or not self.wrong, self.wrong


def search(page: Page, expression: str = EXPRESSION, album: str = "small") -> None:
    """Search an album and wait for the end."""
    page.locator(f"#album option[value={album}]").wait_for(state="attached")
    page.select_option("#album", album)
    page.fill("#expression", expression)
    page.keyboard.press("Enter")
    page.wait_for_function(
        "() => !document.body.classList.contains('running') && / m?s$/.test(live.textContent)"
    )


def violations(page: Page) -> list[str]:
    """What axe calls serious or worse, a line each: the rule, where, and why."""
    if page.evaluate("typeof window.axe") == "undefined":
        page.evaluate(AXE)
    found = page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]
    return [
        f"{rule['id']}: {rule['help']}: {node['target']} {node.get('failureSummary', '')}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def matched(page: Page) -> int:
    """How many photos match, as the page says."""
    found = re.search(r"([\d,]+) match", page.inner_text("#live"))
    assert found is not None
    return int(found[1].replace(",", ""))


@contextmanager
def serving(library: Library, **limits: Any) -> Iterator[str]:
    """The address of a server of this library that also runs its jobs."""
    waking: list[Any] = []

    @asynccontextmanager
    async def jobs(server: Server) -> AsyncIterator[None]:
        models = Held(library.settings, engine=server.engine)
        runner = make_runner(library.settings, server.engine.catalog, models)
        runner.start()
        waking.append(runner)
        try:
            yield
        finally:
            runner.stop()
            models.close()

    app = create_app(
        library.settings,
        host="127.0.0.1",
        limits=ServerSettings(**limits),
        engine=library.engine,
        wake=lambda: [runner.wake() for runner in waking] and None,
        warm_up=False,
        lifespan=jobs,
    )
    port = free_port()
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="warning", proxy_headers=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="page-server", daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


def let_match(library: Library, album: str, share: float) -> float:
    """Calibrate an album so that EXPRESSION matches about this share of it, and spread confidences.

    Returns:
        the confidence from which photos match.
    """
    view = library.engine.views(album)[0]
    words = library.engine.models.words(view.predictor, EXPRESSION)
    tokens = view.snapshot.gather("tokens", np.arange(len(view.snapshot)))
    logits = view.predictor.judge(tokens, words).no_target_logit
    spread = float(np.std(logits)) or 1.0
    middle = Calibration(temperature=spread, bias=-float(np.mean(logits)) / spread)
    confidence = np.sort(middle.confidence(logits))
    threshold = float(np.quantile(confidence, 1 - share)) if 0 < share < 1 else 1.0 - share
    calibration = Calibration(
        temperature=middle.temperature,
        bias=middle.bias,
        threshold=round(threshold, 4),
        fitted_to=view.predictor.fingerprints["head"],
    )
    with library.engine.catalog.session() as session:
        album_id = session.scalar(select(Album.id).where(Album.name == album))
        session.add(
            CalibrationRow(
                album_id=album_id, revision=calibration.revision, json=calibration.to_dict()
            )
        )
    return calibration.threshold
