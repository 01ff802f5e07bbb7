"""Which model an album is indexed with: building beside, swapping, rolling back, dropping.

An album's serving index version changes in one transaction; a search that started before keeps the
features that it mapped. A new model is built beside the serving one and replaces it when complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from indexer.db.catalog import Catalog, model_version, touch
from indexer.db.clock import clock
from indexer.db.tables import Album, FeatureRow, IndexVersion, ModelVersion, Segment, revision_step
from indexer.errors import VersionConflict

# Tiers that are cached; "head" has a fingerprint but no data.
CACHED_TIERS = ("pyramid", "tokens", "masks", "vectors")
# What a search reads.
_SEARCHED_TIERS = ("tokens", "masks", "vectors")


@dataclass(frozen=True)
class Version:
    """An album's index version with its model."""

    id: int
    album_id: int
    state: str
    model: str
    model_version_id: int
    fingerprints: dict[str, str]
    created_at: float
    activated_at: float | None


def wanted_tiers(fingerprints: Mapping[str, str], *, keep_pyramid: bool) -> dict[str, str]:
    """Return tier → fingerprint of what is kept for a model.

    Raises:
        ValueError: two tiers share a fingerprint, so their rows could not be told apart.
    """
    wanted = {
        tier: fingerprints[tier]
        for tier in CACHED_TIERS
        if tier in fingerprints and (tier != "pyramid" or keep_pyramid)
    }
    if len(set(wanted.values())) != len(wanted):
        raise ValueError(f"tiers share a fingerprint: {wanted}")
    return wanted


def fits(network: Mapping[str, str], features: Mapping[str, str]) -> bool:
    """Whether a network of these fingerprints makes such features; another head may read them."""
    return all(network[tier] == features.get(tier) for tier in _SEARCHED_TIERS)


def prepare(
    catalog: Catalog,
    album_id: int,
    name: str,
    fingerprints: Mapping[str, str],
    config: Mapping[str, Any],
) -> Version:
    """Return the album's version for a model, made if needed.

    The first version of an album serves at once, so that a search finds what is there already; a
    version of another model is built beside (state building).
    """
    with catalog.session() as session:
        # One worker at a time, or each would make a version of its own.
        session.execute(select(Album.id).where(Album.id == album_id).with_for_update())
        model = model_version(session, name, fingerprints, config)
        row = session.scalars(
            select(IndexVersion)
            .where(
                IndexVersion.album_id == album_id,
                IndexVersion.model_version_id == model.id,
                IndexVersion.state != "retired",
            )
            .order_by(IndexVersion.id.desc())
        ).first()
        if row is None:
            serves = _serving(session, album_id) is None
            row = IndexVersion(
                album_id=album_id,
                model_version_id=model.id,
                state="serving" if serves else "building",
            )
            session.add(row)
            session.flush()
            if serves:
                session.execute(
                    update(IndexVersion)
                    .where(IndexVersion.id == row.id)
                    .values(activated_at=clock())
                )
                touch(session, album_id)
        session.flush()
        return _version(session, row.id)


def activate(catalog: Catalog, version_id: int) -> Version:
    """Let a version serve its album and retire the one that did, in one transaction.

    Raises:
        VersionConflict: no such version.
    """
    with catalog.session() as session:
        row = session.get(IndexVersion, version_id)
        if row is None:
            raise VersionConflict(f"no index version {version_id}: see referent albums")
        if row.state != "serving":
            session.execute(
                update(IndexVersion)
                .where(IndexVersion.album_id == row.album_id, IndexVersion.state == "serving")
                .values(state="retired")
            )
            session.execute(
                update(IndexVersion)
                .where(IndexVersion.id == version_id)
                .values(state="serving", activated_at=clock())
            )
            touch(session, row.album_id)
        session.expire_all()
        return _version(session, version_id)


