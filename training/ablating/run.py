"""Tables from start to end: data opened once, rows trained one after another, pages written."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import torch
from tqdm import tqdm

from model.build import SIZES, weights_of
from model.stopping import Stop
from training.ablating.begins import begin
from training.ablating.plan import Plan, PlanError, begun, settle
from training.ablating.rows import claimed, figures_of, folder_of, recipe_of, train_row
from training.ablating.tables import FULL, TABLES, Table, variants_of
from training.ablating.written import write
from training.data import grefcoco
from training.data.shards import default_folder, open_shards, render
from training.errors import Interrupted
from training.learning.starting import RANDOM, starting_weights
from training.learning.train import Progress, Trainer
from training.measuring import testsets
from training.measuring.judging import PairSet
from training.measuring.suite import folder_pairs
from training.photos.sources import Data
from training.recipes.recipe import Recipe

DRAWN_BY = 1  # the seed of the photos: every seed of a row trains on the same ones
TIMED = 6  # steps that tell how long one takes


def named(names: Sequence[str]) -> list[Table]:
    """The tables that are asked for; "all" is every one.

    Raises:
        PlanError: there is no such table.
    """
    wanted = list(TABLES) if "all" in names else list(names)
    if unknown := [name for name in wanted if name not in TABLES]:
        raise PlanError(
            f"no table is called {', '.join(unknown)}; known: {', '.join(TABLES)}, or all"
        )
    return [TABLES[name] for name in dict.fromkeys(wanted)]


def run_tables(
    tables: Sequence[Table],
    plan: Plan,
    seeds: Sequence[int],
    out: Path,
    *,
    device: str = "cpu",
    workers: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> bool:
    """Train what is missing of some tables, and write their pages.

    A second call, also beside this one, takes the rows that nobody has taken; a stopped one goes
    on within the row.

    Args:
        plan: the conditions; a budget in minutes is measured where the folder is new.
        seeds: each trains every row.
        workers: processes that draw photos.
    Returns:
        False when it was stopped, or another process still trains some of the rows.
    Raises:
        PlanError: the folder was begun under other conditions.
        ModelError, DatasetError: something cannot be built or read.
    """
    asked = dict.fromkeys(v for table in tables for v in variants_of(table))
    variants = sorted(asked, key=lambda name: name != FULL)  # what all are compared with
    for name in variants:
        recipe_of(name, plan.recipe, seeds[0])  # what cannot be built is said before hours of work
    if device == "cpu":
        torch.set_num_threads(1)
    untimed = plan.minutes if not begun(out) else None
    if untimed is None:
        plan = settle(plan, out)
    data, measured = open_data(plan, workers)
    trunk = trunk_of(plan.recipe, out)
    if untimed is not None:
        plan = settle(in_steps(plan, untimed, data, trunk, device), out)
    done = True
    with Stop() as stop:
        for seed in seeds:
            for name in variants:
                with claimed(folder_of(out, name, seed)) as mine:
                    if not mine:
                        done = False
                    elif figures_of(out, name, seed) is None:
                        say(f"{name}, seed {seed}")
                        with Bar(plan.recipe.steps) as bar:
                            done &= train_row(
                                name, plan.recipe, seed, data, measured, out,
                                trunk=trunk, device=device, progress=bar.show,
                                should_stop=stop.asked,
                            )  # fmt: skip
                for table in tables:
                    write(table, plan, seeds, out)
                if stop.asked():
                    raise Interrupted("interrupted; the same command goes on")
    return done


class Bar:
    """A row's progress on the terminal."""

    def __init__(self, steps: int) -> None:
        self._bar = tqdm(total=steps, unit="step", disable=None, leave=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, progress: Progress) -> None:
        """Move to a step."""
        self._bar.update(progress.step - self._bar.n)


def open_data(plan: Plan, workers: int) -> tuple[Data, PairSet]:
    """What is trained on, and what is measured on.

    Raises:
        DatasetError, ModelError: it is missing or damaged.
    """
    if plan.folder is not None:
        return grefcoco.read(plan.folder, "train"), folder_pairs(plan.folder, plan.split)
    recipe = plan.recipe
    size = recipe.config.input_size
    folder = default_folder("train", size, DRAWN_BY)
    render(folder, "train", recipe.photos, size, DRAWN_BY, workers)
    sizes = replace(testsets.FULL, pair_photos=plan.photos)
    return open_shards(folder, recipe.photos), testsets.pairs(plan.split, sizes)


def trunk_of(recipe: Recipe, out: Path) -> Path | None:
    """The weights whose image encoder every row starts with; None for a random one.

    Raises:
        WeightsError: they cannot be read or fetched.
    """
    if recipe.start in ("", RANDOM):
        return None
    if recipe.start in SIZES:
        return weights_of(recipe.start)
    return starting_weights(recipe.start, recipe, out / "trunk")


def in_steps(plan: Plan, minutes: float, data: Data, trunk: Path | None, device: str) -> Plan:
    """The plan with as many steps as the full network makes in so many minutes, here and now.

    All rows take that number, however long theirs take: a slower variant is not given less.
    """
    recipe = recipe_of(FULL, plan.recipe, plan.recipe.seed)
    with tempfile.TemporaryDirectory() as place:
        start = Path(place) / "start.safetensors"
        begin(recipe.config, recipe.config, trunk, recipe.seed, start)
        trainer = Trainer(recipe, data, Path(place), device, start)
        trainer.advance()  # the first one allocates
        tick = time.monotonic()
        for _ in range(TIMED):
            trainer.advance()
        took_s = (time.monotonic() - tick) / TIMED
    steps = max(1, round(60 * minutes / took_s))
    return replace(plan, recipe=replace(plan.recipe, steps=steps))
