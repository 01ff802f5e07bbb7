"""Commands of many options: a function of one object, whose fields are the command's options."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

Options = TypeVar("Options")
Device = Annotated[
    str,
    typer.Option(
        envvar="REFERENT_DEVICE", help="Where the network runs: `cpu`, `cuda`, `cuda:1`, ..."
    ),
]


def takes(options: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Make a command for typer out of a function of one dataclass.

    Args:
        options: its fields are annotated as a command's parameters are.
    """

    def shell(command: Callable[[Options], None]) -> Callable[..., None]:
        @wraps(command)
        def called(**values: Any) -> None:
            command(options(**values))

        hints = get_type_hints(options, include_extras=True)
        shown = [
            each.replace(annotation=hints[each.name])
            for each in inspect.signature(options).parameters.values()
        ]
        called.__annotations__ = hints
        called.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
        return called

    return shell
