"""The one Celery task, and what a worker's processes do when they start and stop.

A message names a place in a job. Its task takes the place, works for a turn, and sends the message
on when there is more to do. No torch and no FAISS are imported here: see `celery_app.make_app`.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import threading
import time
from dataclasses import dataclass

import psutil
from celery import Celery
from celery.signals import setup_logging, worker_process_init, worker_shutting_down
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from indexer.db.catalog import Catalog
from indexer.db.owner import new_owner
from indexer.jobs import slots
from indexer.jobs.jobs import QUEUE_OF_KIND
from indexer.settings import Settings
from model.errors import ReferentError
from workers import metrics
from workers.celery_app import JUDGE, JUDGE_QUEUE, TURN, send_turn
from workers.held import Held
from workers.logging import configure_logging, log_context, logger
from workers.work import run_turn

log = logger(__name__)

TIDY_S = 30.0
# One byte that the parent shares with its children: set when the worker is asked to end, so that
# the turn stops after its batch instead of using up its time.
_ENDING = mmap.mmap(-1, 1)


@dataclass
class _Process:
    """What one worker process holds; made after the fork, so that no connection crosses it."""

    pid: int
    settings: Settings
    catalog: Catalog
    held: Held
    owner: str


_process: _Process | None = None


def register(app: Celery) -> None:
    """Give the application its task and its signal handlers."""
    settings: Settings = app.referent_settings
    _ENDING[0] = 0

    @app.task(name=TURN, acks_late=True, ignore_result=True)
    def turn(job_id: int, slot: int, sent_at: float) -> None:
        take_turn(app, settings, job_id, slot, sent_at)

    @app.task(name=JUDGE, acks_late=True, ignore_result=True)
    def judge(run_id: str, sent_at: float) -> None:
        help_search(settings, run_id, sent_at)

    @setup_logging.connect(weak=False)
    def _logging(**_: object) -> None:
        configure_logging(log_format=settings.log_format, level=settings.log_level)

    @worker_process_init.connect(weak=False)
    def _child(**_: object) -> None:
        # Pool children count as daemons, which may have no children of their own; ours decodes
        # photos in spawned processes, which end when their parent does.
        multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]

    @worker_shutting_down.connect(weak=False)
    def _ending(**_: object) -> None:
        _ENDING[0] = 1


def take_turn(app: Celery, settings: Settings, job_id: int, slot: int, sent_at: float) -> str:
    """Do what a message asks for, if its place is free; returns what became of it."""
    process = _this_process(settings)
    with log_context(worker=process.owner, job_id=job_id, slot=slot):
        try:
            place = slots.take(
                process.catalog, job_id, slot, owner=process.owner, lease_s=settings.job_lease_s
            )
        except ReferentError as error:
            # The sweeper sends again when the catalog is back.
            log.warning("message dropped", reason=str(error))
            metrics.MESSAGES.labels(queue="unknown", outcome="dropped").inc()
            return "dropped"
        if place is None:
            log.debug("message for a place that is held or a job that is over")
            metrics.MESSAGES.labels(queue="unknown", outcome="idle").inc()
            return "idle"
        queue = QUEUE_OF_KIND[place.kind]
        metrics.MESSAGES.labels(queue=queue, outcome="taken").inc()
        metrics.MESSAGE_WAIT.labels(queue=queue).observe(max(0.0, time.time() - sent_at))
        step = run_turn(
            settings, process.catalog, process.held, place, stopping=lambda: _ENDING[0] == 1
        )
        metrics.WORKER_MEMORY.set(psutil.Process().memory_info().rss)
        if step == "more":
            try:
                send_turn(app, job_id, slot, queue, time.time())
            except OperationalError as error:
                # The sweeper finds the place free and sends for it when Redis is back.
                log.warning("message not sent on", reason=str(error))
        return step


def help_search(settings: Settings, run_id: str, sent_at: float) -> int:
    """Judge a part of a search that runs elsewhere; returns how many ranges."""
    from workers.judging import help_with  # with torch and FAISS, so never before the fork

    process = _this_process(settings)
    metrics.MESSAGE_WAIT.labels(queue=JUDGE_QUEUE).observe(max(0.0, time.time() - sent_at))
    with log_context(worker=process.owner, run=run_id):
        try:
            return help_with(
                run_id,
                settings,
                lambda: process.held.engine(process.catalog),
                stopping=lambda: _ENDING[0] == 1,
            )
        except (ReferentError, RedisError) as error:
            log.warning("a search goes on without this worker", reason=str(error))
            return 0


def _tidy(held: Held) -> None:
    """Between turns and during them, as long as the process lives."""
    while True:
        time.sleep(TIDY_S)
        try:
            held.let_outdated_go()
        except ReferentError as error:  # the catalog is away
            log.warning("albums that changed are kept open", reason=str(error))


def _this_process(settings: Settings) -> _Process:
    global _process
    if _process is None or _process.pid != os.getpid():
        _process = _Process(
            pid=os.getpid(),
            settings=settings,
            catalog=Catalog(settings),
            held=Held(settings),
            owner=new_owner(),
        )
        threading.Thread(target=_tidy, args=(_process.held,), name="tidy", daemon=True).start()
    return _process
