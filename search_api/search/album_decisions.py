"""An album's own calibrations in the catalog: one a network whose decisions people marked.

A calibration reads the logits of one head. It is kept with that head's fingerprint and used for no
other: with new weights the model's own decides again until the album is fitted anew.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from indexer.db.audit import Actor
from indexer.db.catalog import Catalog
from indexer.db.clock import clock
from indexer.db.tables import Album, CalibrationRow
from indexer.folders.albums import note_album
from model.calibration import Calibration


def own_calibration(session: Session, album_id: int, fitted_to: str) -> Calibration | None:
    """The latest calibration of an album for one network; None where it has none.

    Args:
        fitted_to: the fingerprint of the predictor's head, or of the verifier.
    """
    rows = session.scalars(
        select(CalibrationRow.json)
        .where(CalibrationRow.album_id == album_id)
        .order_by(CalibrationRow.created_at.desc(), CalibrationRow.revision)
    )
    return next((Calibration.from_dict(r) for r in rows if r["fitted_to"] == fitted_to), None)


def own_calibrations(session: Session, fitted_to: Mapping[int, str]) -> dict[int, Calibration]:
    """The latest calibration of each album for its network, where it has one, in one statement.

    Args:
        fitted_to: album id to the fingerprint of the predictor's head.
    """
    rows = session.execute(
        select(CalibrationRow.album_id, CalibrationRow.json).order_by(
            CalibrationRow.created_at.desc(), CalibrationRow.revision
        )
    )
    found: dict[int, Calibration] = {}
    for album_id, values in rows:
        if album_id not in found and fitted_to.get(album_id) == values["fitted_to"]:
            found[album_id] = Calibration.from_dict(values)
    return found


def keep(catalog: Catalog, album_id: int, fitted: Calibration, *, by: Actor | None = None) -> None:
    """Let an album decide by a calibration from now on, under its own revision.

    Args:
        by: who says so, for the audit; None is whoever types a command.
    """
    with catalog.session() as session:
        session.execute(
            delete(CalibrationRow).where(
                CalibrationRow.album_id == album_id, CalibrationRow.revision == fitted.revision
            )
        )
        session.execute(
            insert(CalibrationRow).values(
                album_id=album_id,
                revision=fitted.revision,
                json=fitted.to_dict(),
                created_at=clock(),
            )
        )
        album = session.get_one(Album, album_id)
        note_album(session, by, "album changed", album, more=f", decides by {fitted.revision}")


def reset(catalog: Catalog, album_id: int, fitted_to: str, *, by: Actor | None = None) -> int:
    """Let an album decide by a network's own calibration again; how many are dropped."""
    with catalog.session() as session:
        kept = session.execute(
            select(CalibrationRow.revision, CalibrationRow.json).where(
                CalibrationRow.album_id == album_id
            )
        ).all()
        dropped = [revision for revision, values in kept if values["fitted_to"] == fitted_to]
        session.execute(
            delete(CalibrationRow).where(
                CalibrationRow.album_id == album_id, CalibrationRow.revision.in_(dropped)
            )
        )
        if dropped:
            told = f", decides by {', '.join(dropped)} no more"
            note_album(session, by, "album changed", session.get_one(Album, album_id), more=told)
    return len(dropped)
