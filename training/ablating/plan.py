"""What all rows of a folder's tables share: data, recipe, measuring; written once, then kept to."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from training.errors import TrainingError
from training.recipes.ablate import ABLATE
from training.recipes.base import BASE
from training.recipes.recipe import Recipe

PLAN = "plan.json"
SYNTHETIC = "synthetic"
GREFCOCO = "grefcoco:"


class PlanError(TrainingError):
    """A folder's tables were begun under other conditions, or these cannot be met."""


@dataclass(frozen=True)
class Plan:
    """The equal conditions.

    Attributes:
        data: "synthetic", or "grefcoco:" and a folder.
        recipe: of the full network; its seed is that of the first run.
        split: that is measured.
        photos: drawn photos that are measured, eight pairs each; 0 for all of a folder's split.
        minutes: that the full network takes for the recipe's steps on the machine that began, or
            None where the steps were given.
    """

    data: str
    recipe: Recipe
    split: str = "val"
    photos: int = 200
    minutes: float | None = None

    @property
    def folder(self) -> Path | None:
        """Of the references, None for drawings."""
        return Path(self.data.removeprefix(GREFCOCO)) if self.data != SYNTHETIC else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON gives it back."""
        values = {**vars(self), "recipe": replace(self.recipe, model=self.recipe.config).to_dict()}
        written: dict[str, Any] = json.loads(json.dumps(values))
        return written


def recipe_for(data: str) -> Recipe:
    """The full network's recipe for a data set.

    Raises:
        PlanError: it is none.
    """
    if data == SYNTHETIC:
        return ABLATE
    if not data.startswith(GREFCOCO) or not Path(data.removeprefix(GREFCOCO)).is_dir():
        raise PlanError(
            f"{data} is no data set: give synthetic, or grefcoco:DIR with a folder in gRefCOCO's "
            "form"
        )
    return BASE


def settle(plan: Plan, out: Path) -> Plan:
    """Write the plan into a new folder, or hold it against the one that the folder was begun by.

    A budget in minutes was turned into steps when the folder was begun; those steps stay.

    Raises:
        PlanError: the folder was begun by another.
    """
    out.mkdir(parents=True, exist_ok=True)
    partial = out / f".plan.{os.getpid()}"
    partial.write_text(json.dumps(plan.to_dict(), indent=2) + "\n", encoding="utf-8")
    with contextlib.suppress(FileExistsError):  # of two that begin at once, one plan counts
        os.link(partial, out / PLAN)
    partial.unlink()
    kept = begun(out)
    if plan.minutes is not None and kept.get("minutes") == plan.minutes:
        plan = replace(plan, recipe=replace(plan.recipe, steps=kept["recipe"]["steps"]))
    if differences := _differences(kept, plan.to_dict()):
        raise PlanError(
            f"{out} was begun with {'; '.join(differences)}: rows under other conditions cannot "
            "stand in one table, so name another --out, or give the same options"
        )
    return plan


def begun(out: Path) -> dict[str, Any]:
    """The plan that a folder was begun by, {} for a new one.

    Raises:
        PlanError: it cannot be read.
    """
    path = out / PLAN
    if not path.exists():
        return {}
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        int(kept["recipe"]["steps"])  # what has none is no plan
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PlanError(f"{path} cannot be read ({error}); name another --out") from error
    return kept


def _differences(kept: Any, now: Any, name: str = "") -> list[str]:
    if isinstance(kept, dict) and isinstance(now, dict):
        return [
            phrase
            for key in dict.fromkeys((*kept, *now))
            for phrase in _differences(kept.get(key), now.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if kept == now else [f"{name} {kept}, not {now}"]
