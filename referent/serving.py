"""The note that `referent serve` leaves in the library, so that a search on its machine may ask it.

A server that needs no key from its own machine writes where it listens, and a name that it makes
up. Who reads the note asks `/readyz` first: only this server answers by this name, and only while
a search would work at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from hashlib import blake2b
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.errors import ReferentError
from model.replacing import replacing

if TYPE_CHECKING:
    from indexer.settings import Settings

NAME_HEADER = "Referent-Server"
# A server that takes longer to say that it is ready would not be quicker.
LOOK_S = 1.0


class NoAnswer(ReferentError):
    """The server refused, or went away."""


@dataclass(frozen=True)
class Note:
    """Where a server listens, by what name it answers, and from what (`print_of` its settings)."""

    host: str
    port: int
    name: str
    settings: str


def print_of(settings: Settings) -> str:
    """Digits that differ between versions and settings that may answer a search differently."""
    from referent import __version__

    shaping = (
        __version__,
        settings.database_url.get_secret_value(),
        str(settings.features_dir),
        settings.model,
        settings.device,
        settings.head_dtype,
    )
    return blake2b(json.dumps(shaping).encode(), digest_size=16).hexdigest()


@contextmanager
def told(settings: Settings, host: str, port: int, name: str) -> Iterator[None]:
    """Leave the note while the block runs; one that a later server has left stays."""
    path = _path(settings)
    note = Note(host, port, name, print_of(settings))
    with suppress(OSError), replacing(path) as part:  # without it, nobody asks: searches still run
        part.touch(mode=0o600)
        part.write_text(json.dumps(asdict(note)))
    try:
        yield
    finally:
        if _read(path) == note:
            path.unlink(missing_ok=True)


@contextmanager
def connected(settings: Settings) -> Iterator[HTTPConnection | None]:
    """A connection to this library's server on this machine; None where none is ready."""
    note = _read(_path(settings))
    if note is None or note.settings != print_of(settings):
        yield None
        return
    with closing(HTTPConnection(note.host, note.port, timeout=LOOK_S)) as connection:
        yield connection if _ready(connection, note.name) else None


def _ready(connection: HTTPConnection, name: str) -> bool:
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        answer.read()
        connection.sock.settimeout(None)  # from now on it may compute
    except (OSError, HTTPException):
        return False
    return answer.status == 200 and answer.getheader(NAME_HEADER) == name


def ask(connection: HTTPConnection, method: str, path: str, body: Any = None) -> Any:
    """What the server answers, out of JSON.

    Raises:
        NoAnswer.
    """
    sent = None if body is None else json.dumps(body)
    try:
        connection.request(method, path, sent, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        read = answer.read()
        if answer.status == 200:
            return json.loads(read)
    except (OSError, HTTPException, ValueError) as error:
        raise NoAnswer("the server went away") from error
    raise NoAnswer(f"the server answered {answer.status}")


def _path(settings: Settings) -> Path:
    return settings.home / "serving.json"


def _read(path: Path) -> Note | None:
    with suppress(OSError, ValueError, TypeError):
        return Note(**json.loads(path.read_bytes()))
    return None
