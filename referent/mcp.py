"""``referent mcp``: a running server as tools of the Model Context Protocol, over stdio."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from model.errors import ReferentError
from referent.terminal import say

ADDRESS = "http://127.0.0.1:8321"


def mcp(
    address: Annotated[str, typer.Option(help="Of the server, as `referent serve` prints it.")] = (
        ADDRESS
    ),
    key: Annotated[
        str | None,
        typer.Option(
            envvar="REFERENT_API_KEY",
            show_envvar=True,
            help="A key of that server; cutting out needs scope write.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where cut-outs are written.")] = Path("cut-outs"),
) -> None:
    """Let an assistant search, show and cut out photos of a running server (MCP over stdio)."""
    try:
        from referent.client import Client
        from referent.mcp_tools import tools

        server = tools(Client(address, key), out)
    except ImportError as error:
        raise ReferentError(
            f"{error.name} is not installed: pip install 'referent[mcp]'"
        ) from error
    say(f"tools of {address} on standard input and output; Ctrl-C ends it", err=True)
    server.run()


mcp.epilog = (  # type: ignore[attr-defined]
    "Example, in an assistant's settings: "
    '`{"mcpServers": {"photos": {"command": "referent", "args": ["mcp"]}}}`'
)
