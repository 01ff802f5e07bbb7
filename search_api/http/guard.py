"""ASGI middleware that checks Host and Origin and sets the headers that keep browsers strict."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search_api.http.forwarded import route_path
from search_api.http.problems import problem_response
from search_api.http.trust import is_loopback

_SAFE_SITES = frozenset({"same-origin", "none"})
_DEFAULT_PORTS = {"http": "80", "https": "443"}
# They tell nothing, and whatever asks for them may call this machine what it likes.
_HEALTH = frozenset({"/healthz", "/readyz"})
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:{pictures}; connect-src 'self'; font-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_STRICT = {
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
        pictures_from: an origin from which the page may show pictures besides its own.
    """

    def __init__(
        self, app: ASGIApp, hosts: Iterable[str] | None, pictures_from: str | None = None
    ) -> None:
        self.app = app
        pictures = f" {pictures_from}" if pictures_from else ""
        self.strict = {**_STRICT, "Content-Security-Policy": _POLICY.format(pictures=pictures)}
        self.hosts = None if hosts is None else frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with a problem."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def strict(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.strict.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        path = route_path(scope)
        if path not in _HEALTH and not self._answers_to(_name_of(host)):
            detail = (
                f"This server does not answer to the name {_name_of(host)!r}; "
                "add it to REFERENT_ALLOWED_HOSTS if it should (requests then need an API key). "
                "Behind a proxy that is the name that the proxy sends as Host or X-Forwarded-Host."
            )
            await _refuse(scope, 421, "unknown-host", detail)(scope, receive, strict)
            return
        origin = headers.get("origin")
        # What the browser says of itself counts before what names say: a proxy may change those.
        site = headers.get("sec-fetch-site")
        foreign = not _same_place(origin, host) if site is None else site not in _SAFE_SITES
        if foreign:
            # Navigating here from another site is harmless; a page there that asks us is not.
            navigates = headers.get("sec-fetch-mode") == "navigate" and scope["method"] == "GET"
            if not navigates or path.startswith("/v1/"):
                detail = "Requests from other sites are not answered; open the page here instead."
                if site is None:
                    detail += (
                        f" A page of {origin} asks, and this server was asked as {host}: a proxy "
                        "between them must send the name that the browser shows, as Host or as "
                        "X-Forwarded-Host, and its address must be in REFERENT_TRUSTED_PROXIES."
                    )
                await _refuse(scope, 403, "foreign-origin", detail)(scope, receive, strict)
                return
        await self.app(scope, receive, strict)

    def _answers_to(self, name: str) -> bool:
        """Loopback's own names are no page's from elsewhere, and probes of health use them."""
        return self.hosts is None or name in self.hosts or is_loopback(name)


def _same_place(origin: str | None, host: str) -> bool:
    """Whether a page's origin is this host; the scheme's own port may be left out or given."""
    if origin is None:
        return True
    scheme, _, place = origin.lower().partition("://")
    port = _DEFAULT_PORTS.get(scheme, "")
    return _with_port(place, port) == _with_port(host, port)


def _with_port(host: str, port: str) -> str:
    return host if host[len(_name_of(host)) :] else f"{host}:{port}"


def _name_of(host: str) -> str:
    """A Host header without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def _refuse(scope: Scope, status: int, kind: str, detail: str) -> ASGIApp:
    return problem_response(Request(scope), status, kind, detail)
