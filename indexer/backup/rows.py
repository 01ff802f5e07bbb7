"""Every row of one catalog carried into another, empty one, whichever databases the two are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select, text, update

from indexer.db.catalog import Catalog
from indexer.db.tables import Base, EncodeClaim, FeatureRow, Job, JobSlot, Segment
from indexer.errors import LibraryNotEmpty

_ROWS = 2000


def copy_rows(
    source: Connection, target: Connection, progress: Callable[[int], None] = lambda rows: None
) -> int:
    """Copy every table; numbers that were given out once are not given out again by the target.

    Both have this version's tables. The target's transaction is the caller's.

    Returns:
        rows copied.
    Raises:
        LibraryNotEmpty: the target holds something.
    """
    refuse_full(target)
    tables = Base.metadata.sorted_tables
    takes_nul = target.dialect.name == "sqlite"
    copied = 0
    for table in tables:
        result = source.execution_options(yield_per=_ROWS).execute(select(table))
        for block in result.mappings().partitions():
            rows = [dict(row) for row in block]
            target.execute(insert(table), rows if takes_nul else [_without_nul(r) for r in rows])
            copied += len(rows)
            progress(copied)
    for table, number in _numbers(source, tables).items():
        _go_on_after(target, table, number)
    return copied


def refuse_full(target: Connection) -> None:
    """Look whether a catalog is empty.

    Raises:
        LibraryNotEmpty: it is not.
    """
    for table in Base.metadata.sorted_tables:
        if target.execute(select(*table.primary_key).limit(1)).first() is not None:
            raise LibraryNotEmpty(
                f"the catalog {target.engine.url.render_as_string(hide_password=True)} holds "
                f"{table.name} already: restore into an empty one (another REFERENT_HOME or "
                "REFERENT_DATABASE_URL), or move this one away first"
            )


def quiet(copy: Catalog) -> None:
    """Take out of a copy what belongs to running processes: leases, unfinished segments."""
    with copy.session() as session:
        live = select(Segment.id).where(Segment.state == "live")
        session.execute(delete(FeatureRow).where(FeatureRow.segment_id.not_in(live)))
        session.execute(delete(Segment).where(Segment.state != "live"))
        session.execute(delete(EncodeClaim).where(EncodeClaim.error.is_(None)))
        for leased in (Job, JobSlot, EncodeClaim):
            session.execute(update(leased).values(lease_owner=None, lease_until=None))


def _without_nul(row: dict[str, Any]) -> dict[str, Any]:
    """PostgreSQL's text holds no NUL, which a photo's metadata may."""
    return {
        name: value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value
        for name, value in row.items()
    }


def _numbers(connection: Connection, tables: list[Table]) -> dict[Table, int]:
    """The last number that each numbered table gave out; deleted rows' count as well."""
    found: dict[Table, int] = {}
    for table in tables:
        if table.autoincrement_column is None:  # a run's number is made elsewhere
            continue
        last = connection.scalar(select(func.max(table.c.id))) or 0
        if connection.dialect.name == "sqlite":
            given = connection.scalar(
                text("select seq from sqlite_sequence where name = :name"), {"name": table.name}
            )
        else:
            given = connection.scalar(
                text("select pg_sequence_last_value(cast(:name as regclass))"),
                {"name": _sequence(connection, table)},
            )
        found[table] = max(int(last), int(given or 0))
    return found


def _go_on_after(connection: Connection, table: Table, number: int) -> None:
    if not number:
        return
    if connection.dialect.name == "sqlite":
        values = {"name": table.name, "number": number}
        connection.execute(text("delete from sqlite_sequence where name = :name"), values)
        connection.execute(text("insert into sqlite_sequence values (:name, :number)"), values)
    else:
        connection.execute(
            text("select setval(cast(:name as regclass), :number)"),
            {"name": _sequence(connection, table), "number": number},
        )


def _sequence(connection: Connection, table: Table) -> str:
    name = connection.scalar(
        text("select pg_get_serial_sequence(:name, 'id')"), {"name": table.name}
    )
    assert name is not None, table.name
    return str(name)
