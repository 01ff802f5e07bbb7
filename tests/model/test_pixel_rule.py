"""The 50-pixel rule (GRES Table 6): a network that has it decides by its masks, everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from model import pixel_rule
from model.calibration import Calibration
from model.predictor import Predictor
from model.text import TextEncoder
from search_api.search.photos import one_photo
from search_api.search.pipeline import collect
from search_api.search.query import Query
from search_api.show.shown import render
from tests.support.library import EXPRESSION, Library, make_library
from tests.support.tiny_model import TINY

PIXELS = replace(TINY, no_target="pixels")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    made = make_library(tmp_path_factory.mktemp("pixels"), 12, config=PIXELS)
    yield made
    made.engine.close()


@pytest.fixture
def areas(library: Library, monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """Pixels of every photo's mask at the input size; the rule's border lies in their middle."""
    view, side = library.engine.views("small")[0], PIXELS.input_size
    rows = np.arange(len(view.snapshot))
    records = {tier: view.snapshot.gather(tier, rows) for tier in ("tokens", "masks")}
    judgement = view.predictor.judge(records["tokens"], view.predictor.read([EXPRESSION]))
    found = {
        int(photo): view.predictor.render(records["masks"][i], judgement[i], side, side).area
        for i, photo in enumerate(view.snapshot.photo_ids)
    }
    monkeypatch.setattr(pixel_rule, "MIN_PIXELS", int(np.median(list(found.values()))))
    return found


def test_fewer_than_fifty_pixels_are_no_target() -> None:
    counts = np.array([0, 1, 49, 50, 51, 10_000])
    assert list(pixel_rule.no_target(counts)) == [True, True, True, False, False, False]
    logits = pixel_rule.no_target_logit(counts)
    assert list(logits > 0) == list(pixel_rule.no_target(counts))
    assert list(Calibration().accepts(logits)) == list(~pixel_rule.no_target(counts))
    assert (np.diff(logits) < 0).all()  # larger masks rank first


def test_search_returns_the_photos_whose_masks_are_large_enough(
    library: Library, areas: dict[int, int]
) -> None:
    large = {photo for photo, pixels in areas.items() if pixels >= pixel_rule.MIN_PIXELS}
    assert 0 < len(large) < len(areas)
    done = collect(library.engine, Query(expression=EXPRESSION, mode="exhaustive", rejected=12))
    assert {each.photo_id for each in done.matched} == large
    assert [areas[each.photo_id] for each in done.matched] == sorted(
        (areas[photo] for photo in large), reverse=True
    )
    fingerprint = library.predictor.fingerprints
    for decision in (*done.matched, *done.rejected):
        photo = one_photo(library.engine.catalog, decision.photo_id)
        mask = render(library.engine, photo, decision, fingerprint)
        assert (mask.area > 0) == decision.accepted
        wanted = areas[photo.id] / (areas[photo.id] + pixel_rule.MIN_PIXELS)
        assert decision.confidence == pytest.approx(wanted, abs=1e-6)


def test_pairs_and_albums_are_judged_alike_and_the_classifier_is_not_asked(
    library: Library,
) -> None:
    predictor = library.predictor
    tokens = library.engine.views("small")[0].snapshot.gather("tokens", np.arange(5))
    words = predictor.read(["dog"] * 5)
    pairs = predictor.judge_pairs(tokens, words).no_target_logit
    together = predictor.judge(tokens, words[0]).no_target_logit
    assert np.allclose(pairs, together, atol=0.02)
    bias = predictor.network.head.no_target.layers[-1].bias
    assert isinstance(bias, torch.Tensor)
    before = bias.clone()
    bias.add_(100)
    try:
        assert np.array_equal(predictor.judge(tokens, words[0]).no_target_logit, together)
    finally:
        bias.copy_(before)


def test_features_cached_for_the_classifier_are_not_taken_for_the_rules(library: Library) -> None:
    network = library.predictor.network
    ruled = library.predictor.fingerprints
    network.config = TINY
    try:
        plain = Predictor(network, TextEncoder("minilm")).fingerprints
    finally:
        network.config = PIXELS
    assert {tier for tier in ruled if ruled[tier] != plain[tier]} == {"tokens", "head"}


def test_rule_network_is_loaded_from_its_weights_file(library: Library) -> None:
    from model.build import load_predictor

    again = load_predictor(library.settings.model)
    assert again.counts_pixels
    assert again.fingerprints == library.predictor.fingerprints
