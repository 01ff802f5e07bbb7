"""Finished contents on their way into the store: gathered, then written in a thread of its own.

A commit makes a segment a tier and the rows of both photos and features, all or nothing. While it
waits for the disk the network goes on with the next photos.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from indexer.db.names import shown_path
from indexer.encoding import claims, statuses
from indexer.encoding.claims import Work
from indexer.errors import LeaseLost
from indexer.features.store import FeatureStore, Part, Written
from indexer.features.versions import Version
from indexer.photos.exif import PhotoFacts

# A commit costs some fsyncs and makes a segment a tier; a crash costs what was not committed.
COMMIT_S = 3.0
COMMIT_PHOTOS = 64
COMMIT_BYTES = 64 * 1024 * 1024


@dataclass
class Tally:
    """What one worker did in one run."""

    encoded: int = 0
    failed: int = 0
    lost: int = 0
    """Encoded too slowly: another worker took them over."""
    failures: list[tuple[int, str, str]] = field(default_factory=list)
    """Photo id, path and reason."""


@dataclass
class Finished:
    """One content with its records, or with none where they were there and only facts lacked."""

    work: Work
    content_hash: str
    """Of the bytes that were read."""
    facts: PhotoFacts | None
    """None: known before."""
    records: dict[str, np.void]


class Commits:
    """What one worker has finished and not yet committed."""

    def __init__(
        self,
        store: FeatureStore,
        version: Version,
        wanted: Mapping[str, str],
        dtypes: Mapping[str, np.dtype],
        owner: str,
    ) -> None:
        """Start with nothing.

        Args:
            wanted: tier → fingerprint of what the version keeps.
            dtypes: of the records, by tier.
            owner: the holder of the claims.
        """
        self.tally = Tally()
        self._store = store
        self._version = version
        self._wanted = wanted
        self._dtypes = dtypes
        self._owner = owner
        self._key = claims.claim_key(wanted)
        self._finished: list[Finished] = []
        self._failed: list[tuple[Work, str]] = []
        self._handed_at = time.monotonic()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._writing: Future[None] | None = None

    def add(self, finished: Finished) -> None:
        """Take one content."""
        self._finished.append(finished)

    def fail(self, work: Work, reason: str) -> None:
        """Take one that cannot be encoded."""
        self._failed.append((work, reason))

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        rows = self._finished[0].records.values() if self._finished else ()
        return (
            time.monotonic() - self._handed_at >= COMMIT_S
            or len(self._finished) >= COMMIT_PHOTOS
            or sum(row.nbytes for row in rows) * len(self._finished) >= COMMIT_BYTES
        )

    @property
    def rate(self) -> float:
        """Contents a second since the last handing over."""
        elapsed = time.monotonic() - self._handed_at
        return (len(self._finished) + len(self._failed)) / max(elapsed, 1e-3)

    def hand_over(self) -> None:
        """Begin to write what there is, after the writing before it has ended.

        Raises:
            NoSpaceLeft, CatalogError: that one failed.
        """
        self.wait()
        finished, self._finished = self._finished, []
        failed, self._failed = self._failed, []
        self._handed_at = time.monotonic()
        if finished or failed:
            self._writing = self._writer.submit(self._write, finished, failed)

    def wait(self) -> None:
        """Wait until everything handed over is written; raises as `hand_over`."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """End the thread; what was not handed over is dropped."""
        self._writer.shutdown(wait=True)

    def _write(self, finished: Sequence[Finished], failed: Sequence[tuple[Work, str]]) -> None:
        parts = self._parts(finished)

        def finish(session: Any, written: list[Written]) -> None:
            done = [(each.work, each.content_hash, each.facts) for each in finished]
            statuses.record(session, self._version, self._wanted, done, failed)
            claims.finish(session, self._key, [each.work.content_hash for each in finished])
            for work, reason in failed:
                claims.fail(session, self._key, work.content_hash, reason)

        try:
            if parts:
                self._store.commit(parts, self._owner, also=finish)
            else:
                with self._store.catalog.session() as session:
                    finish(session, [])
        except LeaseLost:
            self.tally.lost += len(finished)
            return
        self.tally.encoded += len(finished)
        self.tally.failed += len(failed)
        for work, reason in failed:
            self.tally.failures.append((work.photo_id, shown_path(work.path, work.folder), reason))

    def _parts(self, finished: Sequence[Finished]) -> list[Part]:
        parts = []
        for tier, fingerprint in self._wanted.items():
            rows: dict[str, np.void] = {}
            for each in finished:
                if tier in each.records:
                    rows[each.content_hash] = each.records[tier]
            if rows:
                dtype = self._dtypes[tier]
                block = np.zeros(len(rows), dtype)
                for number, row in enumerate(rows.values()):
                    block[number] = row
                parts.append(Part(tier, fingerprint, dtype, list(rows), block))
        return parts


def path_of(work: Work) -> bytes:
    """Return the absolute path of a content's file."""
    return work.folder + b"/" + work.path
