"""The page's session: a signed cookie that stands for a key, so that the key is not kept there."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from indexer.db.catalog import Catalog
from indexer.db.clock import clock
from indexer.db.tables import PageSession
from search_api.errors import Unauthenticated

COOKIE = "referent_session"


class Sessions:
    """Makes, reads and ends session tokens ``<key id>.<number>.<hex HMAC>``.

    The number is random; the catalog holds its digest until the session is over.
    """

    def __init__(self, secret: bytes, lifetime_s: float) -> None:
        self._secret = secret
        self.lifetime_s = lifetime_s

    @classmethod
    def open(cls, path: Path, secret: str, lifetime_s: float) -> Sessions:
        """With the given secret, or that of a file, which is made when missing (mode 0600)."""
        if secret:
            return cls(secret.encode(), lifetime_s)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        if not path.exists():
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(32))
            try:
                os.link(partial, path)  # fails if another process was first: its secret holds
            except FileExistsError:
                pass
            finally:
                partial.unlink()
        return cls(path.read_bytes(), lifetime_s)

    def issue(self, catalog: Catalog, key_id: int) -> str:
        """A token for a key that was just checked; the catalog knows it until it is ended."""
        number = secrets.token_urlsafe(24)
        with catalog.session() as session:
            session.add(
                PageSession(
                    id=_digest(number),
                    key_id=key_id,
                    expires_at=_now(session) + self.lifetime_s,
                )
            )
        content = f"{key_id}.{number}"
        return f"{content}.{self._sign(content)}"

    def read(self, catalog: Catalog, token: str) -> int:
        """The id of the key behind a token.

        Raises:
            Unauthenticated: it is forged, damaged, past its time or was ended.
        """
        number = self._number(token)
        with catalog.reading() as session:
            row = session.get(PageSession, _digest(number)) if number else None
            if row is None or row.expires_at <= _now(session):
                raise Unauthenticated("The session has ended; sign in with an API key again.")
            return row.key_id

    def end(self, catalog: Catalog, token: str) -> int | None:
        """Let a token be good for nothing from now on.

        Returns:
            the id of the key behind it, where it was good until now.
        """
        number = self._number(token)
        if not number:
            return None
        ended = delete(PageSession).where(PageSession.id == _digest(number))
        with catalog.session() as session:
            return session.scalar(ended.returning(PageSession.key_id))

    def _number(self, token: str) -> str:
        """What a token that is ours stands for; nothing where it is forged."""
        content, _, signature = token.rpartition(".")
        good = hmac.compare_digest(
            self._sign(content).encode(), signature.encode("utf-8", "replace")
        )
        return content.partition(".")[2] if good else ""

    def _sign(self, content: str) -> str:
        message = b"session:" + content.encode("utf-8", "replace")
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()


def _digest(number: str) -> str:
    return hashlib.blake2b(number.encode(), digest_size=32).hexdigest()


def _now(session: Session) -> float:
    return float(session.execute(select(clock())).scalar_one())
