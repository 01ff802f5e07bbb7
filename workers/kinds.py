"""Which function does which kind of job; each takes a `Turn` and knows nothing of who runs it.

The functions live in modules of their own and are imported when a turn begins, in the process that
works: some bring in torch, which must not happen before a worker forks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

from indexer.errors import JobParametersInvalid
from workers.turn import Outcome, Turn

JobFunction = Callable[[Turn], Outcome]

FUNCTIONS: Mapping[str, str] = {
    "index": "workers.indexing:index",
    "reindex": "workers.reindex:reindex",
    "compact": "workers.upkeep:compact",
    "verify": "workers.upkeep:verify",
    "matte": "workers.matting:cut_out_matches",
    "export": "workers.exporting:export_run",
    "watch": "workers.watching:watch",
}


def function_of(kind: str) -> JobFunction:
    """The function of a kind of job.

    Raises:
        JobParametersInvalid: no function does this kind.
    """
    try:
        module, _, name = FUNCTIONS[kind].partition(":")
    except KeyError:
        raise JobParametersInvalid(f"this installation cannot do jobs of kind {kind!r}") from None
    function: JobFunction = getattr(import_module(module), name)
    return function
