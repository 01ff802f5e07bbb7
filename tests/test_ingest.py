"""Ingest: what is encoded, how often, and what a killed or hindered run leaves behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from albums import album, folder_of
from fake_predictor import FakePredictor
from sqlalchemy import func, select

from indexer.catalog import Catalog
from indexer.ingest import index_album
from indexer.settings import Settings
from indexer.tables import FeatureRow, Photo


@pytest.fixture
def small(catalog: Catalog, tmp_path: Path) -> int:
    """An album of ten photos."""
    return album(catalog, "small", folder_of(tmp_path / "photos", 10))


def test_every_photo_is_encoded_once_and_a_second_run_encodes_none(
    catalog: Catalog, small: int, settings: Settings
) -> None:
    predictor = FakePredictor()
    report = index_album(Settings(), "small", predictor)
    assert (report.indexed, report.failed, report.total, report.encoded) == (10, 0, 10, 10)
    again = FakePredictor()
    report = index_album(Settings(), "small", again)
    assert (report.indexed, report.encoded, again.encoded) == (10, 0, 0)
    assert predictor.shapes == {8}
    with catalog.reading() as session:
        rows = session.execute(
            select(FeatureRow.fingerprint, func.count()).group_by(FeatureRow.fingerprint)
        ).all()
        assert sorted(count for _, count in rows) == [10, 10, 10]
        assert session.scalars(select(Photo.width).distinct()).all() == [40]
