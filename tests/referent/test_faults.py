"""What a person sees of a fault: a sentence and the log's place, no secret, no page of code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.settings import Settings
from search_api.http.server_settings import ServerSettings
from search_api.show import matte
from tests.support.library import EXPRESSION, Library, make_library
from tests.support.terminal import Terminal

SECRET = "S3CRET"
REDIS = f"redis://:{SECRET}@127.0.0.1:6379/0"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    made = make_library(tmp_path_factory.mktemp("faults"), 3)
    yield made
    made.engine.close()


def test_a_fault_in_a_job_is_a_sentence_and_its_trace_is_in_the_log(
    referent: Terminal, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFERENT_REDIS_URL", REDIS)

    def broken(engine: object, run: object, options: object, photos: object) -> None:
        settings = Settings()
        raise RuntimeError(f"cannot reach {settings.redis_url.get_secret_value()}")

    monkeypatch.setattr(matte, "plan", broken)
    words = ("matte", EXPRESSION, "--out", str(tmp_path / "out"), "--threshold", "0")
    status, out, err = referent(*words)
    assert status == 2
    assert len(err.splitlines()) <= 6, err
    assert "RuntimeError" in err and "Traceback" not in err
    log = library.settings.log_file
    assert str(log) in err
    kept = log.read_text()
    assert "Traceback" in kept and "broken" in kept  # the trace is whole, but for the password
    assert SECRET not in out + err + kept


def test_a_fault_of_a_command_is_a_sentence_with_a_status_of_its_own(
    referent: Terminal, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError(REDIS)

    monkeypatch.setattr("indexer.folders.albums.list_albums", broken)
    status, out, err = referent("albums")
    assert (status, out) == (70, "")
    log = library.settings.log_file
    happened = "something unexpected happened (ZeroDivisionError)"
    assert err == f"error: {happened}; the trace is in {log}\n"
    assert "ZeroDivisionError" in log.read_text()


def test_a_setting_that_cannot_be_used_is_named_without_its_value(
    referent: Terminal, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFERENT_DECODE_WORKERS", SECRET)
    status, _, err = referent("albums")
    assert status == 2
    assert err.startswith("error: REFERENT_DECODE_WORKERS: ") and len(err.splitlines()) == 1
    assert SECRET not in err


def test_secrets_hide_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFERENT_REDIS_URL", REDIS)
    monkeypatch.setenv("REFERENT_DATABASE_URL", f"postgresql://me:{SECRET}@db/referent")
    monkeypatch.setenv("REFERENT_SESSION_SECRET", SECRET)
    for settings in (Settings(), ServerSettings()):
        for shown in (repr(settings), str(settings), settings.model_dump_json()):
            assert SECRET not in shown
