"""Structured logs: one JSON object a line, with the ids of the job and the photo at hand.

Everything that logs ends here: structlog's own calls and the standard library's (Celery, uvicorn,
Alembic, SQLAlchemy). Ids are bound to the context once, where a job or a batch starts, and every
line below carries them, whichever module wrote it.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Literal, TextIO

import structlog

from indexer.folders.printable import printable

# Messages that are remembered as seen; beyond, everything is written.
_KNOWN_MAX = 1000
LogFormat = Literal["json", "console"]
_PASSWORD = re.compile(r"([a-z][a-z0-9+.\-]*://[^\s/:@'\"]*:)[^\s/@'\"]+@", re.IGNORECASE)
_LOG_BYTES = 4 * 1024 * 1024


def configure_logging(
    *,
    log_format: LogFormat = "json",
    level: str = "INFO",
    stream: TextIO | None = None,
    file: Path | None = None,
) -> None:
    """Send every log record of this process to one stream, as JSON lines or as readable text.

    Passwords in addresses are masked, whoever logs them, and no line shows a function's variables.

    Args:
        log_format: "json" for machines, "console" for a person's terminal.
        level: least level that is written to the stream, a name of the standard library's.
        stream: where lines go; stderr by default, so that stdout stays a command's result.
        file: for commands, which have a person before them: everything from INFO on goes there with
            its traces, and the stream gets a sentence for each fault. A file that cannot be written
            is done without.
    """
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    kept = _file_handler(file) if file is not None else None
    shown = logging.StreamHandler(stream or sys.stderr)
    shown.setLevel(level.upper())
    if log_format == "json":
        shown.setFormatter(_formatter(shared, _json()))
    else:
        person = structlog.dev.ConsoleRenderer(
            colors=(stream or sys.stderr).isatty(),
            exception_formatter=structlog.dev.plain_traceback,
        )
        # A name must not be taken for a command by the terminal that the line is shown on.
        brief: list[structlog.types.Processor] = [_printable]
        brief += [partial(_without_trace, file=file)] if file is not None and kept else []
        shown.setFormatter(_formatter(shared, [*brief, person]))
    if kept is not None:
        kept.setFormatter(_formatter(shared, _json()))
    shown.addFilter(Repeats(shown))
    root = logging.getLogger()
    root.handlers[:] = [shown] if kept is None else [shown, kept]
    root.setLevel(level.upper() if kept is None else logging.INFO)
    # Celery writes two lines for each message, most of which find nothing to do; ours tell of jobs.
    for noisy in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(noisy).setLevel(max(root.level, logging.WARNING))
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


def without_passwords(text: str) -> str:
    """A text whose addresses (``scheme://user:password@host``) show no password."""
    return _PASSWORD.sub(r"\1***@", text)


def _json() -> list[structlog.types.Processor]:
    return [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(default=str),
    ]


def _formatter(
    shared: list[structlog.types.Processor], renderers: list[structlog.types.Processor]
) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *renderers,
            lambda _logger, _name, line: without_passwords(str(line)),
        ],
    )


def _file_handler(file: Path) -> logging.Handler | None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return RotatingFileHandler(file, maxBytes=_LOG_BYTES, backupCount=2, encoding="utf-8")
    except OSError:
        return None


def _printable(
    _logger: object, _name: str, event: structlog.types.EventDict
) -> structlog.types.EventDict:
    texts = {name: printable(value) for name, value in event.items() if isinstance(value, str)}
    event.update({name: text for name, text in texts.items() if name != "exception"})
    return event


def _without_trace(
    _logger: object, _name: str, event: structlog.types.EventDict, *, file: Path
) -> structlog.types.EventDict:
    """An event for a terminal: the fault's kind and where its trace is, not the trace."""
    fault = event.pop("exc_info", None) or event.pop("exception", None)
    if fault is True:
        fault = sys.exc_info()
    if fault:
        kind = fault[0] if isinstance(fault, tuple) else type(fault)
        event.update(fault=getattr(kind, "__name__", "error"), trace=str(file))
    return event


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger; `log.info("batch", photos=8)` writes the event and its fields."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound


@contextmanager
def log_context(**ids: object) -> Iterator[None]:
    """Every line that is logged inside carries these ids (`job_id`, `photo_id`, `worker`, ...)."""
    with structlog.contextvars.bound_contextvars(**ids):
        yield
