"""A command whose options are the fields of one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from referent.main import COMMANDS
from referent.main import app as main_app
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


@pytest.mark.parametrize("name", [name for name, _, _ in COMMANDS])
def test_every_command_with_a_device_takes_the_settings(name: str) -> None:
    shell: Any = typer.main.get_command(main_app).get_command(None, name)  # type: ignore[attr-defined]
    for command in getattr(shell, "commands", {name: shell}).values():
        for option in command.params:
            if option.name == "device":
                assert option.envvar == "REFERENT_DEVICE"
