"""The synthetic evaluation sets: pairs, an album, an album of unseen compositions, absent things.

Every set is determined by its split and sizes: the same photos and expressions on every machine.
They are drawn once and kept under a name that holds the versions of drawing and saying, so a change
of either makes new sets and never mixes with old ones.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from model.replacing import replacing
from training.drawing.scenes import DRAWING, make_photo
from training.language import grammar
from training.language.absent import CREATURES, THINGS
from training.language.grammar import ALBUM_KINDS, Expression, execute
from training.language.mutations import held_out as names_held_out
from training.measuring.judging import AlbumSet, Pair, PairSet
from training.scene import SPLITS, Scene

# Raise it with every change of which expressions are drawn, or of what they mean: sets are kept
# under this name. tests/training/drawing/test_drawn_digests.py says when.
SAYING = 1

# Far from the seeds that shards for training and its own checks are drawn from.
PAIR_SEEDS, ALBUM_SEEDS = 1_000_000_000, 1_100_000_000

PHOTO_SIZES = ((384, 288), (288, 384), (320, 320), (416, 312), (448, 252), (300, 400))

# Prevalences that an album's expressions are picked for: one photo in a hundred to one in four.
RAREST, MOST_COMMON = 0.01, 0.25
MOST_AMBIGUOUS = 0.3  # an expression that is unclear in more photos than this says too little


@dataclass(frozen=True)
class Sizes:
    """How large the sets are; the defaults are the ones that bars are measured on.

    Attributes:
        pair_photos: photos of the pairs.
        pairs_a_photo: a multiple of 4: half with a target, a quarter false, a quarter deceptive.
        album_photos: photos of an album.
        expressions_a_kind: of the album, for each of ALBUM_KINDS.
        absent_expressions: half with known nouns, half with unknown ones.
    """

    pair_photos: int = 520
    pairs_a_photo: int = 8
    album_photos: int = 300
    expressions_a_kind: int = 25
    absent_expressions: int = 100

    def __post_init__(self) -> None:
        if self.pairs_a_photo % 4 or min(dataclasses.astuple(self)) < 1:
            raise ValueError("sizes are positive, pairs_a_photo a multiple of 4")


FULL = Sizes()
QUICK = Sizes(52, 8, 60, 5, 20)


@dataclass(frozen=True)
class DrawnPhotos:
    """Photos of a kept set, read from its folder one by one."""

    folder: Path
    count: int

    def __len__(self) -> int:
        return self.count

    def image(self, index: int) -> NDArray[np.uint8]:
        """Give the photo, (H, W, 3) RGB."""
        with Image.open(self.folder / f"photo-{index:04d}.png") as picture:
            return np.asarray(picture.convert("RGB"))

    def mask(self, index: int, targets: Sequence[int]) -> NDArray[np.bool_]:
        """Give the visible pixels of these instances, (H, W)."""
        with Image.open(self.folder / f"ids-{index:04d}.png") as picture:
            return np.isin(np.asarray(picture), list(targets))


def version() -> str:
    """Give the version of what the sets hold: that of the photos, and that of the expressions."""
    return f"{DRAWING}.{SAYING}"


def default_cache() -> Path:
    """Give the folder of kept sets: under REFERENT_HOME, else under `runs`."""
    return Path(os.environ.get("REFERENT_HOME", "runs")) / "testsets"


def pairs(split: str, sizes: Sizes = FULL, *, folder: Path | None = None) -> PairSet:
    """Give a split's pairs: half with a target, a quarter false, a quarter deceptive.

    False pairs are nearly true of their photo; deceptive ones are true of another photo of the
    split and of nothing in this one.
    """
    kept = _kept("pairs", split, sizes, folder, _draw_pairs)
    content = json.loads((kept / "set.json").read_text(encoding="utf-8"))
    rows = (Pair(p, text, kind, tuple(ids), origin) for p, text, kind, ids, origin in content)
    photos = DrawnPhotos(kept, sizes.pair_photos)
    return PairSet(f"synthetic:{split} pairs", photos, tuple(rows), kept.name)


def album(split: str, sizes: Sizes = FULL, *, folder: Path | None = None) -> AlbumSet:
    """Give a split's album: expressions of every kind, each with its truth on every photo."""
    return _album_set("album", split, sizes, folder)


