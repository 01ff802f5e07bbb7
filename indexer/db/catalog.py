"""The catalog: one database of albums, photos, features and jobs, SQLite or PostgreSQL.

Writers on SQLite take the write lock at the start (``BEGIN IMMEDIATE``) and wait for it up to
``database_timeout_s``; readers never wait (WAL) and see one consistent version.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    create_engine,
    event,
    func,
    make_url,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from indexer.db.clock import clock
from indexer.db.dberrors import explain
from indexer.db.migrate import migrate
from indexer.db.names import comparable
from indexer.db.tables import Album, ModelVersion, Photo, revision_step
from indexer.errors import CatalogReadOnly, UnknownAlbum
from indexer.settings import Settings

_WRITES = "referent_writes"
NO_PHOTOS = {"new": 0, "indexed": 0, "failed": 0, "missing": 0}
"""How many photos an empty album has, by status."""


class Catalog:
    """A connection pool to the catalog; threads and tasks share one, processes do not.

    Make it with `Catalog.open`, which also brings the database's tables up to date.
    """

    def __init__(self, where: Settings | str, *, timeout_s: float | None = None) -> None:
        """Connect lazily.

        Args:
            where: the settings, or an SQLAlchemy URL.
            timeout_s: wait for another writer's lock; default `Settings.database_timeout_s`.
        """
        address = where.database_url.get_secret_value() if isinstance(where, Settings) else where
        if timeout_s is None:
            timeout_s = where.database_timeout_s if isinstance(where, Settings) else 30.0
        self.url: URL = _with_driver(make_url(address))
        self.timeout_s = timeout_s
        self.engine = connect(self.url, timeout_s)
        self._write = sessionmaker(
            self.engine.execution_options(**{_WRITES: True}), expire_on_commit=False
        )
        self._read = sessionmaker(
            self.engine.execution_options(**{_WRITES: False}), expire_on_commit=False
        )

    @classmethod
    def open(cls, where: Settings | str, *, timeout_s: float | None = None) -> Self:
        """Connect, make the library folder if needed, and migrate the tables to this version.

        Raises:
            CatalogTooNew: a newer Referent made the database.
            CatalogReadOnly, CatalogLocked, CatalogDamaged, CatalogUnreachable, NoSpaceLeft.
        """
        catalog = cls(where, timeout_s=timeout_s)
        if catalog.is_sqlite and catalog.url.database:
            folder = Path(catalog.url.database).parent
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise CatalogReadOnly(
                    f"cannot make the library folder {folder} ({error.strerror}): "
                    "choose another with REFERENT_HOME"
                ) from error
        migrate(catalog.url, timeout_s=catalog.timeout_s)
        return catalog

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def is_sqlite(self) -> bool:
        """Whether the catalog is an SQLite file."""
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A transaction that may write: committed at the end, rolled back on an exception.

        On SQLite it holds the database's one write lock from the first line, so keep it short
        (no decoding, no network inside) and use `reading` where nothing is written.
        """
        with self._transaction(self._write) as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that only reads; on SQLite all of it from one version of the database."""
        with self._transaction(self._read) as session:
            yield session

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """Like `reading`, where many statements must see one version of the database."""
        if self.is_sqlite:
            with self.reading() as session:
                yield session
            return
        frozen = self.engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        with self._transaction(sessionmaker(frozen, expire_on_commit=False)) as session:
            yield session

    @contextmanager
    def _transaction(self, maker: sessionmaker[Session]) -> Iterator[Session]:
        try:
            with maker.begin() as session:
                yield session
        except DBAPIError as error:
            reason = explain(error, self.url)
            if reason is None:
                raise
            raise reason from error

    def refresh_statistics(self) -> None:
        """After many rows came or went: let SQLite's planner know (PostgreSQL does it itself)."""
        if self.is_sqlite:
            with self.session() as session:
                session.execute(text("PRAGMA analysis_limit = 1000"))
                session.execute(text("ANALYZE"))  # `optimize` skips tables not yet read here

    def now(self) -> float:
        """The database's clock: Unix time in seconds."""
        with self.reading() as session:
            return float(session.execute(select(clock())).scalar_one())


