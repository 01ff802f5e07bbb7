"""The folder of a backup: the catalog as SQLite, files as the library has them, and what proves it.

``backup.json`` is written last and names everything with its digest; a folder without it is a
backup that was cut off, which the next run finishes. A second backup into the same folder copies
only what is new and lets the old one stand until it is whole itself.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from indexer.backup.files import PLACES, Found, Place, copy, digest_of
from indexer.errors import BackupUnusable
from indexer.folders.own_output import ALL, MARKER, mark
from model.replacing import replacing, sync

FORMAT = 1
MANIFEST = "backup.json"
JOURNAL = "files.part.jsonl"
_LOCK = ".lock"


@dataclass(frozen=True)
class Kept:
    """A file in a backup."""

    place: Place
    path: str
    size: int
    mtime_ns: int
    digest: str
    stored: str
    """Below the backup's folder: place and path, with something behind where an older one lay."""


@dataclass(frozen=True)
class Manifest:
    """What a whole backup says of itself."""

    made_at: float
    """Unix time in seconds, of this machine."""
    catalog: str
    """Name of the catalog's file."""
    catalog_digest: str
    files: str
    """Name of the list of files, a `Kept` a line."""
    files_digest: str
    features: bool
    uploads: str
    """Where the library had its uploads: bytes of the path in hex."""
    rows: int
    format: int = FORMAT


class Archive:
    """The folder of one backup."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def manifest(self) -> Manifest:
        """What the backup says of itself.

        Raises:
            BackupUnusable: there is none, or it is unfinished, damaged or of a newer Referent.
        """
        path = self.folder / MANIFEST
        try:
            fields = json.loads(path.read_text("utf-8"))
            if fields["format"] != FORMAT:
                raise BackupUnusable(
                    f"{self.folder} is a backup of form {fields['format']}, and this Referent "
                    f"reads form {FORMAT}: update Referent"
                )
            return Manifest(**fields)
        except FileNotFoundError as error:
            begun = (self.folder / JOURNAL).exists()
            raise BackupUnusable(
                f"the backup in {self.folder} was cut off: run `referent backup {self.folder}` "
                "again, it goes on where it stopped"
                if begun
                else f"{self.folder} is no backup: it has no {MANIFEST}"
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BackupUnusable(f"{path} cannot be read ({type(error).__name__})") from error

    def files(self, manifest: Manifest) -> list[Kept]:
        """The files of a whole backup.

        Raises:
            BackupUnusable: the list is not the one that was written.
        """
        path = self.folder / manifest.files
        try:
            if digest_of(path) != manifest.files_digest:
                raise BackupUnusable(f"{path} has changed since the backup was made")
        except OSError as error:
            raise BackupUnusable(f"{path} cannot be read ({error.strerror})") from error
        found = list(_read(path))
        for each in found:
            if each.place not in PLACES or not _inside(each.path) or not _inside(each.stored):
                raise BackupUnusable(f"{path} names files outside of a library")
        return found

    def faults(self, manifest: Manifest, files: list[Kept]) -> Iterator[tuple[Kept | None, str]]:
        """Read every byte and yield what is not as it was written; None is the catalog."""
        wanted: list[tuple[Kept | None, str, str]] = [
            (None, manifest.catalog, manifest.catalog_digest)
        ]
        wanted += [(each, each.stored, each.digest) for each in files]
        for each, stored, digest in wanted:
            try:
                if digest_of(self.folder / stored) != digest:
                    yield each, f"{stored} has changed since the backup was made"
            except OSError as error:
                yield each, f"{stored} cannot be read ({error.strerror})"

    # -- writing -------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Take the folder for a backup: made if need be, ours alone, left out by every scan.

        Raises:
            BackupUnusable: it holds other things, or another backup is being written into it.
            OSError: it cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        names = {path.name for path in self.folder.iterdir()}
        if names and MARKER not in names:
            raise BackupUnusable(
                f"{self.folder} holds other things: name a folder that is new, empty or a backup"
            )
        mark(self.folder, ALL)
        with (self.folder / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise BackupUnusable(
                    f"another backup is being written into {self.folder}: wait for it"
                ) from error
            yield

    def known(self) -> dict[tuple[str, str], Kept]:
        """The files that are here already, of the last backup and of one that was cut off."""
        found: dict[tuple[str, str], Kept] = {}
        lists = [self.folder / JOURNAL]
        if (self.folder / MANIFEST).exists():
            lists.insert(0, self.folder / self.manifest().files)
        for path in lists:
            if path.exists():
                found.update({(each.place, each.path): each for each in _read(path)})
        return found

    def take(self, file: Found, known: Kept | None) -> Kept:
        """Copy a file, unless it is here as it is.

        Raises:
            OSError: it vanished, or the disk is full.
        """
        stored = f"{file.place}/{file.path}"
        if known is not None:
            try:
                here = (self.folder / known.stored).stat().st_size
            except OSError:
                here = -1
            if (here, known.size, known.mtime_ns) == (file.size, file.size, file.mtime_ns):
                return known
        if (self.folder / stored).exists():  # what the last backup names stays as it is
            stored += f"~{file.mtime_ns:x}"
        digest = copy(file.file, self.folder / stored)
        return Kept(file.place, file.path, file.size, file.mtime_ns, digest, stored)

    def finish(self, manifest: Manifest) -> None:
        """Let the backup be this one, and remove what only the last one needed."""
        for written in (self.folder / manifest.catalog, self.folder / manifest.files):
            sync(written)
        with replacing(self.folder / MANIFEST, durable=True) as part:
            part.write_text(json.dumps(asdict(manifest), indent=1), "utf-8")
        kept = {MANIFEST, MARKER, _LOCK, manifest.catalog, manifest.files}
        kept |= {each.stored for each in self.files(manifest)}
        for path in [*self.folder.glob("*"), *(p for d in PLACES for p in self._below(d))]:
            if path.is_file() and path.relative_to(self.folder).as_posix() not in kept:
                path.unlink(missing_ok=True)

    def _below(self, place: Place) -> Iterator[Path]:
        return (self.folder / place).rglob("*")


def line_of(kept: Kept) -> str:
    """A file's line in the journal and in the list."""
    return json.dumps(asdict(kept)) + "\n"


def _read(path: Path) -> Iterator[Kept]:
    """The lines that are whole; the last one of a journal may have been cut off."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                fields: dict[str, Any] = json.loads(line)
                yield Kept(**fields)
            except (ValueError, TypeError):
                continue


def _inside(path: str) -> bool:
    return not path.startswith("/") and ".." not in path.split("/")
