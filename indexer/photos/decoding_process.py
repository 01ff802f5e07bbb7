"""One decoding process: ``python -m indexer.photos.decoding_process SOCKET MEMORY SIDE LIMITS``.

It reads paths from a socket, answers with JSON there and puts a photo's pixels into shared memory.
It imports no torch and no database, may use only so much memory, and what it says is never
unpickled, so that a file that takes a decoder over gains nothing by it.
"""

from __future__ import annotations

import json
import mmap
import os
import resource
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from indexer.folders.content import content_hash
from indexer.photos.picture import Limits, decode, read_file
from model.errors import PhotoError

# Below the network, which waits for all of its threads whenever one of them loses its processor:
# decoding rather takes the gaps that the network leaves. Not lower: beside other programs at work
# it must still get on.
_NICENESS = 5


def answer(path: bytes, side: int, limits: Limits) -> tuple[dict[str, object], bytes]:
    """Decode one file; every reason why it cannot be decoded is part of the answer.

    After running out of memory the process counts as ``spent``: what a decoder left behind would
    be missing for the next photo.
    """
    found: dict[str, object] = {}
    try:
        data = read_file(path, limits)
        found["content_hash"] = content_hash(data)
        pixels, facts = decode(data, side, limits)
    except PhotoError as error:
        found["reason"] = str(error)
        found["spent"] = isinstance(error.__cause__, MemoryError)
        return found, b""
    except MemoryError:
        found["reason"] = "needs more memory than one photo may take (REFERENT_DECODE_MEMORY_MIB)"
        found["spent"] = True
        return found, b""
    return found | {"facts": facts.to_json()}, pixels.tobytes()


def limit_memory(mebibytes: int) -> None:
    """Let this process take so much more writable memory than it has now."""
    with suppress(OSError, ValueError):
        # Not through psutil: importing it takes a while, and photos wait for the start.
        status = Path("/proc/self/status").read_text()
        now_kib = next(int(row.split()[1]) for row in status.splitlines() if row[:7] == "VmData:")
        bound = (now_kib + mebibytes * 1024) * 1024
        # DATA, not AS: reserved but unusable address space (thread arenas, libraries) is free.
        resource.setrlimit(resource.RLIMIT_DATA, (bound, bound))


def main(arguments: list[str]) -> None:
    """Answer until the other end closes."""
    handle, memory, side = (int(argument) for argument in arguments[:3])
    limits = json.loads(arguments[3])
    shared = mmap.mmap(memory, side * side * 3)
    limit_memory(limits.pop("memory_mib"))
    with suppress(EOFError, OSError), Connection(handle) as connection:
        connection.send_bytes(b"ready")
        os.nice(_NICENESS)  # not before: the first photos wait for the start
        while True:
            found, pixels = answer(connection.recv_bytes(), side, Limits(**limits))
            shared[: len(pixels)] = pixels
            connection.send_bytes(json.dumps(found).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
