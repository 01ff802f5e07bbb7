"""What the library holds: photos by status, versions, bytes a photo by tier."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import func, select

from indexer.db.catalog import Catalog
from indexer.db.tables import Album, FeatureRow, IndexVersion, ModelVersion, Segment
from indexer.features.store import FeatureStore
from indexer.folders.albums import list_albums


@dataclass
class TierStats:
    """One tier of one model version."""

    model: str
    tier: str
    fingerprint: str
    rows: int
    segments: int
    bytes: int
    bytes_a_photo: float | None
    """Of the files, so unused rows count; None without rows."""


@dataclass
class Stats:
    """See the module; `to_json` for scripts."""

    albums: list[dict[str, Any]] = field(default_factory=list)
    versions: list[dict[str, Any]] = field(default_factory=list)
    """Index versions: album, model, state, fingerprints."""
    tiers: list[TierStats] = field(default_factory=list)
    leftover_segments: int = 0
    """Retired or unfinished; `referent index --gc` removes them when nobody needs them."""
    faiss_bytes: int = 0
    database_bytes: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def library_stats(catalog: Catalog, store: FeatureStore) -> Stats:
    """Count everything; reads the catalog and no feature file."""
    stats = Stats()
    with catalog.reading() as session:
        stats.albums = [asdict(each) for each in list_albums(session)]
        models: dict[str, str] = {}
        for album, model, fingerprints, state, version in session.execute(
            select(
                Album.name,
                ModelVersion.name,
                ModelVersion.fingerprints,
                IndexVersion.state,
                IndexVersion.id,
            )
            .join(IndexVersion, IndexVersion.album_id == Album.id)
            .join(ModelVersion, ModelVersion.id == IndexVersion.model_version_id)
            .order_by(IndexVersion.id)
        ):
            stats.versions.append(
                {
                    "version": version,
                    "album": album,
                    "model": model,
                    "state": state,
                    "fingerprints": dict(fingerprints),
                }
            )
            models.update(dict.fromkeys(fingerprints.values(), model))
        counted = select(FeatureRow.fingerprint, func.count()).group_by(FeatureRow.fingerprint)
        rows: dict[str, int] = {row[0]: row[1] for row in session.execute(counted)}
        for tier, fingerprint, segments, size in session.execute(
            select(Segment.tier, Segment.fingerprint, func.count(), func.sum(Segment.bytes))
            .where(Segment.state == "live")
            .group_by(Segment.tier, Segment.fingerprint)
            .order_by(Segment.tier, Segment.fingerprint)
        ):
            count = rows.get(fingerprint, 0)
            stats.tiers.append(
                TierStats(
                    model=models.get(fingerprint, "none"),
                    tier=tier,
                    fingerprint=fingerprint,
                    rows=count,
                    segments=segments,
                    bytes=int(size or 0),
                    bytes_a_photo=int(size or 0) / count if count else None,
                )
            )
        stats.leftover_segments = int(
            session.scalar(select(func.count()).where(Segment.state != "live")) or 0
        )
    stats.faiss_bytes = sum(path.stat().st_size for path in store.folder.glob("faiss/*.faiss"))
    if catalog.is_sqlite and catalog.url.database:
        with catalog.reading() as session:
            pages = session.connection().exec_driver_sql("PRAGMA page_count").scalar_one()
            size = session.connection().exec_driver_sql("PRAGMA page_size").scalar_one()
        stats.database_bytes = int(pages) * int(size)
    return stats
