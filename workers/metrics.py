"""Prometheus metrics of what a process does itself for jobs: turns, photos, seconds, messages."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.registry import CollectorRegistry

from workers.logging import logger

log = logger(__name__)

TURNS = Counter("referent_job_turns", "Turns at jobs by how they ended.", ["kind", "outcome"])
TURN_SECONDS = Histogram(
    "referent_job_turn_seconds",
    "Duration of turns at jobs.",
    ["kind"],
    buckets=(0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 1200),
)
PHOTOS = Counter(
    "referent_photos_encoded", "Photos that this process finished, by outcome.", ["outcome"]
)
MESSAGES = Counter(
    "referent_messages", "Queue messages by what became of them.", ["queue", "outcome"]
)
MESSAGE_WAIT = Histogram(
    "referent_message_wait_seconds",
    "Time between a message's sending and the start of its turn.",
    ["queue"],
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300),
)
WORKER_MEMORY = Gauge(
    "referent_worker_resident_bytes",
    "Resident memory of the process after its last turn.",
    multiprocess_mode="liveall",
)


OWN = (TURNS, TURN_SECONDS, PHOTOS, MESSAGES, MESSAGE_WAIT, WORKER_MEMORY)


def register(registry: CollectorRegistry) -> None:
    """Add the figures of this process's jobs to a server's registry."""
    for own in OWN:
        registry.register(own)
