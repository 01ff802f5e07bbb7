"""What the prefilter learns from: pairs in question are drawn more often, and count for less."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from model.network.rela import RelaNetwork
from tests.support.tiny_model import TINY
from training.learning import prefilter_losses as losses
from training.learning.prefilter_losses import Lesson


def lesson_of(network: RelaNetwork, expressions: int = 6, photos: int = 24) -> Lesson:
    """Random regions and words with the head's own verdicts on all pairs."""
    regions = torch.randn(photos, TINY.regions, TINY.channels)
    words = torch.randn(expressions, 3, TINY.channels)
    mask = torch.ones(expressions, 3, dtype=torch.bool)
    with torch.no_grad():
        tokens = network.tokens(regions)
        rows = [network.judge(tokens, words[e : e + 1], mask[e : e + 1]) for e in range(len(words))]
    logits = torch.stack([-row.no_target_logit for row in rows])
    logits = 4 * (logits - logits.mean()) / logits.std()
    asked = torch.arange(photos).expand(expressions, photos)
    return Lesson(regions, words, mask, asked, logits.sigmoid(), logits.clone())


def test_pairs_in_question_are_drawn_more_often_and_the_weights_undo_it() -> None:
    rng = np.random.default_rng(0)
    chance = torch.full((200, 50), 0.12)
    chance[:, :10] = 1.0
    value = torch.arange(50.0)
    chosen, weight = losses.drawn(chance, rng)
    assert chosen.shape == weight.shape == (200, losses.ROUGH_ASKED)
    assert all(len(set(row)) == losses.ROUGH_ASKED for row in chosen.tolist())
    assert (chosen < 10).float().mean() > 2 * 10 / 50
    torch.testing.assert_close(weight.mean(1), torch.ones(200))
    plain, undone = value[chosen].mean(), (weight * value[chosen]).mean()
    assert abs(undone - value.mean()) < 2 < abs(plain - value.mean())


def test_what_is_accepted_is_always_in_question() -> None:
    worth = losses.in_question(torch.tensor([9.0, 0.0, -1.0, -3.0, -50.0]))
    assert worth[:2].tolist() == [1.0, 1.0] and (worth.diff()[1:] < 0).all()
    assert worth[-1] == torch.tensor(losses.CHANCE_MIN)


def test_pairs_that_stand_for_two_pull_twice_as_much() -> None:
    torch.manual_seed(2)
    logits, target = torch.randn(4, 10, requires_grad=True), torch.rand(4, 10)
    double = torch.cat([logits, logits[:, :5]], 1), torch.cat([target, target[:, :5]], 1)
    (whole,) = torch.autograd.grad(losses.contrast(*double), logits)
    weight = torch.ones(4, 10)
    weight[:, :5] = 2.0
    (part,) = torch.autograd.grad(losses.contrast(logits, target, weight * 10 / 15), logits)
    torch.testing.assert_close(part, whole)


def test_rough_head_learns_the_verdicts_and_its_answers_are_remembered() -> None:
    torch.manual_seed(3)
    network = RelaNetwork(replace(TINY, pooling="attention"))
    rough = network.rough
    assert rough is not None
    lesson = lesson_of(network)
    rough.begin_as(network.head)
    before = lesson.scores.clone()
    optimizer = torch.optim.AdamW(rough.parameters(), lr=3e-3)
    found = []
    for step in range(60):
        rng = np.random.default_rng(step)
        some = torch.from_numpy(rng.permutation(24))
        loss = losses.rough_loss(rough, lesson, torch.arange(6), some, rng, bf16=False)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(float(loss.detach()))
    assert np.mean(found[-10:]) < 0.8 * np.mean(found[:10])
    assert (lesson.scores != before).float().mean() > 0.9 and not lesson.scores.requires_grad
    with torch.inference_mode():
        now = rough(rough.tokens(lesson.regions), lesson.words, lesson.mask)
    agree = torch.corrcoef(torch.stack([now.flatten(), lesson.target.logit().flatten()]))[0, 1]
    assert agree > 0.8
