"""What became of each match in a folder of cut-outs: a journal while it is made, then a manifest.

A folder can be begun, cut off anywhere and gone on with: every step is a line of the journal, which
alone tells a job's next turn what was done, and the manifest is made of it at the end.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from indexer.errors import NoSpaceLeft
from indexer.folders.own_output import make_room
from model.replacing import replacing
from search_api.errors import SearchError
from search_api.search.runs import Run

MANIFEST = "manifest.json"
JOURNAL = ".manifest.jsonl"
Status = Literal["begun", "done", "failed", "skipped"]


@dataclass(frozen=True)
class Entry:
    """One line of the manifest; ``file`` is relative to it, ``box`` x, y, w, h in the photo.

    ``status`` begun stands only in a journal: the file may or may not have been written.
    ``key`` changes with everything that the file's pixels depend on.
    """

    photo: int
    album: str
    path: str
    expression: str
    confidence: float
    box: tuple[int, int, int, int] | None
    area: int | None
    file: str
    status: Status
    reason: str | None
    key: str


@dataclass(frozen=True)
class SoFar:
    """What a job's earlier turns did: the run that it cuts out, and its entries by file."""

    run: str | None
    entries: dict[str, Entry]


def read_entries(folder: Path) -> dict[str, Entry]:
    """What is known of each file: the manifest, then the journal of a job that was cut off."""
    lines: list[Any] = []
    with suppress(OSError, ValueError, AttributeError):
        lines += json.loads((folder / MANIFEST).read_text("utf-8")).get("items", [])
    read = (_entry(values) for values in (*lines, *_journal(folder)))
    return {entry.file: entry for entry in read if entry is not None}


def of_job(folder: Path, job: int) -> SoFar:
    """What the journal tells of a job since it was begun, or begun again."""
    found = SoFar(None, {})
    writer = None
    for values in _journal(folder):
        if "job" in values:
            writer = values["job"]
            found = SoFar(str(values.get("run")), {}) if writer == job else found
        elif writer == job and (entry := _entry(values)) is not None:
            found.entries[entry.file] = entry
    return found


def begin(folder: Path, job: int, run: str) -> SoFar:
    """Write down that a job cuts out a run from now on, with nothing done yet.

    Raises:
        NoSpaceLeft, SearchError: see `writing`.
    """
    _append(folder, {"job": job, "run": run}, None)
    return SoFar(run, {})


def forget(folder: Path) -> None:
    """Let the journal go of a job that found nothing to cut out, and the folder if it is empty."""
    (folder / JOURNAL).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def note(folder: Path, entry: Entry) -> None:
    """Add what became of a file, for the job that was begun last.

    Raises:
        NoSpaceLeft, SearchError: see `writing`.
    """
    _append(folder, asdict(entry), folder)


def _append(folder: Path, values: dict[str, Any], base: Path | None) -> None:
    with writing(folder / JOURNAL, base) as path, path.open("a", encoding="utf-8") as file:
        file.write("\n" + json.dumps(values))  # the line before may have been cut short


def _journal(folder: Path) -> Iterator[dict[str, Any]]:
    with suppress(OSError):
        for line in (folder / JOURNAL).read_text("utf-8", errors="replace").splitlines():
            with suppress(ValueError):  # a line that a kill or a full disk cut short
                if isinstance(values := json.loads(line), dict):
                    yield values


def _entry(values: Any) -> Entry | None:
    try:
        return Entry(**values)
    except TypeError:
        return None


def write_manifest(
    folder: Path, run: Run, options: dict[str, Any], entries: Sequence[Entry]
) -> Path:
    """Write the manifest, and let the journal go.

    Raises:
        NoSpaceLeft, SearchError: see `writing`.
    """
    content = {
        "expression": run.expression,
        "album": run.album,
        "run": run.id,
        "coverage": run.coverage.as_json(),
        "sentence": run.coverage.sentence(),
        "verifier": run.verifier,
        "options": options,
        "items": [asdict(entry) for entry in entries],
    }
    with writing(folder / MANIFEST, folder) as path:
        with replacing(path) as part:
            part.write_text(json.dumps(content, indent=1, ensure_ascii=True), "utf-8")
        (folder / JOURNAL).unlink(missing_ok=True)
    return path


@contextmanager
def writing(path: Path, base: Path | None = None) -> Iterator[Path]:
    """Make a file's folder, and say in a sentence what keeps the file from being written.

    Args:
        base: the folder of photos that Referent makes, marked so that no scan takes them for an
            album's; None where the file is none of them.
    Raises:
        NoSpaceLeft: the disk is full.
        SearchError: anything else, such as a place that is read-only.
    """
    try:
        if base is None:
            path.parent.mkdir(parents=True, exist_ok=True)
        else:
            make_room(base, path)
        yield path
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise NoSpaceLeft(
                f"no space is left for {path}; free some and run the same command again, it goes "
                "on where it stopped"
            ) from error
        raise SearchError(f"cannot write {path}: {error.strerror or error}") from error
