"""Writing expressions for photos: the journal, the two rules, and the page in a real browser."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from PIL import Image
from playwright.sync_api import Page, expect
from starlette.testclient import TestClient
from typer.testing import CliRunner

from model.asking import LateFusion
from model.errors import ExpressionError
from referent.annotating.advice import Adviser
from referent.annotating.app import create_app
from referent.annotating.journal import JOURNAL, Journal
from referent.annotating.photos import Collection, link, read
from referent.main import app
from referent.networks import load_network
from tests.support.colour_network import ColourPredictor
from tests.support.official_trace import SHARED
from tests.support.page import Visit, chromium
from tests.support.servers import free_port
from tests.support.tiny_model import write_tiny_model
from training.data import grefcoco
from training.data.album import AlbumPlan, write_album
from training.errors import DatasetError
from training.measuring import suite

# Squares by photo: (colour channel, x, y, side). Only the second photo shows a blue one.
SQUARES: dict[int, list[tuple[int, int, int, int]]] = {
    1: [(0, 4, 4, 30), (1, 60, 24, 30)],
    2: [(0, 6, 30, 30), (2, 60, 6, 30)],
    3: [(1, 30, 20, 30)],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "photos"
    (made / "images").mkdir(parents=True)
    images, annotations = [], []
    for number, squares in SQUARES.items():
        pixels = np.zeros((64, 96, 3), np.uint8)
        for at, (channel, x, y, side) in enumerate(squares):
            pixels[y : y + side, x : x + side, channel] = 255
            annotations.append(
                {"id": 10 * number + at, "image_id": number, "category_id": 1 + channel,
                 "iscrowd": 0, "area": side * side, "bbox": [x, y, side, side],
                 "segmentation": [[x, y, x + side, y, x + side, y + side, x, y + side]]}
            )  # fmt: skip
        annotations.append({"id": 10 * number + 9, "image_id": number, "category_id": 1,
                            "iscrowd": 1, "area": 1, "bbox": [0, 0, 1, 1],
                            "segmentation": [[0, 0, 9, 0, 9, 9]]})  # fmt: skip
        Image.fromarray(pixels).save(made / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 96, "height": 64})
    kinds = [{"id": 1 + at, "name": name} for at, name in enumerate(("red", "green", "blue"))]
    content = {"images": images, "annotations": annotations, "categories": kinds}
    (made / "instances.json").write_text(json.dumps(content))
    return made


def adviser(photos: Collection) -> Adviser:
    return Adviser(LateFusion(ColourPredictor()), photos)  # type: ignore[arg-type]


def test_what_two_people_mean_alike_becomes_a_reference(folder: Path, tmp_path: Path) -> None:
    photos, out = read(folder), tmp_path / "out"
    journal = Journal(out, photos, "val")
    one = journal.write("Ann", 1, [10], "the red square")
    both = journal.write("Ann", 1, [11, 10], "both squares")
    none = journal.write("Ann", 1, [], "the blue square", drawn_from=2)
    wrong = journal.write("Bob", 2, [20], "the thing below")
    assert journal.to_verify("ann") == wrong and journal.to_verify("Bob") == one
    assert journal.verify(one.id, "Bob", [10])
    assert journal.verify(both.id, "Bob", [10, 11])
    assert journal.verify(none.id, "Bob", [])
    assert not journal.verify(wrong.id, "Ann", [20, 21])
    assert journal.to_verify("Cy") is None
    told = journal.agreement()
    assert (told["written"], told["verified"], told["agreed"]) == (4, 4, 3)
    assert told["exact"] == 0.75 and told["iou"] == pytest.approx((3 + 0.5) / 4)
    assert told["no_target"] == 1.0
    link(photos, out)
    data = grefcoco.read(out, "val", strict=True)
    assert [(s.text, s.annotation_ids, s.kind) for s in data.samples] == [
        ("the red square", (10,), ""), ("both squares", (10, 11), ""),
        ("the blue square", (), "deceptive"),
    ]  # fmt: skip
    figures = suite.evaluate_pairs(
        LateFusion(ColourPredictor()),
        suite.folder_pairs(out),
        quiet=True,  # type: ignore[arg-type]
    ).figures
    assert figures["pairs.samples"] == 3 and figures["pairs.n_acc"] == 1.0


def test_a_journal_is_gone_on_with_and_a_cut_line_was_not_told(
    folder: Path, tmp_path: Path
) -> None:
    photos, out = read(folder), tmp_path / "out"
    first = Journal(out, photos, "val")
    first.write("Ann", 1, [10], "the red square")
    first.verify(1, "Bob", [10])
    with (out / JOURNAL).open("a") as file:
        file.write('{"act": "written", "id": 2')
    second = Journal(out, photos, "val")
    assert second.agreement() == first.agreement()
    assert second.write("Ann", 2, [], "the green square").id == 2
    assert len(Journal(out, photos, "val").all()) == 2
    with pytest.raises(DatasetError, match=r"annotations\.jsonl, line 1: of other photos"):
        Journal(out, Collection("other", photos.photos[2:], photos.categories), "val")


def test_what_makes_no_sense_is_refused(folder: Path, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out", read(folder), "val")
    for by, image_id, targets, said in (
        (" ", 1, [10], "who you are"), ("Ann", 9, [], "no such photo"),
        ("Ann", 1, [20], "not in this photo"), ("Ann", 1, [19], "not in this photo"),
    ):  # fmt: skip
        with pytest.raises(DatasetError, match=said):
            journal.write(by, image_id, targets, "the red square")
    with pytest.raises(ExpressionError):
        journal.write("Ann", 1, [10], "  ")
    journal.write("Ann", 1, [10], "the red square")
    with pytest.raises(DatasetError, match="has that expression already"):
        journal.write("Bob", 1, [10], "The red square")
    with pytest.raises(DatasetError, match="does not verify"):
        journal.verify(1, "ANN", [10])
    journal.verify(1, "Bob", [10])
    with pytest.raises(DatasetError, match="verified this expression already"):
        journal.verify(1, "Cy", [10])
    (folder / "instances.json").write_text("{}")
    with pytest.raises(DatasetError, match="no COCO file"):
        read(folder)


def test_both_rules_are_told_with_what_the_network_thinks(folder: Path) -> None:
    asked = adviser(read(folder))
    near = asked.ask(1, "the blue and red square")
    assert dict(near.words)["red"] > 0.9 and dict(near.words)["blue"] < 0.1
    assert not near.irrelevant
    off = asked.ask(3, "the blue thing")
    assert off.irrelevant and off.here < 0.1
    assert [number for number, _ in off.elsewhere] == [2] and off.elsewhere[0][1] > 0.9


def test_the_server_answers_to_this_machine_alone(folder: Path, tmp_path: Path) -> None:
    photos = read(folder)
    served = create_app(Journal(tmp_path / "out", photos, "val"), adviser(photos))
    with TestClient(served, base_url="http://127.0.0.1") as client:
        assert client.get("/api/state").json()["agreement"]["written"] == 0
        assert client.get("/api/photos/77").status_code == 422
        assert client.get("/static/../app.py").status_code == 404
        assert client.get("/", headers={"Host": "evil.example"}).status_code >= 400
        body = {"by": "x", "image_id": 1, "targets": [], "text": "a dog"}
        foreign = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
        assert client.post("/api/expressions", json=body, headers=foreign).status_code >= 400
        assert client.get("/api/state").json()["agreement"]["written"] == 0


@contextmanager
def served(photos: Collection, out: Path, asked: Adviser) -> Iterator[str]:
    port = free_port()
    config = uvicorn.Config(
        create_app(Journal(out, photos, "val"), asked), host="127.0.0.1", port=port,
        log_level="warning",
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


def choose(page: Page, *things: int) -> None:
    for number in things:
        page.locator(f"path[data-id='{number}']").press("Enter")


def write(page: Page, text: str, *things: int) -> None:
    choose(page, *things)
    page.fill("#text", text)
    page.click("#save")


@pytest.mark.browser
def test_two_people_annotate_in_a_browser(folder: Path, tmp_path: Path) -> None:
    photos, out = read(folder), tmp_path / "out"
    with (
        served(photos, out, adviser(photos)) as address,
        chromium() as browser,
        Visit(browser, address) as page,
    ):
        live = page.locator("#live")
        expect(page.locator("#things path")).to_have_count(2)
        write(page, "the red square", 10)
        expect(live).to_have_text("Say who you are first.")
        page.fill("#who", "Ann")
        page.click("#save")
        expect(live).to_have_text("Kept as number 1.")
        page.locator("#things path[data-id='11']").click()  # by mouse, too
        expect(page.locator("#chosen")).to_have_text("1 target chosen.")
        write(page, "both squares", 10)
        expect(live).to_have_text("Kept as number 2.")
        # Of an expression without a target the rules are shown before it is kept.
        write(page, "the blue and red square")
        expect(page.locator("#rule1")).to_contain_text("finds of it here: blue")
        expect(page.locator("#rule2")).to_contain_text("true of")
        expect(page.locator("#elsewhere img").first).to_be_visible()
        page.click("#save")
        expect(live).to_have_text("Kept as number 3.")
        page.click("#next")
        expect(page.locator("#things")).to_have_attribute("data-photo", "2")
        page.click("#draw")
        expect(page.locator("#text")).not_to_have_value("")
        page.click("#save")
        expect(page.locator("#rules")).to_be_visible()
        page.click("#save")
        expect(live).to_have_text("Kept as number 4.")
        # A second person sees photo and expression, not what was chosen.
        page.click("#to-verify")
        expect(live).to_have_text("Nothing is left to verify.")
        page.fill("#who", "Bob")
        page.click("#to-verify")
        expect(page.locator("#asked")).to_have_text("“the red square”")
        expect(page.locator("#things path[aria-pressed='true']")).to_have_count(0)
        choose(page, 10)
        page.click("#save")
        expect(live).to_contain_text("You mean the same.")
        expect(page.locator("#asked")).to_have_text("“both squares”")
        choose(page, 11)
        page.click("#save")
        expect(live).to_contain_text("You mean something else")
        for _ in range(2):
            expect(page.locator("#save")).to_have_text("Nothing is meant")
            before = page.inner_text("#agreement")
            page.click("#save")
            expect(page.locator("#agreement")).not_to_have_text(before)
        expect(live).to_contain_text("Nothing is left to verify.")
        expect(page.locator("#agreement")).to_contain_text("4 written, 4 verified, 75 %")
    link(photos, out)
    data = suite.folder_pairs(out)
    assert [len(pair.targets) for pair in data.pairs] == [1, 0, 0]
    assert data.pairs[-1].kind == "deceptive"


REAL = SHARED.parent / "photos" / "coco"


@pytest.mark.browser
@pytest.mark.timeout(900)  # twenty photos, each written for and verified in a page
@pytest.mark.parametrize("source", ["drawn", *(["real"] if REAL.is_dir() else [])])
def test_photos_are_annotated_beside_a_real_network_and_evaluated(
    tmp_path: Path, source: str
) -> None:
    place = REAL
    if source == "drawn":
        place = tmp_path / "drawn"
        for _ in write_album(AlbumPlan(photos=4, megapixels=0.03), place):
            pass
    photos, out = read(place, 20), tmp_path / "out"
    weights = write_tiny_model(tmp_path / "w.safetensors")
    asked = Adviser(load_network(weights), photos)
    with (
        served(photos, out, asked) as address,
        chromium() as browser,
        Visit(browser, address) as page,
    ):
        page.fill("#who", "Ann")
        for number in range(len(photos.photos)):
            shapes = page.locator("#things path")
            expect(shapes).to_have_count(len(photos.photos[number].things))
            shapes.first.press("Enter")
            page.fill("#text", f"the largest thing, number {number}")
            page.click("#save")
            expect(page.locator("#live")).to_have_text(f"Kept as number {number + 1}.")
            page.click("#next")
        page.fill("#who", "Bob")
        page.click("#to-verify")
        for number in range(len(photos.photos)):
            expect(page.locator("#asked")).to_contain_text(f"number {number}")
            page.locator("#things path").first.press("Enter")
            page.click("#save")
            expect(page.locator("#agreement")).to_contain_text(f"{number + 1} verified")
    link(photos, out)
    told = CliRunner().invoke(app, ["evaluate", weights, "--data", f"{out}:val", "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["pairs.targeted"] == len(photos.photos)
