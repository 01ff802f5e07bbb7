"""Bring a database's tables up to date, from code and without a configuration file."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, Connection, create_engine, event, inspect, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from indexer.db.dberrors import explain
from indexer.errors import CatalogTooNew

# Any number, the same in every Referent: PostgreSQL's advisory lock around a migration.
_MIGRATION_LOCK = 7_301_588_211
_MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(url: URL, *, timeout_s: float = 30.0, revision: str = "head") -> None:
    """Upgrade the database to a revision, in one transaction; do nothing when it is there.

    Several processes may do it at once: one migrates, the others wait and find it done.

    Raises:
        CatalogTooNew: the database's revision is unknown to this code.
        CatalogReadOnly, CatalogLocked, CatalogDamaged, CatalogUnreachable, NoSpaceLeft.
    """
    sqlite = url.get_backend_name() == "sqlite"
    arguments: dict[str, float] = {"timeout": timeout_s} if sqlite else {"connect_timeout": 10}
    engine = create_engine(url, connect_args=arguments, poolclass=NullPool)
    if sqlite:
        # Foreign keys stay off here: a migration may rebuild a table, which would cascade.
        @event.listens_for(engine, "connect")
        def _prepare(connection: DBAPIConnection, record: object) -> None:
            connection.isolation_level = None

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    try:
        if revision == "head" and _is_current(url, arguments):
            return
        if sqlite:
            _use_wal(url, arguments)
        with engine.begin() as connection:
            if not sqlite:
                connection.execute(
                    text("select pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK}
                )
            _refuse_newer(connection, url)
            _upgrade(connection, revision)
    except DBAPIError as error:
        reason = explain(error, url)
        if reason is None:
            raise
        raise reason from error
    finally:
        engine.dispose()


def revisions() -> list[str]:
    """Those that this code knows, oldest first, by the names of their files.

    Every command asks, so Alembic itself, which loads slowly, is left to those that migrate.
    """
    return sorted(path.name[1:5] for path in (_MIGRATIONS / "versions").glob("r[0-9]*_*.py"))


def _upgrade(connection: Connection, revision: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _found(connection: Connection) -> set[str]:
    """The database's revision, or nothing where it has no tables yet."""
    if not inspect(connection).has_table("alembic_version"):
        return set()
    return set(connection.scalars(text("select version_num from alembic_version")))


def _is_current(url: URL, arguments: dict[str, float]) -> bool:
    """Whether nothing is to do, found without the write lock that a migration takes."""
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).is_file():
        return False
    engine = create_engine(url, connect_args=arguments, poolclass=NullPool)
    with engine.connect() as connection:
        _refuse_newer(connection, url)
        return _found(connection) == set(revisions()[-1:])


def _refuse_newer(connection: Connection, url: URL) -> None:
    newer = _found(connection) - set(revisions())
    if newer:
        raise CatalogTooNew(
            f"the database {url.render_as_string(hide_password=True)} was made by a newer Referent "
            f"(revision {', '.join(sorted(newer))}; this one knows up to {revisions()[-1]}): "
            "update Referent, or use another REFERENT_HOME"
        )


def _use_wal(url: URL, arguments: dict[str, float]) -> None:
    """Write-ahead log: readers and the writer do not block each other. Kept in the file."""
    engine = create_engine(url, connect_args=arguments, poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def _prepare(connection: DBAPIConnection, record: object) -> None:
        connection.isolation_level = None

    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
