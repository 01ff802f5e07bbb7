"""Telling a program elsewhere: one POST of JSON, which is no way into the server's own network.

An address is resolved once, every answer must be a public one (unless the host is named in
``REFERENT_WEBHOOK_HOSTS``), and the connection goes to the answer that was checked, so that a name
which changes its answer in between gains nothing. Redirects are not followed.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from search_api.errors import BadQuery, SearchError

TIMEOUT_S = 10.0
_PORTS = {"http": 80, "https": 443}


class WebhookFailed(SearchError):
    """A webhook could not be told; the message says why."""


def checked(url: str) -> str:
    """An address that a webhook may have.

    Raises:
        BadQuery: it is not http or https with a host and nothing secret in it.
    """
    parts = _parts(url)
    if parts is None or parts.username is not None or parts.password is not None:
        raise BadQuery(
            "Give an address such as https://example.com/hook, without a name or a password.",
            field="webhook",
        )
    return url


def post(url: str, body: Mapping[str, Any], *, inner_hosts: frozenset[str] = frozenset()) -> None:
    """Tell a webhook.

    Args:
        inner_hosts: names, lower case, that may lead into the server's own network.
    Raises:
        WebhookFailed.
    """
    parts = _parts(url)
    if parts is None:
        raise WebhookFailed(f"{url} is no address of a webhook.")
    host, port = str(parts.hostname), parts.port or _PORTS[parts.scheme]
    address = _address(host, port, inner_hosts)
    connection = _Connection(host, port, address, secure=parts.scheme == "https")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    content = json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "referent"}
    try:
        connection.request("POST", path, content, headers)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise WebhookFailed(f"{host} could not be told: {error}.") from error
    finally:
        connection.close()
    if not 200 <= status < 300:
        raise WebhookFailed(f"{host} answered {status}.")


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if good and url.isascii() and url.isprintable() and " " not in url else None


def _address(host: str, port: int, inner_hosts: frozenset[str]) -> str:
    """Where a host is, if a webhook may go there."""
    try:
        found = [
            str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        ]
    except (OSError, UnicodeError) as error:
        raise WebhookFailed(f"{host} was not found: {error}.") from error
    if host.lower() not in inner_hosts and not all(_is_public(each) for each in found):
        raise WebhookFailed(
            f"{host} lies in the server's own network; name it in REFERENT_WEBHOOK_HOSTS if "
            "webhooks may go there."
        )
    return found[0]


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip.sixtofour or ip
    return ip.is_global and not ip.is_multicast


class _Connection(http.client.HTTPConnection):
    """To the address that was checked, under the host's name."""

    def __init__(self, host: str, port: int, address: str, *, secure: bool) -> None:
        super().__init__(host, port, timeout=TIMEOUT_S)
        self._address = address
        self._tls = ssl.create_default_context() if secure else None
        if secure:
            self.default_port = _PORTS["https"]

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_INET6 if ":" in self._address else socket.AF_INET)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect((self._address, self.port))  # a number: nobody is asked for it again
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)
