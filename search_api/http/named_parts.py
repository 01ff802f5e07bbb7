"""Uploads from clients that name a file only in the extended form, ``filename*=UTF-8''…``.

RFC 7578 has it that browsers write ``filename``; some libraries write the other for names that are
not ASCII, and such a part would be taken for a field of text.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path as FilePath
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import unquote

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser

from indexer.folders import own_folders
from search_api.http.server_settings import MEBIBYTE

if TYPE_CHECKING:
    from search_api.http.state import Server

_PLAIN, _EXTENDED = b"filename", b"filename*"


class NamedParts(MultiPartParser):
    """Gives a part that has only the extended name the plain one besides.

    Files wait below the library, on the disk that they are for: the system's temporary folder may
    lie in memory.
    """

    def __init__(self, *arguments: Any, folder: FilePath, **limits: Any) -> None:
        super().__init__(*arguments, **limits)
        self._folder = folder

    def on_headers_finished(self) -> None:
        """Read what the part says of itself."""
        part = self._current_part
        part.content_disposition = with_plain_name(part.content_disposition)
        super().on_headers_finished()
        if part.file is not None:
            spooled = SpooledTemporaryFile(  # noqa: SIM115 - closed with the form
                max_size=self.spool_max_size, dir=str(self._folder)
            )
            part.file.file.close()
            part.file.file = cast(BinaryIO, spooled)  # a file but for its class
            self._files_to_close_on_error[-1] = spooled


class NamedPartsRoute(APIRoute):
    """A route whose forms are read by `NamedParts`, while there is room for them."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """The route's handler, given requests that read forms so."""
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            if not _is_form(request):
                return await handle(request)
            server: Server = request.app.state.server
            folder = await run_in_threadpool(own_folders.incoming, server.engine.settings)
            length = request.headers.get("content-length", "")
            # In pieces: nobody knows how much comes, but no more than is allowed.
            most = server.limits.max_upload_mib * MEBIBYTE
            with server.spool.holding(int(length) if length.isdigit() else most, folder):
                return await handle(_FormRequest(request.scope, request.receive, folder=folder))

        return handler


class _FormRequest(Request):
    def __init__(self, *arguments: Any, folder: FilePath) -> None:
        super().__init__(*arguments)
        self._folder = folder

    async def _get_form(self, **limits: Any) -> FormData:
        if self._form is None:
            try:
                parser = NamedParts(self.headers, self.stream(), folder=self._folder, **limits)
                self._form = await parser.parse()
            except MultiPartException as error:
                raise HTTPException(400, error.message) from error
        return self._form


def _is_form(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "multipart/form-data"


def with_plain_name(disposition: bytes | None) -> bytes | None:
    """A Content-Disposition with ``filename``, made of ``filename*`` where it is alone."""
    options = [option.strip() for option in (disposition or b"").split(b";")]
    values = {key.strip().lower(): value for key, _, value in (o.partition(b"=") for o in options)}
    if disposition is None or _PLAIN in values or _EXTENDED not in values:
        return disposition
    charset, _, rest = values[_EXTENDED].strip(b' "').partition(b"'")
    encoded = rest.partition(b"'")[2] or charset
    try:
        name = unquote(encoded.decode("ascii"), charset.decode("ascii") or "utf-8", "replace")
    except (LookupError, ValueError):
        name = unquote(encoded.decode("ascii", "replace"))
    return disposition + b'; filename="' + _quoted(name).encode() + b'"'


def _quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"').replace("\r", " ").replace("\n", " ")
