"""The recipe of the shipped `rela-mini`: synthetic albums only, on two CPU cores or a GPU."""

from dataclasses import replace

from model.build import config_of
from training.language.grammar import KINDS
from training.recipes.recipe import LossWeights, Recipe

# Muon at 1.5e-3 learns in 400 steps what AdamW at 6e-4 learns in 700; at 4e-3 it is worse than
# either (docs/decisions/0003).
MINI = Recipe(
    model="rela-mini",
    photos=88_000,
    steps=7_300,
    batch=16,
    positives=6,
    false_ones=3,
    crossed=3,
    absent=1,
    kinds=(*KINDS, "attribute", "relation", "compound", "exclusion"),
    slips=0.08,
    learning_rate=1.5e-3,
    optimizer="muon",
    warmup=200,
    ema=0.998,
    losses=LossWeights(no_target=2.0),
)

# First at a smaller size: steps cost a third less. `mini --start` goes on from its weights.
MINI_SMALL = replace(MINI, model=replace(config_of("rela-mini"), input_size=160))

# On tokens dumped once: other heads, other losses, for a tenth of the time.
MINI_HEAD = replace(MINI, stage="head", steps=3_000, learning_rate=1e-3, jitter=0.0)

# On frozen region tokens: the prefilter's projections and rough head learn to foresee the head.
MINI_PREFILTER = Recipe(
    model="rela-mini",
    stage="prefilter",
    photos=24_000,
    steps=2_000,
    teacher=(5000, 6000),
    group=200,
    batch=96,
    learning_rate=1e-3,
    losses=LossWeights(0, 0, 0, 0, 0, 0, 0, prefilter=1.0),
)