def absent(split: str, sizes: Sizes = FULL, *, folder: Path | None = None) -> AlbumSet:
    """Give expressions about things that no photo of the split's album shows.

    The kinds are "composed" and "impossible" (nouns of the grammar) and "unknown" (nouns that
    training never saw).
    """
    return _album_set("absent", split, sizes, folder)


def _album_set(name: str, split: str, sizes: Sizes, folder: Path | None) -> AlbumSet:
    kept = _kept("album", split, sizes, folder, _draw_album)
    rows = json.loads((kept / "set.json").read_text(encoding="utf-8"))[name]
    truth = np.load(kept / "truth.npy")
    if name == "absent":
        truth = np.zeros((len(rows), sizes.album_photos), np.int8)
    texts, kinds, unseen = zip(*rows, strict=True)
    photos = DrawnPhotos(kept, sizes.album_photos)
    return AlbumSet(f"synthetic:{split} {name}", photos, texts, kinds, truth, unseen, kept.name)


def _kept(
    name: str,
    split: str,
    sizes: Sizes,
    folder: Path | None,
    draw: Callable[[Path, str, Sizes], None],
) -> Path:
    """Find a set's folder, drawing it first where there is none; whole or not at all."""
    if split not in SPLITS:
        raise ValueError(f"split is one of {', '.join(SPLITS)}, not {split!r}")
    key = hashlib.blake2b(repr(sizes).encode(), digest_size=3).hexdigest()
    kept = (folder or default_cache()) / f"{name}-{split}-{key}-{version()}"
    if not kept.is_dir():
        try:
            with replacing(kept) as part:
                part.mkdir(parents=True)
                draw(part, split, sizes)
        except OSError:
            if not kept.is_dir():  # else another process drew the same one meanwhile
                raise
    return kept


def _draw_photos(folder: Path, split: str, seed: int, wanted: int, name: str) -> Iterator[Scene]:
    """Draw photos into the folder one after another; a scene that is sent back is drawn anew."""
    for index in tqdm(
        range(wanted), desc=f"drawing {split} {name}", unit="photo", leave=False, disable=None
    ):
        width, height = PHOTO_SIZES[index % len(PHOTO_SIZES)]
        image, ids, scene = make_photo(seed + index, split, width, height)
        Image.fromarray(image).save(folder / f"photo-{index:04d}.png", compress_level=3)
        Image.fromarray(ids.astype(np.uint8)).save(folder / f"ids-{index:04d}.png")
        yield scene


def _random(split: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, SPLITS.index(split)])


def _draw_pairs(folder: Path, split: str, sizes: Sizes) -> None:
    rng = _random(split, PAIR_SEEDS)
    scenes = list(_draw_photos(folder, split, PAIR_SEEDS, sizes.pair_photos, "pairs"))
    quarter = sizes.pairs_a_photo // 4
    true = [grammar.expressions(scene, rng, 4 * quarter) for scene in scenes]
    rows: list[tuple[int, str, str, list[int], str]] = []
    for index, scene in enumerate(scenes):
        found = [(e, execute(e.program, scene)) for e in true[index][: 2 * quarter]]
        rows += [(index, e.text, e.kind, sorted(ids or ()), "target") for e, ids in found if ids]
        false = grammar.no_target(scene, rng, quarter)
        rows += [(index, e.text, e.kind, [], "false") for e in false]
        deceptive = _deceptive(index, scenes, true, rng, quarter)
        rows += [(index, e.text, e.kind, [], "deceptive") for e in deceptive]
    _write_json(folder / "set.json", rows)


def _deceptive(
    index: int,
    scenes: Sequence[Scene],
    true: Sequence[Sequence[Expression]],
    rng: np.random.Generator,
    count: int,
) -> list[Expression]:
    """Draw expressions of other photos that refer to nothing in this one, of different kinds."""
    found: dict[str, Expression] = {}
    for _ in range(200):
        other = int(rng.integers(len(scenes)))
        if other == index or not true[other]:
            continue
        said = true[other][int(rng.integers(len(true[other])))]
        if said.kind not in found and execute(said.program, scenes[index]) == frozenset():
            found[said.kind] = said
        if len(found) == count:
            break
    return list(found.values())


