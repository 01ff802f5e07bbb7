"""What the frozen trunk sees of every photo, computed once, so that an epoch costs seconds.

A dump holds one memory-mapped fp16 array a level (`res3.npy` ... `res5.npy`), `words.npy` (what
the trunk would call each place) and `logits.npy` (its classifier's, the largest over places and
the mean); `maps.json` tells of what it is and how far it is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from model.network.stem import CLASSES, EfficientLite, TrunkWords, stem_channels
from training.data.dump import Dump, finished, read

LEVELS = {"res3": 8, "res4": 16, "res5": 32}
_TOGETHER = 8
NOTE = "maps.json"
_KEPT_EVERY = 16  # batches between two notes of how far it is


class Rows(Protocol):
    """One array a photo, by its place."""

    def __len__(self) -> int: ...

    def __getitem__(self, at: int, /) -> NDArray[np.float16]: ...


@dataclass(frozen=True)
class MapDump:
    """An open dump.

    Attributes:
        maps: name -> n times (C, h, w) fp16, on disk until read.
        logits: n times (2, 1000) fp16, the largest over places and their mean.
    """

    maps: dict[str, Rows]
    logits: Rows

    def __len__(self) -> int:
        return len(self.logits)


class _Joined:
    """Several arrays of rows, one after the other."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        self._parts = parts
        self._ends = list(accumulate(len(part) for part in parts))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, at: int) -> NDArray[np.float16]:
        which = bisect_right(self._ends, at)
        return self._parts[which][at - (self._ends[which - 1] if which else 0)]


def join(dumps: Sequence[MapDump]) -> MapDump:
    """Dumps of the same trunk as one, in their order."""
    maps: dict[str, Rows] = {n: _Joined([d.maps[n] for d in dumps]) for n in dumps[0].maps}
    return MapDump(maps, _Joined([d.logits for d in dumps]))


def dump_maps(
    trunk: EfficientLite,
    words: TrunkWords,
    name: str,
    size: int,
    keys: Sequence[str],
    pixels: Callable[[int], NDArray[np.uint8]],
    path: Path,
    *,
    should_stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Look at every photo once; goes on with a dump that was interrupted.

    Args:
        name, size: of the trunk, and the input's side in pixels.
        keys: one a photo, that tells which photo it is.
        pixels: a photo's (S, S, 3) by its place.
    Returns:
        Whether all photos are done.
    Raises:
        DumpError: the folder holds a dump of something else.
    """
    about = {"trunk": name, "size": size, "photos": len(keys),
              "keys": sha256("\n".join(keys).encode()).hexdigest()}  # fmt: skip
    width = words.names.shape[1]
    channels = dict(zip(("res2", "res3", "res4", "res5"), stem_channels(name), strict=True))
    shapes: dict[str, tuple[int, ...]] = {
        level: (len(keys), channels[level], size // s, size // s) for level, s in LEVELS.items()
    }
    shapes["words"] = (len(keys), width, size // 32, size // 32)
    shapes["logits"] = (len(keys), 2, CLASSES)
    dump = Dump(path / NOTE, about, shapes)
    trunk = trunk.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    words = words.eval()
    bar = tqdm(total=len(keys), initial=dump.done, unit="photo", desc="trunk")
    with bar, torch.inference_mode():
        for count, start in enumerate(range(dump.done, len(keys), _TOGETHER), 1):
            stop = min(start + _TOGETHER, len(keys))
            for at in range(start, stop):
                x = torch.from_numpy(np.array(pixels(at))).permute(2, 0, 1)[None].float()
                x = x.contiguous(memory_format=torch.channels_last)
                maps = trunk(x)
                for level in LEVELS:
                    dump.arrays[level][at] = maps[level][0].numpy()
                logits = words.logits(maps["res5"])[0].flatten(1)  # (1000, h w)
                share = logits.softmax(0)
                dump.arrays["words"][at] = (
                    (words.names.T @ share).view(width, size // 32, size // 32).numpy()
                )
                dump.arrays["logits"][at] = torch.stack([logits.amax(1), logits.mean(1)]).numpy()
            bar.update(stop - start)
            stopping = should_stop()
            if count % _KEPT_EVERY == 0 or stop == len(keys) or stopping:
                dump.keep(stop)
            if stopping:
                break
    return dump.done == len(keys)


def open_maps(path: Path) -> MapDump:
    """Open a finished dump.

    Raises:
        DumpError: it is missing or unfinished.
    """
    finished(path / NOTE)
    arrays = read(path, (*LEVELS, "words", "logits"))
    logits = arrays.pop("logits")
    return MapDump({**arrays}, logits)
