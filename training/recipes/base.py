"""The recipe of `rela-base` on gRefCOCO, for whoever has the data and a GPU.

Cost, for the released file's 16,994 training photos: 25,500 steps of 16 are 24 epochs of photos,
408 k vision passes with up to 14 expressions each. By arithmetic; torch's flop counter finds
0.239 TFLOP forward a photo and 0.07 GFLOP a pair:

- Multiply-adds forward at 480²: Swin-B 86 G (73 G, and what it pads), deformable decoder 30 G (six
  layers over 4,725 tokens 21 G, the stride-4 convolution 8.5 G), RIA 4 G; about 120 G, 0.24 TFLOP,
  and three times that with the backward pass: 0.72 TFLOP a photo.
- A pair: RLA's MLP 26 M, filters 8 M, words 6 M, mask 1 M; 0.04 G, 0.24 GFLOP with the backward
  pass, 3.4 GFLOP for 14. BERT-base, frozen, 20 tokens: 1.7 G a text, 48 GFLOP for 14.
- Together 0.77 TFLOP a photo, 3.2e17 FLOP a run. A data-centre card (990 TFLOP/s in bf16 at best)
  reaches perhaps 15 % on such shapes: 36 minutes of computing. A 24 GB consumer card (about 80
  TFLOP/s, a third of it reached; batch 4, accumulate 4): 3.3 hours.
- Batches are made between steps: decoding a photo, squashing it and drawing its masks takes some
  25 ms of a core, 2.8 hours a run. So plan three and a half hours on one data-centre card, six and
  a half on a consumer card; processes on several cards share both.
"""

from dataclasses import replace

from training.recipes.recipe import LossWeights, Recipe

BASE = Recipe(
    model="rela-base",
    data="grefcoco",
    start="facebook/mask2former-swin-base-IN21k-coco-instance",
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

# On tokens dumped once: 16,994 photos are 32 GB, twice that mirrored.
BASE_HEAD = replace(
    BASE, stage="head", start="", steps=10_000, learning_rate=2e-4, flip=False, jitter=0.0
)

# Classic RES (Table 7): one target a photo and expression, no other; E learns nothing. For RefCOCO,
# RefCOCO+ and RefCOCOg; `pairs.target_ciou` of `referent evaluate` is that table's figure.
BASE_CLASSIC = replace(BASE, one_target=True, losses=replace(BASE.losses, no_target=0.0))
