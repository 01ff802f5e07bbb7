"""Where a page ended, in a form that a client hands back unread."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from starlette.testclient import TestClient

from search_api.errors import BadCursor
from search_api.http.app import create_app
from search_api.http.cursors import make_cursor, read_cursor
from tests.support.library import make_library


def test_cursor_gives_its_position_back_to_its_own_listing() -> None:
    assert read_cursor(make_cursor("a:hits", 7), "a:hits") == 7
    assert read_cursor(None, "a:hits", start=-1) == -1


@pytest.mark.parametrize("cursor", [make_cursor("b:hits", 7), "x", "%%%", "AAAA", "ü"])
def test_cursor_that_is_damaged_or_of_another_listing_is_refused(cursor: str) -> None:
    with pytest.raises(BadCursor):
        read_cursor(cursor, "a:hits")


def test_history_refuses_what_is_no_run_of_its_own(tmp_path: Path) -> None:
    library = make_library(tmp_path, 1)
    app = create_app(library.settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        for cursor in ("x", "\x00", str(uuid4())):
            answer = client.get("/v1/history", params={"cursor": cursor})
            assert answer.status_code == 404, answer.text
            assert "start again" in answer.json()["detail"]
    library.engine.close()
