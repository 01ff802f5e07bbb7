"""The database's clock as an SQL expression, so that leases hold between machines."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Double
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class clock(FunctionElement[float]):  # noqa: N801 - used like an SQL function
    """Unix time in seconds (float, UTC) on the database's clock, to the millisecond or better.

    Usable wherever a column is: ``where(Job.lease_until < clock())``, ``values(lease_until=clock()
    + 60)``. It is the time of the statement, not of the start of the transaction.
    """

    type = Double()
    inherit_cache = True
    name = "clock"


@compiles(clock, "sqlite")
def _on_sqlite(element: clock, compiler: Any, **options: Any) -> str:
    # 2440587.5 is the Julian day of 1970-01-01; a double holds it to about 40 microseconds.
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(clock, "postgresql")
def _on_postgresql(element: clock, compiler: Any, **options: Any) -> str:
    return "(extract(epoch from clock_timestamp())::double precision)"
