"""A network's answers to a data set in gRefCOCO's form, a line of JSON an expression.

The first line says what made the file; then come the photos in the order of their ids, each with
all its expressions: `ref_id`, `sent_id`, `image_id`, `expression`, `p_no_target` (calibrated),
`no_target_logit` (before), `rle` (COCO's, at the photo's size, whatever the decision), `rle_480`
(the same answer at the 480 x 480 to which the authors' evaluator squashes), `minimap` (P x P).
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tqdm import tqdm

from model.asking import Network, mask_of
from training.data.grefcoco import Sample
from training.errors import DatasetError, Interrupted
from training.measuring.suite import FolderPhotos

FORMAT = "referent-predictions-1"
SQUASHED = 480  # pixels: side of the authors' evaluation

Load = Callable[[], Network]


@dataclass(frozen=True)
class _Task:
    """One photo and what is asked of it."""

    photos: FolderPhotos
    index: int
    samples: tuple[Sample, ...]


def predict(
    load: Load,
    photos: FolderPhotos,
    out: Path,
    *,
    workers: int = 1,
    should_stop: Callable[[], bool] = lambda: False,
    quiet: bool = False,
) -> int:
    """Write the answers; a file that was begun is gone on with, at the photo where it ends.

    Args:
        load: makes the network, in every process anew.
        workers: processes.
    Returns:
        how many expressions the file holds.
    Raises:
        DatasetError: the file is of another network or other data, or a photo cannot be read.
        Interrupted: `should_stop` said so; the file can be gone on with.
    """
    tasks = _tasks(photos)
    network = load()
    about = {
        "format": FORMAT,
        "model": network.name,
        "fingerprint": network.fingerprint,
        "calibration": network.calibration.revision,
        "data": f"{photos.data.folder.name}:{photos.data.split}",
        "expressions": len(photos.data.samples),
    }
    done = _resumed(out, about, tasks)
    total = len(photos.data.samples)
    bar = tqdm(
        total=total, initial=sum(len(t.samples) for t in tasks[:done]), unit="expression",
        desc=f"{network.name} on {about['data']}", disable=quiet or None,
    )  # fmt: skip
    with bar, out.open("a", encoding="utf-8") as file:
        for rows in _answered(load, network, tasks[done:], workers):
            file.write("".join(json.dumps(row) + "\n" for row in rows))
            file.flush()
            bar.update(len(rows))
            if should_stop():
                raise Interrupted(f"interrupted; the same command goes on with {out}")
    return total


def answers(network: Network, image: Image.Image, samples: tuple[Sample, ...]) -> list[Any]:
    """The rows of one photo."""
    look = network.look(image)
    rows = []
    for sample in samples:
        said = look.ask(sample.text)
        present = network.calibration.confidence(said.no_target_logit, shifted=False)
        rows.append(
            {
                "ref_id": sample.ref_id,
                "sent_id": sample.sent_id,
                "image_id": sample.image_id,
                "expression": sample.text,
                "p_no_target": round(1 - float(present), 6),
                "no_target_logit": round(said.no_target_logit, 6),
                "rle": mask_of(said, *image.size).rle,
                "rle_480": mask_of(said, SQUASHED, SQUASHED).rle,
                "minimap": [[round(float(x), 4) for x in line] for line in said.minimap],
            }
        )
    return rows


def _tasks(photos: FolderPhotos) -> list[_Task]:
    groups = photos.data.by_photo()
    return [
        _Task(photos, index, tuple(groups[image_id]))
        for index, image_id in enumerate(photos.image_ids)
    ]


def _resumed(out: Path, about: dict[str, Any], tasks: list[_Task]) -> int:
    """How many photos a file holds in whole; it is cut there, or begun."""
    if not out.exists() or not out.stat().st_size:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(about) + "\n", encoding="utf-8")
        return 0
    with out.open("r+b") as file:
        try:
            found = json.loads(file.readline())
        except ValueError:
            found = None
        if found != about:
            raise DatasetError(f"{out} holds the answers of another network or data; name another")
        done, whole = 0, file.tell()
        for task in tasks:
            lines = [file.readline() for _ in task.samples]
            if not all(line.endswith(b"\n") for line in lines):
                break
            done, whole = done + 1, file.tell()
        file.truncate(whole)
    return done


def _answered(load: Load, network: Network, tasks: list[_Task], workers: int) -> Iterator[Any]:
    """The rows of each photo, in order."""
    if workers <= 1 or len(tasks) < 2:
        for task in tasks:
            yield answers(network, _image(task), task.samples)
        return
    # Spawned, not forked: torch has computed here. The data go over once, with the network.
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(workers, len(tasks)), _begin, (load, tasks)) as pool:
        yield from pool.imap(_answer, range(len(tasks)))


_mine: tuple[Network, list[_Task]]


def _begin(load: Load, tasks: list[_Task]) -> None:
    global _mine
    torch.set_num_threads(1)
    _mine = load(), tasks


def _answer(index: int) -> list[Any]:
    network, tasks = _mine
    task = tasks[index]
    return answers(network, _image(task), task.samples)


def _image(task: _Task) -> Image.Image:
    return Image.fromarray(task.photos.image(task.index))
