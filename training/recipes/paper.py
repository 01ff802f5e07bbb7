"""The recipe of the released networks: early fusion, trained as the authors published it.

Their configuration, and where their code says otherwise, their code: one rate for all, the first
ten layers of BERT learn, no mirroring, no averaging. A step of 48 pairs at 480² is some 48 x 3 x
0.27 TFLOP (Swin-B 0.25, the rest 0.02 a pair forward): 39 TFLOP, 5.9e18 FLOP for 150,000 steps, so
half a day on eight data-centre cards that reach 15 % of 990 TFLOP/s. `--model rela-official-tiny`
costs a third.
"""

from training.recipes.recipe import LossWeights, Recipe

PAPER = Recipe(
    model="rela-official-base",
    data="grefcoco",
    start="swin_base_patch4_window12_384.ms_in22k",
    steps=150_000,
    drops=(110_000, 140_000),
    batch=48,
    positives=1,
    false_ones=0,
    crossed=0,
    absent=0,
    learning_rate=1e-5,
    warmup=0,
    weight_decay=0.05,
    clip=0.01,
    ema=0.0,
    flip=False,
    jitter=0.0,
    losses=LossWeights(
        mask=5.0, minimap=0.5, no_target=0.5, dice=0, regions=0, dense=0, region_masks=0,
        mask_everywhere=True,
    ),
)  # fmt: skip
