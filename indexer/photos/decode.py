"""Decode untrusted photos in processes of their own, each under a time and a memory limit.

A process that is too slow or dies takes only its own photo with it: it is replaced, and the
photo is reported with a reason. The processes import no torch and start from nothing (no fork).
"""

from __future__ import annotations

import json
import mmap
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Generic, Self, TypeVar

import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image

from indexer.errors import DecoderBroken, DecoderClosed
from indexer.photos.exif import PhotoFacts
from indexer.photos.picture import Limits, decode_upright, read_file
from indexer.settings import MEBIBYTE, Settings
from model.errors import PhotoError

K = TypeVar("K")

# A process is replaced after so many photos, so that what decoders leak stays bounded.
_PHOTOS_A_PROCESS = 2000
# Importing Pillow and NumPy takes some 0.2 s; on a machine that is busy, much more.
_START_TIMEOUT_S = 60.0
# The longest that a photo may take on a busy machine, as a multiple of the time limit. With ten
# times, a machine whose processors were taken by other work failed good photos of 0.3 megapixels.
_BUSY_FACTOR = 60


@dataclass(frozen=True)
class Decoded(Generic[K]):
    """What became of one photo: pixels and facts, or the reason why not."""

    key: K
    """What the caller named it by."""
    path: bytes
    pixels: NDArray[np.uint8] | None
    """(S, S, 3) uint8 RGB, upright, squashed; None when it failed."""
    facts: PhotoFacts | None
    content_hash: str | None
    """Of the very bytes that were decoded; None when the file could not be read."""
    reason: str | None
    """Why it failed, to be read after the file's name; None when it did not."""

    @property
    def ok(self) -> bool:
        """Whether there are pixels."""
        return self.pixels is not None


def limits_of(settings: Settings) -> Limits:
    """The bounds of a single file, from the settings."""
    return Limits(
        file_bytes=settings.max_file_mib * MEBIBYTE,
        pixels=int(settings.max_pixels_mp * 1e6),
        jpeg_pixels=int(settings.max_jpeg_pixels_mp * 1e6),
    )


def load_upright(path: Path | bytes, settings: Settings) -> Image.Image:
    """Decode a photo at full size in this process, to be shown or cut out.

    Args:
        path: of the file; bytes as in the catalog.
    Returns:
        Mode "RGB", upright.
    Raises:
        PhotoError: it is refused or unreadable; the message names the file.
    """
    limits = limits_of(settings)
    with _naming(path):
        return decode_upright(read_file(os.fsencode(path), limits), limits)


class _naming:  # noqa: N801 - used like a function
    """Put the file's name before the reason."""

    def __init__(self, path: Path | bytes) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if isinstance(error, PhotoError):
            name = os.fsdecode(self.path).encode("utf-8", "replace").decode()
            raise type(error)(f"{name} {error}") from error


class _Stopped(Exception):
    """A decoding process ended or was too slow; the message says which."""


