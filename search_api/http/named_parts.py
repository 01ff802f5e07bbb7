"""Uploads from clients that name a file only in the extended form, ``filename*=UTF-8''…``.

RFC 7578 has it that browsers write ``filename``; some libraries write the other for names that are
not ASCII, and such a part would be taken for a field of text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser

_PLAIN, _EXTENDED = b"filename", b"filename*"


class NamedParts(MultiPartParser):
    """Gives a part that has only the extended name the plain one besides."""

    def on_headers_finished(self) -> None:
        """Read what the part says of itself."""
        part = self._current_part
        part.content_disposition = with_plain_name(part.content_disposition)
        super().on_headers_finished()


class NamedPartsRoute(APIRoute):
    """A route whose forms are read by `NamedParts`."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """The route's handler, given requests that read forms so."""
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            return await handle(_FormRequest(request.scope, request.receive))

        return handler


class _FormRequest(Request):
    async def _get_form(self, **limits: Any) -> FormData:
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if self._form is None and kind == "multipart/form-data":
            try:
                self._form = await NamedParts(self.headers, self.stream(), **limits).parse()
            except MultiPartException as error:
                raise HTTPException(400, error.message) from error
            return self._form
        return await super()._get_form(**limits)


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
