"""Keep an album current while its folders change."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable

from sqlalchemy import select
from watchfiles import watch

from indexer.catalog import Catalog, album_named
from indexer.errors import FolderError
from indexer.scan import ScanReport, scan_album
from indexer.settings import MEBIBYTE
from indexer.tables import Root

# Network mounts tell nothing of what other machines do there, and a queue of the kernel can
# overflow; so everything is looked at once an hour whatever was heard.
_RESCAN_S = 3600.0
# A camera's import writes for a while; wait until it pauses, at most so long.
_QUIET_MS = 1600
_STEP_MS = 200


def watch_album(
    catalog: Catalog,
    album: str,
    on_report: Callable[[ScanReport], None],
    *,
    stop: threading.Event,
    rescan_s: float = _RESCAN_S,
    quiet_ms: int = _QUIET_MS,
    max_file_bytes: int = 256 * MEBIBYTE,
) -> None:
    """Scan an album, then scan what changes in its folders, until ``stop`` is set.

    The folders are watched before the first scan looks at them, so that nothing falls between. A
    change leads to a scan of just the paths that changed. Deletions that need a confirmation stay
    unconfirmed: the report's ``question`` says so each time.

    Args:
        album: its name.
        on_report: called with the first scan's report and then with each that found a change.
        stop: set it from anywhere to end.
        rescan_s: scan everything after so many seconds, whatever was heard.
        quiet_ms: wait until nothing more has changed for some time, at most so long.
        max_file_bytes: as for `scan_album`.
    Raises:
        FolderError: none of the album's folders is there, or the system lets no more be watched.
    """
    with catalog.reading() as session:
        album_id = album_named(session, album).id
        query = select(Root.id, Root.path).where(Root.album_id == album_id)
        roots = {path: root_id for root_id, path in session.execute(query)}
    there = [os.fsdecode(path) for path in roots if os.path.isdir(path)]  # noqa: PTH112
    if not there:
        raise FolderError(f"none of the folders of the album {album!r} is there to be watched")
    scanned_at = None
    heard = watch(
        *there,
        watch_filter=None,
        debounce=quiet_ms,
        step=_STEP_MS,
        stop_event=stop,
        rust_timeout=500,
        yield_on_timeout=True,
        raise_interrupt=True,
        ignore_permission_denied=True,
    )
    try:
        for changes in heard:
            if scanned_at is None or time.monotonic() - scanned_at > rescan_s:
                report = scan_album(
                    catalog, album, should_stop=stop.is_set, max_file_bytes=max_file_bytes
                )
                scanned_at = time.monotonic()
            elif changes:
                report = scan_album(
                    catalog,
                    album,
                    only=_by_root(roots, (os.fsencode(path) for _, path in changes)),
                    should_stop=stop.is_set,
                    max_file_bytes=max_file_bytes,
                )
                if not _tells(report):
                    continue
            else:
                continue
            on_report(report)
    except OSError as error:
        # Linux counts watched folders a user (fs.inotify.max_user_watches).
        raise FolderError(
            f"cannot watch the folders of the album {album!r} ({error}): raise the system's limit "
            "of watched files, or run without --watch at intervals"
        ) from error


def _by_root(roots: dict[bytes, int], paths: Iterable[bytes]) -> dict[int, list[bytes]]:
    """Changed paths by the root that they lie in (the innermost, where roots nest)."""
    found: dict[int, list[bytes]] = {}
    ordered = sorted(roots, key=len, reverse=True)
    for path in paths:
        for root in ordered:
            if path == root or path.startswith(root.rstrip(b"/") + b"/"):
                below = path[len(root.rstrip(b"/")) + 1 :]
                found.setdefault(roots[root], []).append(below)
                break
    return found


def _tells(report: ScanReport) -> bool:
    return bool(
        report.new
        or report.changed
        or report.moved
        or report.returned
        or report.missing
        or report.unconfirmed
        or report.errors
        or report.offline
    )
