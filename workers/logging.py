"""Structured logs: one JSON object a line, with the ids of the job and the photo at hand.

Everything that logs ends here: structlog's own calls and the standard library's (Celery, uvicorn,
Alembic, SQLAlchemy). Ids are bound to the context once, where a job or a batch starts, and every
line below carries them, whichever module wrote it.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TextIO

import structlog

# Messages that are remembered as seen; beyond, everything is written.
_KNOWN_MAX = 1000
LogFormat = Literal["json", "console"]


def configure_logging(
    *, log_format: LogFormat = "json", level: str = "INFO", stream: TextIO | None = None
) -> None:
    """Send every log record of this process to one stream, as JSON lines or as readable text.

    Args:
        log_format: "json" for machines, "console" for a person's terminal.
        level: least level that is written, a name of the standard library's.
        stream: where lines go; stderr by default, so that stdout stays a command's result.
    """
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: structlog.types.Processor
    if log_format == "json":
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer(default=str)
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=(stream or sys.stderr).isatty())
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(Repeats(handler))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Alembic announces its context at every start; that is noise in a worker's log.
    logging.getLogger("alembic").setLevel(max(root.level, logging.WARNING))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


class Repeats(logging.Filter):
    """Lets a warning or an error through once in `window_s`, and then says how often it came.

    What fails without end, such as accepting connections where no descriptor is left, would fill
    the disk with one line thousands of times a second.
    """

    def __init__(self, handler: logging.Handler, window_s: float = 60.0) -> None:
        super().__init__()
        self._handler = handler
        self._window_s = window_s
        self._seen: dict[tuple[str, int, str], tuple[float, int, logging.LogRecord]] = {}
        self._lock = threading.RLock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this record is written; counts of repeats that are due are written first."""
        with self._lock:
            self._tell(record.created)
            if record.levelno < logging.WARNING:
                return True
            key = (record.name, record.levelno, _said(record))
            known = self._seen.get(key)
            if known is None:
                if len(self._seen) < _KNOWN_MAX:
                    self._seen[key] = (record.created, 0, record)
                return True
            since, times, first = known
            self._seen[key] = (since, times + 1, first)
            return False

    def _tell(self, now: float) -> None:
        """Write the counts of those whose window is over, and forget them."""
        while self._seen:
            key, (since, times, first) = next(iter(self._seen.items()))  # the oldest
            if now - since < self._window_s:
                return
            del self._seen[key]
            if times:
                text = f"{key[2]} ({times:,} more times in {now - since:.0f} s)"
                summary = logging.LogRecord(
                    first.name, first.levelno, first.pathname, first.lineno, text, None, None
                )
                self._handler.emit(summary)


def _said(record: logging.LogRecord) -> str:
    """What a record says, but for the time: its text and error, or structlog's event and fields."""
    if isinstance(record.msg, dict):
        fields = {**record.msg}
        event = fields.pop("event", "")
        for known in ("timestamp", "level", "logger"):
            fields.pop(known, None)
        return " ".join([str(event), *(f"{name}={value!r}" for name, value in fields.items())])
    error = record.exc_info[1] if record.exc_info else None
    text = record.getMessage()
    return f"{text}: {type(error).__name__}: {error}" if error is not None else text


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger; `log.info("batch", photos=8)` writes the event and its fields."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound


@contextmanager
def log_context(**ids: object) -> Iterator[None]:
    """Every line that is logged inside carries these ids (`job_id`, `photo_id`, `worker`, ...)."""
    with structlog.contextvars.bound_contextvars(**ids):
        yield
