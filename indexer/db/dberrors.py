"""What a database driver's error means to the user."""

from __future__ import annotations

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from indexer.errors import (
    CatalogDamaged,
    CatalogError,
    CatalogLocked,
    CatalogReadOnly,
    CatalogUnreachable,
    NoSpaceLeft,
)


def explain(error: DBAPIError, url: URL) -> CatalogError | NoSpaceLeft | None:
    """The error to raise instead of a driver's, or None where it is a fault of ours.

    SQLite and PostgreSQL are told apart by their messages and SQLSTATE codes.
    """
    text = str(error.orig).lower()
    place = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite":
        place = str(url.database)
        if "locked" in text or "busy" in text:
            return CatalogLocked(
                f"the database {place} is locked by another process: wait for it to finish or stop "
                "it, or raise REFERENT_DATABASE_TIMEOUT_S"
            )
        if "readonly" in text or "unable to open" in text:
            return CatalogReadOnly(
                f"cannot write the database {place}: make it and its folder writable, or choose "
                "another library with REFERENT_HOME"
            )
        if "full" in text:
            return NoSpaceLeft(
                f"no space left for the database {place}: free some and run the command again; "
                "what was finished is kept"
            )
        if "not a database" in text or "malformed" in text:
            return CatalogDamaged(
                f"{place} is not a usable database ({error.orig}): restore it from a backup, or "
                "move it away and index again"
            )
        return None
    code = getattr(error.orig, "sqlstate", None) or ""
    if code in ("55P03", "40P01"):  # lock_not_available, deadlock_detected
        return CatalogLocked(
            f"the database {place} is locked by another process: wait for it to finish, or raise "
            "REFERENT_DATABASE_TIMEOUT_S"
        )
    if code == "25006":  # read_only_sql_transaction
        return CatalogReadOnly(f"the database {place} is read-only: connect to the primary")
    if code in ("53100",):  # disk_full
        return NoSpaceLeft(f"no space left on the server of the database {place}: free some")
    if code[:2] in ("08", "28", "57", "3D", "53") or (not code and error.connection_invalidated):
        return CatalogUnreachable(
            f"the database {place} cannot be used ({error.orig}): check REFERENT_DATABASE_URL"
        )
    if not code and "connection" in text:
        return CatalogUnreachable(
            f"the database {place} does not answer ({error.orig}): start the server or check "
            "REFERENT_DATABASE_URL"
        )
    return None
