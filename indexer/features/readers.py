"""Who reads the feature store now: one mark a process, so that readers cost no descriptor each."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any


class ReaderLock:
    """A file below ``readers/`` that holds the time of the oldest reader's start and a shared lock.

    The operating system gives the lock back even when the process is killed.

    Raises:
        OSError: the file cannot be made; a library on a read-only disk has no collector either, and
            gets along without.
    """

    def __init__(self, folder: Path, started: float) -> None:
        self._file: Any = None
        self._path = folder / uuid.uuid4().hex
        try:
            folder.mkdir(parents=True, exist_ok=True)
            while self._file is None or not os.fstat(self._file.fileno()).st_nlink:
                # Anew where a collector took the file for a dead reader's before it was locked.
                self._file = self._path.open("w+")
                fcntl.flock(self._file, fcntl.LOCK_SH)
            self.write(started)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise

    def write(self, started: float) -> None:
        """Name another start, in one write, so that nobody reads half a number."""
        if self._file is not None:
            os.pwrite(self._file.fileno(), f"{started!r:<32}".encode(), 0)

    def release(self) -> None:
        """Give the mark back; further calls do nothing."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            self._file.close()
            self._file = None

    def __del__(self) -> None:
        self.release()


class Reader:
    """One reader's part in its process's mark, until it is released or forgotten."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave: Callable[[], None] | None = leave

    def release(self) -> None:
        """Need the segments no longer; further calls do nothing."""
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()


class Readers:
    """The readers of one store in this process; threads may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._started: dict[int, float] = {}
        self._mark: ReaderLock | None = None
        # Reentrant: a forgotten reader may leave while this very thread is in here.
        self._lock = threading.RLock()

    def enter(self, started: float) -> Reader:
        """Mark a reader that started then (database clock).

        Raises:
            OSError: the mark cannot be written.
        """
        number = next(self._numbers)
        with self._lock:
            self._started[number] = started
            try:
                self._write()
            except BaseException:
                self._started.pop(number, None)
                raise
        return Reader(lambda: self._leave(number))

    def _leave(self, number: int) -> None:
        with self._lock:
            self._started.pop(number, None)
            with contextlib.suppress(OSError):  # an older start than need be keeps more, not less
                self._write()

    def _write(self) -> None:
        oldest = min(tuple(self._started.values()), default=None)
        if oldest is None:
            if self._mark is not None:
                self._mark.release()
            self._mark = None
        elif self._mark is None:
            self._mark = ReaderLock(self._folder, oldest)
        else:
            self._mark.write(oldest)
