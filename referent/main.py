"""The command line: every command lives in a module of its own, loaded when it is named.

Command modules import torch, FAISS and the servers inside their functions, so that
``referent --help`` answers at once.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from model.errors import ReferentError
from model.stopping import STOPPED
from referent.terminal import say
from training.errors import Interrupted

if TYPE_CHECKING:
    from typer._click import Command, Context

# (command, module, function); a module may instead hold a typer app, registered as a group.
COMMANDS: tuple[tuple[str, str, str], ...] = (
    ("index", "referent.index", "index"),
    ("search", "referent.search", "search"),
    ("segment", "referent.segment", "segment"),
    ("matte", "referent.matte", "matte"),
    ("export", "referent.export", "export"),
    ("stats", "referent.stats", "stats"),
    ("albums", "referent.albums", "albums"),
    ("failed", "referent.failed", "failed"),
    ("saved", "referent.saved", "app"),
    ("serve", "referent.serve", "serve"),
    ("mcp", "referent.mcp", "mcp"),
    ("keys", "referent.keys", "app"),
    ("backup", "referent.backup", "backup"),
    ("restore", "referent.backup", "restore"),
    ("jobs", "referent.jobs", "app"),
    ("worker", "referent.worker", "worker"),
    ("reindex", "referent.reindex", "reindex"),
    ("models", "referent.models", "app"),
    ("synth", "referent.synth", "synth"),
    ("data", "referent.data", "app"),
    ("annotate", "referent.annotate", "annotate"),
    ("train", "referent.train", "train"),
    ("ablate", "referent.ablate", "ablate"),
    ("evaluate", "referent.evaluate", "evaluate"),
    ("predict", "referent.predict", "predict"),
    ("score", "referent.score", "score"),
    ("calibrate", "referent.calibrate", "calibrate"),
    ("demo", "referent.demo", "demo"),
)


class Commands(TyperGroup):
    """Commands whose modules are imported when they are named, or all of them listed."""

    def resolve_command(
        self, ctx: Context, args: list[str]
    ) -> tuple[str | None, Command | None, list[str]]:
        """As typer does, which looks for names alike among those that are loaded."""
        if args and args[0] not in self.list_commands(ctx):
            for name in self.list_commands(ctx):
                self.commands[name] = self.get_command(ctx, name)  # type: ignore[assignment]
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: Context) -> list[str]:
        """In the order of the table."""
        return [name for name, _, _ in COMMANDS]

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """The command of this name; None where there is none."""
        for name, module, attribute in COMMANDS:
            if name == cmd_name:
                return _loaded(name, getattr(import_module(module), attribute))
        return None


def _loaded(name: str, command: Any) -> Command:
    """A command or a group out of a function or an app of typer."""
    shell = typer.Typer(rich_markup_mode="markdown", pretty_exceptions_enable=False)
    if isinstance(command, typer.Typer):
        shell.add_typer(command, name=name)
        return get_group(shell).commands[name]
    shell.command(name=name, epilog=getattr(command, "epilog", None))(command)
    return get_command(shell)


app = typer.Typer(
    cls=Commands,
    callback=lambda: None,  # with none, and no command registered, typer makes no group
    help="Search your photos with referring expressions: the photos that show it, with masks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def main() -> None:
    """Run the command line; a user's error is one line on stderr and exit status 2.

    A fault that nobody foresaw is one line as well, with status 70; its trace goes to a file.
    """
    try:
        app()
    except Interrupted as stopped:
        say(str(stopped), err=True)
        sys.exit(STOPPED)
    except ReferentError as error:
        say(f"error: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: what was finished is kept\n")
        sys.exit(STOPPED)
    except Exception as error:
        from referent.faults import told

        status, line = told(error)
        say(f"error: {line}", err=True)
        sys.exit(status)


if __name__ == "__main__":
    main()
