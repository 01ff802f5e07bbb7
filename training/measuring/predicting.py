"""A network's answers to pairs of photo and expression, in memory or as a file of JSON lines.

A file's first line says what made it; then come the photos in order, each with all its pairs. A row
has `ref_id`, `sent_id`, `photo` (its place, or image id), `expression`, `p_no_target` (calibrated),
`no_target_logit` (before), `rle` (COCO's, at the photo's size, whatever the decision), `rle_480`
(the same answer at the 480 x 480 to which the authors' evaluator squashes), `input_area` (pixels of
that mask at the network's input size), `minimap` (P x P).
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from tqdm import tqdm

from training.errors import DatasetError, Interrupted
from training.measuring.judging import BATCH_PHOTOS, PairSet

if TYPE_CHECKING:
    from model.asking import Network, Seen

FORMAT = "referent-predictions-2"
SQUASHED = 480  # pixels: side of the authors' evaluation

Load = Callable[[], "Network"]
Row = dict[str, Any]
Key = tuple[int, int]
Asked = tuple[int, list[int]]  # a photo, and the places of its pairs


@dataclass
class Predictions:
    """Answers to pairs, of a network here or of somebody else's.

    Attributes:
        name: of the model, or of the file.
        where: what they are called in a message.
        rows: by (ref_id, sent_id), in their order where the data use a pair twice.
        squashed: whether every row says what it answers at 480 x 480.
    """

    name: str
    where: str
    rows: dict[Key, list[Row]] = field(default_factory=dict)
    squashed: bool = True

    def add(self, row: Row) -> None:
        """Take one more row."""
        self.squashed &= "rle_480" in row
        self.rows.setdefault((row["ref_id"], row["sent_id"]), []).append(row)


def answer(
    network: Network, data: PairSet, *, seen: Seen | None = None, quiet: bool = False
) -> Predictions:
    """The answers to every pair, kept in memory; photos are encoded some at a time.

    Args:
        seen: all photos of the set, where they were encoded before.
    Raises:
        DatasetError: a photo cannot be read.
    """
    found = Predictions(network.name, network.name)
    bar = tqdm(
        total=len(data.pairs), desc=f"{data.name}: pairs", unit="pair", disable=quiet or None,
        leave=False,
    )  # fmt: skip
    with bar:
        for rows in _answered(network, data, list(data.by_photo().items()), seen):
            for row in rows:
                found.add(row)
            bar.update(len(rows))
    return found


def predict(
    load: Load,
    data: PairSet,
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
        how many pairs the file holds.
    Raises:
        DatasetError: the file is of another network or other data, or a photo cannot be read.
        Interrupted: `should_stop` said so; the file can be gone on with.
    """
    asked = list(data.by_photo().items())
    network = load()
    about = {
        "format": FORMAT,
        "model": network.name,
        "fingerprint": network.fingerprint,
        "calibration": network.calibration.revision,
        "data": data.name,
        "revision": data.revision,
        "expressions": len(data.pairs),
    }
    done = _resumed(out, about, asked)
    bar = tqdm(
        total=len(data.pairs), initial=sum(len(places) for _, places in asked[:done]),
        unit="expression", desc=f"{network.name} on {data.name}", disable=quiet or None,
    )  # fmt: skip
    with bar, out.open("a", encoding="utf-8") as file:
        for rows in _by_processes(load, network, data, asked[done:], workers):
            file.write("".join(json.dumps(row) + "\n" for row in rows))
            file.flush()
            bar.update(len(rows))
            if should_stop():
                raise Interrupted(f"interrupted; the same command goes on with {out}")
    return len(data.pairs)


def _answered(
    network: Network, data: PairSet, asked: Sequence[Asked], seen: Seen | None = None
) -> Iterator[list[Row]]:
    """The rows of each photo, in order."""
    for at in range(0, len(asked), BATCH_PHOTOS):
        some = asked[at : at + BATCH_PHOTOS]
        images = [Image.fromarray(data.photos.image(photo)) for photo, _ in some]
        chunk = network.encode(images) if seen is None else seen
        for place, ((photo, places), image) in enumerate(zip(some, images, strict=True)):
            # The pairs of one photo alone: no answer depends on which photos come with it.
            own = photo if seen is not None else place
            said = chunk.judge([(own, data.pairs[index].expression) for index in places])
            yield [
                {
                    "ref_id": data.ids[index][0],
                    "sent_id": data.ids[index][1],
                    "photo": photo,
                    "expression": data.pairs[index].expression,
                    "p_no_target": round(
                        1 - float(network.calibration.confidence(s.no_target_logit, shifted=False)),
                        6,
                    ),
                    "no_target_logit": round(s.no_target_logit, 6),
                    "rle": s.render(*image.size).rle,
                    "rle_480": s.render(SQUASHED, SQUASHED).rle,
                    "input_area": s.render(network.input_size, network.input_size).area,
                    "minimap": [[round(float(x), 4) for x in line] for line in s.minimap],
                }
                for index, s in zip(places, said, strict=True)
            ]


def _resumed(out: Path, about: dict[str, Any], asked: Sequence[Asked]) -> int:
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
        for _, places in asked:
            lines = [file.readline() for _ in places]
            if not all(line.endswith(b"\n") for line in lines):
                break
            done, whole = done + 1, file.tell()
        file.truncate(whole)
    return done


def _by_processes(
    load: Load, network: Network, data: PairSet, asked: Sequence[Asked], workers: int
) -> Iterator[list[Row]]:
    """The rows of each photo, in order."""
    if workers <= 1 or len(asked) < 2:
        yield from _answered(network, data, asked)
        return
    # Spawned, not forked: torch has computed here. The data go over once, with the network.
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(workers, len(asked)), _begin, (load, data)) as pool:
        yield from pool.imap(_of_photo, asked)


_mine: tuple[Network, PairSet]


def _begin(load: Load, data: PairSet) -> None:
    global _mine
    torch.set_num_threads(1)
    _mine = load(), data


def _of_photo(asked: Asked) -> list[Row]:
    network, data = _mine
    (rows,) = _answered(network, data, [asked])
    return rows
