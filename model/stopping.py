"""What Ctrl-C does to long work, everywhere: the first asks it to stop, a second one ends it.

Work that has nothing to keep looks for no wish, and ends with the first one.
"""

from __future__ import annotations

import signal
import sys
import threading
from typing import Self

STOPPED = 130
"""Status of a command that was stopped."""


class Stop:
    """Ctrl-C, or a SIGTERM, asks for a stop after the batch at hand; a second one ends at once.

    As a context manager it gives the signals back at the end; a command that ends with its work
    need not.
    """

    def __init__(self) -> None:
        self.event = threading.Event()
        signals = (signal.SIGINT, signal.SIGTERM)
        self._before = {number: signal.signal(number, self._ask) for number in signals}

    def asked(self) -> bool:
        """Whether to stop."""
        return self.event.is_set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        sys.stderr.write("\nstopping after this batch; what is finished is kept\n")
        self.event.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
