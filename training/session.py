"""A recipe from start to end: data rendered or read, the run trained or resumed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from tqdm import tqdm

from training.prefilter import train_prefilter
from training.recipe import Recipe
from training.recipe_base import BASE
from training.recipe_mini import MINI, MINI_PREFILTER
from training.shards import default_folder, open_shards, render
from training.train import Progress, Trainer

RECIPES: dict[str, Recipe] = {"mini": MINI, "mini-prefilter": MINI_PREFILTER, "base": BASE}


@contextmanager
def interruptible() -> Iterator[list[bool]]:
    """Turn the first Ctrl-C into a wish: the list is filled, the step ends, the run is saved."""
    wished: list[bool] = []
    before = signal.signal(signal.SIGINT, lambda *_: wished.append(True))
    try:
        yield wished
    finally:
        signal.signal(signal.SIGINT, before)


def run_recipe(
    recipe: Recipe,
    folder: Path,
    data: Path | None = None,
    start: Path | None = None,
    limit_minutes: float | None = None,
    workers: int = 1,
    device: str = "cpu",
) -> Path:
    """Run or resume.

    Args:
        folder: of the run; holds `last.pt`, `log.jsonl` and the averaged weights.
        data: rendered shards, or a gRefCOCO-form folder; rendered under runs/shards when None.
        start: weights to begin with (a prefilter stage needs them).
        limit_minutes: stop and save after so long.
        workers: processes that render.
    Returns:
        The averaged weights, fp16.
    """
    size = recipe.config.input_size
    shards_folder = data or default_folder("train", size, recipe.seed)
    render(shards_folder, "train", recipe.photos, size, recipe.seed, workers)
    shards = open_shards(shards_folder, recipe.photos)
    if recipe.stage == "prefilter":
        return train_prefilter(recipe, shards, folder, start, device)
    if device == "cpu":
        torch.set_num_threads(1)  # two one-thread processes beat one of two threads
    trainer = Trainer(recipe, shards, folder, device, start)
    bar = tqdm(total=recipe.steps, initial=trainer.step, unit="step", disable=trainer.rank > 0)

    def show(progress: Progress) -> None:
        bar.update(progress.step - bar.n)
        bar.set_postfix(
            loss=f"{progress.losses['total']:.3f}", photos=f"{progress.photos_per_s:.1f}/s"
        )

    with bar, interruptible() as wished:
        trainer.run(show, limit_minutes, lambda: bool(wished))
    return trainer.weights
