"""The recipe of `rela-base` on gRefCOCO, for whoever has the data and a GPU.

Cost, for the released file's 16,994 training photos at 24 epochs of photos, 408 k vision passes of
up to 14 expressions each (`python -m benchmarks` has the multiply-adds):

- Swin-B at 480², deformable decoder and RIA: about 124 G multiply-adds forward, 248 GFLOP; with
  the backward pass three times that, 0.74 TFLOP a photo.
- RLA and mask: 0.12 G multiply-adds a pair, 0.24 GFLOP, 0.72 with the backward pass; 14 pairs are
  10 GFLOP a photo. BERT-base, frozen, 20 tokens: 1.7 G multiply-adds, 3.4 GFLOP a text, forward
  only; 14 texts are 48 GFLOP a photo.
- Together 0.80 TFLOP a photo, 3.3e17 FLOP a run. A data-centre card (990 TFLOP/s bf16 at best)
  reaches about 15 % on such shapes, 150 TFLOP/s: 36 minutes; with loading and a first estimate's
  luck, plan two hours. A 24 GB consumer card (about 80 TFLOP/s bf16 at best, a third of it
  reached, --batch 4 and accumulate 4): 3.4 hours, plan six.
- Reading: a photo is decoded and its masks drawn in about 25 ms of one core, so one process feeds
  40 photos/s, against 190 photos/s of the fastest card: give such a card `torchrun` with several
  processes.
"""

from dataclasses import replace

from training.recipe import LossWeights, Recipe

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
