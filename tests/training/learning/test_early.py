"""The released networks' own training: their losses, schedule and data, on a small network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from typer.testing import CliRunner

from model.errors import ModelError, WeightsError
from model.official.build import load_official, read_header
from model.official.config import OfficialConfig, TextConfig
from model.official.network import OfficialRela
from model.starting_points import write_early_start
from referent.main import app
from tests.support.grefcoco_squares import small_set
from training.data.grefcoco import Dataset
from training.data.single_pairs import SinglePairs
from training.errors import DatasetError
from training.learning.early import BERT_LAYERS, EarlyTrainer
from training.learning.losses import means, total
from training.learning.train import Progress
from training.recipes.paper import PAPER
from training.recipes.recipe import Recipe

SMALL = OfficialConfig(
    name="rela-official-tiny",
    embed_dim=8,
    depths=(1, 1, 1, 1),
    heads=(1, 1, 2, 2),
    window=4,
    drop_path=0.0,
    conv_dim=16,
    mask_dim=16,
    encoder_layers=1,
    encoder_ffn_dim=32,
    hidden_dim=16,
    ffn_dim=32,
    decoder_heads=2,
    decoder_layers=3,
    input_size=64,
    text=TextConfig(vocab_size=997, hidden_size=16, layers=12, heads=2, ffn_dim=32, positions=20),
)
RECIPE = replace(
    PAPER, model=SMALL, start="", steps=6, batch=3, learning_rate=3e-3, clip=1.0, drops=(4, 5),
    bf16=False,
)  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return small_set(tmp_path / "set")


def test_losses_are_the_authors_as_they_compute_them(data: Dataset, tmp_path: Path) -> None:
    trainer = EarlyTrainer(RECIPE, data, tmp_path / "run")
    batch = trainer.sampler.batch(0)
    ids, mask = trainer._read(trainer._draw(0)).words or (Tensor(), Tensor())
    network = trainer.module.network
    words = network.read(ids[batch.text], mask[batch.text])
    out = network(batch.pixels, words, mask[batch.text])
    weight = torch.tensor([0.9, 1.1])
    large = F.interpolate(out.masks, (64, 64), mode="bilinear", align_corners=False)
    cells = F.interpolate(batch.masks[:, None], (10, 10), mode="bilinear", align_corners=False)
    wanted = 5 * (
        F.cross_entropy(large, batch.masks.long(), weight)
        + 0.1 * F.cross_entropy(out.minimap.permute(0, 2, 1), cells.flatten(1).long(), weight)
        + 0.1 * F.cross_entropy(out.no_target, batch.no_target.long(), weight)
    )
    found = total(means(trainer.module(batch, ids, mask, RECIPE)), RECIPE.losses)
    torch.testing.assert_close(found, wanted)


def test_the_run_learns_with_berts_first_layers_and_is_evaluated(
    data: Dataset, tmp_path: Path
) -> None:
    totals: list[float] = []

    def note(progress: Progress) -> None:
        totals.append(progress.losses["total"])

    recipe = replace(RECIPE, steps=30, drops=(25,))
    trainer = EarlyTrainer(recipe, data, tmp_path / "run")
    before = {n: p.detach().clone() for n, p in trainer.module.network.named_parameters()}
    assert trainer.run(note)
    assert totals[-1] < 0.9 * totals[0]
    moved = {
        n for n, p in trainer.module.network.named_parameters() if not torch.equal(p, before[n])
    }
    assert {"text_encoder.encoder.layer.0.attention.self.query.weight",
            f"text_encoder.encoder.layer.{BERT_LAYERS - 1}.output.dense.weight",
            "backbone.fusions.0.vision.weight", "words.weight",
            "minimap.weight"} <= moved  # fmt: skip
    for name in ("embeddings.word_embeddings.weight",
                 f"encoder.layer.{BERT_LAYERS}.output.dense.weight"):  # fmt: skip
        assert f"text_encoder.{name}" not in moved
    header = read_header(trainer.weights)
    assert header["steps"] == "30" and json.loads(header["legs"])[0]["recipe"]["batch"] == 3
    network = load_official(trainer.weights)
    assert network.config == SMALL
    told = CliRunner().invoke(
        app, ["evaluate", str(trainer.weights), "--data", str(data.folder), "--json"]
    )
    assert told.exit_code == 0, told.output
    figures = json.loads(told.stdout)
    assert figures["model"] == "rela-official-tiny"
    assert figures["protocols"]["gres480"][0]["figures"]["samples"] == len(data)


def test_rates_drop_and_what_decays_is_as_published(data: Dataset, tmp_path: Path) -> None:
    trainer = EarlyTrainer(RECIPE, data, tmp_path / "run")
    rates = [trainer.rate(step) for step in range(6)]
    assert rates == pytest.approx([3e-3] * 4 + [3e-4, 3e-5])
    (optimizer,) = trainer.optimizers
    decays = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    network = trainer.module.network
    assert decays[id(network.minimap.bias)] == 0.05  # biases decay there
    for module in network.modules():
        if isinstance(module, nn.LayerNorm | nn.GroupNorm) and id(module.weight) in decays:
            assert decays[id(module.weight)] == 0.0
    tables = dict(network.backbone.named_parameters())
    table = tables["layers.0.blocks.0.attn.relative_position_bias_table"]
    assert decays[id(table)] == 0.0
    assert id(network.text_encoder.embeddings["word_embeddings"].weight) not in decays
    assert PAPER.drops == (110_000, 140_000) and (PAPER.batch, PAPER.learning_rate) == (48, 1e-5)


def test_a_resumed_run_ends_with_the_same_weights_to_the_bit(data: Dataset, tmp_path: Path) -> None:
    whole = EarlyTrainer(RECIPE, data, tmp_path / "whole")
    whole.run()
    first = EarlyTrainer(RECIPE, data, tmp_path / "parts")
    assert not first.run(should_stop=lambda: first.step == 3)
    second = EarlyTrainer(RECIPE, data, tmp_path / "parts")
    assert second.step == 3 and second.run()
    assert second.weights.read_bytes() == whole.weights.read_bytes()


def test_each_expression_comes_once_an_epoch_with_its_own_photo_and_mask(data: Dataset) -> None:
    sampler = SinglePairs(data, RECIPE, SMALL)
    count = len(data)
    places = [p for step in range(2 * count) for p in sampler.places(step)]
    for epoch in range(RECIPE.batch):
        assert sorted(places[epoch * count : (epoch + 1) * count]) == list(range(count))
    assert places[:count] != places[count : 2 * count]
    batch = sampler.batch(1)
    for row, place in enumerate(sampler.places(1)):
        sample = data.samples[place]
        assert batch.texts[int(batch.text[row])] == sample.text
        assert bool(batch.no_target[row]) == sample.no_target
        assert np.array_equal(batch.pixels[row].permute(1, 2, 0).numpy(), sampler.pixels(place))
        share = data.mask(sample).mean()
        assert float(batch.masks[row].mean()) == pytest.approx(share, abs=0.02)
    halves = [SinglePairs(data, replace(RECIPE, batch=4), SMALL, rank, 2) for rank in (0, 1)]
    together = SinglePairs(data, replace(RECIPE, batch=4), SMALL).places(5)
    assert halves[0].places(5) + halves[1].places(5) == together


def test_it_starts_from_swin_and_bert_as_published(data: Dataset, tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(3)
    network = OfficialRela(SMALL)
    swin = {
        name: torch.randn_like(value)
        for name, value in network.backbone.state_dict().items()
        if not name.startswith(("norms.", "fusions.", "gates."))
    }
    save_file({**swin, "head.weight": torch.zeros(1)}, tmp_path / "swin.safetensors")
    text = SMALL.text
    bert = BertModel(
        BertConfig(vocab_size=text.vocab_size, hidden_size=16, num_hidden_layers=12,
                   num_attention_heads=2, intermediate_size=32, max_position_embeddings=20)
    )  # fmt: skip
    bert.save_pretrained(tmp_path / "bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "dog"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "bert")
    path = tmp_path / "start.safetensors"
    write_early_start(tmp_path / "swin.safetensors", str(tmp_path / "bert"), network, path)
    begun = EarlyTrainer(RECIPE, data, tmp_path / "run", start=path).module.network.state_dict()
    name = "layers.0.blocks.0.attn.qkv.weight"
    assert torch.allclose(begun[f"backbone.{name}"], swin[name], atol=1e-2)
    theirs = bert.state_dict()["encoder.layer.11.output.dense.weight"]
    assert torch.allclose(begun["text_encoder.encoder.layer.11.output.dense.weight"], theirs,
                          atol=1e-3)  # fmt: skip
    other = OfficialRela(replace(SMALL, embed_dim=16))
    with pytest.raises(WeightsError, match="does not fit"):
        write_early_start(tmp_path / "swin.safetensors", str(tmp_path / "bert"), other, path)


def test_the_recipe_runs_from_the_command_line_with_a_curve(data: Dataset, tmp_path: Path) -> None:
    sizes = {"embed_dim": 8, "depths": [1, 1, 1, 1], "heads": [1, 1, 2, 2], "window": 4,
             "conv_dim": 16, "mask_dim": 16, "encoder_layers": 1, "encoder_ffn_dim": 32,
             "hidden_dim": 16, "ffn_dim": 32, "decoder_heads": 2, "decoder_layers": 3,
             "input_size": 64, "text.hidden_size": 16, "text.heads": 2,
             "text.ffn_dim": 32}  # fmt: skip
    command = ["train", "paper", "--data", str(data.folder), "--start", "random", "--steps", "2",
               "--batch", "2", "--out", str(tmp_path / "run"), "--model", "rela-official-tiny",
               "--val", f"{data.folder}:train", "--every", "2"]  # fmt: skip
    for name, value in sizes.items():
        command += ["--set", f"model.{name}={json.dumps(value)}"]
    run = CliRunner().invoke(app, command)
    assert run.exit_code == 0, run.output
    rows = [json.loads(line) for line in (tmp_path / "run/val.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2]
    assert load_official(tmp_path / "run/best.safetensors").config.embed_dim == 8


def test_what_cannot_be_trained_so_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="recipe paper"):
        _ = Recipe(model="rela-official-tiny").config
    with pytest.raises(DatasetError, match="--data"):
        EarlyTrainer(RECIPE, object(), tmp_path)  # type: ignore[arg-type]
