"""The recipe of `rela-base` on gRefCOCO, for whoever has the data and a GPU.

Cost: 16,994 training photos, 209 k expressions (released file), 24 epochs of photos at 12
expressions each. Swin-B at 480² with decoder and RIA is 124 G multiply-adds forward, three times
that with the backward pass: a photo 0.74 TFLOP, its 12 heads 12 x 0.12 x 6 = 9 GFLOP.
24 x 16,994 photos are 0.41 M passes, 3.0e17 FLOP: at 40 % of a 790 TFLOP/s bf16 card about
0.3 hours of arithmetic; Swin reaches rather 15 %, so plan for one to two hours on one such
card, and for a day on a 24 GB consumer card (about 70 TFLOP/s).
"""

from training.recipe import LossWeights, Recipe

BASE = Recipe(
    model="rela-base",
    data="grefcoco",
    steps=25_500,
    batch=16,
    positives=8,
    false_ones=2,
    crossed=4,
    absent=0,
    learning_rate=1e-4,
    backbone_rate=0.1,
    warmup=1_500,
    ema=0.9998,
    losses=LossWeights(
        mask=5.0, dice=2.0, minimap=0.5, no_target=0.5, regions=0, dense=0, region_masks=0
    ),
)
