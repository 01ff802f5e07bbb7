"""The end of a run over an album: statuses, the swap to a new version, merged segments, FAISS."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from sqlalchemy import func, select

from indexer.db.catalog import Catalog
from indexer.db.tables import Photo, Segment
from indexer.encoding import claims, statuses
from indexer.encoding.encode import Encoder
from indexer.errors import IndexerError
from indexer.features import vector_builds, versions
from indexer.features.maintenance import collect, compact
from indexer.features.snapshot import open_snapshot
from indexer.features.store import FeatureStore
from indexer.features.versions import Version
from indexer.folders.offline import away
from indexer.settings import Settings

log = logging.getLogger(__name__)

# So many segments of one tier are merged when a run ends; a photo added a day makes 64 in months.
COMPACT_SEGMENTS = 48


def finish(
    settings: Settings,
    catalog: Catalog,
    version: Version,
    predictor: Encoder,
    *,
    complete: bool = True,
    accept_fewer: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> Version:
    """End a run: settle statuses, swap a complete new version in, merge segments, build FAISS.

    A version that lacks photos of the one that serves is not swapped in: see `lacking`. Several
    workers may call it; each step is repeatable.

    Args:
        version: the run's index version (`Ingest.version`).
        complete: False when the run was stopped, so that nothing is swapped or merged.
        accept_fewer: a person wants the new version, whatever it lacks.
        should_stop: asked between the steps that only tidy up, which the next run makes up for.
    Returns:
        the version as it stands now.
    """
    store = FeatureStore.open(settings, catalog)
    wanted = versions.wanted_tiers(version.fingerprints, keep_pyramid=settings.keep_pyramid)
    if (
        complete
        and version.state == "building"
        and not waiting(catalog, version, wanted)
        and (accept_fewer or not lacking(catalog, version))
    ):
        version = versions.activate(catalog, version.id)
    with catalog.session() as session:
        statuses.settle(session, version, wanted)
    if complete:
        with catalog.reading() as session:
            most = session.scalar(
                select(func.count())
                .where(Segment.state == "live")
                .group_by(Segment.fingerprint)
                .order_by(func.count().desc())
                .limit(1)
            )
        if (most or 0) >= COMPACT_SEGMENTS:
            compact(catalog, store, should_stop=should_stop)
            collect(catalog, store)
        if not should_stop():
            _build_prefilter(catalog, store, version, predictor)
    return version


def waiting(catalog: Catalog, version: Version, wanted: Mapping[str, str]) -> int:
    """How many contents that are not offline have yet to be encoded for a version."""
    here = away(catalog, version.album_id)
    with catalog.reading() as session:
        return claims.remaining(session, version.album_id, wanted, here)[0]


def lacking(catalog: Catalog, version: Version) -> int:
    """How many photos that can be searched now a version would lose if it served."""
    serving = versions.serving(catalog, version.album_id)
    if serving is None or serving.id == version.id:
        return 0
    new, old = (
        versions.wanted_tiers(each.fingerprints, keep_pyramid=False) for each in (version, serving)
    )
    with catalog.reading() as session:
        return claims.count_lacking(session, version.album_id, new, old)


def count_offline(catalog: Catalog, album_id: int, wanted: Mapping[str, str]) -> int:
    """How many photos of an album lack features and cannot get them, since they are offline."""
    gone = away(catalog, album_id)
    if not gone:
        return 0
    query = select(func.count(Photo.id)).where(
        claims.waiting_clause(album_id), ~gone.here(), claims.missing_clause(wanted)
    )
    with catalog.reading() as session:
        return session.scalar(query) or 0


def _build_prefilter(
    catalog: Catalog, store: FeatureStore, version: Version, predictor: Encoder
) -> None:
    with open_snapshot(catalog, store, version.album_id, predictor.fingerprints) as snapshot:
        try:
            if len(snapshot) and vector_builds.needs_build(store.folder, snapshot):
                vector_builds.build(store.folder, snapshot, predictor)
        except (OSError, IndexerError) as error:  # searches score such photos from memory
            log.warning("the prefilter's FAISS file was not built: %s", error)
