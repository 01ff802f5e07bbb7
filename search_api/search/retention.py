"""How long is kept what would grow without end; one sweep for servers, beat and commands."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, select, update

from indexer.db.catalog import Catalog
from indexer.db.clock import clock
from indexer.db.tables import AuditLine, Hit, Job, JobSlot, OwnFolder, PageSession, SearchRun
from indexer.folders import own_folders
from indexer.jobs import jobs
from indexer.settings import Settings
from model.errors import ReferentError

log = logging.getLogger(__name__)
# How often a server or beat sweeps.
EVERY_S = 3600.0
# A run that has been "running" for longer was cut off by a crash.
ABANDONED_S = 2 * 3600.0


@dataclass(frozen=True)
class Swept:
    """What a sweep removed."""

    runs: int
    jobs: int
    folders: int
    """Folders of exports, cut-outs and uploads, and uploads that were cut off."""
    lines: int
    """Of the audit, and sessions that are over."""


@dataclass(frozen=True)
class Kept:
    """What the library holds of a kind, and for how long."""

    what: str
    number: int
    bytes: int | None
    """On the disk; None of rows."""
    rule: str


def sweep(catalog: Catalog, settings: Settings) -> Swept:
    """Remove what is older than its setting, and what deleted albums and jobs left.

    Any number of processes may do it at once.

    Raises:
        CatalogLocked and the other errors of a catalog.
    """
    removed_runs = prune_runs(catalog, settings.kept_runs)
    removed_jobs = jobs.forget_ended(catalog, settings.keep_jobs_days * 86_400)
    own_folders.let_old_go(catalog, settings.keep_exports_days * 86_400)
    lines = _forget_people(catalog, settings.keep_audit_days * 86_400)
    return Swept(removed_runs, removed_jobs, own_folders.sweep(catalog, settings), lines)


def sweep_or_say(catalog: Catalog, settings: Settings) -> None:
    """The same for a process that has other things to do: what keeps it from that is logged."""
    try:
        swept = sweep(catalog, settings)
    except ReferentError as error:  # a library that is read-only or locked serves all the same
        log.warning("nothing was swept: %s", error)
        return
    if swept.runs or swept.jobs or swept.folders:
        log.info("swept %d searches, %d jobs, %d folders", swept.runs, swept.jobs, swept.folders)


def prune_runs(catalog: Catalog, keep: int) -> int:
    """Remove each key's oldest runs beyond ``keep`` and end those that a crash cut off.

    Returns:
        how many were removed.
    """
    with catalog.session() as session:
        session.execute(
            update(SearchRun)
            .where(SearchRun.state == "running", SearchRun.created_at < clock() - ABANDONED_S)
            .values(state="stopped")
        )
        newest_first = func.row_number().over(
            partition_by=SearchRun.key_id,
            order_by=(SearchRun.created_at.desc(), SearchRun.id.desc()),
        )
        numbered = select(SearchRun.id, SearchRun.state, newest_first.label("number")).subquery()
        old = session.scalars(
            select(numbered.c.id).where(numbered.c.number > keep, numbered.c.state != "running")
        ).all()
        for start in range(0, len(old), 500):
            some = old[start : start + 500]
            session.execute(delete(Hit).where(Hit.run_id.in_(some)))
            session.execute(delete(SearchRun).where(SearchRun.id.in_(some)))
        return len(old)


def _forget_people(catalog: Catalog, after_s: float) -> int:
    """Forget sessions that are over, and audit lines that are older."""
    over = [delete(PageSession).where(PageSession.expires_at < clock())]
    if after_s:
        over.append(delete(AuditLine).where(AuditLine.at < clock() - after_s))
    with catalog.session() as session:
        results: list[Any] = [session.execute(each) for each in over]
        return sum(int(result.rowcount) for result in results)


def kept(catalog: Catalog, settings: Settings) -> list[Kept]:
    """What there is of each kind that a sweep looks after, and of what it leaves to others."""
    with catalog.reading() as session:
        searches = session.scalar(select(func.count()).select_from(SearchRun)) or 0
        ended = session.scalar(select(func.count()).where(Job.state.in_(jobs.FINISHED))) or 0
        audited = session.scalar(select(func.count()).select_from(AuditLine)) or 0
        signed_in = session.scalar(select(func.count()).select_from(PageSession)) or 0
        places = session.scalar(select(func.count()).select_from(JobSlot)) or 0
        by_kind = session.execute(select(OwnFolder.kind, func.count()).group_by(OwnFolder.kind))
        folders: dict[str, int] = {row[0]: row[1] for row in by_kind}
    logs = settings.log_file.parent
    jobs_rule = _days(settings.keep_jobs_days, "REFERENT_KEEP_JOBS_DAYS")
    return [
        Kept("searches in the history", searches, None,
             f"{settings.kept_runs:,} of each key (REFERENT_KEPT_RUNS)"),
        Kept("jobs that ended", ended, None, jobs_rule),
        Kept("places of jobs", places, None, jobs_rule),
        Kept("lines of the audit", audited, None,
             _days(settings.keep_audit_days, "REFERENT_KEEP_AUDIT_DAYS")),
        Kept("sessions of the page", signed_in, None,
             "as long as they last (REFERENT_SESSION_HOURS)"),
        Kept("cut-outs and exports", folders.get("matte", 0) + folders.get("export", 0),
             _bytes_below(settings.exports_dir),
             _days(settings.keep_exports_days, "REFERENT_KEEP_EXPORTS_DAYS")),
        Kept("folders of uploads", folders.get("uploads", 0), _bytes_below(settings.uploads_dir),
             "as long as their albums"),
        Kept("log files of commands", sum(1 for _ in logs.glob("*")), _bytes_below(logs),
             "three of 4 MB"),
    ]  # fmt: skip


def _days(days: float, setting: str) -> str:
    return f"{days:g} days ({setting})" if days else f"for ever ({setting}=0)"


def _bytes_below(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.lstat().st_size if file.is_file() else 0
        except OSError:  # it went meanwhile
            continue
    return total
