"""What `referent search` prints: one answer, whoever gave it, as a table, paths or JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from referent.terminal import write_paths


@dataclass(frozen=True)
class Hit:
    """A photo of an answer; ``rle`` is COCO's form of its mask, where that was wanted."""

    file: Path
    album: str
    path: str
    photo: int
    width: int | None
    height: int | None
    confidence: float
    accepted: bool
    box: tuple[int, ...] | None
    area: int | None
    rle: dict[str, Any] | None
    vanished: bool

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        from indexer.folders.printable import shown_file

        return {
            "path": shown_file(self.file),
            "album": self.album,
            "photo": self.photo,
            "width": self.width,
            "height": self.height,
            "confidence": self.confidence,
            "box": self.box,
            "area": self.area,
            "rle": self.rle,
            "vanished": self.vanished,
        }


@dataclass(frozen=True)
class Answer:
    """An ended search and those of its hits that are shown, best first; then rejected ones."""

    run: str
    expression: str
    mode: str
    verifier: str | None
    state: str
    coverage: dict[str, int]
    sentence: str
    at_threshold: dict[str, int]
    timings_ms: dict[str, float]
    notes: list[dict[str, str]]
    hits: list[Hit]

    @property
    def matched(self) -> int:
        """How many photos match, shown or not."""
        return self.coverage["matched"]

    def as_json(self) -> dict[str, Any]:
        """As plain values, for scripts."""
        told = {name: value for name, value in vars(self).items() if name != "hits"}
        return {
            **told,
            "hits": [hit.as_json() for hit in self.hits if hit.accepted],
            "rejected": [hit.as_json() for hit in self.hits if not hit.accepted],
        }


def print_json(answer: Answer) -> None:
    """One object."""
    typer.echo(json.dumps(answer.as_json(), ensure_ascii=True))


def print_paths(answer: Answer, *, end: bytes) -> None:
    """The files of the matches, and on stderr what a table would say below them."""
    write_paths([hit.file for hit in answer.hits if hit.accepted], end=end)
    notes = [note["text"] for note in answer.notes]
    for line in notes if answer.matched else (answer.sentence, *notes):
        typer.echo(line, err=True)


def print_table(answer: Answer) -> None:
    """A table of the matches, one of the nearest others, and how far it looked."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from indexer.folders.printable import printable

    console = Console()
    several = len({hit.album for hit in answer.hits}) > 1
    for accepted in (True, False):
        hits = [hit for hit in answer.hits if hit.accepted is accepted]
        if not hits:
            continue
        title = None if accepted else "Nearest photos that did not match"
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        table.add_column("photo", overflow="fold", style=None if accepted else "dim")
        table.add_column("confidence", justify="right", style="bold" if accepted else "dim")
        table.add_column("box x, y, w, h" if accepted else "", justify="right", style="dim")
        for hit in hits:
            name = f"{hit.album}/{hit.path}" if several else hit.path
            if hit.vanished:
                name += " (file is gone)"
            box = ", ".join(str(v) for v in hit.box) if hit.box else "" if accepted else "rejected"
            table.add_row(escape(printable(name)), f"{hit.confidence:.3f}", box)
        console.print(table)
    more = answer.matched - sum(hit.accepted for hit in answer.hits)
    if more > 0:
        console.print(f"[dim]... and {more:,} more; --top 0 shows all[/]")
    judge = f"by {answer.verifier}, " if answer.verifier else ""
    took = f"[dim]{judge}{answer.timings_ms['total']:,.0f} ms[/]"
    console.print(f"{escape(answer.sentence)} {took}")
    if answer.coverage["verified"] and (at := answer.at_threshold):
        console.print(
            f"[dim]with --threshold 0.3: {at['0.3']:,}; with --threshold 0.9: {at['0.9']:,}[/]"
        )
    for note in answer.notes:
        console.print(f"[yellow]{escape(printable(note['text']))}[/]")
