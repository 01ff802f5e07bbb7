"""API keys: 256 random bits that are shown once and kept as a salted HMAC.

A key is ``rf_<id>_<43 characters>``. The id finds its row; the secret is compared in constant
time. With 256 random bits a fast keyed hash is enough: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from sqlalchemy import select, update

from indexer.db.catalog import Catalog
from indexer.db.clock import clock
from indexer.db.tables import ApiKey
from search_api.errors import BadQuery, NotFound, Unauthenticated
from search_api.search.query import Asker

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
_IMPLIED: dict[Scope, frozenset[Scope]] = {
    "read": frozenset({"read"}),
    "write": frozenset({"read", "write"}),
    "admin": frozenset({"read", "write", "admin"}),
}
_FORM = re.compile(r"rf_(\d{1,18})_([A-Za-z0-9_-]{43})")
_SCHEME = "hmac-sha256"
# How old last_used_at may grow before a request writes it again.
_USE_RESOLUTION_S = 60.0


@dataclass(frozen=True)
class Principal:
    """Who asks: the key's id (None on loopback without keys) and what it may do."""

    key_id: int | None
    name: str
    scopes: frozenset[Scope]

    @property
    def asker(self) -> Asker:
        """Whose its searches are."""
        return Asker(self.key_id)


LOOPBACK = Principal(None, "loopback", _IMPLIED["admin"])


@dataclass(frozen=True)
class KeyInfo:
    """A key as `referent keys` lists it; its secret is not kept."""

    id: int
    name: str
    scopes: tuple[str, ...]
    created_at: float
    last_used_at: float | None
    revoked_at: float | None


def create_key(catalog: Catalog, name: str, scopes: Iterable[str]) -> str:
    """Make a key and return it; this is the only time that its secret is seen.

    Raises:
        BadQuery: the name is empty or too long, or a scope is unknown.
    """
    wanted = sorted(set(scopes), key=lambda s: (s not in SCOPES, s))
    if unknown := [scope for scope in wanted if scope not in SCOPES]:
        raise BadQuery(
            f"Unknown scope {unknown[0]!r}; choose from {', '.join(SCOPES)}.", field="scopes"
        )
    if not wanted:
        raise BadQuery(f"Give at least one scope: {', '.join(SCOPES)}.", field="scopes")
    if not 0 < len(name.strip()) <= 255:
        raise BadQuery("Give the key a name of 1 to 255 characters.", field="name")
    secret = secrets.token_urlsafe(32)
    with catalog.session() as session:
        row = ApiKey(
            name=name.strip(),
            hash=_hash(secret, secrets.token_hex(16)),
            scopes=wanted,
        )
        session.add(row)
        session.flush()
        return f"rf_{row.id}_{secret}"


def list_keys(catalog: Catalog) -> list[KeyInfo]:
    """Every key, oldest first."""
    with catalog.reading() as session:
        return [_info(row) for row in session.scalars(select(ApiKey).order_by(ApiKey.id))]


def revoke_key(catalog: Catalog, key_id: int) -> KeyInfo:
    """Make a key useless from now on; its sessions end with it.

    Raises:
        NotFound: there is no such key.
    """
    with catalog.session() as session:
        row = session.get(ApiKey, key_id)
        if row is None:
            raise NotFound(f"There is no key {key_id}; `referent keys list` shows them.")
        if row.revoked_at is None:
            row.revoked_at = session.scalar(select(clock()))
        return _info(row)


def any_key(catalog: Catalog) -> bool:
    """Whether at least one key could be used."""
    usable = select(ApiKey.id).where(ApiKey.revoked_at.is_(None)).limit(1)
    with catalog.reading() as session:
        return session.scalar(usable) is not None


def authenticate(catalog: Catalog, key: str) -> Principal:
    """Who holds this key.

    Raises:
        Unauthenticated: it is malformed, unknown or revoked; which one is not told.
    """
    form = _FORM.fullmatch(key)
    row, now = None, 0.0
    if form is not None:
        with catalog.reading() as session:
            row = session.get(ApiKey, int(form[1]))
            now = float(session.scalar(select(clock())) or 0)
    # An unknown id costs the same hash as a known one.
    stored = row.hash if row is not None else f"{_SCHEME}${'0' * 32}${'0' * 64}"
    secret = form[2] if form is not None else key
    good = hmac.compare_digest(_hash(secret, stored.split("$")[1]), stored)
    if row is None or not good or row.revoked_at is not None:
        raise Unauthenticated(
            "The API key is unknown or revoked; make one with `referent keys create`."
        )
    if row.last_used_at is None or now - row.last_used_at > _USE_RESOLUTION_S:
        with catalog.session() as session:
            session.execute(update(ApiKey).where(ApiKey.id == row.id).values(last_used_at=now))
    return _principal(row)


def principal_of(catalog: Catalog, key_id: int) -> Principal:
    """Who a session stands for, by the id of the key that opened it.

    Raises:
        Unauthenticated: the key was revoked.
    """
    with catalog.reading() as session:
        row = session.get(ApiKey, key_id)
        if row is None or row.revoked_at is not None:
            raise Unauthenticated("The session's key was revoked; sign in with another key.")
        return _principal(row)


def _hash(secret: str, salt: str) -> str:
    digest = hmac.new(salt.encode(), secret.encode(), hashlib.sha256).hexdigest()
    return f"{_SCHEME}${salt}${digest}"


def _principal(row: ApiKey) -> Principal:
    scopes: frozenset[Scope] = frozenset().union(
        *(_IMPLIED[scope] for scope in row.scopes if scope in SCOPES)
    )
    return Principal(row.id, row.name, scopes)


def _info(row: ApiKey) -> KeyInfo:
    return KeyInfo(
        row.id, row.name, tuple(row.scopes), row.created_at, row.last_used_at, row.revoked_at
    )