def rollback(catalog: Catalog, album_id: int) -> Version:
    """Let the version that served before serve again.

    Raises:
        VersionConflict: no earlier version is left.
    """
    with catalog.reading() as session:
        earlier = session.scalars(
            select(IndexVersion.id)
            .where(
                IndexVersion.album_id == album_id,
                IndexVersion.state == "retired",
                IndexVersion.activated_at.is_not(None),
            )
            .order_by(IndexVersion.activated_at.desc())
        ).first()
    if earlier is None:
        raise VersionConflict("this album has no earlier index version to go back to")
    return activate(catalog, earlier)


def serving(catalog: Catalog, album_id: int) -> Version | None:
    """Return the version that searches use; None before the first index."""
    with catalog.reading() as session:
        row = _serving(session, album_id)
        return None if row is None else _version(session, row.id)


def all_serving(session: Session, album_id: int | None = None) -> dict[int, Version]:
    """The serving version of every album that has one, by album, in one statement.

    Args:
        album_id: only of this album.
    """
    statement = (
        select(IndexVersion, ModelVersion)
        .join(ModelVersion, ModelVersion.id == IndexVersion.model_version_id)
        .where(IndexVersion.state == "serving")
    )
    if album_id is not None:
        statement = statement.where(IndexVersion.album_id == album_id)
    return {row.album_id: _described(row, model) for row, model in session.execute(statement)}


def versions(catalog: Catalog, album_id: int) -> list[Version]:
    """Return all versions of an album, newest first."""
    with catalog.reading() as session:
        ids = session.scalars(
            select(IndexVersion.id)
            .where(IndexVersion.album_id == album_id)
            .order_by(IndexVersion.id.desc())
        ).all()
        return [_version(session, version_id) for version_id in ids]


def drop(catalog: Catalog, version_id: int) -> int:
    """Forget a version that does not serve, and the features that no other version uses.

    Returns:
        rows forgotten; their bytes go with `indexer.features.maintenance.collect`.
    Raises:
        VersionConflict: it serves, or does not exist.
    """
    with catalog.session() as session:
        row = session.get(IndexVersion, version_id)
        if row is None or row.state == "serving":
            raise VersionConflict(
                f"index version {version_id} is {'serving' if row else 'unknown'}: "
                "activate another one first"
            )
        mine = set(_version(session, version_id).fingerprints.values())
        session.delete(row)
        session.flush()
        for fingerprints in session.scalars(
            select(ModelVersion.fingerprints).join(
                IndexVersion, IndexVersion.model_version_id == ModelVersion.id
            )
        ):
            mine -= set(fingerprints.values())
        forgotten = session.scalar(
            select(func.count()).select_from(FeatureRow).where(FeatureRow.fingerprint.in_(mine))
        )
        session.execute(delete(FeatureRow).where(FeatureRow.fingerprint.in_(mine)))
        session.execute(
            update(Segment)
            .where(Segment.fingerprint.in_(mine), Segment.state == "live")
            .values(state="retired", retired_at=clock())
        )
        session.execute(update(Album).values(revision=Album.revision + revision_step()))
        return int(forgotten or 0)


def _serving(session: Session, album_id: int) -> IndexVersion | None:
    return session.scalars(
        select(IndexVersion).where(
            IndexVersion.album_id == album_id, IndexVersion.state == "serving"
        )
    ).one_or_none()


def _version(session: Session, version_id: int) -> Version:
    row, model = session.execute(
        select(IndexVersion, ModelVersion)
        .join(ModelVersion, ModelVersion.id == IndexVersion.model_version_id)
        .where(IndexVersion.id == version_id)
    ).one()
    return _described(row, model)


def _described(row: IndexVersion, model: ModelVersion) -> Version:
    return Version(
        id=row.id,
        album_id=row.album_id,
        state=row.state,
        model=model.name,
        model_version_id=model.id,
        fingerprints=dict(model.fingerprints),
        created_at=row.created_at,
        activated_at=row.activated_at,
    )
