"""Sentences that leave something out: how they are taken apart, and what their masks share."""

from __future__ import annotations

import numpy as np
import pytest

from model.build import load_predictor
from model.exclusions import Exclusion, split
from model.predictor import Predictor
from training.drawing.scenes import make_photo

SPLIT = {
    "everyone except the man in white": ("everyone", "the man in white"),
    "Everybody besides the child.": ("everybody", "the child"),
    "all birds but not the green bird": ("all birds", "the green bird"),
    "all tables except the purple one": ("all tables", "the purple table"),
    "show me every horse but the right one": ("every horse", "the right horse"),
    "all the women on the left other than the one in red": (
        "all the women on the left", "the woman on the left in red",
    ),
    "every little boy except for the ones with blue shirts": (
        "every little boy", "the little boy with blue shirts",
    ),
    "people without a hat": ("people", "people with a hat"),
    "boys with no bags": ("boys", "boys with bags"),
    "boy with no hat": ("boy", "boy with a hat"),
    "ball that is not black": ("ball", "ball that is black"),
    "kids not on the left": ("kids", "kids on the left"),
    "people that are not on the left": ("people", "people that are on the left"),
    "the guy not wearing purple": ("the guy", "the guy wearing purple"),
}  # fmt: skip
WHOLE = (
    "two dogs on the left", "a man and the dog without a collar", "photos without a dog",
    "pictures except the red ones", "no people", "girl but not too big", "nothing",
)  # fmt: skip


@pytest.mark.parametrize("text", SPLIT)
def test_a_sentence_is_taken_apart(text: str) -> None:
    assert split(text) == Exclusion(*SPLIT[text])


@pytest.mark.parametrize("text", WHOLE)
def test_all_others_are_left_whole(text: str) -> None:
    assert split(text) is None


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return load_predictor("rela-mini")


def test_a_photo_shows_what_the_whole_shows_without_what_is_left_out(predictor: Predictor) -> None:
    pixels = np.stack([make_photo(seed, "test", 224, 224)[0] for seed in range(8)])
    records = predictor.encode(pixels, ("tokens", "masks"))
    judged = {
        text: predictor.judge(records["tokens"], predictor.read([text])[0])
        for text in ("everyone except the one on the left", "everyone", "the person on the left")
    }
    there = 0
    for at in range(len(pixels)):
        found, whole, left_out = (
            predictor.mask_logits(records["masks"][at : at + 1], verdict[at])[0].numpy()
            for verdict in judged.values()
        )
        if judged["the person on the left"].no_target_logit[at] < 0:
            there += 1
            assert np.array_equal(found, np.minimum(whole, -left_out))
            assert not ((found > 0) & (left_out > 0)).any()
        else:
            assert np.array_equal(found, whole)
    assert there > 2


def test_pairs_are_judged_as_searches_are(predictor: Predictor) -> None:
    texts = ["everyone except the one on the left", "a dog"]
    pixels = np.stack([make_photo(seed, "test", 224, 224)[0] for seed in range(2)])
    records = predictor.encode(pixels, ("tokens", "masks"))
    words = predictor.read(texts)
    together = predictor.judge_pairs(records["tokens"], words)
    for at in range(2):
        alone = predictor.judge(records["tokens"][at : at + 1], words[at])
        one = predictor.mask_logits(records["masks"][at : at + 1], alone)
        other = predictor.mask_logits(records["masks"][at : at + 1], together[at])
        assert np.allclose(one, other, atol=1e-3)
