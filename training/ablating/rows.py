"""One variant under one seed: begun equally, trained, measured; its figures are kept."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from model import pixel_rule
from model.asking import LateFusion
from model.calibration import Calibration
from model.network.config import ReLAConfig
from model.network.rela import RelaNetwork
from model.predictor import Predictor
from model.replacing import replacing
from training.ablating.begins import begin
from training.ablating.tables import FULL, VARIANTS
from training.baselines.learning import BaselineTrainer
from training.baselines.learning import judge_pairs as judge_baseline
from training.baselines.networks import BASELINES, PairNetwork
from training.learning.train import Progress, Trainer
from training.measuring.charts import sheet_of
from training.measuring.evaluate import pair_figures
from training.measuring.judging import PairScores, PairSet
from training.measuring.report import Examples, answer
from training.measuring.scoring import judge_pairs
from training.photos.sources import Data
from training.recipes.recipe import Recipe

FIGURES = "figures.json"
ANSWERS = "answers.png"  # of networks that are no baselines
_SHOWN = 2  # pairs of each number of targets
_KEPT = ("giou", "ciou", "pr@0.7", "pr@0.8", "pr@0.9", "n_acc", "t_acc", "target_iou",
         "target_ciou", "samples", "targeted", "by_kind", "by_targets", "by_origin")  # fmt: skip


def recipe_of(name: str, full: Recipe, seed: int) -> Recipe:
    """A variant's recipe: the full one with the variant's changes, under a seed.

    Raises:
        ModelError: the network cannot be built so, such as a hard split that P does not divide.
    """
    variant = VARIANTS[name]
    changed = replace(full, seed=seed, **variant.recipe)
    if changed.one_target:  # as many pairs a photo, all of them its own
        changed = replace(changed, positives=full.pairs)
    return replace(changed, model=_named(replace(full.config, **variant.network), name))


def _named(config: ReLAConfig, name: str) -> ReLAConfig:
    return config if name == FULL else replace(config, name=f"{config.name}-{name}")


def folder_of(out: Path, name: str, seed: int) -> Path:
    """Where a variant's run under a seed lies."""
    return out / "rows" / f"{name}-{seed}"


def figures_of(out: Path, name: str, seed: int) -> dict[str, Any] | None:
    """What was measured of a variant under a seed; None where it is not done."""
    path = folder_of(out, name, seed) / FIGURES
    if not path.exists():
        return None
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return figures


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Claim a row against other processes; False where another one has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".claim").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def train_row(
    name: str,
    full: Recipe,
    seed: int,
    data: Data,
    measured: PairSet,
    out: Path,
    *,
    trunk: Path | None = None,
    device: str = "cpu",
    progress: Callable[[Progress], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Train a variant, or go on with it, and measure it.

    Args:
        full: the full network's recipe; see `recipe_of`.
        data: that is trained on. measured: that is measured on.
        trunk: see `begin`.
    Returns:
        False when it was stopped before its steps were done.
    """
    folder = folder_of(out, name, seed)
    recipe = recipe_of(name, full, seed)
    start = folder / "start.safetensors"
    method = VARIANTS[name].baseline
    if not start.exists():
        build = BASELINES[method] if method else RelaNetwork
        begin(recipe.config, full.config, trunk, seed, start, build)
    trainer = (
        BaselineTrainer(method, recipe, data, folder, device, start)
        if method
        else Trainer(recipe, data, folder, device, start)
    )
    if not trainer.run(progress, should_stop=should_stop):
        return False
    begun = time.monotonic()
    scores = _scores(trainer, measured, device, folder)
    figures = {
        "variant": name,
        "seed": seed,
        "steps": trainer.step,
        "training_s": round(trainer.elapsed_s, 1),
        "measuring_s": round(time.monotonic() - begun, 1),
        "data": measured.name,
        "revision": measured.revision,
        "date": datetime.now(UTC).date().isoformat(),
        "classifier": _figures(measured, scores),
        "pixels": _figures(measured, by_pixels(scores)),
    }
    with replacing(folder / FIGURES) as written:
        written.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    for spent in (folder / "last.pt", start):
        spent.unlink(missing_ok=True)
    return True


def _scores(trainer: Trainer, data: PairSet, device: str, folder: Path) -> PairScores:
    network = trainer.averaged()
    if isinstance(network, PairNetwork):
        return judge_baseline(network, trainer.text, data, device)
    asked = LateFusion(Predictor(network, trainer.text, Calibration(), device))
    scores = judge_pairs(asked, data)
    examples = Examples(data, scores, Calibration())
    confidence = examples.calibration.confidence(scores.no_target_logit)
    pictures = [answer(examples, asked, i, float(confidence[i])) for i in _shown(data)]
    sheet_of(pictures).save(folder / ANSWERS)
    return scores


def _shown(data: PairSet) -> list[int]:
    """The same few pairs for every network: of several targets, of none, of one."""
    found: dict[int, list[int]] = {2: [], 3: [], 0: [], 1: []}
    for index in np.random.default_rng(0).permutation(len(data.pairs)):
        group = found[min(3, len(data.pairs[index].targets))]
        if len(group) < _SHOWN:
            group.append(int(index))
    return [index for group in found.values() for index in group]


def by_pixels(scores: PairScores) -> PairScores:
    """The same masks, decided by the 50-pixel rule instead of the classifier."""
    logit = np.asarray(pixel_rule.no_target_logit(scores.input_area), np.float64)
    return replace(scores, no_target_logit=logit)


def _figures(data: PairSet, scores: PairScores) -> dict[str, Any]:
    """What is told of a row, at p(no target) = 0.5: nothing is chosen on what is measured."""
    found = pair_figures(data, scores, Calibration())
    return {key: found[f"pairs.{key}"] for key in _KEPT}
