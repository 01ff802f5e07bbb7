"""The Celery application: how messages travel. What they mean is in `workers.tasks`.

Messages carry two numbers as JSON, nothing else. They are hints: losing or doubling one loses or
doubles no work, because `indexer.jobs.slots` decides who works.
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu import Queue

from indexer.jobs.jobs import QUEUES
from indexer.settings import Settings

TURN = "referent.turn"
JUDGE = "referent.judge"
JUDGE_QUEUE = "judge"
EVERY_QUEUE = (*QUEUES, JUDGE_QUEUE)
# A search is over before a helper that comes later than this.
JUDGE_EXPIRES_S = 30


def make_app(settings: Settings) -> Celery:
    """A Celery application for these settings, for workers and for senders alike.

    Prefork with one child a worker, on purpose: the parent never imports torch or FAISS, so that
    the fork is safe (a fork after either has computed hangs the child); it goes on answering the
    broker while the child computes; and it replaces a child that was killed, has grown or is old.
    """
    app = Celery("referent", set_as_current=False)
    app.conf.update(
        broker_url=settings.redis_url.get_secret_value(),
        task_serializer="json",
        accept_content=["json"],
        result_serializer="json",
        result_accept_content=["json"],
        task_ignore_result=True,
        task_queues=[Queue(name) for name in EVERY_QUEUE],
        task_default_queue=QUEUES[0],
        task_create_missing_queues=False,
        # A message is done when its turn is; a killed worker's message comes back.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        # celery#5935: Redis delivers what is not acknowledged in time again. Turns are short
        # (`turn_s`); this is far above even the longest step of one, and a message that does come
        # twice finds its place held.
        broker_transport_options={
            "visibility_timeout": settings.visibility_timeout_s,
            "socket_timeout": 10,
            "socket_connect_timeout": 10,
            "socket_keepalive": True,
            "health_check_interval": 15,
            "retry_on_timeout": True,
        },
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # Redis may be away for a day
        broker_pool_limit=4,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        task_time_limit=settings.task_limit_s,
        worker_concurrency=1,
        worker_pool="prefork",
        worker_max_tasks_per_child=settings.worker_max_tasks,
        worker_max_memory_per_child=settings.worker_max_memory_mib * 1024,  # KiB
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        enable_utc=True,
    )
    app.referent_settings = settings
    return app


def send_turn(app: Celery, job_id: int, slot: int, queue: str, sent_at: float) -> None:
    """Say "look at this place of this job" to whichever worker is free.

    Args:
        sent_at: Unix time, for the queue's latency alone.

    Raises:
        kombu.exceptions.OperationalError: the broker does not answer.
    """
    options: dict[str, Any] = {"queue": queue, "retry": False, "ignore_result": True}
    app.send_task(TURN, args=[job_id, slot, sent_at], **options)


def send_judging(app: Celery, run_id: str, sent_at: float) -> None:
    """Ask whichever worker is free to help with a search.

    Raises:
        kombu.exceptions.OperationalError: the broker does not answer.
    """
    options: dict[str, Any] = {"queue": JUDGE_QUEUE, "retry": False, "ignore_result": True}
    app.send_task(JUDGE, args=[run_id, sent_at], expires=JUDGE_EXPIRES_S, **options)