def _draw_album(folder: Path, split: str, sizes: Sizes) -> None:
    rng = _random(split, ALBUM_SEEDS)
    scenes = list(_draw_photos(folder, split, ALBUM_SEEDS, sizes.album_photos, "album"))
    chosen: list[Expression] = []
    rows: list[NDArray[np.int8]] = []
    for kind in tqdm(ALBUM_KINDS, desc="choosing expressions", leave=False, disable=None):
        # Few expressions name a composition that is held out; more are looked at to find them.
        count = (14 if split == "test-b" else 6) * sizes.expressions_a_kind
        candidates = _candidates(scenes, kind, rng, count)
        truths = np.array([_truth(e, scenes) for e in candidates])
        for at in _spread(candidates, truths, sizes.expressions_a_kind, split == "test-b"):
            chosen.append(candidates[at])
            rows.append(truths[at])
    np.save(folder / "truth.npy", np.array(rows, np.int8))
    content = {
        "album": [(e.text, e.kind, names_held_out(e.program)) for e in chosen],
        "absent": _absent_rows(scenes, split, rng, sizes.absent_expressions),
    }
    _write_json(folder / "set.json", content)


def _candidates(
    scenes: Sequence[Scene], kind: str, rng: np.random.Generator, count: int
) -> list[Expression]:
    """Collect expressions of a kind, with different texts, from photos of the album in turn."""
    found: dict[str, Expression] = {}
    for at in np.concatenate([rng.permutation(len(scenes)) for _ in range(6)]):
        for said in grammar.expressions(scenes[int(at)], rng, 2, (kind,)):
            found.setdefault(said.text.lower(), said)
        if len(found) >= count:
            break
    return list(found.values())


def _truth(said: Expression, scenes: Sequence[Scene]) -> NDArray[np.int8]:
    answers = (execute(said.program, scene) for scene in scenes)
    return np.array([-1 if ids is None else int(bool(ids)) for ids in answers], np.int8)


def _spread(
    candidates: Sequence[Expression],
    truths: NDArray[np.int8],
    count: int,
    prefer_held_out: bool,
) -> list[int]:
    """Pick candidates whose prevalences lie evenly, in logarithms, around five in a hundred."""
    scored = (truths >= 0).mean(axis=1)
    shares = (truths == 1).sum(axis=1) / np.maximum((truths >= 0).sum(axis=1), 1)
    usable = [i for i in range(len(candidates)) if shares[i] and scored[i] >= 1 - MOST_AMBIGUOUS]
    picked: list[int] = []
    meanings: set[Any] = set()
    wanted = np.geomspace(RAREST, MOST_COMMON, count)
    # From both ends inwards: the rare and the common ones have the fewest candidates.
    for share in sorted(wanted, key=lambda w: -abs(math.log(w / 0.05))):
        left = [i for i in usable if candidates[i].program not in meanings]
        if not left:
            break

        def distance(i: int, share: float = share) -> float:
            seen = prefer_held_out and not names_held_out(candidates[i].program)
            return abs(math.log(shares[i] / share)) + 1.5 * seen

        best = min(left, key=distance)
        picked.append(best)
        meanings.add(candidates[best].program)
    return sorted(picked)


def _absent_rows(
    scenes: Sequence[Scene], split: str, rng: np.random.Generator, count: int
) -> list[tuple[str, str, bool]]:
    """Draw expressions that nothing in any photo meets.

    A quarter is composed by the grammar and executes to nothing on every photo, a quarter joins
    known nouns in ways that no scene ever has, half names things from outside the grammar.
    """
    composed: dict[str, Expression] = {}
    while len(composed) < count // 4:
        said = grammar.draw(rng, held_out=split == "test-b")
        if all(execute(said.program, scene) == frozenset() for scene in scenes):
            composed.setdefault(said.text.lower(), said)
    impossible = grammar.absent(rng, count // 2 - count // 4, known=True, held_out=True)
    unknown: dict[str, str] = {}
    while len(unknown) < count - count // 2:
        (text,) = grammar.absent(rng, 1, known=False, held_out=True)
        if _for_validation(text) == (split == "val"):
            unknown.setdefault(text.lower(), text)
    rows = [(e.text, "composed") for e in composed.values()]
    rows += [(text, "impossible") for text in impossible]
    rows += [(text, "unknown") for text in unknown.values()]
    return [(text, kind, False) for text, kind in rows]


def _for_validation(text: str) -> bool:
    """Tell the unknown nouns of validation (a quarter) from those that only tests may use."""
    nouns = [
        singular
        for forms in (CREATURES, THINGS)
        for singular, plural in forms
        if re.search(rf"\b({re.escape(singular)}|{re.escape(plural)})\b", text.lower())
    ]
    return zlib.crc32(max(nouns, key=len, default="").encode()) // 2 % 4 == 0


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
