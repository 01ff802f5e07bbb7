"""Index an album with another model while searches go on with the old one, then swap.

The new version is built beside the serving one (`indexer.features.versions`): same photos, other
fingerprints, so that their rows never mix. It serves from one transaction on, once every photo,
those added since the start included, has its features or has failed. The old version stays for
`rollback` until it is dropped.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from indexer.db.catalog import Catalog, count_by_status
from indexer.encoding import ingest, statuses
from indexer.encoding.run import Encoded, encode
from indexer.errors import JobConflict
from indexer.features import maintenance, versions
from indexer.features.store import FeatureStore
from indexer.jobs import jobs, slots
from indexer.jobs.failures import note_album_failures
from indexer.settings import Settings
from workers.errors import ReindexRefused
from workers.indexing import JobRun, album_of, broken_off, not_swapped, report_progress
from workers.turn import MORE, WAIT, Outcome, Turn


def reindex(turn: Turn) -> Outcome:
    """Build the version of parameter ``model`` (or go back, with ``rollback``) and swap it in.

    A version that lacks photos of the one that serves is not swapped in unless ``accept_fewer`` is
    set: the job fails with the reason. With ``drop_old`` the versions that do not serve are
    forgotten at the end.
    """
    parameters = turn.job.parameters
    album_id = album_of(turn)
    if parameters.get("rollback"):
        with slots.leading(turn.catalog, turn.place) as leads:
            if not leads:
                return WAIT
            return _roll_back(turn, album_id)
    predictor = turn.held.network(str(parameters.get("model") or turn.settings.model))
    before = versions.serving(turn.catalog, album_id)
    encoded = encode(JobRun(turn), predictor)
    if not isinstance(encoded, Encoded):
        return broken_off(turn, encoded)
    with slots.leading(turn.catalog, turn.place) as leads:
        if not leads:
            return WAIT
        version = ingest.finish(
            turn.settings,
            turn.catalog,
            encoded.version,
            predictor,
            accept_fewer=bool(parameters.get("accept_fewer")),
            should_stop=turn.should_stop,
        )
        if version.state != "serving":
            if ingest.waiting(turn.catalog, version, encoded.wanted):
                return MORE  # photos were added meanwhile: they belong to the new version as well
            report_progress(turn, album_id, encoded.wanted)
            raise ReindexRefused(not_swapped(turn, version))
        report_progress(turn, album_id, encoded.wanted)
        with turn.catalog.session() as session:
            note_album_failures(session, turn.job.id, album_id)
        result = _described(turn.catalog, version, before)
        if parameters.get("drop_old"):
            result |= drop_old(turn.settings, turn.catalog, album_id)
        return Outcome("done", result)


def _roll_back(turn: Turn, album_id: int) -> Outcome:
    """Let the version that served before serve again; its features were never touched.

    Photos that came later wait (status new) until they are indexed with its model. Unfinished
    re-indexing of the album is cancelled first, so that it cannot swap its version in afterwards.

    Raises:
        VersionConflict: no earlier version is left.
    """
    catalog = turn.catalog
    for other in jobs.list_jobs(
        catalog, kinds=("reindex",), states=jobs.UNFINISHED, album_id=album_id, limit=1000
    ):
        if other.parameters.get("rollback"):
            continue
        with contextlib.suppress(JobConflict):  # it ended meanwhile
            if jobs.cancel(catalog, other.id).state == "cancelling":
                return WAIT
    before = versions.serving(catalog, album_id)
    version = before
    if version is None or (version.activated_at or 0.0) < turn.job.created_at:
        # Else a worker that was killed after the swap did it: twice would be forward again.
        version = versions.rollback(catalog, album_id)
    wanted = versions.wanted_tiers(version.fingerprints, keep_pyramid=False)
    with catalog.session() as session:
        statuses.settle(session, version, wanted)
        note_album_failures(session, turn.job.id, album_id)
    report_progress(turn, album_id, wanted)
    return Outcome("done", _described(catalog, version, before))


def drop_old(
    settings: Settings,
    catalog: Catalog,
    album_id: int,
    *,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Forget every version of an album that does not serve, and remove their features.

    Raises:
        ReindexRefused: no version serves, so nothing may go.
    """
    if versions.serving(catalog, album_id) is None:
        raise ReindexRefused("no index version of this album serves: index it first")
    rows = 0
    for version in versions.versions(catalog, album_id):
        if version.state == "retired":
            tell(f"dropping {version.model} (version {version.id})")
            rows += versions.drop(catalog, version.id)
    removed = maintenance.collect(catalog, FeatureStore.open(settings, catalog))
    return {"dropped_rows": rows, "freed_bytes": removed.bytes}


def _described(
    catalog: Catalog, version: versions.Version, before: versions.Version | None
) -> dict[str, Any]:
    with catalog.reading() as session:
        counts: Mapping[str, int] = count_by_status(session, version.album_id)
    return {
        **counts,
        "model": version.model,
        "index_version": version.id,
        "index_state": version.state,
        "before": None if before is None else before.id,
    }
