"""Readers of the store share one mark of their process, and let go in any order."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np

from indexer.db.catalog import Catalog
from indexer.features import segment
from indexer.features.readers import Readers
from indexer.features.store import FeatureStore


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # counts, no paths


def test_three_hundred_readers_hold_one_file(tmp_path: Path) -> None:
    readers = Readers(tmp_path / "readers")
    before = descriptors()
    held = [readers.enter(100.0 + number) for number in range(300)]
    assert descriptors() == before + 1
    assert len(list((tmp_path / "readers").iterdir())) == 1
    for each in held:
        each.release()
        each.release()
    assert descriptors() == before
    assert list((tmp_path / "readers").iterdir()) == []


def test_oldest_reader_is_the_oldest_that_is_left(tmp_path: Path, catalog: Catalog) -> None:
    store = FeatureStore(tmp_path, catalog)
    readers = Readers(tmp_path / "readers")
    first, second, third = (readers.enter(start) for start in (5.0, 6.5, 7.25))
    other = Readers(tmp_path / "readers").enter(6.0)
    assert store.oldest_reader() == 5.0
    second.release()
    assert store.oldest_reader() == 5.0
    first.release()
    assert store.oldest_reader() == 6.0
    other.release()
    assert store.oldest_reader() == 7.25
    third.release()
    assert store.oldest_reader() is None


def test_forgotten_reader_holds_nothing_up(tmp_path: Path, catalog: Catalog) -> None:
    store = FeatureStore(tmp_path, catalog)
    kept = store.lock_reader()
    for _ in range(5):
        store.lock_reader()
    gc.collect()
    assert store.oldest_reader() is not None
    kept.release()
    assert store.oldest_reader() is None


def mappings(folder: Path) -> int:
    """How many files below a folder this process maps."""
    return Path("/proc/self/maps").read_text().count(str(folder))


def segments_in(folder: Path, catalog: Catalog, count: int) -> FeatureStore:
    folder.mkdir()
    store = FeatureStore(folder, catalog)
    for number in range(count):
        segment.write_segment(
            folder / f"{number}.seg",
            tier="tokens",
            fingerprint="a" * 16,
            rows=np.full(5, number, np.int16),
            content_hashes=[f"{number * 5 + row:040x}" for row in range(5)],
            dtype=np.dtype(np.int16),
        )
    return store


def test_mapped_segments_hold_no_descriptor(tmp_path: Path, catalog: Catalog) -> None:
    store = segments_in(tmp_path / "store", catalog, 300)
    before = descriptors()
    held = [store.rows(f"{number}.seg") for number in range(300)]
    assert descriptors() == before
    assert mappings(store.folder) == 300
    (store.folder / "7.seg").unlink()
    assert held[7].tolist() == [7] * 5
    assert not held[7].flags.writeable


def test_segment_that_another_process_removed_is_unmapped(tmp_path: Path, catalog: Catalog) -> None:
    """The disk holds a removed file for as long as anybody maps it."""
    store = segments_in(tmp_path / "store", catalog, 3)
    for number in range(3):
        store.rows(f"{number}.seg")
    (store.folder / "1.seg").unlink()
    store.let_removed_go()
    gc.collect()
    assert mappings(store.folder) == 2
    assert store.rows("2.seg").tolist() == [2] * 5
