"""A dual encoder gives the prefilter one vector a photo, in the space of its own text side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import model.network.torchvision_guard  # noqa: F401
from indexer.encoding.alone import index_album
from model.build import load_predictor
from model.dual_encoder import DualEncoder, DualPrefilter
from model.errors import ExpressionError, ModelVersionMismatch, WeightsError
from model.predictor import Predictor
from search_api.search.engine import Engine
from search_api.search.pipeline import collect
from search_api.search.query import Query
from tests.support.library import make_library

from tokenizers import Tokenizer, models, pre_tokenizers  # isort: skip
from transformers import (  # isort: skip
    BertConfig,
    CLIPConfig,
    CLIPModel,
    PreTrainedTokenizerFast,
    Siglip2Config,
    Siglip2Model,
    SiglipConfig,
    SiglipModel,
)

TOWER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
VISION = {**TOWER, "patch_size": 8, "image_size": 32}
TEXT = {
    **TOWER, "vocab_size": 20, "max_position_embeddings": 12, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def save_tokenizer(folder: Path) -> None:
    words = ["[PAD]", "<s>", "</s>", "[UNK]", "a", "photo", "dog", "red", "the", "on", "left"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", eos_token="</s>"
    ).save_pretrained(folder)


def save(folder: Path, kind: str) -> Any:
    torch.manual_seed(2)
    if kind == "clip":
        config = CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=16)
        network: Any = CLIPModel(config)
    elif kind == "siglip":
        network = SiglipModel(SiglipConfig(text_config=TEXT, vision_config=VISION))
    else:
        vision = {**TOWER, "patch_size": 8, "num_patches": 16}
        network = Siglip2Model(Siglip2Config(text_config=TEXT, vision_config=vision))
    network.eval().save_pretrained(folder)
    save_tokenizer(folder)
    return network


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("siglip")
    save(folder, "siglip")
    return folder


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return load_predictor("rela-mini", random_seed=1)


def photos(count: int = 3, side: int = 32) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["siglip", "siglip2", "clip"])
def test_vectors_are_those_of_transformers_own_forward(tmp_path: Path, kind: str) -> None:
    theirs = save(tmp_path, kind)
    dual = DualEncoder(tmp_path)
    pixels = photos()
    mean, std = (dual._mean, dual._std)
    image = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std
    ids = torch.tensor([[4, 6, 9, 8, 10, *([0] * 7)]])
    if kind == "siglip2":  # transformers gives it Gemma's tokenizer, whatever was saved
        ids = dual._tokenizer(
            ["a dog on the left"], padding="max_length", max_length=12, return_tensors="pt"
        ).input_ids
    inputs: dict[str, Any] = {"pixel_values": image, "input_ids": ids}
    if kind == "clip":
        inputs["attention_mask"] = (ids != 0).long()
    if kind == "siglip2":
        patches = torch.stack(
            [
                image[:, :, y : y + 8, x : x + 8].permute(0, 2, 3, 1).flatten(1)
                for y in range(0, 32, 8)
                for x in range(0, 32, 8)
            ],
            dim=1,
        )
        inputs |= {
            "pixel_values": patches,
            "pixel_attention_mask": torch.ones(3, 16),
            "spatial_shapes": torch.tensor([[4, 4]] * 3),
        }
    with torch.no_grad():
        out = theirs(**inputs)
    assert np.allclose(dual.images(pixels), out.image_embeds.numpy(), atol=1e-5)
    assert np.allclose(dual.texts(["a dog on the left"]), out.text_embeds.numpy(), atol=1e-5)


def test_photos_of_another_side_are_resized(siglip: Path) -> None:
    dual = DualEncoder(siglip)
    flat = np.full((1, 100, 100, 3), 77, np.uint8)
    assert np.allclose(dual.images(flat), dual.images(flat[:, :32, :32]), atol=1e-4)


def test_vectors_have_unit_length_and_a_fingerprint_of_their_own(
    siglip: Path, predictor: Predictor
) -> None:
    both = DualPrefilter(predictor, DualEncoder(siglip))
    records = both.encode(photos(2, predictor.input_size))
    vectors = both.vectors_of(records["vectors"])
    assert vectors.shape == (2, 1, 32)
    assert np.allclose(np.linalg.norm(vectors, axis=-1), 1, atol=2e-3)
    assert both.fingerprints["tokens"] == predictor.fingerprints["tokens"]
    assert both.fingerprints["vectors"] != predictor.fingerprints["vectors"]
    assert both.fingerprints["vectors"] == DualEncoder(siglip).fingerprint
    assert "pyramid" not in both.fingerprints
    assert predictor.reranks and not both.reranks  # the reranker reads other vectors


def test_decisions_stay_those_of_the_predictor(siglip: Path, predictor: Predictor) -> None:
    both = DualPrefilter(predictor, DualEncoder(siglip))
    pixels = photos(2, predictor.input_size)
    words, own = both.read(["a red dog"]), predictor.read(["a red dog"])
    assert words.sentence.shape == (1, 32)
    ours = both.judge(both.encode(pixels)["tokens"], words)
    theirs = predictor.judge(predictor.encode(pixels)["tokens"], own)
    assert np.array_equal(ours.no_target_logit, theirs.no_target_logit)


def test_only_vectors_are_made_where_only_they_are_missing(
    siglip: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = DualPrefilter(predictor, DualEncoder(siglip))

    def never(*_: Any) -> None:
        raise AssertionError("the network ran")

    monkeypatch.setattr(predictor, "encode", never)
    assert set(both.encode(photos(1, 64), ["vectors"])) == {"vectors"}
    with pytest.raises(ModelVersionMismatch, match="index the photos again"):
        both.encode_from_pyramid(np.zeros(1), ["vectors"])


def test_missing_weights_are_refused_and_no_other_vectors_made(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(SiglipConfig(text_config=TEXT).to_json_string())
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(WeightsError, match="cannot be loaded"):
            load_predictor(f"rela-mini:random-1+{folder}")


def test_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="holds a bert"):
        DualEncoder(tmp_path)


def test_empty_expression_is_refused(siglip: Path) -> None:
    with pytest.raises(ExpressionError):
        DualEncoder(siglip).texts(["  "])


def test_name_with_a_plus_loads_both(siglip: Path) -> None:
    both = load_predictor(f"rela-mini:random-1+{siglip}")
    assert isinstance(both, DualPrefilter)
    assert both.name == f"rela-mini:random-1+{siglip}"


def test_album_is_indexed_by_it_as_a_tier_of_its_own_and_searched(
    siglip: Path, tmp_path: Path
) -> None:
    library = make_library(tmp_path, 5)
    try:
        before = library.engine.views("small")[0].snapshot.places("tokens").segment.copy()
        both = load_predictor(f"{library.settings.model}+{siglip}")
        report = index_album(library.settings, "small", both, catalog=library.engine.catalog)
        assert report.indexed == 5 and report.failed == 0
        name = f"{library.settings.model}+{siglip}"
        engine = Engine.open(library.settings.model_copy(update={"model": name}))
        view = engine.views("small")[0]
        assert view.predictor.fingerprints["vectors"] == DualEncoder(siglip).fingerprint
        assert np.array_equal(view.snapshot.places("tokens").segment, before)
        done = collect(engine, Query(expression="a red dog", mode="exhaustive"))
        assert done.coverage.verified == 5
        words = both.read(["a red dog"])
        rows, scores = view.candidates(words, 5, None)
        assert len(rows) == 5 and np.isfinite(scores).all()
        assert engine.models.words(view.predictor, "a red dog").sentence.shape == (1, 32)
        own = load_predictor(library.settings.model)
        assert engine.models.words(own, "a red dog").sentence.shape != (1, 32)
        engine.close()
    finally:
        library.engine.close()
