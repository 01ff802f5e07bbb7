"""Model cards: what a model says of itself, and which photos it knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.build import SIZES, WEIGHTS_FOLDER, card_of
from model.cards import Card, CardError, Familiar, card_beside, card_path

DICE = np.random.default_rng(1)
KNOWN = DICE.normal(0.2, 0.05, (200, 4, 16))
OTHERS = DICE.normal(0.1, 0.05, (100, 4, 16))
FAMILIAR = Familiar.fit(KNOWN, OTHERS, "abc")
CARD = Card("Finds dogs.", "Not cats.", "photographs", FAMILIAR)


def test_photos_like_those_of_the_training_are_known_and_others_are_not() -> None:
    assert FAMILIAR.share_unlike(DICE.normal(0.2, 0.05, (200, 4, 16))) < 0.1
    assert FAMILIAR.share_unlike(DICE.normal(0.1, 0.05, (50, 4, 16))) > 0.9
    assert FAMILIAR.share_unlike(np.zeros((0, 4, 16))) == 0.0


def test_too_few_photos_tell_nothing() -> None:
    with pytest.raises(CardError, match="too little"):
        Familiar.fit(KNOWN, OTHERS[:5], "abc")


def test_card_is_read_as_it_was_written(tmp_path: Path) -> None:
    weights = tmp_path / "some.safetensors"
    assert card_beside(weights) is None
    CARD.save(card_path(weights))
    assert card_beside(weights) == CARD


def test_damaged_card_is_an_error_that_names_its_file(tmp_path: Path) -> None:
    path = card_path(tmp_path / "some.safetensors")
    path.write_text('{"format": 1, "summary": "Finds"}')
    with pytest.raises(CardError, match=r"some\.card\.json"):
        Card.load(path)


def test_every_model_that_ships_says_what_it_can_do_and_what_it_cannot() -> None:
    shipped = [name for name in SIZES if (WEIGHTS_FOLDER / f"{name}.safetensors").is_file()]
    assert "rela-mini" in shipped
    for name in shipped:
        card = card_of(name)
        assert card is not None and card.familiar is not None, name
        for sentence in (card.summary, card.limits):
            assert sentence.endswith(".") and len(sentence) < 160
        assert card.trained_on in ("photographs", "drawings")