def connect(url: URL, timeout_s: float, **options: Any) -> Engine:
    """An engine with our transaction rules on it (see the module's docstring)."""
    if url.get_backend_name() != "sqlite":
        # A connection that a proxy or a restart has cut is replaced before it is used.
        options.setdefault("pool_pre_ping", True)
        connect_args = {
            "connect_timeout": 10,
            "options": f"-c lock_timeout={int(timeout_s * 1000)} -c timezone=UTC",
        }
        return create_engine(url, connect_args=connect_args, **options)
    engine = create_engine(url, connect_args={"timeout": timeout_s}, **options)

    @event.listens_for(engine, "connect")
    def _prepare(connection: DBAPIConnection, record: object) -> None:
        # The driver must not begin transactions on its own: ours choose IMMEDIATE or DEFERRED.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        # With WAL, NORMAL loses at most the last commits in a power cut and never corrupts;
        # the feature store's commit order tolerates a lost last commit.
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA cache_size = -65536")  # 64 MiB: a million photos' index pages
        cursor.execute("PRAGMA temp_store = MEMORY")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN DEFERRED")

    return engine


def _with_driver(url: URL) -> URL:
    """A bare ``postgresql://`` or ``postgres://`` means psycopg 3, the driver that we install."""
    if url.drivername in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    return url


def find_album(session: Session, name: str) -> Album | None:
    """The album of this name, in whichever Unicode form it and the name are written."""
    exact = session.scalars(select(Album).where(Album.name == name)).one_or_none()
    if exact is not None or name.isascii():
        return exact
    wanted = comparable(name)
    ids = (row.id for row in session.execute(select(Album.id, Album.name).order_by(Album.id))
           if comparable(row.name) == wanted)  # fmt: skip
    found = next(ids, None)
    return None if found is None else session.get(Album, found)


def album_named(session: Session, name: str) -> Album:
    """The album of this name.

    Raises:
        UnknownAlbum: there is none; the message lists those that exist.
    """
    album = find_album(session, name)
    if album is None:
        names = session.scalars(select(Album.name).order_by(Album.name).limit(20)).all()
        known = ", ".join(names) if names else "none yet; make one with: referent index FOLDER"
        raise UnknownAlbum(f"no album is named {name!r} (albums: {known})")
    return album


def touch(session: Session, album_id: int) -> None:
    """Count up an album's revision: its photos or features changed, caches must look again."""
    grown = Album.revision + revision_step()
    session.execute(update(Album).where(Album.id == album_id).values(revision=grown))


def model_version(
    session: Session, name: str, fingerprints: Mapping[str, str], config: Mapping[str, Any]
) -> ModelVersion:
    """The row of a model by name and fingerprints, made when it is new."""
    identity = json.dumps([name, dict(fingerprints)], sort_keys=True)
    key = hashlib.blake2b(identity.encode(), digest_size=20).hexdigest()
    same = select(ModelVersion).where(ModelVersion.key == key)
    row = session.scalars(same).one_or_none()
    if row is None:
        values = {"name": name, "key": key, "fingerprints": dict(fingerprints)}
        on_sqlite = session.get_bind().dialect.name == "sqlite"
        insert = sqlite.insert if on_sqlite else postgresql.insert
        statement = insert(ModelVersion).values(**values, config=dict(config))
        session.execute(statement.on_conflict_do_nothing())  # another worker was quicker
        row = session.scalars(same).one()
    return row


def count_by_status(session: Session, album_id: int) -> dict[str, int]:
    """Photos of an album by status; ``missing`` are tombstones and no part of the album's size."""
    return counts_by_status(session, [album_id])[album_id]


def counts_by_status(
    session: Session, album_ids: Collection[int] | None = None
) -> defaultdict[int, dict[str, int]]:
    """The same of several albums, by id, or of all (None), in one statement."""
    query = select(Photo.album_id, Photo.status, func.count()).group_by(
        Photo.album_id, Photo.status
    )
    if album_ids is not None:
        query = query.where(Photo.album_id.in_(album_ids))
    counts: defaultdict[int, dict[str, int]] = defaultdict(lambda: dict(NO_PHOTOS))
    for album_id, status, number in session.execute(query):
        counts[album_id][status] = number
    return counts
