"""LAVT and VLT: they hear the expression, learn in our trainer, and are measured like ours."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model import pixel_rule
from model.calibration import Calibration
from model.network.config import ReLAConfig, SwinConfig
from model.network.rela import RelaNetwork
from model.text import TextEncoder
from tests.support.tiny_model import TINY
from tests.support.train_process import RECIPE
from training.ablating.begins import begin
from training.baselines.learning import BaselineTrainer, judge_pairs
from training.baselines.networks import BASELINES, Answer, PairNetwork
from training.data.shards import Shards, open_shards, render
from training.learning.train import Progress
from training.measuring.evaluate import pair_figures
from training.measuring.testsets import Sizes, pairs
from training.recipes.recipe import LossWeights

DENSE = replace(
    TINY,
    swin=SwinConfig(
        embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), window_size=2, dense=True
    ),
)
SMALL = replace(
    RECIPE, warmup=3, jitter=0.0, losses=LossWeights(regions=0, dense=0, region_masks=0)
)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    folder = tmp_path_factory.mktemp("shards")
    render(folder, "train", 12, 64, 1, workers=1)
    return open_shards(folder)


def asked(network: PairNetwork, words: torch.Tensor) -> Answer:
    """Answers to each row of words, (M, T, C), about the first of two photos."""
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 255
    photo = torch.zeros(len(words), dtype=torch.long)
    return network.eval().answer(pixels, photo, words, torch.ones(words.shape[:2]).bool())


@pytest.mark.parametrize("config", [TINY, DENSE], ids=["fitted", "dense"])
@pytest.mark.parametrize("name", BASELINES)
def test_answers_depend_on_the_expression_and_on_nothing_else(
    name: str, config: ReLAConfig
) -> None:
    torch.manual_seed(1)
    network = BASELINES[name](config)
    words = torch.randn(3, 5, config.channels)
    with torch.no_grad():
        three, one = asked(network, words), asked(network, words[1:2])
    assert three.mask_logits.shape == (3, 16, 16)
    assert (three.mask_logits[0] - three.mask_logits[1]).abs().max() > 1e-4
    assert torch.allclose(three.mask_logits[1:2], one.mask_logits, atol=1e-4)
    assert (three.head is not None) == name.endswith("+rela")


def test_padding_is_not_heard() -> None:
    for name in BASELINES:
        torch.manual_seed(1)
        network = BASELINES[name](TINY).eval()
        words = torch.randn(1, 5, TINY.channels)
        longer = torch.cat([words, 9 * torch.randn(1, 3, TINY.channels)], dim=1)
        mask = torch.arange(8)[None] < 5
        pixels = torch.rand(1, 3, 64, 64) * 255
        photo = torch.zeros(1, dtype=torch.long)
        with torch.no_grad():
            short = network.answer(pixels, photo, words, mask[:, :5]).mask_logits
            padded = network.answer(pixels, photo, longer, mask).mask_logits
        assert torch.allclose(short, padded, atol=1e-4), name


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_learns_and_resumes_to_the_bit(
    name: str, shards: Shards, tmp_path: Path
) -> None:
    recipe = replace(SMALL, steps=14)
    start = tmp_path / "start.safetensors"
    begin(TINY, TINY, None, 1, start, BASELINES[name])
    totals: list[float] = []

    def note(progress: Progress) -> None:
        totals.append(progress.losses["total"])

    whole = BaselineTrainer(name, recipe, shards, tmp_path / "whole", "cpu", start)
    assert whole.run(note)
    assert totals[-1] < totals[0] and np.isfinite(totals).all()
    first = BaselineTrainer(name, recipe, shards, tmp_path / "parts", "cpu", start)
    assert not first.run(should_stop=lambda: first.step == 5)
    second = BaselineTrainer(name, recipe, shards, tmp_path / "parts", "cpu", start)
    assert second.step == 5 and second.run()
    for key, value in whole.averaged().state_dict().items():
        assert torch.equal(value, second.averaged().state_dict()[key]), key


def test_rela_in_the_place_of_a_decoder_begins_as_the_full_network_does(tmp_path: Path) -> None:
    for name in ("lavt+rela", "vlt+rela"):
        begin(TINY, TINY, None, 3, tmp_path / "a.safetensors", BASELINES[name])
        begin(TINY, TINY, None, 3, tmp_path / "b.safetensors", RelaNetwork)
        made, full = BASELINES[name](TINY).state_dict(), RelaNetwork(TINY).state_dict()
        for part in ("backbone.", "pixel_decoder.", "ria.", "words.", "head."):
            kept = {k for k in full if k.startswith(part)}
            assert kept and kept <= set(made), (name, part)
    for name in ("lavt", "vlt"):
        made = BASELINES[name](TINY).state_dict()
        assert not [k for k in made if k.startswith(("pixel_decoder.", "ria.", "head."))]


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_is_measured_like_the_network(
    name: str, tmp_path: Path, text: TextEncoder
) -> None:
    data = pairs("val", Sizes(3, 8, 16, 1, 4), folder=tmp_path)
    torch.manual_seed(2)
    scores = judge_pairs(BASELINES[name](TINY), text, data)
    with_target = np.array([bool(p.targets) for p in data.pairs])
    assert ((scores.truth_area > 0) == with_target).all()
    assert (scores.intersection <= np.minimum(scores.predicted_area, scores.truth_area)).all()
    if not name.endswith("+rela"):
        wanted = pixel_rule.no_target_logit(scores.input_area)
        assert scores.no_target_logit == pytest.approx(wanted)
    figures = pair_figures(data, scores, Calibration())
    assert figures["pairs.samples"] == len(data.pairs)


@pytest.fixture(scope="module")
def text() -> TextEncoder:
    return TextEncoder("minilm")
