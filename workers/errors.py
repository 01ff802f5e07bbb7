"""The workers' error tree; each carries one sentence that tells the user what to do."""

from __future__ import annotations

from model.errors import ReferentError


class WorkerError(ReferentError):
    """A job, a worker or its broker cannot go on, and the user can mend it."""


class BrokerUnreachable(WorkerError):
    """Redis does not answer."""


class ReindexRefused(WorkerError):
    """A version cannot be built, swapped in, rolled back or dropped as things stand."""
