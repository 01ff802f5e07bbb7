"""The prefilter: the best photos by their best vector, whatever the size, and only where asked."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from indexer.db.catalog import Catalog
from indexer.db.owner import new_owner
from indexer.db.tables import Album, Photo, Root
from indexer.errors import DamagedSegment
from indexer.features import prefilter, scored_file, vector_builds, vector_file
from indexer.features.codes import dot
from indexer.features.prefilter import Prefilter
from indexer.features.snapshot import open_snapshot
from indexer.features.store import FeatureStore, Part
from indexer.features.vector_file import VectorFileDamaged
from indexer.settings import Settings
from tests.support.fake_predictor import FakePredictor
from training.learning.prefilter_losses import photo_scores


class Library:
    """An album whose vectors are made up: clusters, as real photos have."""

    def __init__(self, tmp_path: Path) -> None:
        self.settings = Settings(home=tmp_path / "library")
        self.catalog = Catalog.open(self.settings)
        self.store = FeatureStore.open(self.settings, self.catalog)
        self.predictor = FakePredictor()
        self.rng = np.random.default_rng(0)
        self.centres = self.rng.standard_normal((40, 12)).astype(np.float32)
        self.values = np.zeros((0, 4, 12), np.float32)
        with self.catalog.session() as session:
            album = Album(name="a", settings={})
            session.add(album)
            session.flush()
            session.add(Root(album_id=album.id, path=b"/photos"))

    def add(self, count: int) -> None:
        first = len(self.values)
        near = self.centres[self.rng.integers(0, 40, (count, 4))]
        values = near + 0.4 * self.rng.standard_normal(near.shape)
        digests = [f"{number:040x}" for number in range(first, first + count)]
        parts = []
        for tier in ("vectors", "tokens"):
            rows = np.zeros(count, self.predictor.dtypes[tier])
            if tier == "vectors":
                rows["vectors"] = values
                self.values = np.concatenate([self.values, self.predictor.vectors_of(rows)])
            fingerprint = self.predictor.fingerprints[tier]
            parts.append(Part(tier, fingerprint, rows.dtype, digests, rows))
        self.store.commit(parts, new_owner())
        with self.catalog.session() as session:
            session.add_all(
                Photo(
                    album_id=1,
                    root_id=1,
                    path=digest.encode(),
                    content_hash=digest,
                    size=1,
                    mtime_ns=1,
                    inode=1,
                    width=1,
                    height=1,
                    status="indexed",
                )
                for digest in digests
            )

    def open(self, **options: int) -> Prefilter:
        snapshot = open_snapshot(self.catalog, self.store, 1, self.predictor.fingerprints)
        return Prefilter.open(self.settings, snapshot, self.predictor, **options)

    def query(self) -> np.ndarray:
        return self.centres[self.rng.integers(40)] + 0.2 * self.rng.standard_normal(12).astype("f4")

    def exact(self, query: np.ndarray) -> np.ndarray:
        return (self.values @ query).max(1)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path)


def recall(found: np.ndarray, scores: np.ndarray) -> float:
    best = np.argsort(-scores, kind="stable")[: len(found)]
    return len(np.intersect1d(found, best)) / len(found)


@pytest.mark.parametrize("flat_rows_max", [10_000, 1000])
@pytest.mark.parametrize("k", [1, 10, 200, 1500, 3000])
def test_the_best_photos_are_found_flat_and_in_lists(
    library: Library, flat_rows_max: int, k: int
) -> None:
    library.add(3000)
    found = library.open(flat_rows_max=flat_rows_max)
    assert found.kind == ("flat" if flat_rows_max > 3000 else "ivf")
    recalls = []
    for _ in range(5):
        query = library.query()
        exact = library.exact(query)
        indices, scores = found.search(query, k)
        assert len(np.unique(indices)) == len(indices) == k
        assert (np.diff(scores) <= 0).all()
        np.testing.assert_allclose(scores, exact[indices], atol=0.15)
        recalls.append(recall(indices, exact))
    assert np.mean(recalls) >= (0.97 if k > 1 else 0.6)


@pytest.mark.parametrize("flat_rows_max", [10_000, 1000])
def test_only_photos_among_the_given_are_found(library: Library, flat_rows_max: int) -> None:
    library.add(3000)
    found = library.open(flat_rows_max=flat_rows_max)
    query = library.query()
    exact = library.exact(query)
    for among in (np.arange(5, 3000, 7), np.array([2999, 4, 17]), np.zeros(0, np.int64)):
        indices, _ = found.search(query, 50, among)
        assert len(indices) == min(50, len(among))
        assert np.isin(indices, among).all()
        if len(indices):
            best = among[np.argsort(-exact[among])][: len(indices)]
            assert len(np.intersect1d(best, indices)) >= 0.95 * len(indices)


def test_few_photos_of_a_large_file_are_scored_without_its_lists(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.add(3000)
    found = library.open(flat_rows_max=1000)
    query, among = library.query(), np.arange(7, 3000, 100)
    truth = (library.values[among] @ query).max(1)
    monkeypatch.setattr(scored_file.ScoredFile, "scores", None)  # nobody asks it
    rows, scores = found.search(query, 10, among)
    assert rows.tolist() == among[np.argsort(-truth)[:10]].tolist()
    assert np.allclose(scores, np.sort(truth)[::-1][:10], atol=1e-5)


def test_new_photos_are_found_before_they_are_merged(library: Library) -> None:
    library.add(500)
    assert library.open().covered == 500
    library.add(100)
    found = library.open()
    assert (found.covered, found.rebuilt) == (500, None)
    query = library.query()
    assert recall(found.search(query, 60)[0], library.exact(query)) >= 0.95
    assert len(found.search(query, 1000)[0]) == 600


def test_index_is_rebuilt_when_much_is_missing_from_it(library: Library) -> None:
    library.add(500)
    library.open()
    library.add(2100)
    found = library.open()
    assert found.covered == 2600
    assert found.rebuilt is not None
    assert "2,100 of 2,600" in found.rebuilt


@pytest.mark.parametrize("harm", ["flipped", "short", "gone", "manifest", "no manifest"])
def test_damaged_file_is_rebuilt_from_the_store_and_said_so(
    library: Library, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    library.add(300)
    query = library.query()
    before = library.open().search(query, 20)
    fingerprint = library.predictor.fingerprints["vectors"]
    manifest = vector_file.manifest_path(library.settings.features_dir, fingerprint)
    [file] = manifest.parent.glob("*.faiss")
    data = bytearray(file.read_bytes())
    if harm == "flipped":
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    elif harm == "short":
        file.write_bytes(data[:-10])
    elif harm == "gone":
        file.unlink()
    elif harm == "manifest":
        manifest.write_text("{")
    else:
        manifest.unlink()
    found = library.open()
    assert found.rebuilt
    assert found.covered == 300
    assert bool(caplog.records) == (harm != "no manifest")
    np.testing.assert_array_equal(found.search(query, 20)[0], before[0])
    assert len(list(manifest.parent.glob("*.faiss"))) == 1
    assert library.open().rebuilt is None


def test_open_readers_notice_a_swapped_file(library: Library) -> None:
    library.add(300)
    reader = library.open()
    query = library.query()
    before = reader.search(query, 20)
    library.add(50)
    assert vector_builds.build(
        library.settings.features_dir,
        open_snapshot(library.catalog, library.store, 1, library.predictor.fingerprints),
        library.predictor,
    )
    # The reader's own snapshot stays; only the file below it is another one.
    after = reader.search(query, 20)
    assert reader._base_rows == 350
    assert len(np.intersect1d(before[0], after[0])) >= 19


def test_manifest_of_another_format_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"format": 99}')
    with pytest.raises(VectorFileDamaged):
        vector_file.read_manifest(path)


def test_library_that_cannot_be_written_is_searched_from_memory(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.add(300)

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(vector_file, "make_folder", refuse)
    found = library.open()
    assert found.covered == 0
    query = library.query()
    assert recall(found.search(query, 30)[0], library.exact(query)) >= 0.95


def test_empty_album_finds_nothing(library: Library) -> None:
    found = library.open()
    assert found.kind == "none"
    indices, scores = found.search(np.ones(12, np.float32), 5)
    assert len(indices) == len(scores) == 0


@pytest.mark.parametrize("rows", [1, 1023, 40_000])
def test_scores_are_the_same_however_many_cores_share_the_codes(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = np.random.default_rng(rows)
    codes = dice.integers(0, 256, (rows, 24), np.uint8)
    weights = dice.normal(size=24).astype(np.float32)
    found = []
    for cores in (1, 2, 5):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        out = np.empty(rows, np.float32)
        dot(codes, weights, np.float32(0.5), out)
        found.append(out)
    assert np.allclose(found[0], codes @ weights + 0.5, rtol=1e-4, atol=1e-2)
    assert all(np.array_equal(found[0], other) for other in found[1:])


def test_training_ranks_photos_by_the_score_that_searches_rank_them_by(library: Library) -> None:
    library.add(200)
    query = library.query()
    trained = photo_scores(torch.from_numpy(library.values), torch.from_numpy(query[None]))
    indices, scores = library.open().search(query, 200)
    np.testing.assert_allclose(scores, trained[indices, 0].numpy(), atol=0.1)


@pytest.mark.parametrize("flat_rows_max", [10_000, 1000])
def test_the_best_are_ranked_again_by_their_records(
    library: Library, flat_rows_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefilter, "RERANKED_MIN", 400)
    library.add(2900)
    library.open(flat_rows_max=flat_rows_max)
    library.add(100)  # outside the file
    found, query = library.open(flat_rows_max=flat_rows_max), library.query()
    seen: list[int] = []

    def least_first(records: np.ndarray) -> np.ndarray:
        seen.append(len(records))
        return -library.predictor.vectors_of(records)[:, 0, 0]

    first = library.values[:, 0, 0]
    for among in (None, np.arange(3, 3000, 5)):
        near, _ = found.search(query, 400, among)
        wanted = near[np.argsort(first[near], kind="stable")][:30]
        indices, scores = found.search(query, 30, among, least_first)
        np.testing.assert_allclose(scores, -first[indices], atol=1e-3)
        assert len(np.intersect1d(indices, wanted)) >= 28 and (np.diff(scores) <= 0).all()
    found.search(query, 200, None, least_first)
    assert seen == [400, 400, 1000]


def test_photo_without_vectors_is_ranked_last(library: Library) -> None:
    library.add(20)
    found, query = library.open(), library.query()
    lost = np.arange(20) < 5
    found._snapshot.places("vectors").segment[lost] = -1
    found._load()  # as an open does that finds them so
    indices, scores = found.search(query, 20, None, lambda records: np.ones(len(records)))
    assert np.isneginf(scores[15:]).all() and sorted(indices[15:]) == [0, 1, 2, 3, 4]


def test_where_records_are_damaged_inner_products_must_do(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.add(300)
    library.add(100)  # a segment of its own
    found, query = library.open(), library.query()
    inner, whole = found.search(query, 400), FeatureStore.rows
    first, second = found._snapshot.segment_paths(
        np.unique(found._snapshot.places("vectors").segment)
    ).values()
    damaged = {second}

    def torn(store: FeatureStore, relative: str, dtype: np.dtype | None = None) -> np.ndarray:
        if relative in damaged:
            raise DamagedSegment(library.settings.home, "it is missing")
        return whole(store, relative, dtype)

    def hundred_times(records: np.ndarray) -> np.ndarray:
        return 100 * (library.predictor.vectors_of(records) @ query).max(1)

    monkeypatch.setattr(FeatureStore, "rows", torn)
    indices, scores = found.search(query, 400, None, hundred_times)
    expected = dict(zip(*inner, strict=True))
    wanted = np.array([100 * expected[i] for i in indices])
    lost = indices >= 300
    np.testing.assert_allclose(scores[~lost], wanted[~lost], atol=15)
    assert np.abs(scores[lost] - wanted[lost]).mean() < 0.1 * np.ptp(wanted)  # of the same scale
    damaged.add(first)
    indices, scores = found.search(query, 20, None, hundred_times)
    np.testing.assert_array_equal(indices, inner[0][:20])


def test_file_that_is_swapped_while_a_segment_is_lost_is_taken_up_without_its_photos(
    library: Library,
) -> None:
    library.add(300)
    found, query = library.open(), library.query()
    library.add(100)
    (outside,) = {
        path for path, _ in found._snapshot.live_segments(library.predictor.fingerprints["vectors"])
    } - set(found._file.manifest.segments if found._file else ())
    late = library.open()
    assert (late.covered, late.unread) == (300, 0)
    library.store.forget(outside)
    library.store.path_of(outside).unlink()
    vector_file.manifest_path(
        library.settings.features_dir, library.predictor.fingerprints["vectors"]
    ).touch()  # as another process does that swaps the file
    indices, scores = late.search(query, 400)
    assert late.unread == 100
    assert np.isneginf(scores[300:]).all() and sorted(indices[300:]) == list(range(300, 400))
    np.testing.assert_array_equal(indices[:300], found.search(query, 300)[0])
    assert library.open().unread == 100


@pytest.mark.parametrize("reranked", [False, True])
def test_few_lists_are_looked_at_and_the_best_are_in_them(
    library: Library, monkeypatch: pytest.MonkeyPatch, reranked: bool
) -> None:
    monkeypatch.setattr(scored_file, "LISTS_MIN", 16)
    monkeypatch.setattr(prefilter, "RERANKED_MIN", 40)
    library.add(2900)
    library.open(flat_rows_max=1000)
    library.add(100)  # outside the file
    found = library.open(flat_rows_max=1000)
    assert (found.kind, found.covered) == ("ivf", 2900)
    recalls = []
    for _ in range(10):
        query = library.query()

        def exactly(records: np.ndarray, query: np.ndarray = query) -> np.ndarray:
            return (library.predictor.vectors_of(records) @ query).max(1)

        indices, _ = found.search(query, 10, None, exactly if reranked else None)
        recalls.append(recall(indices, library.exact(query)))
        assert np.isfinite(found._scores(query, 10, 40, None)).mean() < 0.5
    assert np.mean(recalls) >= 0.8
