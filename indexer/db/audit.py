"""Who changed which album or key, took what away and let whom in: lines that only age removes."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from indexer.db.catalog import Catalog
from indexer.db.clock import clock
from indexer.db.tables import AuditLine

Action = Literal[
    "sign-in", "sign-in refused", "sign-out",
    "key made", "key rotated", "key revoked",
    "album made", "album renamed", "album changed", "album deleted",
    "folder added", "folder moved", "folder dropped",
    "search deleted", "mark replaced", "mark taken back", "webhook set",
]  # fmt: skip


@dataclass(frozen=True)
class Actor:
    """Whoever does something, for the audit."""

    name: str
    key_id: int | None = None
    request_id: str | None = None


@dataclass(frozen=True)
class Line:
    """One thing that was done."""

    id: int
    at: float
    """Unix time in seconds."""
    action: str
    what: str
    who: str
    key_id: int | None
    request_id: str | None


def at_the_command_line() -> Actor:
    """Whoever types a command, by the name of their account."""
    try:
        account = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        account = "?"
    return Actor(f"command line ({account})")


def note(session: Session, actor: Actor, action: Action, what: str) -> None:
    """Write a line, in the transaction of what it tells."""
    session.execute(
        insert(AuditLine).values(
            at=clock(),
            action=action,
            what=what,
            who=actor.name,
            key_id=actor.key_id,
            request_id=actor.request_id,
        )
    )


def lines(catalog: Catalog, *, before: int | None = None, limit: int = 50) -> Sequence[Line]:
    """The newest lines, newest first.

    Args:
        before: only lines with a smaller number; pass the last one's to page on.
    """
    query = select(AuditLine).order_by(AuditLine.id.desc()).limit(limit)
    if before is not None:
        query = query.where(AuditLine.id < before)
    with catalog.reading() as session:
        return [
            Line(row.id, row.at, row.action, row.what, row.who, row.key_id, row.request_id)
            for row in session.scalars(query)
        ]
