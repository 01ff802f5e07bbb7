"""One line for each request, and a number by which all that is logged of it is found."""

from __future__ import annotations

import logging
import re
import secrets
import time

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search_api.http.forwarded import route_path

log = logging.getLogger(__name__)
HEADER = "x-request-id"
_SANE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
# Asked every few seconds, by machines.
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})


class AccessLog:
    """ASGI middleware that logs requests as they end, who asked included.

    A request keeps the number that a proxy gave it in X-Request-Id, or gets one; its answer says
    it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and log how it was answered."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        number = given if _SANE.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = number
        status, size, begun = 0, 0, time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = number
            else:
                size += len(message.get("body", b""))
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=number):
            try:
                await self.app(scope, receive, noting)
            finally:
                path = route_path(scope)
                who = scope["state"].get("who")
                with structlog.contextvars.bound_contextvars(
                    method=scope["method"],
                    path=path,
                    status=status or 499,  # nothing was answered: the client went away
                    bytes=size,
                    ms=round((time.perf_counter() - begun) * 1000, 1),
                    client=scope["client"][0] if scope.get("client") else None,
                    key_id=getattr(who, "key_id", None),
                    who=getattr(who, "name", None),
                ):
                    log.log(logging.DEBUG if path in _QUIET else logging.INFO, "request")
