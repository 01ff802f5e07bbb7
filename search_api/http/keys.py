"""API keys: 256 random bits that are shown once and kept as a salted HMAC.

A key is ``rf_<id>_<43 characters>``. The id finds its row; the secret is compared in constant
time. With 256 random bits a fast keyed hash is enough: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from indexer.db import audit
from indexer.db.audit import Actor
from indexer.db.catalog import Catalog, album_named
from indexer.db.clock import clock
from indexer.db.tables import Album, ApiKey, PageSession
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
_NO_HASH = f"{_SCHEME}${'0' * 32}${'0' * 64}"
DAY_S, HOUR_S = 86_400.0, 3600.0
# How old last_used_at may grow before a request writes it again.
_USE_RESOLUTION_S = 60.0


@dataclass(frozen=True)
class Principal:
    """Who asks: the key's id (None on loopback without keys) and what it may do."""

    key_id: int | None
    name: str
    scopes: frozenset[Scope]
    albums: frozenset[int] | None = None
    """The albums that it may see; None means all."""

    @property
    def asker(self) -> Asker:
        """Whose its searches are, and over which albums."""
        return Asker(self.key_id, self.albums)


LOOPBACK = Principal(None, "loopback", _IMPLIED["admin"])


@dataclass(frozen=True)
class KeyInfo:
    """A key as `referent keys` lists it; its secret is not kept. Times are Unix seconds."""

    id: int
    name: str
    scopes: tuple[str, ...]
    created_at: float
    last_used_at: float | None
    revoked_at: float | None
    expires_at: float | None
    albums: tuple[str, ...] | None
    """Names of the albums that it may see, deleted ones left out; None means all."""


