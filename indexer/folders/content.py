"""The name of a file's content: blake2b-160, 40 hexadecimal digits."""

# Paths are bytes here, which pathlib does not take.
# ruff: noqa: PTH118
from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from indexer.folders.walk import FoundFile

_DIGEST_BYTES = 20
MEBIBYTE = 1024 * 1024


def content_hash(data: bytes) -> str:
    """Hash bytes in memory; `hash_file` gives the same for a file of them."""
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()


@dataclass(frozen=True)
class HashedFile:
    """A content hash, or why there is none; neither when the file was being written."""

    content_hash: str | None = None
    reason: str | None = None
    read_bytes: int = 0


def hash_file(root: bytes, file: FoundFile, max_bytes: int) -> HashedFile:
    """Hash a file that a walk found, unless it is too large, unreadable or in flux."""
    if file.size > max_bytes:
        return HashedFile(
            reason=f"has {file.size / MEBIBYTE:.0f} MiB, the limit is "
            f"{max_bytes / MEBIBYTE:.0f} MiB (REFERENT_MAX_FILE_MIB)"
        )
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    read = 0
    try:
        # Opening a pipe that took the file's place would wait for its writer, hence O_NONBLOCK.
        handle = os.open(os.path.join(root, file.path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb", buffering=0) as stream:
            while read <= max_bytes and (block := stream.read(MEBIBYTE)):
                digest.update(block)
                read += len(block)
            status = os.fstat(handle)
    except FileNotFoundError:
        return HashedFile()
    except OSError as error:
        return HashedFile(reason=f"cannot be read: {error.strerror}")
    if (status.st_size, status.st_mtime_ns) != (file.size, file.mtime_ns) or read != file.size:
        return HashedFile(read_bytes=read)
    return HashedFile(digest.hexdigest(), read_bytes=read)
