"""One worker of an ingest: photos that wait become features in the store.

A worker claims contents, decodes them in processes while the network runs, encodes batches of one
fixed shape and commits a segment a tier every few seconds. Everything that matters is in the
catalog: a worker may be killed at any instant, and the next one goes on where it stopped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import numpy as np

from indexer.db.catalog import Catalog
from indexer.db.owner import new_owner
from indexer.encoding import claims, commits, statuses
from indexer.encoding.batches import Batches, Outcome
from indexer.encoding.claims import Work
from indexer.encoding.commits import Commits, Finished, Tally, path_of
from indexer.features.store import FeatureStore
from indexer.features.verify import heal
from indexer.features.versions import Version, prepare, wanted_tiers
from indexer.folders.offline import away
from indexer.photos.decode import Decoded, Decoder
from indexer.photos.exif import PhotoFacts
from indexer.settings import Settings

RENEW_S = claims.CLAIM_S / 4


class Encoder(Protocol):
    """What ingest needs of a predictor (`model.predictor.Predictor`)."""

    name: str
    input_size: int
    dtypes: dict[str, np.dtype]

    @property
    def fingerprints(self) -> dict[str, str]:
        """Tier → fingerprint."""

    def encode(self, pixels: np.ndarray, tiers: Sequence[str] = ...) -> dict[str, np.ndarray]:
        """Encode pixels (B, S, S, 3) uint8 to records (B,) a tier."""

    def encode_from_pyramid(
        self, records: np.ndarray, tiers: Sequence[str] = ...
    ) -> dict[str, np.ndarray]:
        """Encode kept Swin features (B,) to records (B,) a tier."""

    def vectors_of(self, records: np.ndarray) -> np.ndarray:
        """Return float32 (B, V, D) of vectors records (B,)."""


class Ingest:
    """One worker's part in encoding an album for one model; a context manager.

    Several may work at the same album, in threads, processes or machines.
    """

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        album_id: int,
        predictor: Encoder,
        *,
        decoder: Decoder | None = None,
        after: int = 0,
        owner: str | None = None,
    ) -> None:
        """Prepare; nothing is claimed yet.

        Args:
            after: begin behind this photo (`Ingest.after` of an earlier part of the same run).
            decoder: one that is shared; default one of our own, closed with us.
            owner: who claims; default a new name. Its claims of before are not its own any more.
        """
        self.settings = settings
        self.catalog = catalog
        self.album_id = album_id
        self.predictor = predictor
        self.store = FeatureStore.open(settings, catalog)
        self.wanted = wanted_tiers(predictor.fingerprints, keep_pyramid=settings.keep_pyramid)
        self.key = claims.claim_key(self.wanted)
        self._batches = Batches(settings.encode_batch, predictor.name)
        self.owner = owner or new_owner()
        self.version: Version = prepare(
            catalog, album_id, predictor.name, predictor.fingerprints, _config(predictor)
        )
        self._commits = Commits(self.store, self.version, self.wanted, predictor.dtypes, self.owner)
        self._own_decoder = decoder is None
        self._decoder = decoder or Decoder(settings, predictor.input_size)
        self._after = after
        self.away = away(catalog, album_id)
        self.waiting = 0
        """Contents that waited when the run began (`start`)."""
        self._chunk = self._batches.size * 2
        self._suspects: list[Work] = []

    @property
    def tally(self) -> Tally:
        """What this worker has committed so far."""
        return self._commits.tally

    @property
    def after(self) -> int:
        """The photo behind which the next part of the run should begin; 0 at an album's end."""
        return self._after

    def __enter__(self) -> Ingest:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back claims and processes."""
        self._commits.close()
        if self._own_decoder:
            self._decoder.close()
        claims.release(self.catalog, self.owner, self.key)

    def start(self, *, all_failed: bool = False) -> None:
        """Begin a run: look for damage, let failures be tried again, and count what is to do.

        Args:
            all_failed: also those that failed too often before.
        """
        heal(self.catalog, self.store, set(self.wanted.values()))
        with self.catalog.session() as session:
            claims.reopen(session, self.key, self.album_id, all_failed=all_failed, away=self.away)
            statuses.settle(session, self.version, self.wanted)
            self.waiting, _ = claims.remaining(session, self.album_id, self.wanted, self.away)
        self._after = 0

    def run(
        self,
        *,
        should_stop: Callable[[], bool] = lambda: False,
        is_over: Callable[[], bool] = lambda: False,
        progress: Callable[[Tally], None] = lambda tally: None,
    ) -> Literal["done", "wait", "stopped"]:
        """Encode what nobody else is encoding.

        Args:
            should_stop: asked often; what was decoded but not encoded is given back.
            is_over: asked before further work is claimed; what is claimed is finished.
            progress: called after every commit.
        Returns:
            "done": nothing waits any more; "wait": what waits is claimed by others; "stopped".
        """
        stopped = False
        buffers: dict[frozenset[str], list[Decoded[Work]]] = {}
        with self._renewing():
            work = self._claimed(should_stop, is_over)
            for decoded in self._decoder.decode((each, path_of(each)) for each in work):
                if should_stop():
                    stopped = True
                    break
                self._take(decoded, buffers)
                self._commit_if_due(progress)
            if not stopped:
                self._encode_rest(buffers)
            self._commit()
            progress(self.tally)
            suspects, self._suspects = self._suspects, []
            for each in suspects:
                if should_stop() or is_over():
                    break
                self._encode_alone(each)
                progress(self.tally)
        claims.release(self.catalog, self.owner, self.key)
        if stopped or should_stop():
            return "stopped"
        with self.catalog.reading() as session:
            waiting = claims.any_left(
                session, self.album_id, self.wanted, after_photo_id=self._after, away=self.away
            )
        return "wait" if waiting else "done"

    # -- claiming and decoding -----------------------------------------------------------------

    def _claimed(
        self, should_stop: Callable[[], bool], is_over: Callable[[], bool]
    ) -> Iterator[Work]:
        """Claim lazily, as the decoder asks for more; encode kept pyramids on the way."""
        while not should_stop() and not is_over():
            work, after = claims.claim(
                self.catalog,
                self.album_id,
                self.wanted,
                self.owner,
                limit=self._chunk,
                after_photo_id=self._after,
                away=self.away,
            )
            if after is None:
                self._after = 0
                return
            self._after = after
            self._suspects += [each for each in work if each.attempts >= claims.SUSPECT_AFTER]
            work = [each for each in work if each.attempts < claims.SUSPECT_AFTER]
            kept = self._with_pyramid(work)
            for start in range(0, len(kept), self._batches.size):
                if should_stop():
                    return
                self._encode_kept(kept[start : start + self._batches.size])
                self._commit_if_due(lambda tally: None)
            done = {each.content_hash for each in kept}
            yield from (each for each in work if each.content_hash not in done)

    def _with_pyramid(self, work: Sequence[Work]) -> list[Work]:
        """Return the work that needs neither decoding nor Swin, alike in what is missing."""
        fingerprint = self.predictor.fingerprints.get("pyramid")
        usable = [each for each in work if each.missing and "pyramid" not in each.missing]
        if fingerprint is None or not usable:
            return []
        places = self.store.places(fingerprint, [each.content_hash for each in usable])
        first = usable[0].missing
        return [each for each in usable if each.content_hash in places and each.missing == first]

    def _encode_kept(self, work: Sequence[Work]) -> None:
        fingerprint = self.predictor.fingerprints["pyramid"]
        records = self.store.fetch(
            fingerprint, [each.content_hash for each in work], self.predictor.dtypes["pyramid"]
        )
        tiers = sorted(work[0].missing)
        made = self._batches.run(
            records, lambda rows: self.predictor.encode_from_pyramid(rows, tiers)
        )
        for each, outcome in zip(work, made, strict=True):
            self._keep(each, each.content_hash, None, outcome)

    def _take(
        self, decoded: Decoded[Work], buffers: dict[frozenset[str], list[Decoded[Work]]]
    ) -> None:
        work = decoded.key
        if not decoded.ok:
            if decoded.content_hash is None and self._went_away(work):
                return  # its claim is given back with the others at the end
            self._commits.fail(work, decoded.reason or "cannot be decoded")
        elif not work.missing:  # the features are there, only the facts were lost
            self._commits.add(Finished(work, str(decoded.content_hash), decoded.facts, {}))
        else:
            buffer = buffers.setdefault(work.missing, [])
            buffer.append(decoded)
            if len(buffer) >= self._batches.size:
                self._encode(work.missing, buffer)
                buffer.clear()

    def _went_away(self, work: Work) -> bool:
        """Whether a file cannot be read because its folder has gone offline."""
        if not self.away.holds(work.folder, work.path):
            self.away = away(self.catalog, self.album_id)
        return self.away.holds(work.folder, work.path)

    # -- encoding ------------------------------------------------------------------------------

    def _encode(self, missing: frozenset[str], decoded: Sequence[Decoded[Work]]) -> None:
        tiers = sorted(missing)
        pixels = np.stack([each.pixels for each in decoded if each.pixels is not None])
        made = self._batches.run(pixels, lambda block: self.predictor.encode(block, tiers))
        for each, outcome in zip(decoded, made, strict=True):
            self._keep(each.key, str(each.content_hash), each.facts, outcome)

    def _encode_rest(self, buffers: dict[frozenset[str], list[Decoded[Work]]]) -> None:
        for missing, rest in buffers.items():
            if rest:
                self._encode(missing, rest)

    def _encode_alone(self, work: Work) -> None:
        """Encode and commit one content with no other in flight, for it may take us down.

        Only a death inside the network counts against it: photos are decoded in other processes,
        and whatever else ends us while we read or commit (a power cut) is not its fault.
        """
        for decoded in self._decoder.decode([(work, path_of(work))]):
            if not (decoded.ok and work.missing):
                self._take(decoded, {})
            elif claims.try_alone(self.catalog, self.key, self.owner, work.content_hash):
                try:
                    self._encode(work.missing, [decoded])
                except Exception:  # an error is no death
                    claims.survived(self.catalog, self.key, self.owner, work.content_hash)
                    raise
                claims.survived(self.catalog, self.key, self.owner, work.content_hash)
            else:
                self._commits.fail(
                    work, f"took its worker down {claims.ALONE_MAX} times in a row, alone"
                )
        self._commit()

    def _keep(
        self,
        work: Work,
        content_hash: str,
        facts: PhotoFacts | None,
        outcome: Outcome,
    ) -> None:
        if isinstance(outcome, Exception):
            self._commits.fail(work, f"the network fails on it ({outcome})")
        else:
            self._commits.add(Finished(work, content_hash, facts, outcome))

    def _commit(self) -> None:
        """Write everything that is finished, and wait for it."""
        self._commits.hand_over()
        self._commits.wait()

    def _commit_if_due(self, progress: Callable[[Tally], None]) -> None:
        if self._commits.due:
            # As much work is claimed at once as takes about one commit's time.
            ahead = self._commits.rate * commits.COMMIT_S
            self._chunk = int(min(256, max(self._batches.size, ahead)))
            self._commits.hand_over()
            progress(self.tally)

    @contextmanager
    def _renewing(self) -> Iterator[None]:
        """Keep our claims alive for as long as the block takes."""
        over = threading.Event()

        def renew() -> None:
            while not over.wait(RENEW_S):
                try:
                    claims.renew(self.catalog, self.key, self.owner)
                except Exception:  # the database may be back before the lease ends
                    continue

        thread = threading.Thread(target=renew, name="renew-claims", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _config(predictor: Encoder) -> Mapping[str, Any]:
    """Return a JSON form of a model's configuration, for people."""
    config = getattr(predictor, "config", None)
    to_dict = getattr(config, "to_dict", None)
    found = to_dict() if callable(to_dict) else {}
    return found if isinstance(found, dict) else {}
