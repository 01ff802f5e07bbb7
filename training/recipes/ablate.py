"""The recipe behind the paper's tables on drawings: a small ReLA, close to the paper's form.

What `rela-mini` adds to the paper (several RLA layers and heads, pooling by attention, regions that
start from their own cells, read-outs of what regions show) is left out, since it stands in for the
very parts that the tables take away.
"""

from dataclasses import replace

from model.build import config_of
from training.recipes.recipe import LossWeights, Recipe

_SMALL = replace(
    config_of("rela-mini"),
    name="rela-ablation",
    input_size=128,
    ria_seeded=False,
    rla_layers=1,
    word_heads=1,
    pooling="mean",
    vectors=1,
    vector_layers=0,
    rough_layers=0,
)

# Swin starts trained, as in the paper; there from ImageNet, here from rela-mini.
ABLATE = Recipe(
    model=_SMALL,
    photos=8_000,
    start="rela-mini",
    steps=600,
    batch=16,
    positives=5,
    false_ones=2,
    crossed=2,
    absent=1,
    learning_rate=1.5e-3,
    backbone_rate=0.1,
    optimizer="muon",
    warmup=50,
    ema=0.99,
    losses=LossWeights(regions=0, dense=0, region_masks=0),
)
