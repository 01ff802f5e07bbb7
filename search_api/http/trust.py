"""Who may ask without a key: programs of this machine, never what came through a proxy.

A proxy on the same machine connects over loopback, so that its visitors look like local ones. What
gives them away is what proxies add to a request; a visitor can add such headers too, and then needs
a key, but cannot take away those that the proxy adds.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from ipaddress import ip_address

from starlette.types import Scope

from search_api.http.server_settings import ServerSettings

log = logging.getLogger(__name__)
# Headers that proxies, balancers, tunnels and caches add; besides, all that begin with _PREFIXES.
_HEADERS = frozenset(
    {
        "cdn-loop", "client-ip", "cluster-client-ip", "fastly-client-ip", "fly-client-ip",
        "forwarded", "forwarded-for", "front-end-https", "proxy-connection", "true-client-ip",
        "via", "x-client-ip", "x-cluster-client-ip", "x-host", "x-original-host",
        "x-original-url", "x-originating-ip", "x-proxyuser-ip", "x-real-ip", "x-remote-addr",
        "x-remote-ip", "x-scheme", "x-script-name",
    }
)  # fmt: skip
_PREFIXES = ("cf-", "tailscale-", "x-amzn-", "x-appengine-", "x-azure-", "x-envoy-", "x-forwarded")


@dataclass
class Trust:
    """Whether a request needs a key.

    Args:
        reason: why every request does, as a sentence; None where loopback is trusted.
        also_proxied: admit without a key what came through a proxy as well.
    """

    reason: str | None
    also_proxied: bool = False
    _told: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def of(cls, host: str | None, limits: ServerSettings) -> Trust:
        """The trust of a server that is bound to ``host`` (None: unknown)."""
        named = [name for name in limits.allowed_hosts if not is_loopback(name)]
        if host is None or not is_loopback(host):
            return cls(f"{host or 'this address'} can be reached by others")
        if limits.require_keys:
            return cls("REFERENT_REQUIRE_KEYS is set")
        if named and not limits.trust_loopback:
            return cls(f"REFERENT_ALLOWED_HOSTS names {named[0]}, by which others reach it")
        return cls(None, limits.trust_loopback)

    @property
    def sentence(self) -> str:
        """What to tell whoever starts the server."""
        if self.reason is not None:
            return f"Every request needs an API key: {self.reason}."
        if self.also_proxied:
            return (
                "REFERENT_TRUST_LOOPBACK is set: whoever reaches this address, also through a "
                "proxy, is admin without a key."
            )
        return "No key is needed from this machine; what a proxy passes on needs one."

    def key_needed(self, scope: Scope) -> str | None:
        """Why this request needs a key, as a sentence; None where it needs none."""
        if self.reason is not None:
            return f"An API key is needed: {self.reason}."
        if self.also_proxied:
            return None
        sign = passed_on_by(scope)
        if sign is None:
            return None
        if self._told.acquire(blocking=False):  # once a server: a proxy sends many
            log.warning(
                "a request over loopback was passed on by a proxy (%s): such requests need an API "
                "key; REFERENT_TRUST_LOOPBACK=true would make everyone behind it admin",
                sign,
            )
        return f"This request was passed on by a proxy ({sign}), so that it needs an API key."


def passed_on_by(scope: Scope) -> str | None:
    """What shows that a proxy passed a request on, in words; None where nothing does."""
    for raw, _ in scope["headers"]:
        name = raw.decode("latin-1").lower()
        if name in _HEADERS or name.startswith(_PREFIXES):
            return f"it carries the header {name}"
    # What nginx speaks to whatever it proxies, with no header of its own, unless told otherwise.
    if scope.get("http_version") == "1.0":
        return "it speaks HTTP/1.0"
    # Known from another machine: the system itself passed it on to loopback.
    peer = scope["client"][0] if scope.get("client") else ""
    if _is_address(peer) and not is_loopback(peer):
        return "it comes from another machine"
    return None


def is_loopback(host: str) -> bool:
    """Whether a server bound to this name can only be reached from its own machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
