"""What of an expression the model does not read is said in every answer."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from model.text import MAX_TOKENS, minilm_word_pieces
from search_api.http.app import create_app
from tests.support.library import Library, make_library
from tests.support.terminal import Terminal

LONG = "the small brown dog with a red collar and a long tail that lies in the grass behind the old wooden fence near two children"  # fmt: skip # noqa: E501


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    made = make_library(tmp_path_factory.mktemp("unread"), 3)
    yield made
    made.engine.close()


def test_the_tail_beyond_twenty_word_pieces_is_told() -> None:
    text = minilm_word_pieces(MAX_TOKENS)
    tail = text.unread(LONG).tail
    assert tail == "the old wooden fence near two children"
    # Exactly what the network does not see: it reads the rest as it reads the whole.
    short = LONG.removesuffix(tail)
    assert text([LONG])[0].tolist() == text([short])[0].tolist()
    assert text.unread(short).tail == ""
    assert text.unread("a  dog,\tin  the “grass”").words == ()


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("красная собака", ("красная", "собака")),
        ("红色的狗", ("红色的狗",)),
        ("the כלב on the left", ("כלב",)),
        ("dog 🐕 in grass", ("🐕",)),
        ("le chien à côté, Übergröße", ()),
        ("kid №7 in Ⓐ blue", ()),
    ],
)
def test_words_in_a_script_that_is_not_read_are_told(
    expression: str, words: tuple[str, ...]
) -> None:
    assert minilm_word_pieces(MAX_TOKENS).unread(expression).words == words


def test_api_command_line_and_stored_run_tell_what_was_not_read(
    library: Library, referent: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFERENT_HOME", str(library.settings.home))
    monkeypatch.setenv("REFERENT_MODEL", library.settings.model)
    app = create_app(library.settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        answer = client.post("/v1/search", json={"expression": "красная собака"}).json()["run"]
        (note,) = [each for each in answer["notes"] if each["code"] == "unknown-words"]
        assert "“красная”, “собака”" in note["text"]
        kept = client.get(f"/v1/search/{answer['id']}").json()
        assert note in kept["notes"]
    for words in (("search", LONG), ("search", LONG, "--paths")):
        _, out, err = referent(*words)
        assert "near two children” at its end was not read" in " ".join((out + err).split())
    notes = json.loads(referent("search", LONG, "--json")[1])["notes"]
    assert "cut-expression" in {each["code"] for each in notes}
