"""Who holds a lease: a name from which others on the machine can tell that the holder is gone.

A lease ends by its time on the database's clock. Waiting for that after a crash would hold up the
next run, so the name also says machine, process and the process's start: where the machine is
ours and no such process lives, the lease is void at once.
"""

from __future__ import annotations

import functools
import os
import uuid
from hashlib import blake2b
from pathlib import Path


def new_owner() -> str:
    """Return a name for one worker of this process, at most 64 characters."""
    pid = os.getpid()
    return f"{_machine()}/{pid}/{_started(pid) or 0}/{uuid.uuid4().hex[:12]}"


def is_gone(owner: str | None) -> bool:
    """Whether the process behind a lease certainly lives no more; False where we cannot know."""
    parts = (owner or "").split("/")
    if len(parts) != 4 or parts[0] != _machine() or not parts[1].isdigit():
        return False
    started = _started(int(parts[1]))
    return started is None or str(started) != parts[2]


@functools.cache
def _machine() -> str:
    """Digest of this boot and process namespace: process ids mean something only within it."""
    marks = [os.uname().nodename]
    for path in ("/proc/sys/kernel/random/boot_id", "/etc/machine-id"):
        try:
            marks.append(Path(path).read_text().strip())
        except OSError:
            continue
    try:
        marks.append(str(Path("/proc/self/ns/pid").stat().st_ino))
    except OSError:
        marks.append("")
    return blake2b("|".join(marks).encode(), digest_size=8).hexdigest()


def _started(pid: int) -> int | None:
    """Start of a process in clock ticks since boot; None when it lives no more, 0 if unknown.

    Not psutil's time of creation, which moves with the wall clock.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return None if fields[0] in ("Z", "X") else int(fields[19])
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self").exists():
            return None
    except (OSError, IndexError, ValueError):
        return 0
    try:  # no /proc: ask the kernel whether the process exists
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        return 0
    return 0
