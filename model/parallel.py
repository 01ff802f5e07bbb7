"""Work in shares, a core each: cores that split every operation wait for each other at each one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

S = TypeVar("S")
T = TypeVar("T")
_making = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def each(work: Callable[[S], T], shares: Sequence[S]) -> list[T]:
    """Do `work` for each share, several at a time, each on one thread of torch's.

    So a share's result has the same bits however many cores there are.
    """
    if torch.get_num_threads() == 1:
        return [work(share) for share in shares]
    return list(_threads().map(work, shares))


def _threads() -> ThreadPoolExecutor:
    """As many as torch uses here at the first call; all searches share them."""
    global _pool
    with _making:
        if _pool is None:
            count = torch.get_num_threads()
            started = threading.Barrier(count)

            def start() -> None:
                torch.set_num_threads(1)  # of this thread, and of threads that begin after it ...
                started.wait()

            pool = ThreadPoolExecutor(count, thread_name_prefix="judge")
            for waiting in [pool.submit(start) for _ in range(count)]:
                waiting.result()
            torch.set_num_threads(count)  # ... which is undone here
            _pool = pool
        return _pool
