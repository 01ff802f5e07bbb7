"""The recipe of the shipped `rela-photo`: real photographs, seen through a pretrained stem."""

from dataclasses import replace

from training.language.builders import KINDS
from training.recipes.recipe import LossWeights, Recipe

# All but what nobody marks in a photograph; what singles one thing out is drawn more often.
_TOLD = tuple(kind for kind in KINDS if kind != "foreground")

PHOTO = Recipe(
    model="rela-photo",
    data="photos",
    start="pretrained",
    stage="decoder",
    steps=12_000,
    batch=16,
    positives=3,
    false_ones=2,
    crossed=2,
    complements=0.6,
    absent=2,
    nouns=(1, 2),
    composites=2_000,
    drawings=1_500,
    kinds=(*_TOLD, "colour", "relation", "exclusion", "superlative"),
    slips=0.03,
    learning_rate=1.5e-3,
    optimizer="muon",
    warmup=150,
    ema=0.998,
    jitter=0.0,
    losses=LossWeights(no_target=2.0, regions=1.0, dense=0.5, region_masks=0.5, overlap=1.0),
)

# Then the Swin stages too, on the same maps.
PHOTO_ALL = replace(PHOTO, start="", stage="all", steps=6_000, learning_rate=5e-4)

# On an album's own verdicts (`/v1/marks/grefcoco.zip`, unpacked): the head alone, gently.
PHOTO_HEAD = replace(
    PHOTO,
    data="grefcoco",
    start="",
    stage="head",
    steps=200,
    batch=8,
    positives=6,
    false_ones=6,
    crossed=2,
    composites=0,
    drawings=0,
    complements=0.0,
    learning_rate=1e-4,
    warmup=20,
    ema=0.98,
    flip=False,
    losses=LossWeights(no_target=2.0, regions=0, dense=0, region_masks=0),
)

PHOTO_PREFILTER = Recipe(
    model="rela-photo",
    data="photos",
    stage="prefilter",
    steps=2_000,
    teacher=(4000, 3000),
    group=200,
    batch=96,
    learning_rate=1e-3,
    losses=LossWeights(0, 0, 0, 0, 0, 0, 0, prefilter=1.0),
)