def create_key(
    catalog: Catalog,
    name: str,
    scopes: Iterable[str],
    *,
    albums: Sequence[str] | None = None,
    days: float | None = None,
    actor: Actor | None = None,
) -> str:
    """Make a key and return it; this is the only time that its secret is seen.

    Args:
        albums: names of those that it may see; None means all, also those to come.
        days: it ends after so long; None means never.
        actor: who makes it, by default whoever types a command.
    Raises:
        BadQuery: the name is empty or too long, a scope is unknown, or albums come with admin.
        UnknownAlbum: no album has this name.
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
    if albums is not None and "admin" in wanted:
        raise BadQuery("An admin's key sees every album; give it read or write.", field="albums")
    if albums is not None and not albums:
        raise BadQuery("Name one album at least, or leave albums out.", field="albums")
    if days is not None and days <= 0:
        raise BadQuery("A key lives for more than 0 days.", field="days")
    secret = secrets.token_urlsafe(32)
    with catalog.session() as session:
        ids = None if albums is None else sorted({album_named(session, a).id for a in albums})
        now = float(session.execute(select(clock())).scalar_one())
        row = ApiKey(
            name=name.strip(),
            hash=_hash(secret, secrets.token_hex(16)),
            scopes=wanted,
            album_ids=ids,
            expires_at=None if days is None else now + days * DAY_S,
        )
        session.add(row)
        session.flush()
        _note(session, actor, "key made", row)
        return f"rf_{row.id}_{secret}"


def rotate_key(
    catalog: Catalog, key_id: int, *, hours: float = 0.0, actor: Actor | None = None
) -> str:
    """Give a key another secret and return it; its rights and its history stay.

    Args:
        hours: how long the old secret still works, for those who have to change it. Sessions that
            it opened end at once.
    Raises:
        NotFound: there is no such key, or it was revoked.
    """
    secret = secrets.token_urlsafe(32)
    with catalog.session() as session:
        row = session.get(ApiKey, key_id)
        if row is None or row.revoked_at is not None:
            raise NotFound(f"There is no key {key_id} (any more); `referent keys list` shows them.")
        now = float(session.execute(select(clock())).scalar_one())
        row.old_hash, row.old_until = row.hash, now + max(0.0, hours) * HOUR_S
        row.hash = _hash(secret, secrets.token_hex(16))
        session.execute(delete(PageSession).where(PageSession.key_id == key_id))
        _note(session, actor, "key rotated", row)
        return f"rf_{row.id}_{secret}"


def list_keys(catalog: Catalog) -> list[KeyInfo]:
    """Every key, oldest first."""
    with catalog.reading() as session:
        names = _album_names(session)
        return [_info(row, names) for row in session.scalars(select(ApiKey).order_by(ApiKey.id))]


def key_info(catalog: Catalog, key_id: int) -> KeyInfo:
    """One key.

    Raises:
        NotFound: there is no such key.
    """
    with catalog.reading() as session:
        row = session.get(ApiKey, key_id)
        if row is None:
            raise NotFound(f"There is no key {key_id}; `referent keys list` shows them.")
        return _info(row, _album_names(session))


def revoke_key(catalog: Catalog, key_id: int, *, actor: Actor | None = None) -> KeyInfo:
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
            session.execute(delete(PageSession).where(PageSession.key_id == key_id))
            _note(session, actor, "key revoked", row)
        return _info(row, _album_names(session))


def any_key(catalog: Catalog) -> bool:
    """Whether at least one key could be used."""
    usable = (
        select(ApiKey.id)
        .where(
            ApiKey.revoked_at.is_(None),
            or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > clock()),
        )
        .limit(1)
    )
    with catalog.reading() as session:
        return session.scalar(usable) is not None


def authenticate(catalog: Catalog, key: str) -> Principal:
    """Who holds this key.

    Raises:
        Unauthenticated: it is malformed, unknown, revoked or over; which one is not told.
    """
    form = _FORM.fullmatch(key)
    row, now = None, 0.0
    if form is not None:
        with catalog.reading() as session:
            row = session.get(ApiKey, int(form[1]))
            now = float(session.scalar(select(clock())) or 0)
    secret = form[2] if form is not None else key
    # An unknown id costs the same hashes as a known one.
    stored = [_NO_HASH, _NO_HASH]
    if row is not None:
        old = row.old_hash if (row.old_until or 0.0) > now else None
        stored = [row.hash, old or _NO_HASH]
    good = [hmac.compare_digest(_hash(secret, each.split("$")[1]), each) for each in stored]
    if row is None or not any(good) or _over(row, now):
        raise Unauthenticated(
            "The API key is unknown or revoked, or its time is over; make one with "
            "`referent keys create`."
        )
    _used(catalog, row, now)
    return _principal(row)


def principal_of(catalog: Catalog, key_id: int) -> Principal:
    """Who a session stands for, by the id of the key that opened it.

    Raises:
        Unauthenticated: the key was revoked, or is over.
    """
    with catalog.reading() as session:
        row = session.get(ApiKey, key_id)
        now = float(session.scalar(select(clock())) or 0)
    if row is None or _over(row, now):
        raise Unauthenticated("The session's key was revoked or is over; sign in with another key.")
    _used(catalog, row, now)
    return _principal(row)


def _over(row: ApiKey, now: float) -> bool:
    return row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now)


def _used(catalog: Catalog, row: ApiKey, now: float) -> None:
    """Note the use of a key, at most once in a while."""
    if row.last_used_at is None or now - row.last_used_at > _USE_RESOLUTION_S:
        with catalog.session() as session:
            session.execute(update(ApiKey).where(ApiKey.id == row.id).values(last_used_at=now))


def _note(session: Session, actor: Actor | None, action: audit.Action, row: ApiKey) -> None:
    what = f"key {row.id} ({row.name}; {','.join(row.scopes)})"
    audit.note(session, actor or audit.at_the_command_line(), action, what)


def _album_names(session: Session) -> dict[int, str]:
    return {row.id: row.name for row in session.execute(select(Album.id, Album.name))}


def _hash(secret: str, salt: str) -> str:
    digest = hmac.new(salt.encode(), secret.encode(), hashlib.sha256).hexdigest()
    return f"{_SCHEME}${salt}${digest}"


def _principal(row: ApiKey) -> Principal:
    scopes: frozenset[Scope] = frozenset().union(
        *(_IMPLIED[scope] for scope in row.scopes if scope in SCOPES)
    )
    albums = None if row.album_ids is None else frozenset(map(int, row.album_ids))
    return Principal(row.id, row.name, scopes, albums)


def _info(row: ApiKey, names: Mapping[int, str]) -> KeyInfo:
    albums = row.album_ids
    return KeyInfo(
        id=row.id,
        name=row.name,
        scopes=tuple(row.scopes),
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
        expires_at=row.expires_at,
        albums=None if albums is None else tuple(names[id] for id in albums if id in names),
    )