class _Child:
    """One decoding process and our end of its socket."""

    def __init__(self, settings: Settings, side: int) -> None:
        limits = limits_of(settings).__dict__ | {"memory_mib": settings.decode_memory_mib}
        ours, theirs = socket.socketpair()
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "OMP_NUM_THREADS": "1",
            # One heap: memory goes back between photos instead of lying in many arenas.
            "MALLOC_ARENA_MAX": "1",
        }
        # Pixels come through shared memory: measured at a tenth of the parent's CPU time that the
        # socket takes, and half of the wall time.
        shared = _shared_file(side * side * 3)
        self.pixels = mmap.mmap(shared, side * side * 3)
        handles = [theirs.fileno(), shared]
        module = "indexer.photos.decoding_process"
        command = [sys.executable, "-P", "-m", module, *map(str, handles)]
        with theirs, os.fdopen(shared, "rb"):
            self.process = subprocess.Popen(
                [*command, str(side), json.dumps(limits)],
                pass_fds=handles,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # libtiff and others chat there about broken files
                env=environment,
                # Ctrl-C is for the parent, which then stops in order. No session of its own: Linux
                # may share processors out by session, and niceness would count for nothing.
                process_group=0,
            )
        self.connection = Connection(ours.detach())
        self.answered = 0
        self.side = side
        try:
            self._receive(_START_TIMEOUT_S)
        except _Stopped as error:
            raise DecoderBroken(f"the decoding process did not start: {error}") from error

    def ask(self, path: bytes, timeout_s: float) -> tuple[dict, NDArray[np.uint8] | None]:
        """Let it decode one file; `_Stopped` when it does not answer in time or dies."""
        self.answered += 1
        try:
            self.connection.send_bytes(path)
        except OSError as error:
            raise _Stopped(self._obituary()) from error
        found = json.loads(self._receive(timeout_s))
        if "facts" not in found:
            return found, None
        shape = (self.side, self.side, 3)
        return found, np.frombuffer(self.pixels, dtype=np.uint8).reshape(shape).copy()

    def _receive(self, timeout_s: float) -> bytes:
        try:
            self._wait(timeout_s)
            return self.connection.recv_bytes(65536)
        except (EOFError, OSError) as error:
            raise _Stopped(self._obituary()) from error

    def _wait(self, timeout_s: float) -> None:
        """Wait for an answer.

        The limit is one of working time: while the process wants to run, only the processor time
        that it gets counts, so that other programs' load fails no photo (up to some multiple of
        the limit). On an idle machine working time is wall time.
        """
        started = seen_at = time.monotonic()
        worked, cpu_seen = 0.0, _processor_time(self.process.pid)[0]
        while not self.connection.poll(max(0.01, min(timeout_s / 8, timeout_s - worked))):
            now = time.monotonic()
            cpu, runs = _processor_time(self.process.pid)
            worked += cpu - cpu_seen if runs else now - seen_at
            seen_at, cpu_seen = now, cpu
            if worked >= timeout_s or now - started >= _BUSY_FACTOR * timeout_s:
                raise _Stopped(
                    f"takes longer than {timeout_s:.0f} s to decode (REFERENT_DECODE_TIMEOUT_S)"
                )

    def _obituary(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            status = self.process.wait(1.0)
            if status < 0:
                name = signal.Signals(-status).name
                return f"crashes its decoder ({name})"
        return "crashes its decoder"

    def kill(self) -> None:
        """End it now and collect it."""
        self.connection.close()
        self.process.kill()
        self.process.wait()
        self.pixels.close()


def _shared_file(size: int) -> int:
    """The descriptor of a file without a name, in memory where the system has such files."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("referent-pixels")
    else:
        with tempfile.TemporaryFile() as file:
            handle = os.dup(file.fileno())
    os.ftruncate(handle, size)
    return handle


def _processor_time(pid: int) -> tuple[float, bool]:
    """Seconds of processor time that a process has had, and whether it wants more just now."""
    try:
        process = psutil.Process(pid)
        spent = process.cpu_times()
        return spent.user + spent.system, process.status() == psutil.STATUS_RUNNING
    except psutil.Error:
        return 0.0, False  # where the system does not tell, all time counts


@dataclass
class _Call:
    """One run of `Decoder.decode`: where its answers go, and whether anyone still wants them."""

    answers: queue.SimpleQueue[Decoded | BaseException]
    wanted: bool = True


class Decoder:
    """A pool of decoding processes; a context manager. Safe to use from several threads."""

    def __init__(self, settings: Settings, input_size: int, *, workers: int | None = None) -> None:
        """Prepare the pool; processes start when there is work for them.

        Args:
            settings: limits, and the number of processes.
            input_size: S, the side of the pixels that come out.
            workers: processes; default `Settings.decode_workers`.
        """
        self.settings = settings
        self.input_size = input_size
        self.workers = workers or settings.decode_workers
        self._tasks: queue.SimpleQueue[tuple[_Call, object, bytes] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._children: set[_Child] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def decode(
        self, photos: Iterable[tuple[K, bytes | Path]], *, ahead: int | None = None
    ) -> Iterator[Decoded[K]]:
        """Decode photos as they finish, which need not be the order in which they came.

        Each photo comes out exactly once. Decoding goes on in the background while the caller
        works on what it has; leaving the loop early drops the rest.

        Args:
            photos: (key, path) pairs; drawn lazily, in the caller's thread.
            ahead: photos in work or decoded and not yet taken; default 4 a process, at least 32.
        Raises:
            DecoderClosed: `close` came first; of the photos that were left nothing is known.
            DecoderBroken: no process can be started.
        """
        bound = max(self.workers, ahead or max(32, 4 * self.workers))
        call = _Call(queue.SimpleQueue())
        waiting = iter(photos)
        open_photos, more = 0, True
        try:
            while more or open_photos:
                while more and open_photos < bound:
                    try:
                        key, path = next(waiting)
                    except StopIteration:
                        more = False
                        break
                    self._submit(call, key, os.fsencode(path))
                    open_photos += 1
                if open_photos:
                    answer = call.answers.get()
                    open_photos -= 1
                    if isinstance(answer, BaseException):
                        raise answer
                    yield answer
        finally:
            call.wanted = False

    def decode_one(self, path: bytes | Path) -> Decoded[None]:
        """Decode one photo and wait for it."""
        return next(iter(self.decode([(None, path)])))

    def close(self) -> None:
        """End all processes; whoever still waits for a photo gets `DecoderClosed`."""
        with self._lock:
            self._closed.set()
            threads, self._threads = self._threads, []
            for child in self._children:
                child.process.kill()  # wakes the thread that waits for it
            for _ in threads:
                self._tasks.put(None)  # behind all tasks, which are answered on the way
        for thread in threads:
            thread.join()

    def _submit(self, call: _Call, key: object, path: bytes) -> None:
        with self._lock:
            if self._closed.is_set():
                raise DecoderClosed
            if len(self._threads) < self.workers:
                thread = threading.Thread(target=self._serve, name="decoder", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._tasks.put((call, key, path))

    def _serve(self) -> None:
        """One thread: keeps one process alive and asks it photo after photo."""
        child: _Child | None = None
        while (task := self._tasks.get()) is not None:
            call, key, path = task
            if not call.wanted:
                continue
            if self._closed.is_set():
                call.answers.put(DecoderClosed())
                continue
            try:
                if child is not None and child.process.poll() is not None:
                    self._end(child)  # it died idle, so no photo is to blame
                    child = None
                if child is None:
                    child = self._start()
                found, pixels = child.ask(path, self.settings.decode_timeout_s)
            except _Stopped as stopped:
                self._end(child)
                child = None
                if self._closed.is_set():  # we ended it, so the photo is not to blame
                    call.answers.put(DecoderClosed())
                    continue
                found, pixels = {"reason": str(stopped)}, None
            except BaseException as error:  # the caller's thread is the one to hear of it
                call.answers.put(error)
                self._end(child)
                child = None
                continue
            facts = PhotoFacts.from_json(found["facts"]) if pixels is not None else None
            call.answers.put(
                Decoded(key, path, pixels, facts, found.get("content_hash"), found.get("reason"))
            )
            worn = child is not None and child.answered >= _PHOTOS_A_PROCESS
            if worn or found.get("spent"):
                self._end(child)
                child = None
        self._end(child)

    def _start(self) -> _Child:
        child = _Child(self.settings, self.input_size)
        with self._lock:
            self._children.add(child)
            if self._closed.is_set():
                child.process.kill()
        return child

    def _end(self, child: _Child | None) -> None:
        if child is not None:
            with self._lock:
                self._children.discard(child)
            child.kill()
