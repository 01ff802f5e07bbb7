"""Readers of the store share one mark of their process, and let go in any order."""

from __future__ import annotations

import gc
import os
import resource
from pathlib import Path

import pytest

from indexer.db.catalog import Catalog
from indexer.features.readers import Readers
from indexer.features.store import FeatureStore, maps_max


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


def test_mapped_segments_leave_most_descriptors_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft, most in (
        (256, 64),
        (16, 8),
        (1024, 256),
        (65_536, 400),
        (resource.RLIM_INFINITY, 400),
    ):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        assert maps_max() == most
