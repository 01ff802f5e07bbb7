"""Snapshots: one consistent view of an album, and features in the order that is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select, update

from indexer.db.catalog import Catalog, touch
from indexer.db.clock import clock
from indexer.db.tables import Photo
from indexer.encoding.alone import index_album
from indexer.errors import FeaturesMissing
from indexer.features import maintenance, places_cache
from indexer.features import snapshot as snapshots
from indexer.features.snapshot import open_snapshot
from indexer.features.store import FeatureStore
from indexer.photos.decode import Decoder
from indexer.settings import Settings
from tests.support.albums import album, folder_of, photo
from tests.support.fake_predictor import FakePredictor


@pytest.fixture
def indexed(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """Two albums: a with twelve photos, two of them alike, b with five of its own."""
    monkeypatch.setenv("REFERENT_DECODE_WORKERS", "1")
    folder_of(tmp_path / "a", 11)
    photo(tmp_path / "a" / "copy.jpg", 3)
    album(catalog, "a", tmp_path / "a")
    album(catalog, "b", folder_of(tmp_path / "b", 5, first=50))
    for name in "ab":
        index_album(Settings(encode_batch=4), name, FakePredictor(), catalog=catalog)
    return catalog


def truth(catalog: Catalog, photo_ids: np.ndarray) -> np.ndarray:
    """Tokens of photos, encoded anew from their files."""
    predictor = FakePredictor()
    folder = Path(Settings().home).parent
    names = {}
    with catalog.reading() as session:
        for photo_id, path in session.execute(select(Photo.id, Photo.path)):
            names[photo_id] = path.decode()
    with Decoder(Settings(), predictor.input_size, workers=1) as decoder:
        pixels = []
        for photo_id in photo_ids.tolist():
            found = [folder / below / names[photo_id] for below in "ab"]
            place = next(path for path in found if path.exists())
            decoded = decoder.decode_one(place).pixels
            assert decoded is not None
            pixels.append(decoded)
    return predictor.encode(np.stack(pixels), ("tokens",))["tokens"]


def test_gather_gives_each_photos_own_features_in_any_order(indexed: Catalog) -> None:
    store = FeatureStore.open(Settings(), indexed)
    with open_snapshot(indexed, store, None, FakePredictor().fingerprints) as snapshot:
        assert len(snapshot) == 17
        expected = truth(indexed, snapshot.photo_ids)
        rng = np.random.default_rng(0)
        for indices in (np.arange(17), rng.permutation(17), rng.integers(0, 17, 40), [5], []):
            got = snapshot.gather("tokens", indices)
            if len(indices):
                np.testing.assert_array_equal(got, expected[np.asarray(indices)])
            assert len(got) == len(indices)
        assert len(snapshot.gather("masks", [0, 16])) == 2
        with pytest.raises(FeaturesMissing):
            snapshot.gather("pyramid", [0])


def test_one_run_of_photos_is_a_view_of_the_file(indexed: Catalog) -> None:
    maintenance.compact(indexed, FeatureStore.open(Settings(), indexed))
    store = FeatureStore.open(Settings(), indexed)
    with open_snapshot(indexed, store, None, FakePredictor().fingerprints) as snapshot:
        order = np.argsort(snapshot.places("tokens").position, kind="stable")
        run = order[np.unique(snapshot.places("tokens").position[order], return_index=True)[1]]
        got = snapshot.gather("tokens", run)
        assert not got.flags.writeable
        np.testing.assert_array_equal(got, truth(indexed, snapshot.photo_ids[run]))


def test_photos_with_the_same_bytes_share_a_row(indexed: Catalog) -> None:
    store = FeatureStore.open(Settings(), indexed)
    with open_snapshot(indexed, store, 1, FakePredictor().fingerprints) as snapshot:
        assert len(snapshot) == 12
        places = snapshot.places("tokens")
        assert len(set(zip(places.segment.tolist(), places.position.tolist(), strict=True))) == 11


def test_only_indexed_photos_that_exist_are_in_it(indexed: Catalog) -> None:
    store = FeatureStore.open(Settings(), indexed)
    fingerprints = FakePredictor().fingerprints
    with open_snapshot(indexed, store, 1, fingerprints) as snapshot:
        before = snapshot.revision
        ids = snapshot.photo_ids.tolist()
    with indexed.session() as session:
        session.execute(
            update(Photo).where(Photo.id == ids[0]).values(status="missing", deleted_at=clock())
        )
        session.execute(update(Photo).where(Photo.id == ids[1]).values(status="failed"))
        touch(session, 1)
    with open_snapshot(indexed, store, 1, fingerprints) as snapshot:
        assert snapshot.revision != before
        assert snapshot.photo_ids.tolist() == ids[2:]
        assert snapshot.indices_of([ids[0], ids[2], ids[5], 10**9]).tolist() == [0, 3]
    other = FakePredictor("2").fingerprints
    with open_snapshot(indexed, store, 1, other) as empty:
        assert len(empty) == 0
        assert empty.indices_of([1]).tolist() == []


def test_snapshot_outlives_compaction_and_collection(indexed: Catalog) -> None:
    store = FeatureStore.open(Settings(), indexed)
    with open_snapshot(indexed, store, None, FakePredictor().fingerprints) as snapshot:
        expected = truth(indexed, snapshot.photo_ids)
        fresh = FeatureStore.open(Settings(), indexed)
        maintenance.compact(indexed, fresh)
        assert maintenance.collect(indexed, fresh).kept_for_readers > 0
        np.testing.assert_array_equal(snapshot.gather("tokens", np.arange(17)), expected)
    assert maintenance.collect(indexed, store).kept_for_readers == 0


def test_large_album_opens_again_from_a_kept_file_until_it_changes(
    indexed: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places_cache, "ROWS_MIN", 1)
    store = FeatureStore.open(Settings(), indexed)
    fingerprints = FakePredictor().fingerprints

    def look() -> tuple[list[int], bytes]:
        with open_snapshot(indexed, store, None, fingerprints) as snapshot:
            masks = snapshot.gather("masks", np.arange(len(snapshot)))
            return snapshot.photo_ids.tolist(), masks.tobytes()

    first = look()
    kept = sorted((store.folder / "places").iterdir())
    assert len(kept) == 2
    monkeypatch.setattr(snapshots, "_read", None)  # nothing is read from the catalog
    assert look() == first
    monkeypatch.undo()
    monkeypatch.setattr(places_cache, "ROWS_MIN", 1)
    for path in kept:  # a damaged file is ignored
        data = bytearray(path.read_bytes())
        data[-9] ^= 1
        path.write_bytes(data)
    monkeypatch.setenv("REFERENT_HOME", str(store.folder.parent))
    assert look() == first
    maintenance.compact(indexed, store)
    assert look() == first
    assert len(list((store.folder / "places").iterdir())) == 2
