"""A recipe changed by name, as the command line and TOML files ask: `losses.dice` is 0, say."""

from __future__ import annotations

import difflib
import json
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from model.errors import ModelError
from training.errors import TrainingError
from training.recipes.recipe import Recipe

T = TypeVar("T")

# What others call it.
ALSO = {"optimizer.lr": "learning_rate"}


class RecipeError(TrainingError):
    """A change of a recipe cannot be made; the message names the field."""


def changed(recipe: Recipe, wanted: Mapping[str, Any]) -> Recipe:
    """The recipe with other values.

    Args:
        wanted: by dotted names such as `batch`, `losses.dice`, `model.rla_layers`; a table in the
            place of a value stands for its own names.
    Raises:
        RecipeError: a name is unknown (the near ones are told), or a value is of another type.
        ModelError: the values do not go together.
    """
    values = {ALSO.get(name, name): value for name, value in _flat(wanted)}
    if "model" in values:  # a size by its name; what else is said of the model changes that one
        recipe = replace(recipe, model=_fitting(values.pop("model"), str, "model"))
    if any(name.startswith("model.") for name in values):
        recipe = replace(recipe, model=recipe.network)
    return _with(recipe, values) if values else recipe


def parsed(settings: Sequence[str]) -> dict[str, Any]:
    """What `NAME=VALUE` says, each value as in TOML or JSON, else as text.

    Raises:
        RecipeError: there is no "=".
    """
    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name.strip():
            raise RecipeError(f"--set takes NAME=VALUE, such as losses.dice=0, not {setting!r}")
        try:
            found[name.strip()] = json.loads(text)
        except ValueError:
            found[name.strip()] = text.strip()
    return found


def read(path: Path) -> dict[str, Any]:
    """The changes that a TOML file holds.

    Raises:
        RecipeError: it cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path} is no recipe in TOML ({error})") from error


def names(of: Any, prefix: str = "") -> Iterator[str]:
    """Every dotted name that can be set."""
    for f in fields(of):
        value = of.network if isinstance(of, Recipe) and f.name == "model" else getattr(of, f.name)
        yield prefix + f.name
        if is_dataclass(value):
            yield from names(value, f"{prefix}{f.name}.")


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _with(of: T, values: Mapping[str, Any], prefix: str = "") -> T:
    """A dataclass with values at any depth changed, all at once: they are checked together."""
    hints = typing.get_type_hints(type(of))
    made: dict[str, Any] = {}
    deeper: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        first, _, rest = name.partition(".")
        if first not in hints or (rest and not is_dataclass(getattr(of, first))):
            raise RecipeError(_unknown(prefix, of, name))
        if rest:
            deeper.setdefault(first, {})[rest] = value
        else:
            made[first] = _fitting(value, hints[first], prefix + name)
    for first, parts in deeper.items():
        made[first] = _with(getattr(of, first), parts, f"{prefix}{first}.")
    try:
        return replace(of, **made)  # type: ignore[type-var]
    except (ModelError, ValueError) as error:
        said = ", ".join(f"{prefix}{name} = {value!r}" for name, value in values.items())
        raise RecipeError(f"{said}: {error}") from error


def _unknown(prefix: str, of: Any, name: str) -> str:
    known = list(names(of))
    ends = {end: full for full in known for end in (full, full.rpartition(".")[2])}
    near = difflib.get_close_matches(name, ends, 3, 0.5)
    near += difflib.get_close_matches(name.rpartition(".")[2], ends, 3, 0.6)
    shown = list(dict.fromkeys(prefix + ends[end] for end in near))[:4]
    said = f"did you mean {', '.join(shown)}?" if shown else f"it has {', '.join(known)}"
    return f"no recipe holds {prefix + name!r}; {said}"


def _fitting(value: Any, kind: Any, name: str) -> Any:
    """The value as a field's type wants it."""
    options = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        for option in options:
            try:
                return _fitting(value, option, name)
            except RecipeError:
                continue
    elif origin is Literal:
        if value in options:
            return value
        raise RecipeError(f"{name} is one of {', '.join(map(str, options))}, not {value!r}")
    elif origin is tuple and isinstance(value, list | tuple):
        if options[-1] is Ellipsis:
            return tuple(_fitting(v, options[0], name) for v in value)
        if len(options) == len(value):
            return tuple(_fitting(v, o, name) for v, o in zip(value, options, strict=True))
    elif (kind is bool and isinstance(value, bool)) or (kind is int and _is(value, int)):
        return value
    elif kind is float and _is(value, int | float):
        return float(value)
    elif kind is str and isinstance(value, str):
        return value
    wanted = getattr(kind, "__name__", str(kind)) if origin is None else str(kind)
    raise RecipeError(f"{name} takes {wanted}, not {value!r}")


def _is(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
