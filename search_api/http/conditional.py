"""ASGI middleware: HEAD wherever GET is, and 304 for what the client has already."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# What describes a body that is not sent, in an answer that says "as you have it".
_OF_THE_BODY = ("content-length", "content-type", "content-disposition", "content-range")


class Conditional:
    """Answers HEAD as GET without its body, and GET with If-None-Match or -Modified-Since as 304.

    Whatever has an ETag or a time of change takes part; nothing else need know of it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a GET or HEAD on, and its answer back as far as it is wanted."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        head = scope["method"] == "HEAD"
        bare, ended = head, False

        async def hear() -> Message:
            # A stream without an end stops when its client goes, which need not wait here.
            return {"type": "http.disconnect"} if ended else await receive()

        async def answer(message: Message) -> None:
            nonlocal bare, ended
            if message["type"] == "http.response.start":
                if message["status"] in (200, 206) and _has(asked, Headers(scope=message)):
                    bare = True
                    message = {**message, "status": 304, "headers": list(message["headers"])}
                    headers = MutableHeaders(scope=message)
                    for name in _OF_THE_BODY:
                        del headers[name]
                await send(message)
            elif not bare:
                await send(message)
            elif not ended:
                ended = True
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self.app({**scope, "method": "GET"} if head else scope, hear, answer)


def _has(asked: Headers, found: Headers) -> bool:
    """Whether the client has what was found (RFC 9110, section 13.2.2)."""
    if (wanted := asked.get("if-none-match")) is not None:
        tag = found.get("etag")
        tags = [each.strip() for each in wanted.split(",")]
        return tag is not None and ("*" in tags or _strong(tag) in map(_strong, tags))
    since, changed = asked.get("if-modified-since"), found.get("last-modified")
    if since is None or changed is None:
        return False
    try:
        return parsedate_to_datetime(changed) <= parsedate_to_datetime(since)
    except (TypeError, ValueError):
        return False


def _strong(tag: str) -> str:
    return tag.removeprefix("W/")
