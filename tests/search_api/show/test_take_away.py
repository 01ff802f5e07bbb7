"""Matches to take away: whole originals, tags that photo managers read, pages without a server."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import httpx
import pytest
from PIL import Image
from playwright.sync_api import expect

from indexer.folders.albums import ensure_album
from search_api.search.events import Done
from search_api.search.pipeline import collect
from search_api.search.query import Query
from search_api.show import exports, take_away
from tests.support.library import EXPRESSION, Library, make_library, paint
from tests.support.page import Visit, chromium, let_match, serving
from tests.support.terminal import Terminal

SPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
}


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """An album that matches whole."""
    made = make_library(tmp_path, 6)
    let_match(made, "small", 1.0)
    made.engine.let_go(0)  # a view that took long to open would be shown a while longer
    yield made
    made.engine.close()


def searched(library: Library) -> Done:
    done = collect(library.engine, Query(expression=EXPRESSION, album="small"))
    assert len(done.matched) == 6
    return done


def zipped(library: Library, kind: take_away.Kind) -> zipfile.ZipFile:
    run = exports.ended_run(library.engine, searched(library).run_id)
    pieces = take_away.zip_pieces(take_away.files(library.engine, run, kind))
    made = zipfile.ZipFile(io.BytesIO(b"".join(pieces)))
    assert made.testzip() is None
    return made


def originals(library: Library) -> dict[str, bytes]:
    found = sorted(library.photos.rglob("*.*"))
    return {f"small/{p.relative_to(library.photos)}": p.read_bytes() for p in found}


def test_originals_come_whole_under_their_own_names(library: Library) -> None:
    made = zipped(library, "originals")
    assert {name: made.read(name) for name in made.namelist()} == originals(library)


def test_what_is_gone_is_named_and_the_others_come(library: Library) -> None:
    run = exports.ended_run(library.engine, searched(library).run_id)
    (library.photos / "2020" / "000.jpg").unlink()
    for kind in ("originals", "gallery"):
        pieces = take_away.zip_pieces(take_away.files(library.engine, run, kind))
        made = zipfile.ZipFile(io.BytesIO(b"".join(pieces)))
        told = made.read(take_away.LEFT_OUT).decode()
        assert told.startswith("small/2020/000.jpg: ") and str(library.photos) not in told
        assert len(made.namelist()) == {"originals": 6, "gallery": 12}[kind]


def test_sidecars_tag_each_photo_as_photo_managers_read_it(library: Library) -> None:
    made = zipped(library, "sidecars")
    assert set(made.namelist()) == {f"{name}.xmp" for name in originals(library)}
    tree = ElementTree.fromstring(made.read(made.namelist()[0]))
    for field, text in (
        ("dc:subject", EXPRESSION),
        ("lr:hierarchicalSubject", f"Referent|{EXPRESSION}"),
        ("digiKam:TagsList", f"Referent/{EXPRESSION}"),
    ):
        (item,) = tree.findall(f".//{field}//rdf:li", SPACES)
        assert item.text == text


def test_odd_expressions_stay_one_tag() -> None:
    tree = ElementTree.fromstring(take_away.sidecar('a <b> & "c"/d|e').encode())
    assert [item.text for item in tree.findall(".//rdf:li", SPACES)] == [
        'a <b> & "c"/d|e',
        'Referent|a <b> & "c" d e',
        'Referent/a <b> & "c" d e',
    ]


def test_command_writes_folders_that_no_scan_takes_for_an_album(
    library: Library, tmp_path: Path
) -> None:
    run = searched(library).run_id
    for form in take_away.KINDS:
        told = exports.write_export(library.engine, run, form, library.photos / "out" / form)
        assert told == ("13 files" if form == "gallery" else "6 files", 0)
    library.index()
    assert library.engine.views("small")[0].total == 6
    copied = library.photos / "out" / "originals" / "small" / "2020" / "000.jpg"
    assert copied.read_bytes() == (library.photos / "2020" / "000.jpg").read_bytes()
    shutil.rmtree(library.photos / "out")


def test_long_and_equal_names_are_taken_too_and_one_that_fails_is_named(
    library: Library, referent: Terminal, tmp_path: Path
) -> None:
    long = "ü" * 125 + ".jpg"
    assert len(long.encode()) == 254
    second = tmp_path / "second"
    for name in ("2020/000.jpg", "2020/001-8.png"):  # the first is in the album's other folder too
        paint(second / name, 400 + len(name))
    paint(library.photos / "2020" / long, 410)
    with library.engine.catalog.session() as session:
        ensure_album(session, [second], name="small")
    library.index()
    run = collect(library.engine, Query(expression=EXPRESSION, album="small")).run_id
    out = tmp_path / "out"
    for form in ("originals", "sidecars"):
        (blocked := out / form / "small" / "2021").parent.mkdir(parents=True)
        blocked.touch()  # a file stands where photos of a year are to be
        status, printed, err = referent("export", run, "--form", form, "--out", str(out / form))
        assert (status, err) == (3, ""), err
        assert "7 files; 2 left out, see left-out.txt" in printed
        told = (out / form / take_away.LEFT_OUT).read_text().splitlines()
        assert len(told) == 2 and all("small/2021/" in line for line in told)
        written = [file for file in (out / form / "small").rglob("[!.]*.*") if file.is_file()]
        assert len(written) == 7


@pytest.mark.browser
def test_gallery_opens_without_a_server(library: Library, tmp_path: Path) -> None:
    zipped(library, "gallery").extractall(tmp_path / "gallery")
    with (
        chromium() as browser,
        Visit(browser, (tmp_path / "gallery" / "index.html").as_uri()) as page,
    ):
        expect(page.get_by_role("heading", name=EXPRESSION)).to_be_visible()
        expect(page.get_by_role("listitem")).to_have_count(6)
        images = page.get_by_role("img")
        for image in images.all():
            image.scroll_into_view_if_needed()
            assert image.evaluate("image => image.decode().then(() => image.naturalWidth)")
    with Image.open(tmp_path / "gallery" / "photos" / "00001.jpg") as large:
        assert not large.getexif()


def test_api_gives_what_was_chosen(library: Library) -> None:
    done = searched(library)
    chosen = done.matched[2].photo_id
    with serving(library) as address:
        at = f"{address}/v1/search/{done.run_id}/take-away.zip"
        answer = httpx.get(at, params={"kind": "originals", "photo": chosen}, timeout=60)
        made = zipfile.ZipFile(io.BytesIO(answer.raise_for_status().content))
        assert len(made.namelist()) == 1
        assert "originals.zip" in answer.headers["content-disposition"]
        assert httpx.get(at, params={"kind": "films"}).status_code == 422
