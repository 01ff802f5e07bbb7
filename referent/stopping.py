"""What Ctrl-C does to a long command."""

from __future__ import annotations

import signal
import sys
import threading


class Stop:
    """Ctrl-C asks for a stop after the batch at hand; a second one ends at once."""

    def __init__(self) -> None:
        self.event = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        sys.stderr.write("\nstopping after this batch; what is finished is kept\n")
        self.event.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def asked(self) -> bool:
        """Whether to stop."""
        return self.event.is_set()
