"""Whether a search would be answered now, asked in a lane of its own that no load can fill."""

from __future__ import annotations

import time

import anyio
from anyio import to_thread
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from indexer.db.catalog import Catalog, connect
from indexer.db.tables import Album

# A probe asks every few seconds; many that ask at once share one look at the database.
GOOD_FOR_S = 1.0
PATIENCE_S = 2.0


class Readiness:
    """Asks whether the catalog answers, over a connection and a thread that nothing else uses.

    One event loop uses it.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._engine = connect(catalog.url, PATIENCE_S, poolclass=NullPool)
        self._lane = anyio.CapacityLimiter(1)
        self._asked_at = float("-inf")
        self._answers = False

    async def catalog_answers(self) -> bool:
        """Whether it did within `PATIENCE_S`, at most `GOOD_FOR_S` ago."""
        if time.monotonic() - self._asked_at > GOOD_FOR_S:
            self._answers = False
            with anyio.move_on_after(PATIENCE_S):
                self._answers = await to_thread.run_sync(
                    self._ask, limiter=self._lane, abandon_on_cancel=True
                )
            self._asked_at = time.monotonic()
        return self._answers

    def _ask(self) -> bool:
        try:
            with self._engine.connect() as connection:
                connection.execute(select(Album.id).limit(1))
        except SQLAlchemyError:
            return False
        return True
