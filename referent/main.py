"""The command line: every command lives in a module of its own and is registered here.

Command modules import torch, FAISS and the servers inside their functions, so that
``referent --help`` answers at once.
"""

from __future__ import annotations

import sys
from importlib import import_module

import typer

from model.errors import ReferentError
from referent.terminal import say

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

app = typer.Typer(
    help="Search your photos with referring expressions: the photos that show it, with masks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _register() -> None:
    for name, module, attribute in COMMANDS:
        command = getattr(import_module(module), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            epilog = getattr(command, "epilog", None)
            app.command(name=name, epilog=epilog)(command)


_register()


def main() -> None:
    """Run the command line; a user's error is one line on stderr and exit status 2.

    A fault that nobody foresaw is one line as well, with status 70; its trace goes to a file.
    """
    try:
        app()
    except ReferentError as error:
        say(f"error: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: what was finished is kept\n")
        sys.exit(130)
    except Exception as error:
        from referent.faults import told

        status, line = told(error)
        say(f"error: {line}", err=True)
        sys.exit(status)


if __name__ == "__main__":
    main()
