"""The synthetic evaluation sets: truth, balance, and the same sets every time."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from training.language.absent import NOUNS
from training.language.grammar import ALBUM_KINDS
from training.measuring import testsets
from training.measuring.judging import AlbumSet
from training.measuring.testsets import Sizes

SMALL = Sizes(6, 8, 24, 3, 12)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("testsets")


@pytest.fixture(scope="module")
def album(cache) -> AlbumSet:
    return testsets.album("test", SMALL, folder=cache)


def test_default_sizes_are_those_that_bars_are_measured_on() -> None:
    full = testsets.FULL
    assert full.pair_photos >= 500 and full.pair_photos * full.pairs_a_photo >= 4000
    assert (full.album_photos, full.expressions_a_kind * len(ALBUM_KINDS)) == (300, 200)
    assert full.absent_expressions == 100
    with pytest.raises(ValueError, match="multiple of 4"):
        Sizes(pairs_a_photo=6)


def test_half_of_the_pairs_have_no_target_and_half_of_those_are_deceptive(cache) -> None:
    pairs = testsets.pairs("test", SMALL, folder=cache)
    origins = Counter(pair.origin for pair in pairs.pairs)
    assert origins == {"target": 24, "false": 12, "deceptive": 12}
    for pair in pairs.pairs:
        assert bool(pair.targets) == (pair.origin == "target")
        mask = pairs.photos.mask(pair.photo, pair.targets)
        assert mask.shape == pairs.photos.image(pair.photo).shape[:2]
        assert mask.any() == bool(pair.targets)


def test_deceptive_expressions_are_true_of_another_photo_of_the_set(cache) -> None:
    pairs = testsets.pairs("test", replace(SMALL, pair_photos=12), folder=cache)
    for pair in pairs.pairs:
        assert pair.origin in ("target", "false", "deceptive")
    texts = {p.expression for p in pairs.pairs if p.origin == "target"}
    deceptive = [p for p in pairs.pairs if p.origin == "deceptive"]
    # Only a sample of what is true of each photo stands among the targets.
    assert deceptive and sum(p.expression in texts for p in deceptive) > len(deceptive) / 3


def test_album_has_every_kind_equally_and_every_expression_matches_something(album) -> None:
    assert Counter(album.kinds) == dict.fromkeys(ALBUM_KINDS, 3)
    assert album.truth.shape == (24, 24) and set(np.unique(album.truth)) <= {-1, 0, 1}
    assert (album.truth == 1).any(axis=1).all()
    shares = (album.truth == 1).mean(axis=1)
    assert 0.03 <= np.median(shares) <= 0.15
    assert len(set(album.expressions)) == len(album.expressions)
    assert not any(album.held_out)


def test_album_of_unseen_compositions_names_them_often(cache) -> None:
    other = testsets.album("test-b", SMALL, folder=cache)
    assert 0 < sum(other.held_out) <= len(other.expressions)


def test_sets_drawn_twice_are_the_same_and_a_kept_one_is_not_drawn_again(
    cache, album, tmp_path
) -> None:
    again = testsets.album("test", SMALL, folder=tmp_path)
    assert again.revision == album.revision and again.expressions == album.expressions
    np.testing.assert_array_equal(again.truth, album.truth)
    np.testing.assert_array_equal(again.photos.image(5), album.photos.image(5))
    kept = tmp_path / again.revision
    before = (kept / "truth.npy").stat().st_mtime_ns
    testsets.album("test", SMALL, folder=tmp_path)
    assert (kept / "truth.npy").stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == [again.revision]


def test_splits_and_sizes_have_sets_of_their_own(cache, album) -> None:
    val = testsets.album("val", SMALL, folder=cache)
    assert val.revision != album.revision
    assert not np.array_equal(val.photos.image(0), album.photos.image(0))
    with pytest.raises(ValueError, match="test-b"):
        testsets.album("testing", SMALL, folder=cache)


def test_absent_things_are_half_unknown_and_their_unknown_nouns_differ_from_validations(
    cache,
) -> None:
    def nouns(split: str) -> set[str]:
        made = testsets.absent(split, SMALL, folder=cache)
        assert Counter(made.kinds) == {"composed": 3, "impossible": 3, "unknown": 6}
        assert not made.truth.any()
        texts = [t for t, k in zip(made.expressions, made.kinds, strict=True) if k == "unknown"]
        return {noun for noun in NOUNS for text in texts if f" {noun} " in f" {text.lower()} "}

    assert not nouns("test") & nouns("val")
