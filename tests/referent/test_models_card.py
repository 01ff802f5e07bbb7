"""`referent models card`: what a model can do, in words, and which photos it knows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from model.build import load_predictor
from model.cards import CardError, card_beside, card_path
from model.network.preprocess import to_pixels
from referent.main import app
from tests.support.library import paint
from tests.support.tiny_model import write_tiny_model


def invoke(*words: str) -> str:
    result = CliRunner().invoke(app, ["models", "card", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_shipped_models_say_what_they_can_do() -> None:
    told = invoke("rela-mini")
    assert "Finds drawn people" in told and "Trained on drawings" in told


def test_familiar_photos_are_learnt_and_kept_beside_the_weights(tmp_path: Path) -> None:
    weights = Path(write_tiny_model(tmp_path / "rela-atom.safetensors"))
    with pytest.raises(CardError, match="has no card"):
        invoke(str(weights))
    words = {"summary": "Finds squares.", "limits": "Not circles.", "trained_on": "shapes"}
    card_path(weights).write_text(json.dumps({"format": 1, **words, "familiar": None}))
    assert "is not warned" in invoke(str(weights))
    for number in range(24):
        paint(tmp_path / "shapes" / f"{number}.png", number)
        paint(tmp_path / "strips" / f"{number}.png", number, (64, 4))
    (tmp_path / "shapes" / "broken.png").write_bytes(b"no photo")
    told = invoke(
        str(weights), "--photos", str(tmp_path / "shapes"), "--others", str(tmp_path / "strips")
    )
    assert "is warned" in told
    card = card_beside(weights)
    predictor = load_predictor(str(weights))
    assert card is not None and card == predictor.card and card.familiar is not None
    assert card.familiar.fitted_to == predictor.fingerprints["vectors"]
    shares = []
    for folder in ("shapes", "strips"):
        files = sorted((tmp_path / folder).glob("[0-9]*.png"))
        pixels = np.stack([to_pixels(Image.open(each), predictor.input_size) for each in files])
        vectors = predictor.vectors_of(predictor.encode(pixels, ("vectors",))["vectors"])
        shares.append(card.familiar.share_unlike(vectors))
    assert shares[0] < 0.5 < shares[1]  # a random network tells little
