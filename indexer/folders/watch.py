"""Tell when albums' folders change."""

# Paths are bytes here, which pathlib does not take.
# ruff: noqa: PTH112
from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import select
from watchfiles import watch

from indexer.db.catalog import Catalog
from indexer.db.tables import Album, Root
from indexer.errors import FolderError

# Network mounts tell nothing of what other machines do there, disks come and go, and a queue of
# the kernel can overflow; so all is looked at, and watched anew, now and then.
RESCAN_S = 900.0
# A camera's import writes for a while; wait until it pauses, at most so long.
QUIET_MS = 1600
_STEP_MS = 200
# What watchfiles raises, as a plain error, when a name is not UTF-8.
_NOT_UTF_8 = "decode path"

Only = dict[int, list[bytes]]
"""Paths to look at by root id, as `indexer.folders.scan.scan_album` takes them."""


def watch_albums(
    catalog: Catalog,
    names: Sequence[str],
    *,
    stop: threading.Event,
    rescan_s: float = RESCAN_S,
    quiet_ms: int = QUIET_MS,
) -> Iterator[tuple[str, Only | None]]:
    """Yield (album, what to look at in it) whenever something changed; None means all of it.

    Each album comes once at the start, whole: its folders are watched before that, so that nothing
    falls between. While the caller works on one change the next ones are gathered.

    Args:
        names: albums that exist.
        stop: set it from anywhere to end.
        rescan_s: everything is due after so many seconds, whatever was heard.
        quiet_ms: wait until nothing more has changed for some time, at most so long.
    Raises:
        FolderError: none of the folders is there, or the system lets no more be watched.
    """
    while not stop.is_set():
        yield from _watch_once(catalog, names, stop, rescan_s, quiet_ms)


def _watch_once(
    catalog: Catalog, names: Sequence[str], stop: threading.Event, rescan_s: float, quiet_ms: int
) -> Iterator[tuple[str, Only | None]]:
    """Watch the folders that are there now, until everything is due again."""
    roots = _roots(catalog, names)
    there = [os.fsdecode(path) for _, _, path in roots if os.path.isdir(path)]
    if not there:
        raise FolderError(
            f"none of the folders of {', '.join(map(repr, names))} is there to be watched"
        )
    started: float | None = None
    try:
        for changes in watch(
            *there,
            watch_filter=None,
            debounce=quiet_ms,
            step=_STEP_MS,
            stop_event=stop,
            rust_timeout=500,
            yield_on_timeout=True,
            raise_interrupt=False,
            ignore_permission_denied=True,
        ):
            if stop.is_set():
                return
            if started is None:
                started = time.monotonic()
                yield from ((name, None) for name in names)
            elif time.monotonic() - started > rescan_s:
                return
            changed = _by_album(roots, (os.fsencode(path) for _, path in changes))
            yield from changed.items()
    except OSError as error:
        # Linux counts watched folders a user (fs.inotify.max_user_watches).
        raise FolderError(
            f"cannot watch {', '.join(there)} ({error}): raise the system's limit of watched "
            "files, or run without --watch at intervals"
        ) from error
    except RuntimeError as error:
        if _NOT_UTF_8 not in str(error):
            raise


def _roots(catalog: Catalog, names: Sequence[str]) -> list[tuple[str, int, bytes]]:
    """(album, root id, path), inner folders before those that they lie in."""
    with catalog.reading() as session:
        query = (
            select(Album.name, Root.id, Root.path)
            .join(Album, Album.id == Root.album_id)
            .where(Album.name.in_(names))
        )
        found = [(name, root_id, path) for name, root_id, path in session.execute(query)]
    return sorted(found, key=lambda root: len(root[2]), reverse=True)


def _by_album(
    roots: Sequence[tuple[str, int, bytes]], paths: Iterable[bytes]
) -> dict[str, Only | None]:
    """Changed paths by album and root: in each album the innermost root that a path lies in."""
    found: dict[str, Only | None] = {}
    for path in paths:
        taken = set()
        for album, root_id, root in roots:
            if album not in taken and (path == root or path.startswith(root.rstrip(b"/") + b"/")):
                taken.add(album)
                below = path[len(root.rstrip(b"/")) + 1 :]
                only = found.setdefault(album, {})
                assert only is not None
                only.setdefault(root_id, []).append(below)
    return found
