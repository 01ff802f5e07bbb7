"""ASGI middleware that checks Host and Origin and sets the headers that keep browsers strict."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search_api.http.problems import problem_response
from search_api.http.trust import is_loopback

_SAFE_SITES = frozenset({"same-origin", "none"})
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """Refuses requests under a foreign name (DNS rebinding) or from a foreign page.

    Args:
        app: the application inside.
        hosts: names that the Host header may hold besides those of loopback, lower case; None
            admits any.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] | None) -> None:
        self.app = app
        self.hosts = None if hosts is None else frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with a problem."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def strict(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if not self._answers_to(_name_of(host)):
            detail = (
                f"This server does not answer to the name {_name_of(host)!r}; "
                "add it to REFERENT_ALLOWED_HOSTS if it should (requests then need an API key)."
            )
            await _refuse(scope, 421, "unknown-host", detail)(scope, receive, strict)
            return
        origin = headers.get("origin")
        foreign = origin is not None and origin.lower().partition("://")[2] != host
        if foreign or headers.get("sec-fetch-site", "none") not in _SAFE_SITES:
            # Navigating here from another site is harmless; a page there that asks us is not.
            navigates = headers.get("sec-fetch-mode") == "navigate" and scope["method"] == "GET"
            if not navigates or scope["path"].startswith("/v1/"):
                detail = "Requests from other sites are not answered; open the page here instead."
                await _refuse(scope, 403, "foreign-origin", detail)(scope, receive, strict)
                return
        await self.app(scope, receive, strict)

    def _answers_to(self, name: str) -> bool:
        """Loopback's own names are no page's from elsewhere, and probes of health use them."""
        return self.hosts is None or name in self.hosts or is_loopback(name)


def _name_of(host: str) -> str:
    """A Host header without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def _refuse(scope: Scope, status: int, kind: str, detail: str) -> ASGIApp:
    return problem_response(Request(scope), status, kind, detail)
