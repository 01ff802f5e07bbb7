"""What an assistant may do with a server: the tools of `referent mcp`."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import ZipFile

from mcp.server import MCPServer
from mcp.server.mcpserver import Image
from mcp.server.mcpserver.exceptions import ToolError

from indexer.folders.own_output import make_room
from referent.client import ApiError, Client

HITS_MAX = 100
CUT_OUTS_MAX = 50
ABOUT = (
    "Searches a person's photo albums with referring expressions such as 'kid in blue' or 'two "
    "dogs on the left'. Search first; then show or cut out what was found, by the run and the "
    "photo's id. A search says how far it looked: do not take nothing found for nothing there."
)


def tools(client: Client, out: Path) -> MCPServer:
    """The tools of one server, with the rights and limits of the client's key.

    Args:
        out: folder that cut-outs are written to.
    """
    server = MCPServer("referent", instructions=ABOUT)

    def refused(error: ApiError) -> ToolError:
        wait = "" if error.retry_after_s is None else f" Ask again in {error.retry_after_s:g} s."
        return ToolError(f"{error}{wait}")

    @server.tool()
    def list_albums() -> list[dict[str, Any]]:
        """List the albums with how many photos of each can be searched."""
        try:
            return client.albums()
        except ApiError as error:
            raise refused(error) from error

    @server.tool()
    def search(
        expression: str,
        album: str | None = None,
        exhaustive: bool = False,
        threshold: float | None = None,
        limit: int = 20,
    ) -> dict[str, Any]:
        """Find photos that show what an expression refers to.

        AND, OR and NOT in capitals join expressions. `exhaustive` judges every photo instead of
        the most promising; `threshold` (0 to 1) overrides the confidence from which one matches.
        """
        try:
            found = client.search(
                expression,
                album=album,
                mode="exhaustive" if exhaustive else "fast",
                threshold=threshold,
            )
            hits = [
                {"photo": hit.id, "album": hit.photo["album"], "path": hit.path,
                 "taken_at": hit.photo["taken_at"], "confidence": hit.confidence, "box": hit.box}
                for hit, _ in zip(found, range(max(1, min(limit, HITS_MAX))), strict=False)
            ]  # fmt: skip
        except ApiError as error:
            raise refused(error) from error
        return {
            "run": found.run,
            "matched": found.matched,
            "looked_at": found.sentence,
            "notes": found.notes,
            "hits": hits,
        }

    @server.tool()
    def show(run: str, photo: int, side: int = 1024) -> Image:
        """Show a match with its mask on it; `side` is the longer one in pixels."""
        try:
            return Image(data=client.overlay(run, photo, side), format="jpeg")
        except ApiError as error:
            raise refused(error) from error

    @server.tool()
    def cut_out(run: str, photos: list[int]) -> list[str]:
        """Cut what was found out of some matches; gives the transparent PNG files written."""
        if not 1 <= len(photos) <= CUT_OUTS_MAX:
            raise ToolError(f"name 1 to {CUT_OUTS_MAX} photos, not {len(photos)}")
        try:
            return _written(client, out, run, photos)
        except ApiError as error:
            raise refused(error) from error
        except OSError as error:
            raise ToolError(f"{out} cannot be written ({error.strerror})") from error

    return server


def _written(client: Client, out: Path, run: str, photos: list[int]) -> list[str]:
    """Fetch the cut-outs of a search and unpack them into a folder of the run's own."""
    answer = client.answer(run)
    folder = out / answer.run
    archive = folder / "cut-outs.zip"
    make_room(out, archive)
    answer.cut_out(archive, photos)
    with ZipFile(archive) as zipped:
        zipped.extractall(folder)  # never out of it, whatever the names say
        names = zipped.namelist()
    archive.unlink()
    return [str((folder / name).resolve()) for name in names if name.endswith(".png")]
