"""Our reading of BERT is transformers': word pieces the same, features within rounding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import model.network.torchvision_guard  # noqa: F401
from model.errors import WeightsError
from model.network.bert import Bert, BertSizes
from model.text import MAX_TOKENS, TextEncoder, minilm_folder

from transformers import AutoTokenizer, BertConfig, BertModel, RobertaConfig, RobertaModel  # isort: skip

EXPRESSIONS = (
    "kid in blue",
    "Everyone except the MAN in white",
    "the two dogs on the left, that don't bark!",
    "le chien à gauche de l’église",
    "北京的狗 and a café",
    "un-believable hyper_long-winded words " * 9,
    "dog",
    "3.5 km / 100% [MASK] #tag",
)


@pytest.fixture(scope="module")
def text() -> TextEncoder:
    return TextEncoder("minilm")


def theirs(folder: Path, how: str = "sdpa") -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    batch = AutoTokenizer.from_pretrained(folder)(
        list(EXPRESSIONS),
        padding="max_length",
        truncation=True,
        max_length=MAX_TOKENS,
        return_tensors="pt",
    )
    bert = BertModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation=how)
    with torch.inference_mode():
        features = bert.eval()(batch["input_ids"], attention_mask=batch["attention_mask"])
    return batch["input_ids"], batch["attention_mask"], features.last_hidden_state


def test_minilm_reads_and_encodes_as_transformers_does(text: TextEncoder) -> None:
    their_ids, their_mask, their_features = theirs(minilm_folder())
    ids, mask = text.tokenize(EXPRESSIONS)
    assert torch.equal(ids, their_ids) and torch.equal(mask, their_mask)
    features, real = text(EXPRESSIONS)
    assert torch.equal(real, their_mask.bool())
    assert float((features - their_features).abs().max()) < 1e-5


def test_attention_step_by_step_is_transformers_eager_one(text: TextEncoder) -> None:
    with torch.device("meta"):
        written_out = Bert(text.bert.sizes, fused=False)
    written_out.load_state_dict(text.bert.state_dict(), assign=True)
    ids, mask, features = theirs(minilm_folder(), "eager")
    with torch.inference_mode():
        assert float((written_out(ids, mask) - features).abs().max()) < 1e-5


def test_bert_from_a_folder_encodes_as_transformers_does(tmp_path: Path) -> None:
    torch.manual_seed(1)
    small = BertConfig(
        vocab_size=30522, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=48, initializer_range=0.3,
    )  # fmt: skip
    BertModel(small, add_pooling_layer=False).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(minilm_folder()).save_pretrained(tmp_path)
    features, _ = TextEncoder(str(tmp_path))(EXPRESSIONS)
    assert float((features - theirs(tmp_path)[2]).abs().max()) < 1e-5


def test_folder_that_holds_no_bert_is_refused_by_name(tmp_path: Path) -> None:
    other = RobertaConfig(
        vocab_size=30522, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16,
    )  # fmt: skip
    RobertaModel(other).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(minilm_folder()).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=f"{tmp_path.name}.*name a BERT"):
        TextEncoder(str(tmp_path))
    with pytest.raises(WeightsError, match="nowhere"):
        TextEncoder(str(tmp_path / "nowhere"))


def test_random_bert_tells_expressions_apart() -> None:
    bert = TextEncoder("bert-base-uncased", random_seed=1)
    features, mask = bert(["kid in blue", "two dogs"])
    assert features.shape == (2, MAX_TOKENS, 768)
    assert torch.isfinite(features).all() and mask.sum(1).tolist() == [5, 4]
    assert float((features[0, 0] - features[1, 0]).abs().max()) > 0.01


def test_features_of_an_expression_do_not_depend_on_its_padding(text: TextEncoder) -> None:
    ids, mask = text.tokenize(["two dogs"])
    end = int(mask.sum())
    short, whole = text.bert(ids[:, :end], mask[:, :end]), text.bert(ids, mask)[:, :end]
    assert torch.allclose(short, whole, atol=1e-5)


def test_bert_on_no_device_waits_for_its_weights() -> None:
    with torch.device("meta"):
        bert = Bert(BertSizes(vocabulary=8, channels=8, layers=1, heads=2, hidden=8, positions=4))
    assert all(value.is_meta for value in bert.state_dict().values())
