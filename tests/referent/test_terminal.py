"""Odd file names on the terminal: shown as what they are, given to programs byte for byte."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.folders.printable import printable, shown_file
from tests.support.library import EXPRESSION, Library, make_library
from tests.support.terminal import Terminal

NAMES = (b"latin-\xe9.jpg", b"red-\x1b[31m\x1b]0;title\x07.jpg", b"two\nlines.jpg")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    made = make_library(tmp_path_factory.mktemp("terminal"), 3)
    for file, name in zip(sorted(made.photos.rglob("*.*")), NAMES, strict=True):
        os.rename(file, os.path.join(os.fsencode(file.parent), name))  # noqa: PTH104, PTH118
    made.index()
    yield made
    made.engine.close()


def paths(library: Library, *options: str) -> bytes:
    """What `referent search` writes to a pipe."""
    words = [sys.executable, "-m", "referent.main", "search", EXPRESSION, "--threshold", "0"]
    home = {"REFERENT_HOME": str(library.settings.home), "REFERENT_MODEL": library.settings.model}
    done = subprocess.run(
        [*words, *options], env={**os.environ, **home}, capture_output=True, check=True, timeout=300
    )
    return done.stdout


def test_paths_are_the_names_of_files_byte_for_byte(library: Library) -> None:
    found = paths(library, "--print0").split(b"\0")
    assert found.pop() == b""
    assert {os.path.basename(path) for path in found} == set(NAMES)  # noqa: PTH119 - bytes
    assert all(os.path.isfile(path) for path in found)  # noqa: PTH113
    assert paths(library, "--paths").count(b"\n") == len(NAMES) + 1  # one name holds a newline


def test_a_table_shows_names_and_does_nothing_that_they_say(
    referent: Terminal, library: Library
) -> None:
    _, out, err = referent("search", EXPRESSION, "--threshold", "0")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]", out + err)
    for shown in (r"latin-\xe9.jpg", r"red-\x1b[31m\x1b]0;title\x07.jpg", r"two\nlines.jpg"):
        assert shown in out


def test_failed_photos_are_listed_and_do_nothing_that_their_names_say(
    referent: Terminal, library: Library
) -> None:
    broken = library.photos / "bro\x1b[31mken.jpg"
    broken.write_bytes(b"no picture")
    try:
        library.index()
        _, out, _ = referent("failed")
    finally:
        broken.unlink()
        library.index()
    assert r"bro\x1b[31mken.jpg" in out and "\x1b" not in out


def test_json_holds_names_that_every_program_reads(referent: Terminal, library: Library) -> None:
    _, out, _ = referent("search", EXPRESSION, "--threshold", "0", "--json")
    names = {Path(hit["path"]).name for hit in json.loads(out)["hits"]}
    assert r"latin-\xe9.jpg" in names
    assert "\\ud" not in out.lower()


def test_an_error_does_nothing_that_a_name_says(referent: Terminal, library: Library) -> None:
    status, _, err = referent("search", EXPRESSION, "--album", "no\x1b[2J\nerror: such")
    assert status == 2
    assert "\x1b" not in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Été 2023 – 花.jpg", "Été 2023 – 花.jpg"),
        ("a\x1b[31mb\x9b1mc", "a\\x1b[31mb\\x9b1mc"),
        ("evil\u202egpj.exe", "evil\\u202egpj.exe"),
        ("a\u2028b\tc\rd", "a\\u2028b\\tc\\rd"),
        (os.fsdecode(b"\xe9.jpg"), "\\xe9.jpg"),
    ],
)
def test_only_what_would_not_be_seen_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown
    shown_file(Path("x" + text)).encode()
