"""A recipe from start to end: data rendered or read, the run trained or resumed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from model import checkpoint
from model.build import SIZES, config_of, weights_of
from model.errors import ModelError, WeightsError
from model.network.config import ReLAConfig
from model.official.config import OFFICIAL, OfficialConfig
from model.stopping import Stop
from model.text import TextEncoder
from training.data import grefcoco
from training.data.grefcoco_photos import with_photos
from training.data.shards import default_folder, first_photo, open_shards, render, wait_for
from training.data.token_dump import DumpedSource
from training.errors import DatasetError, Interrupted
from training.learning.early import EarlyTrainer
from training.learning.prefilter import train_prefilter
from training.learning.starting import early_start, starting_weights
from training.learning.train import Progress, Trainer
from training.learning.validation import Validation
from training.photos.data import PhotoData, open_photos, pack_folder
from training.photos.sources import Data
from training.photos.start import begin as begin_photo
from training.recipes.base import BASE, BASE_CLASSIC, BASE_HEAD
from training.recipes.mini import MINI, MINI_HEAD, MINI_PREFILTER, MINI_SMALL
from training.recipes.paper import PAPER
from training.recipes.photo import PHOTO, PHOTO_ALL, PHOTO_HEAD, PHOTO_PREFILTER
from training.recipes.recipe import Recipe

PRETRAINED = "pretrained"  # a photo recipe's start: the stem as published, the rest of DONOR
DONOR = "rela-mini"

RECIPES: dict[str, Recipe] = {
    "mini": MINI,
    "mini-small": MINI_SMALL,
    "mini-head": MINI_HEAD,
    "mini-prefilter": MINI_PREFILTER,
    "photo": PHOTO,
    "photo-all": PHOTO_ALL,
    "photo-head": PHOTO_HEAD,
    "photo-prefilter": PHOTO_PREFILTER,
    "base": BASE,
    "base-head": BASE_HEAD,
    "base-classic": BASE_CLASSIC,
    "paper": PAPER,
}


def model_named(name: str) -> ReLAConfig | OfficialConfig:
    """A size of `model.build.SIZES`, a released network's, or the configuration in a JSON file.

    Raises:
        ModelError: neither, or a configuration that cannot be built.
    """
    if name in OFFICIAL:
        return OFFICIAL[name]
    if name in SIZES or not name.endswith(".json"):
        return config_of(name)
    try:
        values = json.loads(Path(name).read_text(encoding="utf-8"))
        return ReLAConfig.from_dict(values)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{name} holds no configuration ({error}); write one as in a weights file's header"
        ) from error


def data_of(recipe: Recipe, data: Path | None, workers: int, *, strict: bool = False) -> Data:
    """Open a recipe's data: gRefCOCO's train split, annotated photographs, or shards, rendered
    where none are named.

    Args:
        strict: refuse a gRefCOCO-form folder in which a row or photo cannot be used; else what is
            left out is said.
    Raises:
        DatasetError, ModelError: it is missing.
    """
    if recipe.data == "grefcoco":
        if data is None:
            raise DatasetError(
                "this recipe trains on gRefCOCO: name its folder with --data, see docs/training.md"
            )
        dataset = with_photos(grefcoco.read(data, "train", strict=strict), strict=strict)
        for line in dataset.counts.lines():
            tqdm.write(f"left out at reading: {line}", file=sys.stderr)
        return dataset
    if recipe.data == "photos":
        text = TextEncoder(recipe.config.text)
        return open_photos(
            pack_folder(data), recipe.config, text,
            composed=recipe.composites, drawn=recipe.drawings,
        )  # fmt: skip
    if data is not None:
        return open_shards(data, recipe.photos)
    size = recipe.config.input_size
    first = first_photo(recipe.data_seed)
    folder = default_folder("train", size, first)
    if int(os.environ.get("RANK", "0")) == 0:
        render(folder, "train", recipe.photos, size, first, workers)
    else:
        wait_for(folder, recipe.photos)
    return open_shards(folder, recipe.photos)


def run_recipe(
    recipe: Recipe,
    folder: Path,
    data: Path | None = None,
    start: str | Path | None = None,
    limit_minutes: float | None = None,
    workers: int = 1,
    device: str = "cpu",
    loaders: int = 0,
    new_leg: bool = False,
    strict: bool = False,
    validation: Validation | None = None,
) -> Path:
    """Run or resume.

    Args:
        folder: of the run; holds `last.pt`, `log.jsonl` and the averaged weights.
        data: rendered shards, or a gRefCOCO-form folder; rendered under runs/shards when None.
        start: what to begin with, see `training.learning.starting`; None leaves it to the recipe.
        limit_minutes: stop and save after so long.
        workers: processes that render.
        loaders: processes that draw batches ahead of the steps.
        new_leg: a changed recipe goes on with the run, as a further leg of it.
        strict: see `data_of`.
        validation: measures the averaged weights now and then, and keeps the best.
    Returns:
        The averaged weights, fp16.
    Raises:
        WeightsError: the stage needs weights to start from and none are named.
        Interrupted: Ctrl-C or SIGTERM; the run is saved and can be resumed.
        Diverged: a loss is no number any more; the last good state is kept.
        RecipeChanged: the folder is of another recipe, and no new leg is asked for.
    """
    source = data_of(recipe, data, workers, strict=strict)
    early = isinstance(recipe.network, OfficialConfig)
    if early and recipe.stage != "all":
        raise ModelError("an early-fusion network is trained as a whole: the recipe paper")
    begin = None
    if not (folder / "last.pt").exists():
        named = start if start is not None else recipe.start
        if isinstance(source, PhotoData) and named == PRETRAINED:
            begin = photo_start(recipe, source, folder)
        elif early:
            begin = early_start(named, recipe, folder)
        else:
            begin = starting_weights(named, recipe, folder)
        if begin is None and recipe.stage != "all":
            raise WeightsError(
                f"the {recipe.stage} stage needs trained weights; name them with --start"
            )
    if validation is not None and recipe.stage == "prefilter":
        raise ModelError("the prefilter stage changes no answer, so --val has nothing to measure")
    with Stop() as stop:
        if recipe.stage == "prefilter":
            path = train_prefilter(recipe, source, folder, begin, device, limit_minutes, stop.asked)
            if stop.asked():
                raise Interrupted(f"interrupted; the same command goes on with {folder}")
            return path
        if device == "cpu":
            torch.set_num_threads(1)  # two one-thread processes beat one of two threads
        tokens = None
        if recipe.stage == "head":
            if isinstance(source, PhotoData):
                raise ModelError("photographs are learned by the stages decoder and all, not head")
            tokens = DumpedSource.of(recipe, source, folder, begin, device, stop.asked)
        kind = EarlyTrainer if early else Trainer
        trainer = kind(recipe, source, folder, device, begin, tokens, loaders, new_leg)
        done = _train(trainer, limit_minutes, stop, validation)
    if stop.asked() and not done:
        raise Interrupted(
            f"interrupted after {trainer.step} of {recipe.steps} steps; the averaged weights so "
            f"far are {trainer.weights}, and the same command goes on"
        )
    return trainer.weights


def photo_start(recipe: Recipe, data: PhotoData, folder: Path) -> Path:
    """Write what a network on a pretrained stem begins with into a run's folder.

    Raises:
        WeightsError: the network has no such stem.
    """
    if data.dump is None:
        raise WeightsError(
            f"{recipe.config.name} has no published stem to begin with; name a Mask2Former folder, "
            "Swin weights or weights of ours with --start (photo-all begins from random ones, too)"
        )
    path = folder / "start.safetensors"
    donor = weights_of(DONOR)
    text = TextEncoder(recipe.config.text)
    checkpoint.save(begin_photo(recipe.config, text, data.dump, donor, recipe.seed), path)
    return path


def _train(
    trainer: Trainer,
    limit_minutes: float | None,
    stop: Stop,
    validation: Validation | None,
) -> bool:
    """Train with a bar; whether the recipe is done."""
    bar = tqdm(
        total=trainer.recipe.steps, initial=trainer.step, unit="step", disable=trainer.rank > 0
    )

    def show(progress: Progress) -> None:
        bar.update(progress.step - bar.n)
        bar.set_postfix(
            loss=f"{progress.losses['total']:.3f}", photos=f"{progress.photos_per_s:.1f}/s"
        )

    with bar:
        return trainer.run(show, limit_minutes, stop.asked, validation)
