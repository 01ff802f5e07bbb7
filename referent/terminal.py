"""Lines for a person's terminal: nothing in a name or a message is taken for a command by it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import typer

SOME_FAILED = 3
"""Status of a command that did its work but for some photos, which it named."""


def say(line: str, *, err: bool = False) -> None:
    """Print one line; what a terminal would act upon is written out."""
    from indexer.folders.printable import printable

    typer.echo(printable(line), err=err)


def duration(seconds: float) -> str:
    """Return a time as people say it: 42 s, 3 min 5 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def write_paths(files: Iterable[Path], *, end: bytes) -> None:
    """Write paths to stdout byte for byte, as other programs want them.

    Args:
        end: after each: a newline, or NUL where names may hold a newline.
    """
    sys.stdout.flush()
    out = getattr(sys.stdout, "buffer", None)
    for file in files:
        if out is None:  # stdout was replaced by something that takes text alone
            sys.stdout.write((os.fsencode(file) + end).decode("utf-8", "surrogateescape"))
        else:
            out.write(os.fsencode(file) + end)
    if out is not None:
        out.flush()


def of_another_model(album: str, model: str, default: str) -> list[str]:
    """The line for an album that goes on with a model that is not the default any more."""
    if default in (model, "") or default.endswith(".safetensors"):  # a file has a name inside
        return []
    return [
        f"  searched with {model}; new albums get {default}. To change: referent reindex "
        f"--album '{album}' --model {default}"
    ]
