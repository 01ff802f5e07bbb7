"""Walk a root's files in the byte order of their paths, calmly, whatever lies there.

The order is that of the catalog's index on (root_id, path), so that a scan can merge the two
streams and hold neither in memory.
"""

# Paths are bytes here, which pathlib does not take.
# ruff: noqa: PTH110, PTH116, PTH118, PTH119, PTH120, PTH123, PTH208
from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from indexer.folders.globs import EXTENSIONS, RAW, Globs, Ignored, extension, folders_above
from indexer.folders.own_output import MARKER, is_own, names_in

# A folder that holds a file of the first name is left out, as Android's gallery does; the others
# hold globs, one a line, for what lies below them.
NO_MEDIA = b".nomedia"
IGNORE_FILES = (b".referentignore", b".ppignore")
_IGNORE_BYTES = 65536

# Photos and films of kinds that are not read, which their owner may miss.
UNREAD = RAW | frozenset(
    b"jxl jxr wdp hdp psd psb xcf svg exr hdr tga "
    b"mov mp4 m4v avi mts m2ts 3gp mkv webm mpg mpeg wmv".split()
)


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
    unread: Counter[str] = field(default_factory=Counter)
    """Photos and films of kinds that are not read, by their extension; they are skipped as well."""
    left_out: set[bytes] = field(default_factory=set)
    """Folders and files that systems and programs keep for themselves, that ignore files name or
    that Referent wrote."""
    links_out: int = 0
    """Links to photos outside of the album's roots, where those are not followed."""
    errors: list[tuple[bytes, str]] = field(default_factory=list)
    """Folders and files below the root that could not be read, with the reason."""
    unsure: set[bytes] = field(default_factory=set)
    """Paths below which nothing can be said to be gone (b"" is the root itself)."""
    mounts: set[bytes] = field(default_factory=set)
    """Mount points seen, the root included as b""."""
    follow_links: bool = True
    """Whether links may lead out of the album's roots."""
    on_folder: Callable[[bytes], None] | None = None

    def __post_init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()
        self._ignored = Ignored()
        self._own: dict[bytes, set[bytes]] = {}  # what markers name, by folder

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
        for above in [b"", *folders_above(below)]:
            if above and self._leaves_out(above):
                return
            try:
                names = set(os.listdir(os.path.join(self.root, above)))
            except OSError as error:
                self._fail(above, error)
                return
            if not self._heed(above + b"/" if above else b"", names):
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
            with os.scandir(os.path.join(self.root, folder)) as opened:
                listing = list(opened)
                if not self._heed(folder, {entry.name for entry in listing}):
                    return iter(())
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
        if self._leaves_out(path):
            return None
        status = entry.stat()
        if (status.st_dev, status.st_ino) in self._seen:
            return None
        if entry.is_symlink():
            if not self._follows(entry.path, folder=True):
                return None
        elif status.st_dev != device:
            self.mounts.add(path)
        if os.path.join(self.root, path) in self.roots:
            return None
        self._seen.add((status.st_dev, status.st_ino))
        return status.st_dev

    def _file(self, path: bytes, entry: os.DirEntry[bytes]) -> FoundFile | None:
        kind = extension(path)
        known = kind in EXTENSIONS or kind in UNREAD
        if not known or self._leaves_out(path) or not self.globs.takes_file(path):
            self.skipped += 1
            if not known and entry.is_symlink() and not os.path.exists(entry.path):
                self.unsure.add(path)  # a folder may be linked here from a disk that is not there
            elif kind in UNREAD and path not in self.left_out and entry.is_file():
                self.unread[kind.decode()] += 1
            return None
        try:
            status = entry.stat()
        except FileNotFoundError:
            self.skipped += 1  # a link that leads nowhere, or a file that went since it was listed
            if entry.is_symlink():
                self.unsure.add(path)
            return None
        if not stat.S_ISREG(status.st_mode) or (
            entry.is_symlink() and not self._follows(entry.path, folder=False)
        ):
            self.skipped += 1
            return None
        return found_file(path, status)

    def _follows(self, link: bytes, *, folder: bool) -> bool:
        """Whether a link adds something: its target is reached by no path of its own in a root.

        What lies inside a root but is left out there is not reached, such as the hidden objects
        that git-annex links to.
        """
        real = os.path.realpath(link)
        inside = False
        for root in self.roots:
            top = root.rstrip(b"/") + b"/"
            if real == root or (real.startswith(top) and self._reaches(real[len(top) :], folder)):
                return False
            inside = inside or real.startswith(top)
        if not (inside or self.follow_links):
            self.links_out += 1
            return False
        return True

    def _reaches(self, path: bytes, folder: bool) -> bool:
        """Whether a walk over a root comes to a path in it."""
        if any(map(self.globs.skips_folder, folders_above(path))):
            return False
        return not self.globs.skips_folder(path) if folder else self.globs.takes_file(path)

    def _heed(self, folder: bytes, names: set[bytes]) -> bool:
        """Read what a folder says of itself; False when all of it is left out.

        The root itself was chosen by someone, so only what its ignore files name is left out.
        """
        if os.fsencode(MARKER) in names:
            found = names_in(os.path.join(self.root, folder))
            if folder and is_own(found):
                self.left_out.add(folder.rstrip(b"/"))
                return False
            self._own[folder] = found or set()
        if self.globs.everything:
            return True
        if folder and NO_MEDIA in names:
            self.left_out.add(folder.rstrip(b"/"))
            return False
        lines: list[str] = []
        for name in names.intersection(IGNORE_FILES):
            try:
                with open(os.path.join(self.root, folder, name), "rb") as file:
                    lines += os.fsdecode(file.read(_IGNORE_BYTES)).splitlines()
            except OSError as error:
                self._fail(folder + name, error)
        if lines:
            kept = (line.strip() for line in lines)
            self._ignored.add(folder, (line for line in kept if line and line[0] not in "#!"))
        return True

    def _leaves_out(self, path: bytes) -> bool:
        """Whether a folder or file is excluded, and note what nobody excluded by hand."""
        folder, _, name = path.rpartition(b"/")
        own = self._own.get(folder + b"/" if folder else b"")
        if (own is not None and name in own) or self._ignored.covers(path):
            self.left_out.add(path)
            return True
        if self.globs.is_systems(path):
            self.left_out.add(path)
            return True
        return self.globs.skips_folder(path)

    def _fail(self, path: bytes, error: OSError) -> None:
        # What vanished between listing and looking is gone, and no error.
        if isinstance(error, FileNotFoundError) and path:
            return
        if error.errno == errno.ELOOP:  # a symbolic link to itself
            self.skipped += 1
            return
        self.errors.append((path, error.strerror or str(error)))
        self.unsure.add(path)
