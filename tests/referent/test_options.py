"""A command whose options are the fields of one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from referent.options import takes


@dataclass(frozen=True)
class Asked:
    name: Annotated[str, typer.Argument(help="Whom.")]
    times: Annotated[int, typer.Option("--times", "-t", min=1, help="How often.")] = 1
    loud: Annotated[bool, typer.Option("--loud")] = False


@takes(Asked)
def greet(asked: Asked) -> None:
    """Greet somebody."""
    for _ in range(asked.times):
        typer.echo(asked.name.upper() if asked.loud else asked.name)


def run(*words: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(greet)
    done = CliRunner().invoke(app, words)
    return done.exit_code, done.output


def test_fields_are_the_options_of_the_command() -> None:
    assert run("ann", "-t", "2", "--loud") == (0, "ANN\nANN\n")
    assert run("ann") == (0, "ann\n")
    code, told = run("ann", "--times", "0")
    assert code == 2 and "--times" in told


def test_help_tells_of_each_field() -> None:
    code, told = run("--help")
    assert code == 0
    for words in ("Greet somebody.", "Whom.", "How often.", "--loud"):
        assert words in told
