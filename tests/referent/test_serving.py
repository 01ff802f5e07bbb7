"""`referent search` asks the library's server where one runs, and says the same as without it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from indexer.settings import Settings
from referent import serving
from tests.referent.test_imports import loaded_by
from tests.support.library import EXPRESSION, Library, make_library
from tests.support.servers import Fleet, wait_until
from tests.support.terminal import Terminal


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    made = make_library(tmp_path_factory.mktemp("serving"), 8)
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def fleet(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    environment = {
        "REFERENT_HOME": str(library.settings.home),
        "REFERENT_MODEL": library.settings.model,
    }
    with Fleet(tmp_path_factory.mktemp("logs"), environment) as fleet:
        fleet.start("serve", "--port", "0", "--no-jobs", name="server")
        wait_until(lambda: is_served(library.settings), timeout_s=120, what="the server")
        yield fleet


@pytest.fixture
def referent(referent: Terminal, library: Library, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("REFERENT_HOME", str(library.settings.home))
    monkeypatch.setenv("REFERENT_MODEL", library.settings.model)
    return referent


def is_served(settings: Settings) -> bool:
    with serving.connected(settings) as server:
        return server is not None


def without_run(out: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(out)
    assert found.pop("run")
    assert found.pop("timings_ms")["total"] > 0
    return found


def test_server_is_asked_without_torch_and_answers_as_a_search_here(
    fleet: Fleet, library: Library, referent: Terminal
) -> None:
    words = ("search", EXPRESSION, "--threshold", str(library.threshold()), "--rejected", "2",
             "--top", "3")  # fmt: skip
    printed, modules = loaded_by(library, *words, "--json")
    assert sorted(modules & {"torch", "sqlalchemy", "fastapi"}) == []
    _, here, _ = referent(*words, "--json", "--here")
    assert without_run(printed) == without_run(here)
    assert len(json.loads(here)["hits"]) == 3
    assert referent(*words, "--paths")[:2] == referent(*words, "--paths", "--here")[:2]
    table, table_here = (
        [line for line in referent(*words, *more)[1].splitlines() if " ms" not in line]
        for more in ((), ("--here",))
    )
    assert table == table_here


def test_what_the_server_refuses_is_told_as_without_it(fleet: Fleet, referent: Terminal) -> None:
    code, out, err = referent("search", "dog", "--album", "nope")
    assert (code, out) == (2, "")
    assert "no album is named 'nope' (albums: small)" in err


def test_server_of_other_settings_is_not_asked(fleet: Fleet, library: Library) -> None:
    assert is_served(library.settings)
    assert not is_served(library.settings.model_copy(update={"head_dtype": "bfloat16"}))


def test_another_server_at_the_noted_port_is_not_asked(
    fleet: Fleet, library: Library, tmp_path: Path
) -> None:
    note = json.loads((library.settings.home / "serving.json").read_text())
    elsewhere = library.settings.model_copy(update={"home": tmp_path})
    (tmp_path / "serving.json").write_text(json.dumps(note))
    assert is_served(elsewhere)  # the address is right
    (tmp_path / "serving.json").write_text(json.dumps({**note, "name": "one before it"}))
    assert not is_served(elsewhere)


def test_note_goes_with_the_server_and_is_good_for_nothing_after_a_kill(
    fleet: Fleet, library: Library, referent: Terminal
) -> None:
    note = library.settings.home / "serving.json"
    kept = note.read_bytes()
    assert note.stat().st_mode & 0o777 == 0o600
    [server] = fleet.processes
    server.send_signal(signal.SIGTERM)
    server.wait(60)
    assert not note.exists()
    note.write_bytes(kept)  # as kill -9 leaves it
    code, out, _ = referent("search", EXPRESSION, "--threshold", "0", "--paths")
    assert (code, len(out.splitlines())) == (0, 8)
