"""The recipe of the shipped `rela-mini`: synthetic albums only, on two CPU cores or a GPU."""

from dataclasses import replace

from training.recipe import LossWeights, Recipe

MINI = Recipe(model="rela-mini", photos=24_000, steps=6_000, batch=16)

# On tokens dumped once: other heads, other losses, for a tenth of the time.
MINI_HEAD = replace(MINI, stage="head", steps=3_000, learning_rate=5e-4, jitter=0.0)

# On frozen region tokens: the prefilter's projections learn to foresee the head.
MINI_PREFILTER = Recipe(
    model="rela-mini",
    stage="prefilter",
    photos=24_000,
    steps=1_500,
    batch=64,
    positives=3,
    false_ones=1,
    crossed=12,
    absent=0,
    learning_rate=1e-3,
    warmup=100,
    flip=False,
    losses=LossWeights(0, 0, 0, 0, 0, 0, 0, prefilter=1.0),
)
