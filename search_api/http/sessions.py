"""The page's session: a signed cookie that stands for a key, so that the key is not kept there."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from pathlib import Path

from search_api.errors import Unauthenticated

COOKIE = "referent_session"


class Sessions:
    """Makes and reads session tokens ``<key id>.<expiry, Unix s>.<hex HMAC>``."""

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

    def issue(self, key_id: int) -> str:
        """A token for a key that was just checked."""
        content = f"{key_id}.{int(time.time() + self.lifetime_s)}"
        return f"{content}.{self._sign(content)}"

    def read(self, token: str) -> int:
        """The id of the key behind a token.

        Raises:
            Unauthenticated: it is forged, damaged or past its time.
        """
        content, _, signature = token.rpartition(".")
        good = hmac.compare_digest(
            self._sign(content).encode(), signature.encode("utf-8", "replace")
        )
        if not good or time.time() > int(content.partition(".")[2]):
            raise Unauthenticated("The session has ended; sign in with an API key again.")
        return int(content.partition(".")[0])

    def _sign(self, content: str) -> str:
        message = b"session:" + content.encode("utf-8", "replace")
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()
