"""Redis as seen from outside Celery: does it answer, and how long are the queues."""

from __future__ import annotations

from collections.abc import Mapping

import redis

from indexer.settings import Settings
from workers.celery_app import EVERY_QUEUE
from workers.errors import BrokerUnreachable

TIMEOUT_S = 5.0


def connect(settings: Settings) -> redis.Redis:
    """A client with short timeouts; it connects when it is first used."""
    return redis.Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        health_check_interval=30,
    )


def ping(settings: Settings) -> None:
    """Ask Redis whether it lives.

    Raises:
        BrokerUnreachable: it does not answer.
    """
    try:
        with connect(settings) as client:
            client.ping()
    except redis.RedisError as error:
        raise unreachable(settings, error) from error


def queue_lengths(settings: Settings) -> Mapping[str, int]:
    """Messages that wait in each queue (those being worked on are not counted).

    Raises:
        BrokerUnreachable: Redis does not answer.
    """
    try:
        with connect(settings) as client:
            return {queue: int(client.llen(queue)) for queue in EVERY_QUEUE}
    except redis.RedisError as error:
        raise unreachable(settings, error) from error


def unreachable(settings: Settings, error: Exception) -> BrokerUnreachable:
    """The error for a broker that does not answer; a password in its URL is not shown."""
    place = settings.redis_url.get_secret_value().rpartition("@")[2]
    return BrokerUnreachable(
        f"Redis at {place} does not answer ({error}): start it, or set REFERENT_REDIS_URL"
    )
