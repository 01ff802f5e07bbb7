"""The interface that the rest stands on: photos to records, records to judgements and masks."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model import checkpoint, exclusions, packing
from model.build import load_predictor
from model.calibration import Calibration
from model.errors import (
    ExpressionError,
    ModelError,
    ModelVersionMismatch,
    UnknownModel,
    WeightsError,
)
from model.masks import from_logits, iou
from model.network.preprocess import to_pixels, upright
from model.network.rela import RelaNetwork, mask_logits
from model.network.rla import RegionLanguageLayer
from model.precision import head_dtype
from model.predictor import FIRST_SCORE, JUDGE_BATCH, RERANK_BATCH, Predictor
from model.text import MAX_TOKENS, TextEncoder, clean
from tests.support.rle import from_rle
from tests.support.tiny_model import TINY, write_tiny_model

EXPRESSIONS = [
    "person", "dog on the left", "everyone except the man in white", "red ball", "two cats",
    "woman with a hat", "kid in blue", "the biggest thing", "animal", "foreground",
]  # fmt: skip


@pytest.fixture(scope="module")
def text() -> TextEncoder:
    return TextEncoder("minilm")


@pytest.fixture(scope="module")
def tiny(text: TextEncoder) -> Predictor:
    torch.manual_seed(5)
    return Predictor(RelaNetwork(TINY), text)


def _photos(count: int, side: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((side, side))) for c in coarse])


@pytest.mark.parametrize("threads", [1, 2])
def test_a_photo_is_encoded_alike_alone_and_in_company(threads: int) -> None:
    predictor = load_predictor("rela-mini")
    photos, tiers = _drawn(3, predictor.input_size), ("tokens", "masks", "vectors", "pyramid")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = predictor.encode(photos, tiers)
        for tier in tiers:
            assert len(together[tier]) == 3
            for at in range(3):
                alone = predictor.encode(photos[at : at + 1], tiers)[tier]
                assert alone.tobytes() == together[tier][at : at + 1].tobytes(), (tier, at)
        again = predictor.encode_from_pyramid(together["pyramid"])
        last = predictor.encode_from_pyramid(together["pyramid"][2:])
        assert all(again[tier][2:].tobytes() == last[tier].tobytes() for tier in again)
        assert len(predictor.encode(photos[:0], tiers)["tokens"]) == 0
    finally:
        torch.set_num_threads(before)


def test_photo_encoded_from_its_cached_pyramid_gives_the_same_records(tiny: Predictor) -> None:
    records = tiny.encode(_photos(3, 64), ("tokens", "masks", "vectors", "pyramid"))
    again = tiny.encode_from_pyramid(records["pyramid"])
    for tier in ("tokens", "masks"):
        for name in records[tier].dtype.names:
            a, b = records[tier][name].astype(float), again[tier][name].astype(float)
            assert np.abs(a - b).max() <= 0.02 * np.abs(a).max() + 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_judgement_does_not_depend_on_neighbours(text: TextEncoder, dtype: torch.dtype) -> None:
    torch.manual_seed(5)
    config = replace(TINY, rla_layers=3, word_heads=2, pooling="attention")
    predictor = Predictor(RelaNetwork(config), text, head_dtype=dtype)
    photos = JUDGE_BATCH + 6
    tokens = predictor.encode(_photos(photos, 64))["tokens"]
    words = predictor.read(["kid in blue"])
    together = predictor.judge(tokens, words)
    for index in (0, 1, JUDGE_BATCH - 1, JUDGE_BATCH, photos - 1):
        alone = predictor.judge(tokens[index : index + 1], words)
        assert alone.no_target_logit[0] == together.no_target_logit[index]
        assert (alone.coefficients[0] == together.coefficients[index]).all()
        assert (alone.minimap[0] == together.minimap[index]).all()
    assert len(predictor.judge(tokens[:0], words)) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rank_of_a_photo_does_not_depend_on_neighbours(
    text: TextEncoder, dtype: torch.dtype
) -> None:
    torch.manual_seed(5)
    config = replace(TINY, rla_layers=3, rough_layers=3, word_heads=2)
    predictor = Predictor(RelaNetwork(config), text, head_dtype=dtype)
    photos = RERANK_BATCH + 6
    vectors = predictor.encode(_photos(photos, 64), ("vectors",))["vectors"]
    words = predictor.read(["kid in blue", "dog"])
    together = predictor.rerank(vectors, words[0])
    for index in (0, 1, RERANK_BATCH - 1, RERANK_BATCH, photos - 1):
        assert predictor.rerank(vectors[index : index + 1], words[0])[0] == together[index]
    assert predictor.rerank(vectors[:0], words[0]).shape == (0,)
    assert not np.allclose(together, predictor.rerank(vectors, words[1]))
    with pytest.raises(ModelVersionMismatch):
        predictor.rerank(np.zeros(2, predictor.dtypes["tokens"]), words[0])


def test_rough_head_begins_as_the_head_on_averaged_regions() -> None:
    torch.manual_seed(5)
    network = RelaNetwork(replace(TINY, rla_layers=2, rough_layers=2, pooling="attention"))
    rough, head = network.rough, network.head
    assert rough is not None
    rough.begin_as(head)
    words, mask = torch.randn(1, 3, 16), torch.ones(1, 3, dtype=torch.bool)
    alike = torch.randn(5, 1, 16).expand(5, 16, 16)  # all regions alike: nothing is averaged away
    for layer in (rough, head):
        layer.first_layer.region_attention.output.weight.data.zero_()  # before the words
    with torch.inference_mode():
        exact = -head(head.tokens(alike), words, mask).no_target_logit
        tokens = rough.tokens(alike)
        assert tokens.shape == (5, 4, 16)
        torch.testing.assert_close(rough(tokens, words, mask)[0], exact, atol=1e-4, rtol=1e-4)


def test_token_of_the_rough_head_stands_for_four_neighbours() -> None:
    torch.manual_seed(5)
    network = RelaNetwork(replace(TINY, pooling="attention"))
    rough = network.rough
    assert rough is not None
    rough.begin_as(network.head)
    rough.layers[0].region_attention.output.weight.data.zero_()
    grid = torch.arange(16.0).view(1, 16, 1) * torch.ones(16)  # P = 4, rows first
    assert rough.tokens(grid)[0, :, 0].tolist() == [2.5, 4.5, 10.5, 12.5]


def test_first_score_counts_a_little_of_the_rank(text: TextEncoder) -> None:
    network = RelaNetwork(TINY)
    assert network.rough is not None
    network.rough.no_target.layers[-1].weight.data.zero_()  # the rough head says the same of all
    network.rough.no_target.layers[-1].bias.data.fill_(-3.0)
    predictor = Predictor(network, text)
    vectors = predictor.encode(_photos(5, 64), ("vectors",))["vectors"]
    words = predictor.read(["kid in blue"])
    inner = (predictor.vectors_of(vectors) @ words.sentence[0]).max(1)
    np.testing.assert_allclose(predictor.rerank(vectors, words), 3 + FIRST_SCORE * inner, atol=1e-5)


def test_without_a_rough_head_nothing_is_ranked_again(text: TextEncoder) -> None:
    plain = Predictor(RelaNetwork(replace(TINY, rough_layers=0)), text)
    assert Predictor(RelaNetwork(TINY), text).reranks and not plain.reranks
    assert plain.dtypes["vectors"].names == ("vectors",)
    with pytest.raises(ModelError, match="regions_per_side"):
        replace(TINY, regions_per_side=5)


@pytest.mark.timeout(900)  # bfloat16 is slow where it is emulated
def test_judgement_has_the_same_bits_on_any_number_of_threads(tiny: Predictor) -> None:
    code = (
        "import sys, numpy as np, torch; from tests.support.tiny_model import TINY\n"
        "from model.predictor import Predictor; from model.network.rela import RelaNetwork\n"
        "from model.text import TextEncoder\n"
        "torch.set_num_threads(int(sys.argv[1])); torch.manual_seed(5)\n"
        "p = Predictor(RelaNetwork(TINY), TextEncoder('minilm'), head_dtype=torch.bfloat16)\n"
        "t = np.frombuffer(sys.stdin.buffer.read(), p.dtypes['tokens'])\n"
        "j = p.judge(t, p.read(['kid in blue']))\n"
        "assert torch.get_num_threads() == int(sys.argv[1])\n"
        "sys.stdout.buffer.write(j.no_target_logit.tobytes() + j.coefficients.tobytes())\n"
    )
    tokens = tiny.encode(_photos(2 * JUDGE_BATCH + 3, 64))["tokens"]
    root = Path(__file__).parents[2]
    said = {
        subprocess.run(
            [sys.executable, "-c", code, threads], input=tokens.tobytes(), cwd=root,
            capture_output=True, check=True,
        ).stdout
        for threads in ("1", "2", "3")
    }  # fmt: skip
    assert len(said) == 1 and len(said.pop()) == len(tokens) * 4 * (1 + TINY.mask_channels)


def _in_bfloat16(values: np.ndarray) -> np.ndarray:
    return torch.from_numpy(values).bfloat16().float().numpy()


def test_judging_in_bfloat16_moves_a_confidence_by_a_hundredth_and_no_mask() -> None:
    exact = load_predictor("rela-mini", head_dtype="float32")
    fast = load_predictor("rela-mini", head_dtype="bfloat16")
    records = exact.encode(_drawn(JUDGE_BATCH, exact.input_size))
    overlaps, apart = [], []
    for expression in EXPRESSIONS:
        words = exact.read([expression])
        one, two = exact.judge(records["tokens"], words), fast.judge(records["tokens"], words)
        apart.append(np.abs(exact.confidence(one) - fast.confidence(two)))
        for i in np.flatnonzero(exact.calibration.accepts(one.no_target_logit)):  # what is shown
            first = exact.render(records["masks"][i], one[i], 300, 200)
            second = fast.render(records["masks"][i], two[i], 300, 200)
            overlaps.append(iou(first.array, second.array))
    assert len(overlaps) > 20 and float(np.mean(overlaps)) >= 0.99
    assert np.quantile(apart, 0.99) <= 0.01 and np.max(apart) <= 0.04
    assert (two.no_target_logit != _in_bfloat16(two.no_target_logit)).any()  # photos seldom tie


def test_precision_is_chosen_by_what_the_processor_multiplies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = torch.device("cpu")
    for able, dtype in (({"amx_bf16": True}, torch.bfloat16), ({"avx2": True}, torch.float32)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        assert head_dtype("auto", here) == dtype
    assert head_dtype("float32", here) == torch.float32
    with pytest.raises(ModelError, match="auto, float32 or bfloat16"):
        head_dtype("float16", here)  # type: ignore[arg-type]


@pytest.mark.parametrize("heads", [1, 4])
def test_one_expression_attends_as_many_do(heads: int) -> None:
    torch.manual_seed(3)
    layer = RegionLanguageLayer(replace(TINY, word_heads=heads))
    queries, words = torch.randn(5, 16, 16), torch.randn(1, 7, 16)
    mask = torch.tensor([[True] * 5 + [False] * 2])
    one = layer.attend(queries, words, mask)
    many = layer.attend(queries, words.expand(5, -1, -1), mask.expand(5, -1))
    assert torch.allclose(one, many, atol=1e-6)


def test_expression_is_encoded_alike_alone_and_in_company(tiny: Predictor) -> None:
    both = tiny.read(["a very long expression about two dogs", "kid"])
    alone = tiny.read(["kid"])
    assert torch.equal(both[1].features, alone.features)
    assert (both.sentence[1] == alone.sentence[0]).all()
    assert both.sentence.shape == (2, TINY.vector_channels)
    assert both[-1].texts == ("kid",)


def test_mask_has_the_photos_size_and_positive_e_empties_it(tiny: Predictor) -> None:
    records = tiny.encode(_photos(1, 64))
    judgement = tiny.judge(records["tokens"], tiny.read(["dog"]))
    mask = tiny.render(records["masks"][0], judgement, 123, 45)
    assert mask.array.shape == (45, 123) and mask.rle["size"] == [45, 123]
    assert mask.area == int(mask.array.sum())
    assert (from_rle(mask.rle) == mask.array).all()
    nothing = tiny.render(records["masks"], judgement, 123, 45, accepted=False)
    assert nothing.area == 0 and nothing.box is None


def test_box_encloses_the_mask_exactly() -> None:
    logits = torch.full((8, 8), -5.0)
    logits[2:4, 3:7] = 5.0
    mask = from_logits(logits, 8, 8)
    assert mask.box == (3, 2, 4, 2) and mask.area == 8
    assert iou(mask.array, mask.array) == 1.0
    assert iou(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) is None


@pytest.mark.parametrize("size", [(1, 1), (10_000, 1), (1, 10_000), (7, 300)])
def test_photos_of_any_shape_and_grey_ones_work(tiny: Predictor, size: tuple[int, int]) -> None:
    image = upright(Image.new("L", size, 90))
    records = tiny.encode(to_pixels(image, tiny.input_size)[None])
    mask = tiny.render(records["masks"], tiny.judge(records["tokens"], tiny.read(["cat"])), *size)
    assert mask.array.shape == (size[1], size[0])


@pytest.mark.parametrize(
    ("storage", "most_p", "least_iou"), [("fp16", 1e-3, 0.995), ("int8", 1e-2, 0.99)]
)
def test_caching_changes_no_decision(
    text: TextEncoder, storage: packing.Storage, most_p: float, least_iou: float
) -> None:
    shipped = checkpoint.load(_shipped())
    config = replace(shipped.config, store_tokens=storage, store_masks=storage)
    network = RelaNetwork(config)
    network.load_state_dict(shipped.state_dict())
    predictor = Predictor(network, text)
    pixels = _drawn(24, config.input_size)
    records = predictor.encode(pixels)
    words = predictor.read([text for text in EXPRESSIONS if exclusions.split(text) is None])
    with torch.inference_mode():
        x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
        encoded = network.decode(network.pyramid(x))
        tokens = network.tokens(encoded.regions)
    pairs, worst_p, overlaps = 0, 0.0, []
    for e in range(len(words)):
        cached = predictor.judge(records["tokens"], words[e])
        with torch.inference_mode():
            expanded = words.features[e : e + 1], words.mask[e : e + 1]
            plain = network.judge(tokens, *expanded)
            masks = mask_logits(plain.coefficients, encoded.mask_features)
        p_cached = 1 / (1 + np.exp(-cached.no_target_logit.astype(float)))
        p_plain = plain.no_target_logit.sigmoid().numpy()
        worst_p = max(worst_p, float(np.abs(p_cached - p_plain).max()))
        for i in range(len(pixels)):
            pairs += 1
            mask = predictor.render(records["masks"][i], cached[i], 300, 200)
            overlap = iou(mask.array, from_logits(masks[i], 300, 200).array)
            if overlap is not None and mask.area > 60:
                overlaps.append(overlap)
    assert pairs >= 200 and len(overlaps) >= 20
    assert worst_p <= most_p
    assert float(np.mean(overlaps)) >= least_iou


def test_mini_keeps_at_most_150_kilobytes_a_photo() -> None:
    from model.build import SIZES

    types = packing.record_types(SIZES["rela-mini"])
    sizes = {tier: dtype.itemsize for tier, dtype in types.items()}
    assert sizes["tokens"] + sizes["masks"] + sizes["vectors"] <= 150_000
    assert types["vectors"]["vectors"].itemsize <= 4096  # what FAISS is built from
    assert sizes["vectors"] - 4096 == 16 * (128 + 4)  # the rough head's tokens, int8


def test_features_of_another_version_are_refused_with_the_remedy(tiny: Predictor) -> None:
    foreign = np.zeros(2, np.dtype([("sums", "<f2", (3, 3))]))
    with pytest.raises(ModelVersionMismatch, match="referent reindex"):
        tiny.judge(foreign, tiny.read(["dog"]))


def test_fingerprints_change_only_downstream_of_what_changed(text: TextEncoder) -> None:
    torch.manual_seed(5)
    network = RelaNetwork(TINY)
    before = Predictor(network, text).fingerprints
    with torch.no_grad():
        network.head.minimap.bias.add_(1)
    head = Predictor(network, text).fingerprints
    assert {t for t in before if before[t] != head[t]} == {"head"}
    with torch.no_grad():
        next(network.ria.parameters()).add_(1)
    ria = Predictor(network, text).fingerprints
    assert {t for t in head if head[t] != ria[t]} == {"tokens", "vectors", "head"}
    with torch.no_grad():
        next(network.backbone.parameters()).add_(1)
    assert all(ria[t] != v for t, v in Predictor(network, text).fingerprints.items())


def test_weights_file_round_trip_keeps_network_and_calibration(
    tmp_path: Path, tiny: Predictor
) -> None:
    path = Path(write_tiny_model(tmp_path / "atom.safetensors"))
    Calibration(temperature=2.0).save(tmp_path / "atom.calibration.json")
    predictor = load_predictor(str(path))
    assert predictor.name == "rela-atom" and predictor.calibration.temperature == 2.0
    assert predictor.fingerprints == load_predictor(str(path)).fingerprints


def test_truncated_or_foreign_weights_are_named(tmp_path: Path) -> None:
    path = Path(write_tiny_model(tmp_path / "atom.safetensors"))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(WeightsError, match=r"atom\.safetensors"):
        checkpoint.load(path)
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "b.safetensors")
    with pytest.raises(WeightsError, match="not a weights file of this version"):
        checkpoint.load(tmp_path / "b.safetensors")


def test_weights_of_another_shape_name_the_first_tensors(tiny: Predictor) -> None:
    state = {n: v for n, v in tiny.network.state_dict().items() if v.is_floating_point()}
    state.pop("head.minimap.bias")
    state["extra"] = torch.zeros(1)
    state["head.minimap.weight"] = torch.zeros(3, 3)
    with pytest.raises(WeightsError, match=r"missing head\.minimap\.bias; unknown extra; .*shape"):
        checkpoint.fill(RelaNetwork(TINY), state, "x.safetensors")


def test_unknown_model_lists_the_known_ones() -> None:
    with pytest.raises(UnknownModel, match="rela-mini, rela-photo, rela-tiny, rela-small"):
        load_predictor("rela-huge")
    with pytest.raises(UnknownModel, match=r"no weights file none\.safetensors"):
        load_predictor("none.safetensors")
    with pytest.raises(WeightsError, match="referent train"):
        load_predictor("rela-base")


def test_expressions_are_cleaned_the_same_way_everywhere() -> None:
    assert clean("  kid\tin\u0000 blue \n") == "kid in blue"
    assert clean("ｋｉｄ") == "kid"  # full-width letters
    for bad, says in (("", "empty"), (" \n\t\u200b", "empty"), ("x" * 1001, "1001 characters")):
        with pytest.raises(ExpressionError, match=says):
            clean(bad)


def test_unknown_scripts_are_refused_and_long_expressions_cut(text: TextEncoder) -> None:
    ids, mask = text.tokenize(["dog " * 60])
    assert ids.shape == (1, MAX_TOKENS) and int(mask.sum()) == MAX_TOKENS
    row = text.word_pieces.tokenizer.token_to_id
    assert int(ids[0, -1]) == row("[SEP]")  # a cut sentence keeps its [SEP]
    with pytest.raises(ExpressionError, match="no word of"):
        text.tokenize(["🙂🙃"])
    ids, _ = text.tokenize(["le chien à gauche"])  # other Latin languages are read as pieces
    assert row("[UNK]") not in ids[0].tolist()


def _shipped() -> Path:
    from model.build import weights_of

    return weights_of("rela-mini")


def _drawn(count: int, side: int) -> np.ndarray:
    from training.drawing.scenes import make_photo

    return np.stack([make_photo(seed, "test", side, side)[0] for seed in range(count)])
