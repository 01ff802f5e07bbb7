"""The legs of a run: which recipe trained which of its steps; a change of it is asked for."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from training.errors import TrainingError
from training.recipes.recipe import Recipe

# What may change between two starts of a run: it moves no weight. What a run begins with is told
# beside the legs.
FREE = ("checkpoint_minutes", "start")
SIZE = "model.input_size "  # Swin's windows fit any, where it was built for one


class RecipeChanged(TrainingError):
    """A run's folder is of another recipe than the one that is to go on with it."""


def content_of(recipe: Recipe) -> dict[str, Any]:
    """What a recipe makes of weights, as JSON gives it back: a named size is written out."""
    values = replace(recipe, model=recipe.network).to_dict()
    kept = {name: value for name, value in values.items() if name not in FREE}
    written: dict[str, Any] = json.loads(json.dumps(kept))
    return written


@dataclass(frozen=True)
class Leg:
    """Steps that one recipe trained.

    Attributes:
        after: steps that the run had made before it.
        recipe: as `content_of` gives it.
    """

    after: int
    recipe: dict[str, Any]

    @property
    def digest(self) -> str:
        """12 hex digits: two legs of the same digest were trained by the same recipe."""
        text = json.dumps(self.recipe, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def written(legs: list[Leg]) -> str:
    """As JSON, for `last.pt` and the header of the weights."""
    return json.dumps([{**asdict(leg), "digest": leg.digest} for leg in legs])


def read(text: str) -> list[Leg]:
    """What `written` wrote."""
    return [Leg(row["after"], row["recipe"]) for row in json.loads(text)]


def gone_on(legs: list[Leg], recipe: Recipe, step: int, run: str, *, new_leg: bool) -> list[Leg]:
    """The legs of a run that goes on by a recipe.

    Args:
        step: that the run stands at. run: its folder, for the message.
        new_leg: a changed recipe is wanted, and recorded as a further leg.
    Raises:
        RecipeChanged: it is not the recipe of the last leg, and that was not asked for; or it is
            of a network that these weights don't fit (only the input size may change).
    """
    wanted = Leg(step, content_of(recipe))
    if not legs:
        return [wanted]
    # What recipes could not say yet when the run began is as it was: the default.
    defaults = content_of(Recipe(model=recipe.network))
    changes = changed(_filled(legs[-1].recipe, defaults), wanted.recipe)
    if not changes:
        return legs
    if new_leg and any(c.startswith("model.") and not c.startswith(SIZE) for c in changes):
        raise RecipeChanged(
            f"{run} cannot be resumed as another network ({'; '.join(changes)}): name another "
            "--out, or delete it to start anew"
        )
    if not new_leg:
        raise RecipeChanged(
            f"{run} cannot be resumed by another recipe than the one that trained it until step "
            f"{step} ({'; '.join(changes)}): give the options that it began with, name another "
            "--out, or ask for a further leg with --new-leg"
        )
    return [*(leg for leg in legs if leg.after < step), wanted]


def _filled(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Values, and the defaults of those that are not there."""
    return {
        name: _filled(values[name], default)
        if isinstance(default, dict) and isinstance(values.get(name), dict)
        else values.get(name, default)
        for name, default in {**values, **defaults}.items()
    }


def changed(before: Any, now: Any, name: str = "") -> list[str]:
    """What differs between two recipes' contents, a phrase a field."""
    if isinstance(before, dict) and isinstance(now, dict):
        found = []
        for key in [*before, *(k for k in now if k not in before)]:
            path = f"{name}.{key}" if name else key
            found += changed(before.get(key), now.get(key), path)
        return found
    return [] if before == now else [f"{name} was {before}, is {now}"]
