"""What a network sees of every photo, computed once and kept on disk; goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from model.replacing import replacing
from training.errors import TrainingError

OnDisk = np.memmap[Any, np.dtype[np.float16]]


class DumpError(TrainingError):
    """A dump is missing, unfinished, or of other weights or photos."""


class Dump:
    """fp16 arrays of a row a photo, `NAME.npy` each, that are being filled in order.

    Attributes:
        arrays: by name, memory-mapped.
        done: rows that are kept.
    """

    def __init__(
        self, note: Path, about: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        """Go on with a dump, or begin one.

        Args:
            note: the JSON file beside the arrays that tells how far it is.
            about: what it depends on, `photos` (how many) among it.
            shapes: of the arrays, photos first.
        Raises:
            DumpError: the folder holds a dump of something else.
        """
        self._note = note
        self._about = dict(about)
        if note.exists():
            state = state_of(note)
            if {name: state.get(name) for name in about} != about:
                raise DumpError(f"{note.parent} holds a dump of other weights or photos; delete it")
            self.arrays = read(note.parent, shapes, mode="r+")
            self.done = int(state["done"])
        else:
            note.parent.mkdir(parents=True, exist_ok=True)
            self.arrays = {
                name: np.lib.format.open_memmap(_file(note.parent, name), "w+", np.float16, shape)
                for name, shape in shapes.items()
            }
            self.keep(0)

    def keep(self, done: int) -> None:
        """So many rows are made: they outlive this process."""
        for array in self.arrays.values():
            array.flush()
        self.done = done
        with replacing(self._note) as part:
            part.write_text(json.dumps({**self._about, "done": done}), encoding="utf-8")


def state_of(note: Path) -> dict[str, Any]:
    """What a dump's note tells: `done`, and what it depends on.

    Raises:
        DumpError: there is none.
    """
    try:
        state: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DumpError(f"no dump in {note.parent} ({error}); make it again") from error
    return state


def finished(note: Path) -> dict[str, Any]:
    """`state_of` a dump that is done.

    Raises:
        DumpError: it is missing or unfinished.
    """
    state = state_of(note)
    if state.get("done") != state.get("photos"):
        done, photos = state.get("done"), state.get("photos")
        raise DumpError(f"{note.parent} holds {done} of {photos} photos; go on with it")
    return state


def read(folder: Path, names: Iterable[str], mode: Any = "r") -> dict[str, OnDisk]:
    """A dump's arrays by name, on disk until read."""
    return {name: np.load(_file(folder, name), mmap_mode=mode) for name in names}


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.npy"
