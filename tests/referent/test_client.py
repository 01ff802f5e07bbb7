"""The Python client and the tools of `referent mcp`, against a real server."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import anyio
import mcp
import pytest
from mcp.client.stdio import StdioServerParameters
from PIL import Image

from referent.client import ApiError, Client
from referent.mcp_tools import tools
from search_api.http.keys import create_key
from tests.support.library import EXPRESSION, Library, make_library
from tests.support.page import let_match, serving


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    made = make_library(tmp_path_factory.mktemp("client"), 12)
    with made.engine:
        let_match(made, "small", 0.5)
        yield made


@pytest.fixture(scope="module")
def address(library: Library) -> Iterator[str]:
    with serving(library) as found:
        yield found


def test_a_search_gives_every_match_with_its_pictures(
    address: str, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("referent.client._PAGE", 2)  # several pages
    with Client(address + "/") as client:
        assert [album["name"] for album in client.albums()] == ["small"]
        answer = client.search(EXPRESSION, album="small", mode="exhaustive")
        hits = list(answer)
        assert len(hits) == answer.matched == len({hit.id for hit in hits}) > 2
        assert [hit.confidence for hit in hits] == sorted(
            (h.confidence for h in hits), reverse=True
        )
        assert answer.sentence
        best = hits[0]
        assert best.original() == (library.photos / best.path).read_bytes()
        size = Image.open(io.BytesIO(best.original())).size
        assert Image.open(io.BytesIO(best.mask_png())).size == size
        assert best.mask()["box"] == list(best.box or ())
        assert max(Image.open(io.BytesIO(best.overlay(64))).size) == 64
        assert [hit.id for hit in client.answer(answer.run)] == [hit.id for hit in hits]


def test_cut_outs_come_as_a_zip_of_the_chosen(address: str, tmp_path: Path) -> None:
    with Client(address) as client:
        answer = client.search(EXPRESSION, album="small", mode="exhaustive")
        chosen = [hit.id for hit in answer][:2]
        path = answer.cut_out(tmp_path / "two.zip", chosen, crop=True)
    with ZipFile(path) as zipped:
        assert len([name for name in zipped.namelist() if name.endswith(".png")]) == 2
    assert [each.name for each in tmp_path.iterdir()] == ["two.zip"]


def test_errors_say_what_the_server_says(address: str, library: Library, tmp_path: Path) -> None:
    with Client(address) as client:
        with pytest.raises(ApiError, match="nowhere") as unknown:
            client.search("dog", album="nowhere")
        assert (unknown.value.status, unknown.value.fields) == (404, ("album",))
        with pytest.raises(ApiError, match=r"job|404"):
            client.save("/v1/jobs/999/cutouts.zip", tmp_path / "none.zip")
        assert not list(tmp_path.iterdir())
    with Client(address, "wrong") as client, pytest.raises(ApiError) as refused:
        client.albums()
    assert refused.value.status == 401
    with (
        Client(address, create_key(library.engine.catalog, "reader", ["read"])) as client,
        pytest.raises(ApiError) as forbidden,
    ):
        next(iter(client.search(EXPRESSION)))
        client.search(EXPRESSION).cut_out(tmp_path / "none.zip")
    assert forbidden.value.status == 403
    with (
        Client("http://127.0.0.1:9") as client,
        pytest.raises(ApiError, match="is `referent serve` running"),
    ):
        client.albums()


def _called(server: Any, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
    """What the tools of an MCP server answer, one after another."""

    async def ask() -> list[Any]:
        async with mcp.Client(server) as client:
            return [await client.call_tool(name, asked) for name, asked in calls]

    return anyio.run(ask)


def test_an_assistant_searches_shows_and_cuts_out(address: str, tmp_path: Path) -> None:
    asked = {"expression": EXPRESSION, "album": "small", "exhaustive": True, "limit": 2}
    with Client(address) as client:
        server = tools(client, tmp_path / "out")
        albums, found = _called(server, ("list_albums", {}), ("search", asked))
        assert albums.structured_content["result"][0]["name"] == "small"
        answer = found.structured_content
        assert answer["matched"] > len(answer["hits"]) == 2
        run, photo = answer["run"], answer["hits"][0]["photo"]
        shown, cut, many, wrong = _called(
            server,
            ("show", {"run": run, "photo": photo, "side": 64}),
            ("cut_out", {"run": run, "photos": [photo]}),
            ("cut_out", {"run": run, "photos": list(range(60))}),
            ("search", {"expression": "dog", "album": "nowhere"}),
        )
    assert shown.content[0].mime_type == "image/jpeg"
    (path,) = cut.structured_content["result"]
    assert Image.open(path).mode == "RGBA"
    assert (tmp_path / "out" / ".referent-output").is_file()  # no scan takes it for photos
    assert many.is_error
    assert "1 to 50" in many.content[0].text
    assert wrong.is_error
    assert "nowhere" in wrong.content[0].text


def test_the_command_speaks_on_its_standard_streams(address: str, tmp_path: Path) -> None:
    command = ["-m", "referent.main", "mcp", "--address", address, "--out", str(tmp_path)]
    server = StdioServerParameters(command=sys.executable, args=command)
    (albums,) = _called(server, ("list_albums", {}))
    assert albums.structured_content["result"][0]["name"] == "small"
