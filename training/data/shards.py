"""Synthetic photos rendered once, at the network's input size, so that the trainer never waits.

A shard folder holds `images.npy` (n, S, S, 3) uint8, `ids.npy` (n, S/2, S/2) uint8, and
`scenes.jsonl`: each photo's scene. It is memory-mapped and may be shared.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import time
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from model.errors import ModelError
from model.replacing import clear_parts, replacing
from training.drawing.scenes import DRAWING, make_photo
from training.scene import Instance, Scene

PART = 250  # photos a part: the unit of work, and what an interruption can lose
SEEDS_APART = 1_000_000  # photos that one seed of the data may draw
SPLIT_NAMES = ("train", "val", "test", "test-b")


@dataclass(frozen=True)
class Shards:
    """Rendered photos, open; pixels stay on disk until they are asked for.

    Attributes:
        size: side S of the photos.
        scenes: of each photo; expressions are drawn from them when they are needed.
        parts: memory-mapped (images, ids), PART photos each or fewer.
    """

    size: int
    scenes: list[Scene]
    parts: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]

    def __len__(self) -> int:
        return len(self.scenes)

    @cached_property
    def _starts(self) -> list[int]:
        """Index of each part's first photo."""
        return [0, *np.cumsum([len(images) for images, _ in self.parts])[:-1].tolist()]

    def photo(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """One photo's pixels (S, S, 3) and id map (S/2, S/2), 0 where nothing is."""
        part = bisect_right(self._starts, index) - 1
        images, ids = self.parts[part]
        at = index - self._starts[part]
        return images[at], ids[at]


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _field(name: str, value: Any) -> Any:
    if name == "spots":
        return {part: _tuples(spot) for part, spot in value.items()}
    return value if name == "parts" else _tuples(value)


def scene_from_json(value: dict[str, Any]) -> Scene:
    """Read what `dataclasses.asdict` made of a scene.

    Raises:
        ModelError: it was written before instances had spots.
    """
    if any("spots" not in instance for instance in value["instances"]):
        raise ModelError("these photos were rendered by an older version; render them anew")
    instances = tuple(
        Instance(**{k: _field(k, v) for k, v in instance.items()})
        for instance in value["instances"]
    )
    return Scene(value["seed"], value["split"], value["setting"], instances)


def _render_part(task: tuple[str, int, int, int, int, int]) -> int:
    """Render one part; returns how many photos it holds."""
    folder, split_index, first, start, count, size = task
    split = SPLIT_NAMES[split_index]
    half = size // 2
    images = np.empty((count, size, size, 3), np.uint8)
    ids = np.empty((count, half, half), np.uint8)
    lines = []
    for i in range(count):
        image, id_map, scene = make_photo(first + start + i, split, size, size)
        images[i], ids[i] = image, id_map[::2, ::2]
        lines.append(json.dumps(dataclasses.asdict(scene)))
    part = _part(Path(folder), start)
    with replacing(part) as made:
        made.mkdir()
        np.save(made / "images.npy", images)
        np.save(made / "ids.npy", ids)
        (made / "scenes.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        if part.exists():  # a shorter one, of a run that wanted fewer; who has it open keeps it
            part.rename(made.with_name(f".{made.name}"))
    return count


def _part(folder: Path, start: int) -> Path:
    return folder / f"part-{start:08d}"


def _lacking(folder: Path, photos: int) -> list[tuple[int, int]]:
    """(start, wanted photos) of each part that is missing or holds fewer."""
    found = []
    for start in range(0, photos, PART):
        wanted, images = min(PART, photos - start), _part(folder, start) / "images.npy"
        if not images.is_file() or len(np.load(images, mmap_mode="r")) < wanted:
            found.append((start, wanted))
    return found


def render(folder: Path, split: str, photos: int, size: int, first: int, workers: int) -> None:
    """Render what is missing of a shard folder; an interrupted run goes on where it stopped.

    Args:
        photos: how many there are to be; the last part of a smaller run is rendered anew.
        size: side S in pixels.
        first: number of the first photo, see `first_photo`.
        workers: processes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clear_parts(folder)
    tasks = [
        (str(folder), SPLIT_NAMES.index(split), first, start, count, size)
        for start, count in _lacking(folder, photos)
    ]
    if not tasks:
        return
    bar = tqdm(total=sum(t[4] for t in tasks), unit="photo", desc="rendering", smoothing=0.1)
    with bar:
        if workers <= 1 or len(tasks) == 1:
            for task in tasks:
                bar.update(_render_part(task))
        else:
            with multiprocessing.get_context("spawn").Pool(workers) as pool:
                for count in pool.imap_unordered(_render_part, tasks):
                    bar.update(count)
    clear_parts(folder)


def wait_for(folder: Path, photos: int, stall_s: float = 600.0) -> None:
    """Wait while another process renders a shard folder.

    Raises:
        ModelError: no new part has come for so long.
    """
    missing, since = -1, time.monotonic()
    while True:
        left = _lacking(folder, photos)
        if not left:
            return
        if len(left) != missing:
            missing, since = len(left), time.monotonic()
        if time.monotonic() - since > stall_s:
            raise ModelError(f"{folder} lacks {len(left)} parts, and nobody seems to render them")
        time.sleep(0.5)


def open_shards(folder: Path, limit: int | None = None) -> Shards:
    """Open a shard folder.

    Args:
        limit: at most so many photos, in order.
    Raises:
        ModelError: there are none, or a part is damaged or of an older version.
    """
    scenes: list[Scene] = []
    parts = []
    for part in sorted(folder.glob("part-*")):
        images = np.load(part / "images.npy", mmap_mode="r")
        ids = np.load(part / "ids.npy", mmap_mode="r")
        lines = (part / "scenes.jsonl").read_text(encoding="utf-8").splitlines()
        if not len(images) == len(ids) == len(lines):
            raise ModelError(f"{part} holds more of one thing than of another; delete that folder")
        parts.append((images, ids))
        scenes += [scene_from_json(json.loads(line)) for line in lines]
        if limit is not None and len(scenes) >= limit:
            break
    if not parts:
        raise ModelError(f"no rendered photos in {folder}; render them first (referent train does)")
    size = parts[0][0].shape[1]
    return Shards(size, scenes[:limit], parts)


def first_photo(data_seed: int) -> int:
    """The number of the first photo of a seed of the data: no two seeds share a photo."""
    return (data_seed - 1) * SEEDS_APART + 1


def default_folder(split: str, size: int, first: int) -> Path:
    """Where a run keeps its shards; the version of what is drawn is part of the name."""
    return Path("runs") / "shards" / f"{split}-{size}-{first}-{DRAWING}"
