"""Walk a root's files in the byte order of their paths, calmly, whatever lies there.

The order is that of the catalog's index on (root_id, path), so that a scan can merge the two
streams and hold neither in memory.
"""

# Paths are bytes here, which pathlib does not take.
# ruff: noqa: PTH116, PTH118, PTH119, PTH120
from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from indexer.folders.globs import Globs


class FoundFile(NamedTuple):
    """A regular file that the album takes; ``path`` is relative to the root."""

    path: bytes
    size: int
    mtime_ns: int
    inode: int


def found_file(path: bytes, status: os.stat_result) -> FoundFile:
    """A file by its path below the root and what the system says of it."""
    # Databases hold signed integers of 64 bits; some file systems use the top bit of inodes.
    inode = status.st_ino - (1 << 64) if status.st_ino >= 1 << 63 else status.st_ino
    return FoundFile(path, status.st_size, status.st_mtime_ns, inode)


@dataclass
class Walk:
    """One walk over one root; the fields fill while `files` is iterated.

    Folders that symbolic links lead to are followed, each real folder once, unless it lies in one
    of the album's roots, where its own path reaches it. Loops therefore end.
    """

    root: bytes
    globs: Globs
    roots: tuple[bytes, ...] = ()
    """Real paths of all roots of the album; another root inside this one is left to itself."""
    skipped: int = 0
    """Files that are no photos by name or globs, links that lead nowhere, pipes and the like."""
    errors: list[tuple[bytes, str]] = field(default_factory=list)
    """Folders and files below the root that could not be read, with the reason."""
    unsure: set[bytes] = field(default_factory=set)
    """Paths below which nothing can be said to be gone (b"" is the root itself)."""
    mounts: set[bytes] = field(default_factory=set)
    """Mount points seen, the root included as b""."""
    on_folder: Callable[[bytes], None] | None = None

    def __post_init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()

    def files(self, below: bytes = b"") -> Iterator[FoundFile]:
        """The files of the root, or of one path in it (a folder or a single file), in order."""
        try:
            status = os.stat(self.root)
        except OSError as error:
            self._fail(b"", error)
            return
        self._seen.add((status.st_dev, status.st_ino))
        if os.path.ismount(self.root):
            self.mounts.add(b"")
        if not below:
            yield from self._tree(b"", status.st_dev)
            return
        parts = below.split(b"/")
        if any(self.globs.skips_folder(b"/".join(parts[:end])) for end in range(1, len(parts))):
            return
        folder = os.path.join(self.root, os.path.dirname(below))
        name = os.path.basename(below)
        try:
            with os.scandir(folder) as listing:
                entry = next((entry for entry in listing if entry.name == name), None)
            if entry is None:
                return
            if entry.is_dir():
                device = self._folder(below, entry, os.stat(folder).st_dev)
                if device is not None:
                    yield from self._tree(below + b"/", device)
            elif (found := self._file(below, entry)) is not None:
                yield found
        except OSError as error:
            self._fail(below, error)

    def _tree(self, top: bytes, top_device: int) -> Iterator[FoundFile]:
        # A stack instead of recursion: folders may nest deeper than Python does.
        stack = [(top, top_device, self._entries(top))]
        while stack:
            folder, device, entries = stack[-1]
            for entry in entries:
                path = folder + entry.name
                try:
                    if entry.is_dir():
                        inner = self._folder(path, entry, device)
                        if inner is not None:
                            stack.append((path + b"/", inner, self._entries(path + b"/")))
                            break
                    elif (found := self._file(path, entry)) is not None:
                        yield found
                except OSError as error:
                    self._fail(path, error)
            else:
                stack.pop()

    def _entries(self, folder: bytes) -> Iterator[os.DirEntry[bytes]]:
        """A folder's entries in the order of their full paths: a folder counts as ``name/``."""
        if self.on_folder is not None:
            self.on_folder(folder)
        entries: list[tuple[bytes, os.DirEntry[bytes]]] = []
        try:
            with os.scandir(os.path.join(self.root, folder)) as listing:
                for entry in listing:
                    try:
                        end = b"/" if entry.is_dir() else b""
                    except OSError as error:
                        self._fail(folder + entry.name, error)
                        continue
                    entries.append((entry.name + end, entry))
        except OSError as error:
            self._fail(folder.rstrip(b"/"), error)
        entries.sort(key=itemgetter(0))
        return (entry for _, entry in entries)

    def _folder(self, path: bytes, entry: os.DirEntry[bytes], device: int) -> int | None:
        """The device of a folder to enter, or None."""
        if self.globs.skips_folder(path):
            return None
        status = entry.stat()
        if (status.st_dev, status.st_ino) in self._seen:
            return None
        if entry.is_symlink():
            if self._inside_a_root(entry.path):
                return None
        elif status.st_dev != device:
            self.mounts.add(path)
        if os.path.join(self.root, path) in self.roots:
            return None
        self._seen.add((status.st_dev, status.st_ino))
        return status.st_dev

    def _file(self, path: bytes, entry: os.DirEntry[bytes]) -> FoundFile | None:
        if not self.globs.takes_file(path):
            self.skipped += 1
            return None
        try:
            status = entry.stat()
        except FileNotFoundError:
            self.skipped += 1  # a link that leads nowhere, or a file that went since it was listed
            return None
        if not stat.S_ISREG(status.st_mode) or (
            entry.is_symlink() and self._inside_a_root(entry.path)
        ):
            self.skipped += 1
            return None
        return found_file(path, status)

    def _inside_a_root(self, path: bytes) -> bool:
        real = os.path.realpath(path)
        return any(real == root or real.startswith(root.rstrip(b"/") + b"/") for root in self.roots)

    def _fail(self, path: bytes, error: OSError) -> None:
        # What vanished between listing and looking is gone, and no error.
        if isinstance(error, FileNotFoundError) and path:
            return
        if error.errno == errno.ELOOP:  # a symbolic link to itself
            self.skipped += 1
            return
        self.errors.append((path, error.strerror or str(error)))
        self.unsure.add(path)
