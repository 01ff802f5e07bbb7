"""Folders that the library itself makes: an album's uploads, what a job cut out or exported.

Each has a row in the catalog before it has a place on disk, and the row outlives the album or the
job. So what belonged to one goes with it, what a kill left behind is found by the next sweep, and
nothing is ever removed that this catalog did not make. A folder's name holds a random part, so
that no number, not even one of another catalog in the same place, leads to somebody else's files.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import shutil
import time
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from indexer.db.catalog import Catalog
from indexer.db.clock import clock
from indexer.db.tables import Album, Hit, Job, OwnFolder, Photo, SearchRun
from indexer.settings import Settings

log = logging.getLogger(__name__)

Kind = Literal["uploads", "matte", "export"]
INCOMING = ".incoming"
# A worker notices within seconds that its job is gone; until then it may write into the folder
# again, so the row stays for a while and the folder is looked for once more.
FORGET_S = 3600.0
# No upload lasts longer: an incoming file of this age was left by a process that was killed.
STALE_S = 86_400.0


def made_folder(catalog: Catalog, settings: Settings, kind: Kind, owner_id: int) -> Path:
    """The folder of an album's uploads or of a job, written down and made if it is new.

    Raises:
        OSError: it cannot be made.
    """
    with catalog.session() as session:
        on_sqlite = session.get_bind().dialect.name == "sqlite"
        insert = sqlite.insert if on_sqlite else postgresql.insert
        name = f"{kind}-{owner_id}-{secrets.token_hex(6)}"
        values: dict[str, Any] = {"kind": kind, "name": name, "owner_id": owner_id}
        session.execute(
            insert(OwnFolder).values(**values, created_at=clock()).on_conflict_do_nothing()
        )
        folder = _base(settings, kind) / _name(session, kind, owner_id)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def known_folder(catalog: Catalog, settings: Settings, kind: Kind, owner_id: int) -> Path | None:
    """The same, if it was ever made; it need not be on disk any more."""
    with catalog.reading() as session:
        name = _name(session, kind, owner_id)
    return _base(settings, kind) / name if name else None


def let_go(session: Session, album_id: int) -> None:
    """Leave to the sweep what holds pictures of an album: call it before its rows are deleted.

    Its own folders follow from its absence. Cut-outs and exports of searches over every album go
    as well when a photo of this one is among their matches; they can be made again without it.
    """
    over_all = session.scalars(
        select(Job).where(Job.album_id.is_(None), Job.kind.in_(("matte", "export")))
    )
    mine = [job.id for job in over_all if _shows(session, job, album_id)]
    session.execute(
        update(OwnFolder)
        .where(OwnFolder.kind.in_(("matte", "export")), OwnFolder.owner_id.in_(mine))
        .values(owner_id=None)
    )


def let_old_go(catalog: Catalog, after_s: float) -> None:
    """Leave to the sweep what jobs wrote that ended so long ago; 0 leaves it be."""
    if not after_s:
        return
    old = select(Job.id).where(Job.finished_at < clock() - after_s)
    with catalog.session() as session:
        session.execute(
            update(OwnFolder)
            .where(OwnFolder.kind != "uploads", OwnFolder.owner_id.in_(old))
            .values(owner_id=None)
            .execution_options(synchronize_session=False)
        )


def sweep(catalog: Catalog, settings: Settings) -> int:
    """Remove the folders whose album or job is gone, and uploads that were cut off.

    Returns:
        how many folders and files went.
    Raises:
        CatalogLocked and the other errors of a catalog.
    """
    with catalog.reading() as session:
        now = float(session.execute(select(clock())).scalar_one())
        orphans = session.execute(
            select(OwnFolder.id, OwnFolder.kind, OwnFolder.name, OwnFolder.swept_at).where(
                OwnFolder.owner_id.is_(None)
                | (OwnFolder.kind == "uploads") & OwnFolder.owner_id.not_in(select(Album.id))
                | (OwnFolder.kind != "uploads") & OwnFolder.owner_id.not_in(select(Job.id))
            )
        ).all()
    removed = 0
    for row_id, kind, name, swept_at in orphans:
        folder = _base(settings, kind) / name
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)
            if folder.exists():
                log.warning("a folder that belongs to nothing any more cannot be removed: %s", name)
                continue
            removed += 1
        with catalog.session() as session:
            if swept_at is None:
                session.execute(
                    update(OwnFolder).where(OwnFolder.id == row_id).values(swept_at=clock())
                )
            elif swept_at < now - FORGET_S:
                session.execute(delete(OwnFolder).where(OwnFolder.id == row_id))
    return removed + _sweep_incoming(settings)


def incoming(settings: Settings) -> Path:
    """Where uploads lie until they have proved to be photos; made if needed.

    Raises:
        OSError: it cannot be made.
    """
    folder = settings.uploads_dir / INCOMING
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _sweep_incoming(settings: Settings) -> int:
    removed = 0
    with contextlib.suppress(OSError):
        for file in (settings.uploads_dir / INCOMING).iterdir():
            if file.stat().st_mtime < time.time() - STALE_S:
                file.unlink(missing_ok=True)
                removed += 1
    return removed


def _base(settings: Settings, kind: str) -> Path:
    return settings.uploads_dir if kind == "uploads" else settings.exports_dir


def _name(session: Session, kind: str, owner_id: int) -> str:
    name = session.scalar(
        select(OwnFolder.name).where(OwnFolder.kind == kind, OwnFolder.owner_id == owner_id)
    )
    return name or ""


def _shows(session: Session, job: Job, album_id: int) -> bool:
    """Whether a job over every album wrote photos of this one, or may have."""
    run_id = job.parameters.get("run") or (job.result or {}).get("run")
    if run_id is None or session.get(SearchRun, str(run_id)) is None:
        return True  # its search is gone from the history: nobody can tell any more
    matched = (
        select(Hit.photo_id)
        .join(Photo, Photo.id == Hit.photo_id)
        .where(Hit.run_id == str(run_id), Hit.accepted.is_(True), Photo.album_id == album_id)
        .limit(1)
    )
    return session.scalar(matched) is not None
