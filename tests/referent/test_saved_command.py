"""`referent saved` on the command line: kept, listed, run and removed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from indexer.db.tables import SavedSearch
from search_api.http.keys import create_key
from tests.support.library import EXPRESSION, Library, make_library
from tests.support.page import let_match
from tests.support.terminal import Terminal


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Six photos, all of which match."""
    made = make_library(tmp_path_factory.mktemp("saved"), 6)
    let_match(made, "small", 1.0)
    yield made
    made.engine.close()


def test_search_is_saved_listed_run_and_removed(referent: Terminal) -> None:
    status, out, _ = referent(
        "saved", "add", "Rex", EXPRESSION, "--album", "small", "--path", "*.png",
        "--webhook", "https://example.com/hook",
    )  # fmt: skip
    assert (status, "/v1/saved/1/feed.atom" in out) == (0, True)
    _, out, _ = referent("saved", "list")
    for told in ("Rex", EXPRESSION, "in small", '"path": "*.png"', "https://example.com/hook"):
        assert told in out
    (kept,) = json.loads(referent("saved", "list", "--json")[1])["saved"]
    assert (kept["webhook"], kept["filters"]) == ("https://example.com/hook", {"path": "*.png"})
    status, out, _ = referent("saved", "run", "Rex", "--paths")
    assert status == 0 and out and all(line.endswith(".png") for line in out.splitlines())
    assert referent("saved", "run", "1", "--json")[0] == 0
    assert referent("saved", "remove", "Rex")[0] == 0
    assert "nothing is saved yet" in referent("saved", "list")[1]


def test_what_is_wrong_is_said_in_a_line(referent: Terminal, library: Library) -> None:
    for words, told in (
        (("run", "Rex"), "no saved search is named Rex"),
        (("add", "Rex", "dog", "--album", "none"), "none"),
        (("add", "Rex", "dog", "--webhook", "ftp://a/b"), "https://example.com/hook"),
        (("add", "Rex", "dog", "--gps", "1,2"), "--gps"),
    ):
        status, _, wrong = referent("saved", *words)
        assert (status, told in wrong) == (2, True), wrong
    create_key(library.engine.catalog, "ann", ["read"])
    with library.engine.catalog.session() as session:
        for key_id in (None, 1):
            session.add(SavedSearch(key_id=key_id, name="Two", expression="dog", filters={}))
    status, _, wrong = referent("saved", "remove", "Two")
    assert (status, "give one's number" in wrong) == (2, True)
    assert "of key 1" in referent("saved", "list")[1]
