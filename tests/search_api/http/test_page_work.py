"""The page in a real browser, at work: cut-outs, exports, verdicts, jobs, albums, a verifier."""

from __future__ import annotations

import io
import json
import re
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from sqlalchemy import insert, update

from indexer.db.clock import clock
from indexer.db.tables import Job, JobFailure
from indexer.folders.albums import delete_album, list_albums
from indexer.jobs import jobs
from search_api.search import corrections, runs
from search_api.search.pipeline import collect
from search_api.search.query import Query
from search_api.search.verifier import BATCH, Verification
from search_api.show import matte
from tests.search_api.search.test_verifier import NAME as VERIFIER
from tests.support.library import EXPRESSION, Library, make_library, paint
from tests.support.official_trace import small_early_fusion
from tests.support.page import Visit, chromium, let_match, matched, search, serving
from tests.support.servers import wait_until
from workers.pulse import Pulse

pytestmark = pytest.mark.browser
PHOTOS = 18
BEAT_S = 0.4


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for every test here."""
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """An album of which EXPRESSION matches a half."""
    made = make_library(tmp_path_factory.mktemp("work"), PHOTOS)
    let_match(made, "small", 0.5)
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def address(library: Library) -> Iterator[str]:
    """A server that asks nobody for a key, lets folders be added and runs its jobs."""
    with serving(library, allow_server_folders=True) as url:
        yield url


@pytest.fixture
def page(browser: Browser, address: str, library: Library) -> Iterator[Page]:
    """The page at its start; albums that a test makes are gone after it."""
    with Visit(browser, address) as page:
        yield page
    with library.engine.catalog.session() as session:
        for album in list_albums(session):
            if album.name != "small":
                delete_album(session, album.name)


class Gate:
    """Stands before a function and lets through, late, as many calls as were opened for."""

    def __init__(self, original: Any) -> None:
        self._original = original
        self._open = threading.Semaphore(0)
        self.late_s = 0.0

    def open(self, calls: int = 1) -> None:
        self._open.release(calls)

    def shut(self) -> None:
        while self._open.acquire(blocking=False):
            pass

    def __call__(self, *values: Any, **named: Any) -> Any:
        assert self._open.acquire(timeout=120), "the gate stayed shut"
        time.sleep(self.late_s)
        return self._original(*values, **named)


def saved(page: Page, link: Locator) -> bytes:
    """What a link downloads."""
    with page.expect_download() as download:
        link.click()
    return Path(download.value.path()).read_bytes()


def cut_outs(page: Page) -> tuple[dict[str, Any], list[str]]:
    """The manifest and the names of the zip that an ended job offers."""
    with zipfile.ZipFile(io.BytesIO(saved(page, page.locator("#cutouts-job a")))) as opened:
        assert opened.testzip() is None
        return json.loads(opened.read(matte.MANIFEST)), opened.namelist()


def test_all_matches_are_cut_out_and_taken_away_as_a_zip(page: Page, library: Library) -> None:
    search(page)
    count = matched(page)
    expect(page.locator("#cut")).to_have_text(f"Cut out all {count}")
    page.click("#cut")
    dialog = page.locator("#cutouts")
    expect(dialog.locator("#preview svg.transparent clipPath path")).to_have_count(1)
    dialog.get_by_label("White", exact=True).check()
    expect(dialog.locator("#preview rect")).to_have_attribute("fill", "white")
    dialog.get_by_label("WebP").check()
    dialog.get_by_label("Crop to the match").check()
    dialog.get_by_role("button", name=f"Cut out {count} photos").click()
    expect(dialog.locator("#cutouts-job .big")).to_contain_text("ready")
    manifest, names = cut_outs(page)
    assert len(manifest["items"]) == count
    written = [item["file"] for item in manifest["items"] if item["status"] == "done"]
    assert written and all(name.endswith(".webp") for name in written)
    assert sorted(names) == sorted([*written, matte.MANIFEST])
    options = manifest["options"]
    assert (options["background"], options["format"], options["crop"]) == ("white", "webp", True)
    dialog.get_by_role("button", name="Close").click()
    page.click("#open-library")
    page.click("#tab-jobs")
    card = page.locator(".job", has_text=EXPRESSION).first
    assert zipfile.is_zipfile(io.BytesIO(saved(page, card.get_by_role("link"))))


def test_selection_by_keyboard_and_mouse_is_what_is_cut_out(page: Page) -> None:
    search(page)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("x")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+X")
    expect(page.locator("#cut")).to_have_text("Cut out 3 selected")
    picks = page.locator("#grid .pick")
    expect(picks.nth(1)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    expect(page.locator("#cut")).to_have_text(f"Cut out all {matched(page)}")
    for at in (0, 2):
        page.locator("#grid .tile").nth(at).hover()
        picks.nth(at).click()
    chosen = [tile.get_attribute("aria-label") for tile in page.locator(".chosen .open").all()]
    page.click("#cut")
    dialog = page.locator("#cutouts")
    dialog.get_by_label("Mask only").check()
    expect(dialog.locator("[name=background]").first).to_be_disabled()
    dialog.get_by_role("button", name="Cut out 2 photos").click()
    expect(dialog.locator("#cutouts-job .big")).to_contain_text("ready")
    manifest, _ = cut_outs(page)
    names = {Path(item["path"]).name for item in manifest["items"]}
    assert names == {str(label).split(",")[0] for label in chosen}
    assert manifest["options"]["mask_only"]


def test_what_the_slider_leaves_out_is_not_cut_out(page: Page) -> None:
    search(page)
    scores = page.locator("#grid .score").all_inner_texts()
    page.locator("#minimum").fill(str(int(scores[1].split()[0]) - 1))
    shown = page.locator("#grid .tile").count()
    assert 0 < shown < matched(page)
    page.click("#cut")
    name = f"Cut out {shown} photo{'s' if shown > 1 else ''}"
    expect(page.locator("#cutouts").get_by_role("button", name=name, exact=True)).to_be_enabled()


def test_job_is_watched_paused_resumed_cancelled_and_retried(
    page: Page, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(matte.cut_out)
    monkeypatch.setattr(matte, "cut_out", gate)
    monkeypatch.setitem(Pulse.__init__.__kwdefaults__, "beat_s", BEAT_S)
    search(page)
    count = matched(page)
    page.click("#cut")
    dialog = page.locator("#cutouts")
    dialog.get_by_label("Blurred").check()
    dialog.get_by_role("button", name=f"Cut out {count} photos").click()
    state, hint = dialog.locator("#cutouts-job .big"), dialog.locator("#cutouts-job .hint")
    expect(state).to_have_text("Cutting out …")
    gate.open()
    expect(hint).to_contain_text(f"1 of {count}")
    dialog.get_by_role("button", name="Pause").click()
    expect(state).to_have_text("Paused")
    catalog = library.engine.catalog

    def left() -> bool:
        """A worker that has not heard of the pause stands at the gate again: one more photo."""
        gone = jobs.list_jobs(catalog)[0].workers == 0
        if not gone:
            gate.open()
        return gone

    wait_until(left, every_s=1.5 * BEAT_S, what="the worker's leave")
    gate.shut()
    done = jobs.list_jobs(catalog)[0].done
    assert 1 < done < count - 1
    dialog.get_by_role("button", name="Resume").click()
    expect(state).to_have_text("Cutting out …")
    gate.open()
    expect(hint).to_contain_text(f"{done + 1} of {count}")
    dialog.get_by_role("button", name="Leave it running").click()
    expect(page.locator("#busy")).to_contain_text("Cutting out")
    page.click("#busy")
    card = page.locator(".job", has_text=EXPRESSION).first
    card.get_by_role("button", name="Cancel job").click()
    wait_until(left, every_s=1.5 * BEAT_S, what="the worker's leave")
    expect(card.locator(".tag")).to_have_text("cancelled")
    expect(card.get_by_role("link")).to_have_count(0)
    gate.open(count)
    card.get_by_role("button", name="Retry").click()
    expect(card.locator(".tag")).to_have_text("done")
    expect(card.get_by_role("link")).to_contain_text("Zip of")


def test_failed_photos_are_named_and_tried_again(page: Page, library: Library) -> None:
    search(page)
    lost = page.locator("#grid .open").first.get_attribute("aria-label")
    assert lost is not None
    file = next(library.photos.rglob(lost.split(",")[0]))
    page.locator("#grid .open").first.click()
    page.get_by_role("button", name="Cut out", exact=True).click()
    away = file.rename(file.with_suffix(".away"))
    dialog = page.locator("#cutouts")
    dialog.get_by_role("button", name="Cut out 1 photo").click()
    dialog.get_by_text("1 photo that failed").click()
    expect(dialog.locator(".refused")).to_contain_text(file.name)
    away.rename(file)
    dialog.get_by_role("button", name="Retry what failed").click()
    expect(dialog.locator("#cutouts-job .big")).to_have_text("1 cut-out ready")


def test_failed_photos_of_an_album_are_listed_filtered_and_tried_again(
    page: Page, library: Library, tmp_path: Path
) -> None:
    folder = tmp_path / "half"
    paint(folder / "good.png", 300)
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(b"no picture")
    (folder / "empty.jpg").touch()
    library.add_album(folder, "half")
    page.click("#open-library")
    card = page.locator(".card-item", has=page.get_by_role("heading", name="half"))
    card.get_by_text("4 photos that failed").click()
    lines = card.locator(".refused li", has=page.get_by_role("button"))
    expect(lines).to_have_count(4)
    expect(lines.filter(has_text="empty.jpg")).to_contain_text("is empty")
    paint(folder / "empty.jpg", 301)
    paint(folder / "0.jpg", 302)
    card.get_by_role("button", name="Retry empty.jpg").click()
    expect(lines).to_have_count(3)
    card.get_by_label("Filter the failed photos of half by reason").fill("known image format")
    card.get_by_role("button", name="Retry all of these").click()
    expect(page.locator("#tab-jobs")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#panel")).to_contain_text("2 failed")
    expect(page.locator("#panel .card-item").first).to_contain_text("done")
    page.click("#tab-albums")
    expect(card).to_contain_text("3 photos searchable · 2 failed")


def test_failures_of_a_job_are_paged_to_the_last(page: Page, library: Library) -> None:
    catalog = library.engine.catalog
    job = jobs.create(catalog, "compact")
    with catalog.session() as session:
        ended = {"state": "done", "failed": 230, "finished_at": clock(), "active_key": None}
        session.execute(update(Job).where(Job.id == job.id).values(ended))
        rows = [{"job_id": job.id, "reason": f"reason {n}"} for n in range(230)]
        session.execute(insert(JobFailure), rows)
    page.click("#open-library")
    page.click("#tab-jobs")
    card = page.locator(".job", has_text="compact").first
    card.get_by_text("230 photos that failed").click()
    lines, more = card.locator(".refused li"), card.get_by_role("button", name="Show more")
    expect(lines).to_have_count(100)
    for count in (200, 230):
        more.click()
        expect(lines).to_have_count(count)
    expect(more).to_be_hidden()
    expect(lines.last).to_contain_text("reason 229")


def test_what_of_an_expression_was_not_read_is_said(page: Page) -> None:
    search(page, "красная dog")
    expect(page.locator("#notes")).to_contain_text("“красная”")


def test_run_is_exported_in_four_forms(page: Page) -> None:
    search(page)
    menu = page.locator("#exports")
    menu.locator("summary").press("Enter")
    page.keyboard.press("Escape")
    expect(menu.locator("ul")).to_be_hidden()

    def export(name: str) -> bytes:
        menu.locator("summary").click()
        return saved(page, menu.get_by_role("link", name=name))

    coco = json.loads(export("COCO masks"))
    assert len(coco["images"]) == matched(page)
    assert coco["categories"][0]["name"] == EXPRESSION
    assert len(export("CSV").decode().splitlines()) == matched(page) + 1
    assert zipfile.is_zipfile(io.BytesIO(export("gRefCOCO")))
    assert export("Contact sheet").startswith(b"\xff\xd8")


def test_verdicts_are_kept_shown_again_and_taken_back(page: Page, library: Library) -> None:
    search(page)
    tiles = page.locator("#grid .tile")
    tiles.nth(0).locator(".open").focus()
    page.keyboard.press("y")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    box = page.locator("#lightbox")
    box.get_by_role("button", name="Wrong", exact=True).click()
    expect(box.get_by_role("button", name="Wrong", exact=True)).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("b")
    page.keyboard.press("Escape")
    page.locator("#minimum").fill("0")
    page.locator("#near-grid .open").first.click()
    box.get_by_role("button", name="Missed: it is there").click()
    page.keyboard.press("Escape")
    expect(page).not_to_have_url(re.compile("photo="))
    with page.expect_response("**/hits?size=100&rejected=true"):
        page.reload()
    expect(tiles.nth(0)).to_have_attribute("data-verdict", "right")
    expect(tiles.nth(1)).to_have_attribute("data-verdict", "wrong")
    expect(tiles.nth(2)).to_have_attribute("data-verdict", "wrong_mask")
    page.locator("#minimum").fill("0")
    expect(page.locator("#near-grid .tile").first).to_have_attribute("data-verdict", "missed")
    run = page.url.partition("run=")[2]
    catalog = library.engine.catalog
    kept = corrections.marks_of(catalog, runs.load(catalog, run))
    assert sorted(m.verdict for m in kept) == ["missed", "right", "wrong", "wrong_mask"]
    page.locator("#exports summary").click()
    marks = saved(page, page.locator("#exports").get_by_role("link", name="Marks of the album"))
    assert zipfile.is_zipfile(io.BytesIO(marks))
    search(page)  # another run of the same expression
    expect(tiles.nth(1)).to_have_attribute("data-verdict", "wrong")
    tiles.nth(1).locator(".open").focus()
    with page.expect_response("**/mark"):
        page.keyboard.press("n")
    expect(tiles.nth(1).locator(".verdict-badge")).to_have_count(0)
    assert len(corrections.marks_of(catalog, runs.load(catalog, run))) == 3


def test_album_is_made_filled_searched_and_removed(page: Page, tmp_path: Path) -> None:
    paint(tmp_path / "new.png", 7)
    (tmp_path / "broken.jpg").write_bytes(b"not a photo")
    page.click("#open-library")
    page.get_by_label("Name of the new album").fill("fresh")
    page.get_by_role("button", name="Make album").click()
    card = page.locator(".card-item", has=page.get_by_role("heading", name="fresh"))
    with page.expect_file_chooser() as chosen:  # by its button, so that the card is in use
        card.get_by_role("button", name="Upload photos").click()
    chosen.value.set_files([tmp_path / "new.png", tmp_path / "broken.jpg"])
    expect(card.get_by_role("status")).to_contain_text("1 photo taken, 1 refused")
    expect(card.locator(".refused")).to_contain_text("broken.jpg")
    page.click("#tab-jobs")
    expect(page.locator(".job.done", has_text="index fresh")).to_be_visible()
    page.click("#tab-models")
    expect(page.locator("#panel")).to_contain_text("rela-atom")
    page.click("#tab-albums")
    expect(card).to_contain_text("1 photo searchable")
    card.get_by_role("button", name="Search it").click()
    expect(page.locator("#album")).to_have_value("fresh")
    search(page, album="fresh")
    expect(page.locator("#live")).to_contain_text("verified 1 of 1")
    page.click("#open-library")
    card.get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Keep it").click()
    expect(card).to_have_count(1)
    card.get_by_role("button", name="Remove").click()
    page.locator("#question-yes").click()
    expect(card).to_have_count(0)
    expect(page.locator("#album option")).to_have_count(2)


def test_folder_of_the_server_is_added_and_indexed_and_stays(page: Page, tmp_path: Path) -> None:
    folder = tmp_path / "on the server"
    for number in range(2):
        paint(folder / f"{number}.png", 40 + number)
    page.click("#open-library")
    page.get_by_label("Name of the new album").fill("served")
    page.get_by_role("button", name="Make album").click()
    card = page.locator(".card-item", has=page.get_by_role("heading", name="served"))
    card.get_by_text("Folders", exact=True).click()
    path = page.get_by_label("Folder of the server for served")
    path.fill(str(tmp_path / "nowhere"))
    path.press("Enter")
    expect(page.locator(".toast")).to_contain_text("folder")
    path.fill(str(folder))
    path.press("Enter")
    expect(page.locator(".job.done", has_text="index served")).to_be_visible()
    page.click("#tab-albums")
    expect(card).to_contain_text("2 photos searchable")
    card.get_by_text("Folders", exact=True).click()
    expect(card.locator(".roots")).to_contain_text(str(folder))
    card.get_by_role("button", name="Remove").click()
    page.locator("#question-yes").click()
    expect(card).to_have_count(0)
    assert len(list(folder.iterdir())) == 2


def test_jobs_are_started_from_the_page(page: Page) -> None:
    page.click("#open-library")
    page.click("#tab-jobs")
    form = page.locator(".start-job")
    expect(form.get_by_label("Model to index with")).to_be_hidden()
    form.get_by_label("Album to work on").select_option("small")
    for label, title in (
        ("Index everything anew", "index small"),
        ("Check the features", "verify small"),
        ("Tidy up the store", "compact small"),
    ):
        form.get_by_label("What to do").select_option(label=label)
        form.get_by_role("button", name="Start").click()
        expect(page.locator(".job.done", has_text=title).first).to_be_visible()
    form.get_by_label("What to do").select_option(label="Re-index with a model")
    expect(form.get_by_label("Model to index with")).to_be_visible()


def test_verifier_is_offered_only_where_there_is_one(page: Page) -> None:
    expect(page.locator("#album option")).to_have_count(2)
    expect(page.locator("#verifier-choice")).to_be_hidden()
    expect(page.locator("#budget")).to_be_hidden()


def test_verifier_shows_its_progress_keeps_its_budget_and_can_be_stopped(
    page: Page, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(Verification.judge)
    monkeypatch.setattr(Verification, "judge", lambda *values: gate(*values))
    monkeypatch.setattr(library.engine.verifiers, "_kept", small_early_fusion())
    page.reload()
    page.select_option("#verifier", VERIFIER)
    expect(page.locator("#budget")).to_be_visible()
    page.fill("#seconds", "600")
    page.select_option("#album", "small")
    page.fill("#expression", EXPRESSION)
    with page.expect_request("**/v1/search") as asked:
        page.keyboard.press("Enter")
    assert asked.value.post_data_json["verifier"] == VERIFIER
    assert asked.value.post_data_json["seconds"] == 600
    live = page.locator("#live")
    gate.open()
    expect(live).to_contain_text(f"verified {BATCH} of {PHOTOS}")
    expect(page.locator("#progress")).to_have_attribute("aria-valuenow", str(BATCH * 100 // PHOTOS))
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.click("#stop")
    gate.open()
    expect(live).to_contain_text("stopped")
    page.fill("#seconds", "1")
    gate.late_s = 1.1  # so the first batch takes all of the budget
    gate.open()
    page.press("#expression", "Enter")
    expect(page.locator("#notes")).to_contain_text("stopped after 1 s")
    expect(live).to_contain_text(f"verified {BATCH} of {PHOTOS}")


def test_run_that_is_opened_again_tells_who_verified_it(
    page: Page, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library.engine.verifiers, "_kept", small_early_fusion())
    query = Query(expression=EXPRESSION, album="small", verifier=VERIFIER, candidates=2)
    done = collect(library.engine, query)
    page.goto(f"{page.url}?run={done.run_id}")
    expect(page.locator("#live")).to_contain_text(f"by {VERIFIER}")
    expect(page.locator("#verifier")).to_have_value(VERIFIER)
    page.click("#open-library")
    page.click("#tab-history")
    expect(page.locator(".run").first).to_contain_text(f"by {VERIFIER}")
