"""One process of a training run, as torchrun starts several: ``train_process.py SHARDS OUT``."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch

from tests.support.tiny_model import TINY
from training.data.shards import open_shards
from training.learning.train import Trainer
from training.recipes.recipe import LossWeights, Recipe

RECIPE = Recipe(
    model=TINY,
    photos=12,
    steps=30,
    batch=4,
    positives=2,
    false_ones=1,
    crossed=2,
    absent=1,
    learning_rate=4e-3,
    warmup=3,
    bf16=False,
    losses=LossWeights(deep=0.5),
)


# What two processes train for comparison.
TOGETHER = replace(RECIPE, model=replace(TINY, rla_layers=2), steps=3, accumulate=2)


def main() -> None:
    """Train three steps, say each step's losses."""
    torch.set_num_threads(1)
    shards, out = Path(sys.argv[1]), Path(sys.argv[2])
    trainer = Trainer(TOGETHER, open_shards(shards), out)
    rows = [trainer.advance() for _ in range(TOGETHER.steps)]
    if os.environ.get("RANK", "0") == "0":
        (out / "losses.json").write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
