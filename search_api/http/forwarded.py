"""ASGI middleware that believes a trusted proxy about the name, the path and the visitor."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address, ip_network

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

_PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?")


class Forwarded:
    """Gives what is inside the address that the browser asked for.

    X-Forwarded-Proto and -For are uvicorn's to read; -Host and -Prefix are read here. Of a list of
    hosts the last one counts, which is what the nearest proxy itself saw. What others than trusted
    proxies send is left as it is, and so is what has not the form of a host or a path.

    Args:
        app: the application inside.
        trusted: addresses and networks of proxies; "*" trusts everyone who connects.
        root_path: the path below which the page is served, such as ``/photos``, or nothing. A
            proxy may take it off the requests that it passes on, or leave it there.
    """

    def __init__(self, app: ASGIApp, trusted: Sequence[str], root_path: str) -> None:
        self.app = ProxyHeadersMiddleware(app, list(trusted))  # type: ignore[arg-type]
        self._everyone = "*" in trusted
        self._networks = [ip_network(each, strict=False) for each in trusted if each != "*"]
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as the browser made it."""
        if scope["type"] == "http":
            scope = dict(scope)
            prefix = self._root_path
            if self._trusts(scope):
                headers = Headers(scope=scope)
                host = ",".join(headers.getlist("x-forwarded-host")).rpartition(",")[2].strip()
                if _HOST.fullmatch(host):
                    scope["headers"] = list(scope["headers"])
                    MutableHeaders(scope=scope)["host"] = host
                prefix = prefix_of(headers.get("x-forwarded-prefix", "")) or prefix
            if prefix:
                scope["root_path"] = prefix
                if not f"{scope['path']}/".startswith(f"{prefix}/"):
                    scope["path"] = prefix + scope["path"]
        await self.app(scope, receive, send)  # type: ignore[arg-type]

    def _trusts(self, scope: Scope) -> bool:
        if self._everyone:
            return True
        try:
            peer = ip_address(scope["client"][0] if scope.get("client") else "")
        except ValueError:
            return False
        return any(peer in network for network in self._networks)


def route_path(scope: Scope) -> str:
    """The path of a request below the page's own, as routes have it."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def prefix_of(text: str) -> str:
    """A path as a prefix, ``/a/b`` without a slash at its end; empty where it is none."""
    bare = text.strip().rstrip("/")
    return bare if _PREFIX.fullmatch(bare) else ""
